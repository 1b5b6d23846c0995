"""Missed: which policies would have changed a Pod, had the webhook seen its creation?

The webhook fails open, so a Pod may run without its sidecars. It is named, never killed.
"""

from dataclasses import replace

from sidecarpolicy.api.models import TargetKind
from sidecarpolicy.core.case import look
from sidecarpolicy.core.decision import decide
from sidecarpolicy.core.facts import RawObject, Ref, bare_facts
from sidecarpolicy.core.record import has_record
from sidecarpolicy.core.snapshot import Snapshot
from sidecarpolicy.core.subject import Subject, subject_of


def missed_by(pod: RawObject, snapshot: Snapshot, *, capable: bool) -> frozenset[str]:
    """Keys of the policies, older than the Pod, whose sidecars it should have.

    `capable` says whether its node runs native sidecars, where it has one already.
    """
    meta = pod["metadata"]
    subject = subject_of(pod, kind=TargetKind.POD, name=meta["name"])
    if snapshot.excluded or subject is None or has_record(pod) or not _could_run(subject, capable):
        return frozenset()
    ref = Ref(subject.kind, snapshot.namespace, subject.name)
    case = look(bare_facts(pod, ref, pod=True), pod, replace(snapshot, creating=True))
    change = decide(replace(case, node_rule=False, of_pod=True)).change
    older = {each.key for each in snapshot.policies if each.created < meta["creationTimestamp"]}
    return change.policies & older if change is not None else frozenset()


def _could_run(subject: Subject, capable: bool) -> bool:
    """A daemon's Pod on a node that cannot run its sidecar rightly has none; a Job counts as a
    whole.
    """
    if subject.kind == TargetKind.JOB:
        return False
    return capable or subject.kind != TargetKind.DAEMON_SET
