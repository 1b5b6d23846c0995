"""Rollouts: how far a workload's own controller has come, as `kubectl rollout status` tells it.

Three kinds of rest: it finished, its controller gave up, or it goes on only when its owner does
something. Where no Pod is wanted, there is nothing to roll.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

RawObject = Mapping[str, Any]


@dataclass(frozen=True)
class RolloutFacts:
    """What a workload's own controller reports."""

    finished: bool
    deadline_exceeded: bool = False
    message: str = ""
    waits_for: str = ""
    """What its owner has to do for the rollout to go on; empty if it goes on by itself."""
    pods: int = 0
    """How many Pods the workload wants; 0 for a CronJob, whose Pods come and go."""

    @property
    def settled(self) -> bool:
        """Whether nothing is rolling: it finished, its controller gave up, or its owner's turn."""
        return self.finished or self.deadline_exceeded or bool(self.waits_for)


def _deployment(spec: RawObject, status: RawObject, *, observed: bool) -> RolloutFacts:
    wanted = spec.get("replicas", 1)
    updated, total = status.get("updatedReplicas", 0), status.get("replicas", 0)
    available = status.get("availableReplicas", 0)
    conditions = status.get("conditions") or ()
    stopped = ("Progressing", "ProgressDeadlineExceeded")
    replaced = observed and updated >= wanted and total <= updated
    waits = bool(spec.get("paused")) and not replaced
    return RolloutFacts(
        finished=not wanted or (replaced and available >= updated),
        # One that was paused keeps what was said of its rollout before.
        deadline_exceeded=observed
        and not waits
        and any((each["type"], each.get("reason")) == stopped for each in conditions),
        message=f"{updated} of {wanted} Pods updated, {available} available",
        waits_for=_RESUME if waits and wanted else "",
        pods=wanted,
    )


def _stateful_set(spec: RawObject, status: RawObject, *, observed: bool) -> RolloutFacts:
    wanted, ready = spec.get("replicas", 1), status.get("readyReplicas", 0)
    updated = status.get("updatedReplicas", 0)
    same = status.get("currentRevision") == status.get("updateRevision")
    replaced = observed and (same or updated >= wanted)
    return RolloutFacts(
        finished=not wanted or (replaced and ready >= wanted),
        message=f"{updated} of {wanted} Pods updated, {ready} ready",
        waits_for="" if replaced or not wanted else _stateful_owner(spec, status, observed),
        pods=wanted,
    )


def _stateful_owner(spec: RawObject, status: RawObject, observed: bool) -> str:
    """What the owner of a StatefulSet has to do; Pods below a partition keep the old template."""
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == _ON_DELETE:
        return _DELETE
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    wanted, first = spec.get("replicas", 1), (spec.get("ordinals") or {}).get("start", 0)
    above = max(0, first + wanted - partition)
    updated, ready = status.get("updatedReplicas", 0), status.get("readyReplicas", 0)
    rolled = observed and updated >= above and ready >= wanted
    return _lower(partition) if partition and (rolled or not above) else ""


def _daemon_set(spec: RawObject, status: RawObject, *, observed: bool) -> RolloutFacts:
    wanted = status.get("desiredNumberScheduled", 0)
    updated = status.get("updatedNumberScheduled", 0)
    available = status.get("numberAvailable", 0)
    replaced = observed and updated >= wanted
    by_hand = (spec.get("updateStrategy") or {}).get("type") == _ON_DELETE
    return RolloutFacts(
        finished=replaced and available >= wanted,
        message=f"{updated} of {wanted} Pods updated, {available} available",
        waits_for=_DELETE if by_hand and not replaced else "",
    )


_ON_DELETE: Final = "OnDelete"
_DELETE: Final = "its updateStrategy is OnDelete: its Pods have the sidecars once they are deleted"
_RESUME: Final = "it is paused: run `kubectl rollout resume`, or set spec.paused to false"


def _lower(partition: int) -> str:
    return f"its Pods below partition {partition} stay as they are: lower rollingUpdate.partition"


def _cron_job(_: RawObject, __: RawObject, *, observed: bool) -> RolloutFacts:
    """A CronJob does not roll, its next Job has the new template."""
    return RolloutFacts(finished=True, message="" if observed else "not observed yet")


def _job(spec: RawObject, _: RawObject, *, observed: bool) -> RolloutFacts:
    """A Job's template never changes."""
    message = "" if observed else "not observed yet"
    return RolloutFacts(finished=True, message=message, pods=spec.get("parallelism", 1))


def _pod(_: RawObject, __: RawObject, **___: bool) -> RolloutFacts:
    """A Pod does not roll, observed or not."""
    return RolloutFacts(finished=True, pods=1)


_RULES: Mapping[str, Callable[..., RolloutFacts]] = {
    "Deployment": _deployment,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "CronJob": _cron_job,
    "Job": _job,
    "Pod": _pod,
}


def rollout_facts(obj: RawObject, *, kind: str) -> RolloutFacts:
    """How far the rollout of a raw workload is."""
    status = obj.get("status") or {}
    observed = status.get("observedGeneration", 0) >= obj["metadata"].get("generation", 0)
    return _RULES[kind](obj["spec"], status, observed=observed)
