"""Refused creations: the loud shape of a stripped `restartPolicy`, where no Pod comes to exist.

Only an Event on the Pod's owner tells of it, in the API server's words.
"""

import json
from dataclasses import dataclass
from typing import Final

from sidecarpolicy.core import daemonset
from sidecarpolicy.core.advice import Diagnosis
from sidecarpolicy.core.diagnosis import creation_refused
from sidecarpolicy.core.facts import RawObject, WorkloadFacts
from sidecarpolicy.core.marker import read_markers
from sidecarpolicy.core.podfacts import Owner, owner_of
from sidecarpolicy.core.record import Record, read_record
from sidecarpolicy.core.times import seconds

LASTS_SECONDS: Final = 1200.0
"""Controllers wait up to 1000 s between two tries, so what is older has ended somehow."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """That an owner's Pods could not be created, and when that was last tried."""

    owner: Owner
    at: float
    diagnosis: Diagnosis

    def lasts(self, now: float, *, youngest: float) -> bool:
        """Whether it still is so: it is fresh, and no Pod of that owner came after it."""
        return now < self.at + LASTS_SECONDS and youngest <= self.at


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
    return Refusal(owner, _last_seen(event), found)


def policies_in(workload: WorkloadFacts) -> frozenset[str]:
    """Keys of the policies whose sidecars the workload's Pods are to have, in whichever way."""
    template = json.loads(workload.template)
    record = read_record(template)
    recorded = record.policies if isinstance(record, Record) else {}
    return frozenset({*recorded, *read_markers(template), *daemonset.revisions(template)})


def _last_seen(event: RawObject) -> float:
    """Of an Event as its sender repeats it; either API's fields may be set."""
    series = event.get("series") or {}
    times = (
        event.get("lastTimestamp"),
        series.get("lastObservedTime"),
        event.get("eventTime"),
        event.get("firstTimestamp"),
        event["metadata"].get("creationTimestamp"),
    )
    return max(seconds(each) for each in times)
