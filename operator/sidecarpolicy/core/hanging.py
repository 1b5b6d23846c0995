"""Hanging Jobs: those that one container keeps open after the others have ended.

    running Pods of Jobs (raw) → hang_of → the longest of each Job → their Jobs (raw) → hanging_job

That is what a classic sidecar does to a Job (KEP-753, motivation). Decides whether a Pod hangs,
and which policy would make what keeps it open a native sidecar. Reads nothing; `doctor` asks.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sidecarpolicy.api.models import TargetKind
from sidecarpolicy.api.names import API_VERSION, GROUP, KIND
from sidecarpolicy.core.advice import COPY_KEEPS_OPEN, KEPT_OPEN, Diagnosis
from sidecarpolicy.core.facts import RawObject, Ref, controlling_owner, has_ended
from sidecarpolicy.core.podfacts import ContainerFacts, PodFacts, pod_facts
from sidecarpolicy.core.record import Record, read_record
from sidecarpolicy.core.universal import ORDINARY_PART

PATIENCE_SECONDS: Final = 60.0
"""For how long a container may run on after the others: twice the default grace period. What ends
by itself when the work is done, or sends what it has left, has done so by then.
"""

PODS_LABEL: Final = "job-name"
"""On every Pod of a Job, in all versions; its successor, with a prefix, came with 1.27."""

PODS_FIELDS: Final = "status.phase=Running,spec.restartPolicy!=Always"
"""What an API server leaves out of a list by itself: a Pod that hangs runs."""

_SET_BY_CONTROLLER: Final = (PODS_LABEL, "controller-uid")
_CONTROLLER_PREFIX: Final = "batch.kubernetes.io/"
_OF_ONE_RELEASE: Final = (
    "helm.sh/chart",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
)
"""Labels that say nothing of what the Pods are, or another thing with each release."""


@dataclass(frozen=True, slots=True)
class Hang:
    """A Pod of a Job in which some containers ended for good, and only running ones are left."""

    pod: Ref
    job: Ref
    ended: tuple[str, ...]
    running: tuple[str, ...]
    since: float
    """When the last of those that ended did, in seconds since 1970."""
    copies: frozenset[str] = frozenset()
    """Which of those that run are of a sidecar in mode Universal, and do as documented."""
    pods: int = 1
    """How many Pods of the Job hang; this one for the longest."""


@dataclass(frozen=True, slots=True)
class HangingJob:
    """A Job that stays open, why, and the policy that keeps the next one from it."""

    hang: Hang
    owner: str
    """What created it, as "CronJob nightly"; empty if nobody knows of anything."""
    diagnosis: Diagnosis
    policy: Mapping[str, Any] | None
    """A SidecarPolicy, ready to apply; None where there is nothing to adopt."""


def hang_of(pod: RawObject, now: float) -> Hang | None:
    """Whether a raw Pod hangs; `now` in seconds since 1970."""
    facts = pod_facts(pod)
    ended = [each for each in facts.apps if _for_good(each, facts)]
    running = [each.name for each in facts.apps if each.running_since is not None]
    if facts.owner.direct.kind != TargetKind.JOB or facts.deleting or facts.over:
        return None
    if not ended or not running or len(ended) + len(running) < len(facts.apps):
        return None
    since = max(each.ended.finished for each in ended if each.ended is not None)
    if now < since + PATIENCE_SECONDS:
        return None
    names = tuple(each.name for each in ended)
    copies = _copies(pod) & set(running)
    return Hang(facts.ref, facts.owner.direct, names, tuple(running), since, copies)


def _copies(pod: RawObject) -> frozenset[str]:
    """Names of the containers by which a raw Pod has sidecars in mode Universal once more."""
    record = read_record(pod)
    policies = record.policies.values() if isinstance(record, Record) else ()
    parts = (part for each in policies for part in each.parts if part.startswith(ORDINARY_PART))
    return frozenset(part.removeprefix(ORDINARY_PART) for part in parts)


def _for_good(container: ContainerFacts, pod: PodFacts) -> bool:
    """Whether a container has ended and is not started again."""
    end = container.ended
    return end is not None and (end.code == 0 or pod.restart_policy == "Never")


def longest(hangs: Iterable[Hang]) -> list[Hang]:
    """For each Job the Pod that hangs for the longest; the Jobs in the same order."""
    found: dict[Ref, Hang] = {}
    for each in sorted(hangs, key=lambda hang: (hang.since, hang.pod)):
        first = found.get(each.job)
        found[each.job] = each if first is None else replace(first, pods=first.pods + 1)
    return list(found.values())


def still_open(job: RawObject) -> bool:
    """Whether a raw Job is neither over nor about to be deleted; a suspended one loses its Pods."""
    leaving = "deletionTimestamp" in job["metadata"] or job["spec"].get("suspend")
    return not has_ended(job) and not leaving


def hanging_job(hang: Hang, job: RawObject | None) -> HangingJob:
    """What to say of a hang; the raw Job is None where it could not be read: then nothing is known
    of what created it, nor of the labels of its template, and the policy goes by its name.
    """
    found = controlling_owner(job["metadata"]) if job is not None else None
    owner, ended = " ".join(found or ()), ", ".join(hang.ended)
    classic = [each for each in hang.running if each not in hang.copies]
    if not classic:
        advice = COPY_KEEPS_OPEN.on(", ".join(hang.running), ended=ended)
        return HangingJob(hang, owner, advice, None)
    policy = adopting(hang.job, found, template_labels(job), containers=classic)
    return HangingJob(hang, owner, KEPT_OPEN.on(", ".join(classic), ended=ended), policy)


def template_labels(job: RawObject | None) -> Mapping[str, str]:
    """Labels of a raw Job's Pods by which later Jobs are known too."""
    template = job["spec"]["template"] if job is not None else {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    return {key: value for key, value in labels.items() if _lasts(key)}


def _lasts(key: str) -> bool:
    passing = key in (*_SET_BY_CONTROLLER, *_OF_ONE_RELEASE)
    return not passing and not key.startswith((_CONTROLLER_PREFIX, f"{GROUP}/"))


def adopting(
    job: Ref,
    owner: tuple[str, str] | None,
    labels: Mapping[str, str],
    *,
    containers: Iterable[str],
) -> Mapping[str, Any]:
    """The policy that adopts these containers in Jobs like this one that are still to come.

    It selects by labels, or, where there are none of use, everything of one name.
    """
    by_cron_job = owner is not None and owner[0] == TargetKind.CRON_JOB
    kind, name = owner if owner is not None and by_cron_job else (TargetKind.JOB, job.name)
    target = {"kind": str(kind)} if labels else {"kind": str(kind), "name": name}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": f"adopt-{name}", "namespace": job.namespace},
        "spec": {
            "selector": {"matchLabels": dict(labels)} if labels else {},
            "targets": [target],
            "adopt": [{"container": each} for each in containers],
        },
    }
