"""What is measured: one review as an API server sent it, and policies that it meets."""

import json
from pathlib import Path
from typing import Any

from sidecarpolicy.core.facts import namespace_facts, node_facts, policy_facts
from sidecarpolicy.core.selection import Exclusions
from sidecarpolicy.webhook.memory import Memory
from sidecarpolicy.webhook.review import review

JSON = dict[str, Any]

REVIEW = (Path(__file__).parent / "review.json").read_bytes()
"""The creation of a Deployment by `kubectl apply`, 12 KB, with managedFields (Kubernetes 1.36)."""

OWN_USER = "system:serviceaccount:sidecarpolicy-system:sidecarpolicy-controller"


def memory(policies: int) -> Memory:
    """The webhook's memory with so many policies in the namespace, of which one selects."""
    known = Memory(Exclusions("sidecarpolicy-system"))
    known.namespaces.replace([namespace_facts({"metadata": {"name": "shop", "uid": "shop"}})])
    known.nodes.replace([node_facts(_node())])
    apps = ["orders", *(f"app-{number}" for number in range(1, policies))]
    known.policies.replace(policy_facts(_policy(app)) for app in apps)
    return known


async def response() -> JSON:
    """What our webhook answers to the review, so that other arms answer just as much."""
    answered = await review(REVIEW, memory(1), own_user=OWN_USER)
    document: JSON = json.loads(answered.body)
    return document


def _node() -> JSON:
    meta = {"name": "new", "uid": "new"}
    return {"metadata": meta, "status": {"nodeInfo": {"kubeletVersion": "v1.36.3"}}}


def _policy(app: str) -> JSON:
    return {
        "metadata": {"name": f"logs-of-{app}", "namespace": "shop", "uid": app, "generation": 1},
        "spec": {
            "selector": {"matchLabels": {"app.kubernetes.io/name": app}},
            "sidecars": [_sidecar()],
            "volumes": [
                {"name": "shipped-logs", "emptyDir": {}},
                {"name": "log-shipper", "configMap": {"name": "log-shipper"}},
            ],
            "appContainers": {
                "names": ["orders"],
                "volumeMounts": [{"name": "shipped-logs", "mountPath": "/var/log/app"}],
                "env": [{"name": "LOG_FORMAT", "value": "json"}],
            },
        },
    }


def _sidecar() -> JSON:
    return {
        "name": "log-shipper",
        "image": "registry.example.com/log-shipper:1.4.2",
        "args": ["--config=/etc/log-shipper/config.yaml"],
        "ports": [{"containerPort": 2020}],
        "env": [{"name": "TARGET", "value": "logs.example.com:6514"}],
        "resources": {
            "requests": {"cpu": "20m", "memory": "32Mi"},
            "limits": {"memory": "64Mi"},
        },
        "startupProbe": {"httpGet": {"path": "/ready", "port": 2020}, "periodSeconds": 1},
        "volumeMounts": [
            {"name": "shipped-logs", "mountPath": "/logs"},
            {"name": "log-shipper", "mountPath": "/etc/log-shipper"},
        ],
    }
