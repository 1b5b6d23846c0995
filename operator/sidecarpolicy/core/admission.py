"""Admission: what becomes of an object that is being created or updated.

Pure: a request and a view of the cluster in, a JSON patch and warnings out. The same
decision as the controller's, so that the two never undo each other; what differs is only
when it is made. The rules are the product's: "Where the change is made", "Which Pods",
"UPDATE of a template".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sidecarpolicy.api.models import ExistingJobs, TargetKind
from sidecarpolicy.core import daemonset
from sidecarpolicy.core.capability import Verdict
from sidecarpolicy.core.case import Case, look
from sidecarpolicy.core.decision import Decision, decide, verdict_on
from sidecarpolicy.core.facts import Ref, WorkloadFacts, bare_facts
from sidecarpolicy.core.fitness import ANYWHERE, fit_for, runs_on
from sidecarpolicy.core.held import read_holds, rewritten
from sidecarpolicy.core.inject import Action
from sidecarpolicy.core.jsonpatch import Patch, difference
from sidecarpolicy.core.marker import has_marker
from sidecarpolicy.core.namesakes import untangled
from sidecarpolicy.core.podtime import promises
from sidecarpolicy.core.promises import kept_promises
from sidecarpolicy.core.record import has_record
from sidecarpolicy.core.restore import only_dropped, restored
from sidecarpolicy.core.snapshot import Snapshot
from sidecarpolicy.core.subject import TEMPLATE_KINDS, Subject, node_of, subject_of
from sidecarpolicy.core.truce import fought

Request = Mapping[str, Any]
"""The `request` of an AdmissionReview (admission.k8s.io/v1)."""

Template = Mapping[str, Any]

MAX_WARNINGS = 8
_MAX_WARNING = 250
"""Characters; the API server cuts all warnings of a response at 4,096 (KEP-1693)."""


class View(Protocol):
    """What is known of the cluster, in memory."""

    def snapshot(
        self, namespace: str, *, creating: bool, labels: Mapping[str, str] | None
    ) -> Snapshot:
        """The policies that could concern a template of the namespace; all, without labels."""

    def verdict(self, node: str) -> Verdict | None:
        """What a node does with a native sidecar; None for one that is not known."""


@dataclass(frozen=True)
class Answer:
    """The patch (empty: leave it as it is) and what to tell the user."""

    patch: Patch
    warnings: tuple[str, ...] = ()


UNCHANGED = Answer([])


def admit(request: Request, view: View) -> Answer:
    """Decides about one request; raises KeyError and its kin for what is no such request."""
    operation, kind = request["operation"], request["kind"]["kind"]
    if operation not in ("CREATE", "UPDATE"):
        return UNCHANGED
    creating = operation == "CREATE"
    if creating and kind == TargetKind.POD and promises(request["object"]):
        return _fulfilled(request["object"], view, request["namespace"])
    return _decided(request, view, kind, creating=creating)


def _decided(request: Request, view: View, kind: str, *, creating: bool) -> Answer:
    """What the policies that select an object make of it."""
    obj = request["object"]
    subject = subject_of(obj, kind=kind, name=request.get("name") or "")
    if subject is None:
        return UNCHANGED
    before = None if creating else _before(request, kind, subject)
    if not creating and before is None:
        return UNCHANGED
    labels = _labels(*(each.template for each in (subject, before) if each))
    snapshot = view.snapshot(request["namespace"], creating=creating, labels=labels)
    if snapshot.excluded:
        return UNCHANGED
    ref = Ref(subject.kind, request["namespace"], subject.name)
    facts = bare_facts(obj, ref, pod=kind == TargetKind.POD)
    if creating:
        return _created(subject, facts, _asked(snapshot, kind, subject), view)
    kept = _still_held(request["oldObject"], facts)
    return _updated(before, subject, kept, snapshot) if before else UNCHANGED


def _still_held(before: Mapping[str, Any], facts: WorkloadFacts) -> WorkloadFacts:
    """What is held goes on to be held if the annotation was dropped together with a change of the
    template, as by `kubectl replace`; taken away alone, it is no longer held.
    """
    dropped = facts.hold_site.text is None
    return replace(facts, holds=read_holds(before["metadata"])) if dropped else facts


def _before(request: Request, kind: str, subject: Subject) -> Subject | None:
    """What an update changes, if it is of a kind whose template can change."""
    if request["operation"] != "UPDATE" or kind not in (*TEMPLATE_KINDS, TargetKind.DAEMON_SET):
        return None
    return subject_of(request["oldObject"], kind=kind, name=subject.name)


def _labels(template: Template, *others: Template) -> Mapping[str, str] | None:
    """What to look policies up by; None where a record may name any of them."""
    if any(has_record(each) or has_marker(each) for each in (template, *others)):
        return None
    return (template.get("metadata") or {}).get("labels") or {}


def _created(subject: Subject, facts: WorkloadFacts, snapshot: Snapshot, view: View) -> Answer:
    """A new object gets its sidecars, unless its owner's template brought them along."""
    inherits = subject.kind not in TEMPLATE_KINDS
    marked = subject.kind == TargetKind.JOB and has_marker(subject.template)
    if inherits and (marked or has_record(subject.template)):
        return UNCHANGED
    daemons_pod = subject.kind == TargetKind.DAEMON_SET and snapshot.creating
    if daemons_pod or subject.node is not None:
        snapshot = fit_for(snapshot, view.verdict(subject.node) if subject.node else None)
    case = look(facts, subject.template, snapshot)
    # Where the node is settled, a rule could only keep the Pod from it.
    case = replace(case, node_rule=subject.node is None, of_pod=not subject.path)
    return _answer(subject, decide(case), subject.template)


