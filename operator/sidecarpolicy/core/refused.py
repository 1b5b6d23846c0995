"""Refused creations: no Pod comes to exist, as in the loud shape of a stripped `restartPolicy`.

Only an Event on the Pod's owner tells of it, in the API server's words. Events stay for an hour
and nobody takes them back, so the owner itself says whether it still lacks Pods.
"""

import json
from dataclasses import dataclass
from typing import Final

from sidecarpolicy.core import daemonset
from sidecarpolicy.core.advice import Diagnosis
from sidecarpolicy.core.diagnosis import creation_refused
from sidecarpolicy.core.facts import RawObject, WorkloadFacts, has_ended
from sidecarpolicy.core.marker import read_markers
from sidecarpolicy.core.podfacts import Owner, owner_of
from sidecarpolicy.core.record import Record, read_record
from sidecarpolicy.core.times import seconds

LASTS_SECONDS: Final = 1200.0
"""Controllers wait up to 1000 s between two tries, so what is older has ended somehow."""

MOMENT_SECONDS: Final = 10.0
"""A ServiceAccount may come right after the workload, as the next object of one `apply`."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """That an owner's Pods could not be created, since when, and when that was last tried."""

    owner: Owner
    since: float
    at: float
    diagnosis: Diagnosis

    def lasts(self, now: float, *, youngest: float) -> bool:
        """Whether it still is so: for more than a moment, and no Pod of that owner came after it.

        Times are whole seconds, in which controllers first try many times: a Pod of the same second
        came after it, or another refusal follows.
        """
        fresh = self.since + MOMENT_SECONDS <= now < self.at + LASTS_SECONDS
        return fresh and youngest < self.at


def refusal_of(event: RawObject) -> Refusal | None:
    """What an Event says about native sidecars; None for any other."""
    found = creation_refused(event.get("message") or "")
    about = event.get("involvedObject") or {}
    named = all(about.get(field) for field in ("kind", "namespace", "name"))
    if found is None or event.get("reason") != "FailedCreate" or not named:
        return None
    hashed = {"pod-template-hash": about["name"].rpartition("-")[2]}
    owner = owner_of(
        {**about, "labels": hashed},
        about["kind"],
        uid=about.get("uid") or "",
        api_version=about.get("apiVersion") or "",
    )
    times = _times(event)
    return Refusal(owner, min(filter(None, times), default=0.0), max(times), found)


def misses_pods(workload: WorkloadFacts) -> bool:
    """Whether a workload is without Pods that it wants; not if it was set back or scaled down."""
    return not (workload.over if workload.ref.kind == "Job" else workload.rollout.finished)


def lacks_pods(owner: RawObject, kind: str) -> bool:
    """The same of the raw ReplicaSet, StatefulSet, DaemonSet or Job that creates the Pods."""
    spec, status = owner["spec"], owner.get("status") or {}
    if kind == "Job":
        return not has_ended(owner) and not spec.get("suspend")
    if kind == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        return bool(status.get("currentNumberScheduled", 0) < wanted)
    return bool(status.get("replicas", 0) < spec.get("replicas", 1))


def policies_in(workload: WorkloadFacts) -> frozenset[str]:
    """Keys of the policies whose sidecars the workload's Pods are to have, in whichever way."""
    template = json.loads(workload.template)
    record = read_record(template)
    recorded = record.policies if isinstance(record, Record) else {}
    return frozenset({*recorded, *read_markers(template), *daemonset.revisions(template)})


def _times(event: RawObject) -> tuple[float, ...]:
    """When an Event was seen, as its sender repeats it; either API's fields may be set."""
    series = event.get("series") or {}
    times = (
        event.get("lastTimestamp"),
        series.get("lastObservedTime"),
        event.get("eventTime"),
        event.get("firstTimestamp"),
        event["metadata"].get("creationTimestamp"),
    )
    return tuple(seconds(each) for each in times)
