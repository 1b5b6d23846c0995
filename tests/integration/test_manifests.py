"""What kustomize makes of our manifests, read as the API server would get it."""

import os
from pathlib import Path
from typing import Any

import yaml

from lab import Lab
from tests.support.admission import SYSTEM
from tests.support.cluster import ROOT

JSON = dict[str, Any]


def test_with_cert_manager_the_webhook_has_no_right_to_secrets_and_serves_what_is_injected(
    installed: Lab, tmp_path: Path
) -> None:
    def relative(path: Path) -> str:
        return os.path.relpath(path, tmp_path.resolve())

    component = ROOT / "deploy/components/cert-manager"
    chosen = {"resources": [relative(ROOT)], "components": [relative(component)]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(chosen))
    made = list(yaml.safe_load_all(installed.kubectl("kustomize", str(tmp_path))))
    of_kind = {kind: [each for each in made if each["kind"] == kind] for kind in _kinds(made)}

    roles = (each for kind in ("Role", "ClusterRole") for each in of_kind.get(kind, ()))
    rules = [
        rule for role in roles if "webhook" in role["metadata"]["name"] for rule in role["rules"]
    ]
    assert {name for rule in rules for name in rule["resources"]} == {
        "sidecarpolicies", "clustersidecarpolicies", "namespaces", "nodes",
    }  # fmt: skip
    assert "Secret" not in of_kind
    (deployment,) = (
        each for each in of_kind["Deployment"] if "webhook" in each["metadata"]["name"]
    )
    pod = deployment["spec"]["template"]["spec"]
    (mount,) = pod["containers"][0]["volumeMounts"]
    assert f"--tls-dir={mount['mountPath']}" in pod["containers"][0]["args"]
    (certificate,) = (each for each in of_kind["Certificate"] if not each["spec"].get("isCA"))
    assert pod["volumes"][0]["secret"]["secretName"] == certificate["spec"]["secretName"]
    (service,) = of_kind["Service"]
    wanted = f"{service['metadata']['name']}.{SYSTEM}.svc"
    assert certificate["spec"]["dnsNames"] == [wanted]
    (configuration,) = of_kind["MutatingWebhookConfiguration"]
    source = configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"]
    assert source == f"{SYSTEM}/{certificate['metadata']['name']}"


def _kinds(objects: list[JSON]) -> set[str]:
    return {each["kind"] for each in objects}
