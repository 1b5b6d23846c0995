"""Native sidecar containers for real, mixed Kubernetes clusters (KEP-753).

The layers, lowest first: `api` (the resource we own), `core` (pure decisions),
`cluster` (reads facts, executes changes), `controller` (the Kopf shell), `cli`.
Imports point downwards only; pyproject.toml holds the contracts that check it.
"""
