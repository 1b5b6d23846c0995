"""Stranded Pods: what keeps a StatefulSet from going back to a template that worked.

With podManagementPolicy OrderedReady (the default), its controller waits for a Pod of the failed
revision to become ready, which it never will, and does not make it anew from the template that
was set back (kubernetes/kubernetes#67250). That one Pod has to be deleted.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sidecarpolicy.api.models import TargetKind
from sidecarpolicy.core.carried import revisions_of
from sidecarpolicy.core.facts import RawObject, WorkloadFacts
from sidecarpolicy.core.held import Because
from sidecarpolicy.core.origin import Stage

_HASH = "controller-revision-hash"


def may_be_stranded(workload: WorkloadFacts) -> bool:
    """Whether a revision was taken out of a StatefulSet that does not come to rest since."""
    failed = any(each.reason is Because.ROLLOUT_FAILED for each in workload.holds)
    waits = workload.progress.one_by_one and not workload.rollout.finished
    return workload.ref.kind == TargetKind.STATEFUL_SET and failed and waits


def failed_stages(workload: WorkloadFacts, stages: Iterable[Stage]) -> frozenset[str]:
    """Names of the former templates, the current not among them, with a revision that is held."""
    earlier = sorted(stages, key=lambda each: each.number)[:-1]
    held = {
        (each.policy, each.revision)
        for each in workload.holds
        if each.reason is Because.ROLLOUT_FAILED
    }
    return frozenset(
        each.name
        for each in earlier
        if not held.isdisjoint(revisions_of(workload.ref.kind, each.template).items())
    )


def stranded(
    pods: Iterable[RawObject], workload: WorkloadFacts, *, failed: frozenset[str]
) -> Mapping[str, Any] | None:
    """The metadata of the first Pod of the workload that is of a failed template and not ready."""
    found = (
        pod["metadata"]
        for pod in pods
        if (pod["metadata"].get("labels") or {}).get(_HASH) in failed
        and _belongs(pod["metadata"], workload.uid)
        and "deletionTimestamp" not in pod["metadata"]
        and not _ready(pod)
    )
    return min(found, key=lambda meta: (len(meta["name"]), meta["name"]), default=None)


def _belongs(meta: RawObject, uid: str) -> bool:
    owners = meta.get("ownerReferences") or ()
    return any(each.get("controller") and each["uid"] == uid for each in owners)


def _ready(pod: RawObject) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)
