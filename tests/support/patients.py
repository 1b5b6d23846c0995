"""Pods as API servers answer them, in every state that kubelets bring them into."""

import json
from datetime import UTC, datetime
from typing import Any

from sidecarpolicy.api.names import CAPABILITY_LABEL, INJECTED_ANNOTATION
from sidecarpolicy.core.facts import NodeFacts, node_facts

JSON = dict[str, Any]
NOW = 1_800_000_000.0
"""Seconds since 1970, when tests look."""


def ago(seconds: float) -> str:
    """A timestamp."""
    return datetime.fromtimestamp(NOW - seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def running(since: float = 600, **status: Any) -> JSON:
    return {"state": {"running": {"startedAt": ago(since)}}, **status}


def waiting(reason: str = "PodInitializing", message: str = "", **status: Any) -> JSON:
    return {"state": {"waiting": {"reason": reason, "message": message}}, **status}


def ended(code: int = 0, *, lasted: float = 5, since: float = 1, reason: str = "Error") -> JSON:
    times = {"startedAt": ago(since + lasted), "finishedAt": ago(since)}
    return {"terminated": {"exitCode": code, "reason": reason, **times}}


def over(code: int = 0, **how: Any) -> JSON:
    return {"state": ended(code, **how)}


SERVES = running(started=True)


def container(name: str = "web", status: JSON | None = None, **spec: Any) -> JSON:
    """A container with its status; `pod` takes the two apart."""
    return {"name": name, "image": f"{name}:1", **spec, "status": status}


def sidecar(status: JSON | None = None, *, name: str = "shipper", **spec: Any) -> JSON:
    return container(name, status, restartPolicy="Always", **spec)


def init(status: JSON | None = None, *, name: str = "migrate", **spec: Any) -> JSON:
    return container(name, status, **spec)


PROBE = {"exec": {"command": ["true"]}, "periodSeconds": 5, "failureThreshold": 3}
"""Gives a container ten seconds from its start to its last failure."""


def pod(
    *inits: JSON,
    apps: tuple[JSON, ...] = (),
    phase: str = "Pending",
    status: JSON | None = None,
    meta: JSON | None = None,
    **spec: Any,
) -> JSON:
    apps = apps or (container("web", waiting()),)
    return {
        "metadata": {
            "name": "web-1",
            "namespace": "shop",
            "uid": "uid-web-1",
            "resourceVersion": "7",
            "creationTimestamp": ago(3600),
            **(meta or {}),
        },
        "spec": {
            "nodeName": "n1",
            "initContainers": [_spec(each) for each in inits],
            "containers": [_spec(each) for each in apps],
            **spec,
        },
        "status": {
            "phase": phase,
            "initContainerStatuses": _statuses(inits),
            "containerStatuses": _statuses(apps),
            **(status or {}),
        },
    }


def recorded(*names: str, policy: str = "SidecarPolicy/log-shipper") -> JSON:
    """Metadata of a Pod to which a policy added these sidecars."""
    parts = {f"container/{name}": "digest" for name in names or ("shipper",)}
    record = {"policies": {policy: {"revision": "1", "parts": parts}}, "made": []}
    return {"annotations": {INJECTED_ANNOTATION: json.dumps(record)}}


def owned_by(kind: str, name: str, **meta: Any) -> JSON:
    api = "batch/v1" if kind == "Job" else "apps/v1"
    reference = {"apiVersion": api, "kind": kind, "name": name, "uid": f"uid-{name}"}
    return {"ownerReferences": [{**reference, "controller": True}], **meta}


UNSCHEDULABLE = (
    "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: "
    "0/3 nodes are available: 3 Preemption is not helpful for scheduling."
)


def unschedulable(since: float, message: str = UNSCHEDULABLE) -> JSON:
    """A status."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    return {"conditions": [{**condition, "message": message, "lastTransitionTime": ago(since)}]}


def unprepared(since: float) -> JSON:
    """A status: volumes or network are not ready."""
    condition = {"type": "PodReadyToStartContainers", "status": "False"}
    return {"conditions": [{**condition, "lastTransitionTime": ago(since)}]}


RULE = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {"matchExpressions": [
                    {"key": CAPABILITY_LABEL, "operator": "In", "values": ["true"]}
                ]}
            ]
        }
    }
}  # fmt: skip


def node(version: str = "v1.36.3", name: str = "n1") -> NodeFacts:
    return node_facts(
        {
            "metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": "1"},
            "status": {"nodeInfo": {"kubeletVersion": version}},
        }
    )


def _spec(made: JSON) -> JSON:
    return {key: value for key, value in made.items() if key != "status"}


def _statuses(made: tuple[JSON, ...]) -> list[JSON]:
    found = ((each["name"], each["status"]) for each in made)
    return [{"name": name, **status} for name, status in found if status is not None]