def _fulfilled(pod: Template, view: View, namespace: str) -> Answer:
    """A Pod whose template promised parts gets those that run on its node, if that is settled."""
    node = node_of(pod)
    runs = runs_on(view.verdict(node)) if node is not None else ANYWHERE
    snapshot = view.snapshot(namespace, creating=True, labels=None)
    injection = kept_promises(pod, snapshot, settled=node is not None, runs=runs)
    said = (
        _shortened(f"{key} not applied: {each.reason}: {each.message}")
        for key, found in injection.obstacles.items()
        for each in found
    )
    return Answer(difference(pod, injection.template, path=""), tuple(said)[:MAX_WARNINGS])


def _asked(snapshot: Snapshot, kind: str, subject: Subject) -> Snapshot:
    """The snapshot as far as it counts for a new object of this kind.

    A DaemonSet is told nothing that its Pods, which are still to come, are not. A Job's Pod
    without a record is of a Job without sidecars, and only some policies mind that.
    """
    if kind == TargetKind.DAEMON_SET:
        return replace(snapshot, creating=False)
    if kind != TargetKind.POD or subject.kind != TargetKind.JOB:
        return snapshot
    minding = (
        each
        for each in snapshot.policies
        if each.spec is not None and each.spec.jobs.existing is ExistingJobs.NEW_PODS
    )
    return replace(snapshot, policies=tuple(minding))


def _updated(before: Subject, after: Subject, facts: WorkloadFacts, snapshot: Snapshot) -> Answer:
    """An owner's change brings in the current revision; anything else changes nothing."""
    old = before.template
    new = untangled(old, after.template)
    if old == new:
        return UNCHANGED
    snapshot = replace(snapshot, editing=True)
    case = look(facts, new, snapshot)
    given_in = frozenset(p.key for p in snapshot.policies if fought(p, case) is not None)
    if not given_in and only_dropped(old, new, site=facts.site):
        return Answer([*_kept(facts), *difference(new, old, path=after.path)])
    if after.kind == TargetKind.DAEMON_SET:
        return _daemons_updated(before, after, case, given_in)
    held = restored(old, new, _renewed(case) | given_in, site=facts.site)
    return _answer(after, decide(look(facts, held, snapshot)), held)


def _daemons_updated(
    before: Subject, after: Subject, case: Case, given_in: frozenset[str]
) -> Answer:
    """The same for a DaemonSet, whose template only says for which revisions its Pods are made."""
    held = daemonset.kept(before.template, after.template, but=given_in)
    if held == before.template:
        return Answer([*_kept(case.workload), *difference(after.template, held, path=after.path)])
    return _answer(after, decide(look(case.workload, held, case.snapshot)), held)


def _renewed(case: Case) -> frozenset[str]:
    """Policies that are not held: they bring their parts in anew, or take them out."""
    known = case.snapshot.policies
    return frozenset(p.key for p in known if verdict_on(p, case).action is not Action.HOLD)


def _answer(subject: Subject, decision: Decision, template: Mapping[str, Any]) -> Answer:
    change = decision.change
    here = template is subject.template and decision.case.workload.template_path == subject.path
    if change is not None and here:
        patch = change.difference
    else:
        result = change.template if change is not None else template
        patch = difference(subject.template, result, path=subject.path)
    holding = _untested(change.holding) if change else []
    return Answer([*holding, *patch], tuple(_warnings(decision))[:MAX_WARNINGS])


def _kept(facts: WorkloadFacts) -> Patch:
    return _untested(rewritten(facts.hold_site, facts.holds))


def _untested(patch: Patch) -> Patch:
    """Without its tests: nobody writes beside a request."""
    return [each for each in patch if each["op"] != "test"]


def _warnings(decision: Decision) -> Iterator[str]:
    """For people who use kubectl: what was added, and why something was not."""
    changed = decision.change.policies if decision.change else ()
    for policy in decision.case.selected_by:
        if policy.key in changed:
            yield f"sidecarpolicy: {policy.key} added its sidecars"
            yield from (_shortened(f"{policy.key}: {each.message}") for each in policy.remarks)
    for key, standing in decision.standings.items():
        found = standing.finding
        if found is not None:
            yield _shortened(f"{key} not applied: {found.reason}: {found.message}")


def _shortened(said: str) -> str:
    text = f"sidecarpolicy: {said}"
    return text if len(text) <= _MAX_WARNING else text[: _MAX_WARNING - 1] + "…"
