"""Rollouts: how far a workload's own controller has come, as `kubectl rollout status` tells it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

RawObject = Mapping[str, Any]


@dataclass(frozen=True)
class RolloutFacts:
    """What a workload's own controller reports."""

    finished: bool
    deadline_exceeded: bool = False
    message: str = ""
    pods: int = 0
    """How many Pods the workload wants; 0 for a CronJob, whose Pods come and go."""

    @property
    def settled(self) -> bool:
        """Whether nothing is rolling: it finished, or its controller gave up."""
        return self.finished or self.deadline_exceeded


def _deployment(spec: RawObject, status: RawObject, *, observed: bool) -> RolloutFacts:
    wanted = spec.get("replicas", 1)
    updated, total = status.get("updatedReplicas", 0), status.get("replicas", 0)
    available = status.get("availableReplicas", 0)
    conditions = status.get("conditions") or ()
    stopped = ("Progressing", "ProgressDeadlineExceeded")
    return RolloutFacts(
        finished=observed and updated >= wanted and total <= updated and available >= updated,
        deadline_exceeded=observed
        and any((each["type"], each.get("reason")) == stopped for each in conditions),
        message=f"{updated} of {wanted} Pods updated, {available} available",
        pods=wanted,
    )


def _stateful_set(spec: RawObject, status: RawObject, *, observed: bool) -> RolloutFacts:
    wanted, ready = spec.get("replicas", 1), status.get("readyReplicas", 0)
    updated = status.get("updatedReplicas", 0)
    same = status.get("currentRevision") == status.get("updateRevision")
    return RolloutFacts(
        finished=observed and ready >= wanted and (same or updated >= wanted),
        message=f"{updated} of {wanted} Pods updated, {ready} ready",
        pods=wanted,
    )


def _daemon_set(_: RawObject, status: RawObject, *, observed: bool) -> RolloutFacts:
    wanted = status.get("desiredNumberScheduled", 0)
    updated = status.get("updatedNumberScheduled", 0)
    available = status.get("numberAvailable", 0)
    return RolloutFacts(
        finished=observed and updated >= wanted and available >= wanted,
        message=f"{updated} of {wanted} Pods updated, {available} available",
    )


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
