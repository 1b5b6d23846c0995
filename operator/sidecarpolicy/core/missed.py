"""Missed: which policies would have changed a Pod, had the webhook seen its creation?

The webhook fails open, so a Pod may run without its sidecars. It is named, never killed.
"""

from dataclasses import replace

from sidecarpolicy.api.models import TargetKind
from sidecarpolicy.core.capability import Verdict
from sidecarpolicy.core.case import look
from sidecarpolicy.core.decision import decide
from sidecarpolicy.core.facts import RawObject, Ref, bare_facts
from sidecarpolicy.core.fitness import fit_for
from sidecarpolicy.core.record import has_record
from sidecarpolicy.core.snapshot import Snapshot
from sidecarpolicy.core.subject import subject_of


def missed_by(pod: RawObject, snapshot: Snapshot, *, verdict: Verdict | None) -> frozenset[str]:
    """Keys of the policies, older than the Pod, whose sidecars it should have.

    `verdict` is what is known of its node, where it has one already.
    """
    meta = pod["metadata"]
    subject = subject_of(pod, kind=TargetKind.POD, name=meta["name"])
    if snapshot.excluded or subject is None or has_record(pod):
        return frozenset()
    if subject.kind == TargetKind.JOB:  # it counts as a whole
        return frozenset()
    if subject.kind == TargetKind.DAEMON_SET:  # without those that its node cannot run, rightly
        snapshot = fit_for(snapshot, verdict)
    ref = Ref(subject.kind, snapshot.namespace, subject.name)
    case = look(bare_facts(pod, ref, pod=True), pod, replace(snapshot, creating=True))
    change = decide(replace(case, node_rule=False, of_pod=True)).change
    older = {each.key for each in snapshot.policies if each.created < meta["creationTimestamp"]}
    return change.policies & older if change is not None else frozenset()
