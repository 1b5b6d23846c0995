vault {
  address = "https://vault.vault.svc:8200"
  ca_cert = "/vault/identity/ca.crt"
}

auto_auth {
  method "kubernetes" {
    mount_path = "auth/kubernetes"
    config = {
      role       = "grafana"
      token_path = "/vault/identity/token"
    }
  }
}

template_config {
  # A secret that cannot be had shows as a sidecar that restarts, not only in its log.
  exit_on_retry_failure = true
}

template {
  destination          = "/vault/secrets/admin-password"
  error_on_missing_key = true
  contents             = <<EOT
{{ with secret "secret/data/grafana" }}{{ .Data.data.admin_password }}{{ end }}
EOT
}
