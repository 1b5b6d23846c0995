"""Builders: the smallest valid object, with what a test cares about on top."""

import json
from collections.abc import Mapping
from typing import Any

from sidecarpolicy.api.models import SidecarPolicySpec
from sidecarpolicy.core.capability import NodeTally
from sidecarpolicy.core.desired import Desired, desired
from sidecarpolicy.core.facts import (
    PolicyFacts,
    WorkloadFacts,
    policy_facts,
    workload_facts,
)
from sidecarpolicy.core.snapshot import Snapshot

JSON = dict[str, Any]


def template(*, labels: Mapping[str, str] | None = None, **spec: Any) -> JSON:
    return {
        "metadata": {"labels": {"app": "web", **(labels or {})}},
        "spec": {"containers": [{"name": "web", "image": "nginx"}], **spec},
    }


def sidecar(name: str = "shipper", **fields: Any) -> JSON:
    return {"name": name, "image": "fluent/fluent-bit:3.2", **fields}


def spec(**fields: Any) -> SidecarPolicySpec:
    return SidecarPolicySpec.model_validate({"selector": {}, "sidecars": [sidecar()], **fields})


def wish(name: str = "log-shipper", **fields: Any) -> Desired:
    return desired(f"SidecarPolicy/{name}", spec(**fields))


def policy_object(name: str = "log-shipper", *, generation: int = 1, **fields: Any) -> JSON:
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-{name}",
            "resourceVersion": "1",
            "generation": generation,
        },
        "spec": {"selector": {}, "sidecars": [sidecar()], **fields},
    }


def policy(name: str = "log-shipper", **fields: Any) -> PolicyFacts:
    return policy_facts(policy_object(name, **fields))


def deployment(name: str = "web", *, pods: JSON | None = None, **changes: Any) -> JSON:
    """A Deployment of two replicas whose rollout is finished."""
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-{name}",
            "resourceVersion": "1",
            "generation": 1,
            **changes.get("metadata", {}),
        },
        "spec": {"replicas": 2, "template": pods or template(), **changes.get("spec", {})},
        "status": {
            "observedGeneration": 1,
            "replicas": 2,
            "updatedReplicas": 2,
            "availableReplicas": 2,
            **changes.get("status", {}),
        },
    }


def workload(name: str = "web", **changes: Any) -> WorkloadFacts:
    return workload_facts(deployment(name, **changes), kind="Deployment")


def snapshot(*, nodes: NodeTally = NodeTally(1, 1), **fields: Any) -> Snapshot:  # noqa: B008
    return Snapshot(namespace="shop", nodes=nodes, **fields)


def pods_of(facts: WorkloadFacts) -> JSON:
    found: JSON = json.loads(facts.template)
    return found
