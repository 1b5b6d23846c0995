"""Progress: which change of its template a workload rolls out, and when that last got further.

Read from the workload alone. Whether a change arrived once is for its controller to say, and
takes no more than a moment in which all Pods were ready, which a container that ends again
and again may have; a DaemonSet does not say it at all. So what is wrong after that is the
rollout's fault or came later, which takes a look at the Pods (core.failure).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

RawObject = Mapping[str, Any]


@dataclass(frozen=True)
class Progress:
    """How a workload's controller sees its latest change.

    `change` tells it from any other; empty if it is not observed yet, stands still on purpose, or
    is rolled out by hand. `seen` is when it last got further, RFC 3339; empty where the controller
    does not tell. `arrived`: it was rolled out once, or nothing is left of an older one. `proven`
    names the ControllerRevision that was rolled out before.
    """

    change: str = ""
    seen: str = ""
    proven: str = ""
    arrived: bool = False
    let_go: str = ""
    """When its owner last changed how it is updated, as by a lower partition, RFC 3339."""
    one_by_one: bool = False
    """Whether a Pod that is not ready keeps the next from being made anew (OrderedReady)."""
    selector: str = ""
    """Its `matchLabels`, as a query of the API server takes them."""


def progress(obj: RawObject, *, kind: str) -> Progress:
    """The progress of a raw workload; kinds that do not roll make none."""
    rule = _RULES.get(kind)
    if rule is None:
        return Progress()
    status, generation = obj.get("status") or {}, obj["metadata"].get("generation", 0)
    labels = (obj["spec"].get("selector") or {}).get("matchLabels") or {}
    selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    if status.get("observedGeneration", 0) < generation:
        return replace(Progress(), selector=selector)
    made = replace(rule(obj["spec"], status, str(generation)), selector=selector)
    by_hand = (obj["spec"].get("updateStrategy") or {}).get("type") == "OnDelete"
    return replace(made, change="") if by_hand else replace(made, let_go=_let_go(obj["metadata"]))


def _let_go(meta: RawObject) -> str:
    """The last write to the updateStrategy; who sets other fields with it, may write it later."""
    entries = meta.get("managedFields") or ()
    return max((e.get("time") or "" for e in entries if _sets_strategy(e)), default="")


def _sets_strategy(entry: RawObject) -> bool:
    fields = (entry.get("fieldsV1") or {}).get("f:spec") or {}
    return not entry.get("subresource") and "f:updateStrategy" in fields


def _deployment(spec: RawObject, status: RawObject, generation: str) -> Progress:
    """Without progressDeadlineSeconds there is no condition: then old Pods show that it rolls."""
    conditions = status.get("conditions") or ()
    found = next((each for each in conditions if each["type"] == "Progressing"), None)
    reason = found.get("reason") if found is not None else None
    if spec.get("paused") or reason == "DeploymentPaused":
        return Progress()
    if found is None:
        arrived = status.get("replicas", 0) <= status.get("updatedReplicas", 0)
        return Progress(generation, arrived=arrived)
    seen, arrived = found.get("lastUpdateTime") or "", reason == "NewReplicaSetAvailable"
    return Progress(generation, seen=seen, arrived=arrived)


def _stateful_set(spec: RawObject, status: RawObject, _: str) -> Progress:
    current, updated = status.get("currentRevision", ""), status.get("updateRevision", "")
    return Progress(
        "" if _by_hand(spec) or _at_partition(spec, status) else updated,
        arrived=updated == current,
        proven=current,
        one_by_one=spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady",
    )


def _by_hand(spec: RawObject) -> bool:
    """Whether Pods get the newest template only once somebody deletes them."""
    return (spec.get("updateStrategy") or {}).get("type") == "OnDelete"


def _at_partition(spec: RawObject, status: RawObject) -> bool:
    """Whether all Pods above the partition are new; those below stay as they are."""
    rolling = (spec.get("updateStrategy") or {}).get("rollingUpdate") or {}
    partition, first = rolling.get("partition") or 0, (spec.get("ordinals") or {}).get("start", 0)
    above = max(0, first + spec.get("replicas", 1) - partition)
    return partition > 0 and status.get("updatedReplicas", 0) >= above


def _daemon_set(spec: RawObject, status: RawObject, generation: str) -> Progress:
    wanted, updated = (
        status.get(each, 0) for each in ("desiredNumberScheduled", "updatedNumberScheduled")
    )
    return Progress("" if _by_hand(spec) else generation, arrived=updated >= wanted)


_RULES: Mapping[str, Callable[[RawObject, RawObject, str], Progress]] = {
    "Deployment": _deployment,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
}
