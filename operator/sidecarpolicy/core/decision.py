"""The decision about one workload: a verdict for each policy, and the change that follows.

Reads top to bottom as the rules of the product: what to do, and how the result reads in the
policy's status. Who is selected is in core.case, what holds a policy back in core.holding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sidecarpolicy.api.models import NodeRule, TargetKind
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core import daemonset
from sidecarpolicy.core.blocks import HARM
from sidecarpolicy.core.case import Case, at_pods, leaving, opts_out, revisions_of
from sidecarpolicy.core.facts import PolicyFacts
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.holding import NO_WEBHOOK, held_back, kept_off_by, pause_of, refused_here
from sidecarpolicy.core.inject import Action, Injection, Verdict, inject
from sidecarpolicy.core.jsonpatch import Patch, difference, guard
from sidecarpolicy.core.marker import as_pods_are, read_markers
from sidecarpolicy.core.noderule import POD_PARTS
from sidecarpolicy.core.podtime import MARKED_KINDS, carry_out
from sidecarpolicy.core.record import Record, read_record
from sidecarpolicy.core.standing import Standing, State, TemplateChange, rollout_standing


@dataclass(frozen=True)
class Decision:
    """What to do with one workload, and how it stands under the policies that select it."""

    case: Case
    change: TemplateChange | None
    standings: Mapping[str, Standing]

    @property
    def recorded(self) -> frozenset[str]:
        """Keys of the policies that the template's record names."""
        return frozenset(self.case.revisions)

    def takes_out(self, key: str) -> bool:
        """Whether the change takes a policy's parts out, because it does not select any more."""
        standing = self.standings.get(key)
        return standing is not None and (standing.leaving or opts_out(self.case))


def decide(case: Case) -> Decision:
    """A verdict for each policy that concerns the workload, and the change that follows."""
    injection = _carried_out(case, _verdicts(case))
    concerned = [each for each in case.snapshot.policies if _concerns(each, case)]
    return Decision(
        case=case,
        change=_change(case, injection),
        standings={policy.key: _standing(policy, case, injection) for policy in concerned},
    )


def _carried_out(case: Case, verdicts: Sequence[Verdict]) -> Injection:
    """The verdicts as far as the kind allows: a Job's template never changes, a DaemonSet's
    is only told to roll. What is being created can have everything.
    """
    workload = case.workload
    if _too_late_for(case):
        wanted = {each.key: each.desired.revision for each in verdicts if each.desired is not None}
        same = wanted.items() & case.revisions.items()
        return Injection(case.template, frozenset(key for key, _ in same))
    if not case.snapshot.creating and workload.ref.kind == TargetKind.DAEMON_SET:
        return daemonset.mark(case.template, verdicts)
    if case.of_pod or workload.ref.kind not in MARKED_KINDS:
        return inject(case.template, verdicts, site=workload.site, claims=workload.claims)
    webhook = case.snapshot.webhook
    return carry_out(
        case.template,
        verdicts,
        at_pods=frozenset(p.key for p in case.snapshot.policies if at_pods(p)),
        site=workload.site.with_webhook if webhook else workload.site,
        claims=workload.claims,
    )


def _too_late_for(case: Case) -> bool:
    """Whether the template can never change again."""
    return case.workload.ref.kind == TargetKind.JOB and not case.snapshot.creating


def _change(case: Case, injection: Injection) -> TemplateChange | None:
    workload = case.workload
    patch = difference(case.template, injection.template, path=workload.template_path)
    if not patch:
        return None
    return TemplateChange(
        ref=workload.ref,
        difference=patch,
        rehearsal=_rehearsal(case, injection.template),
        owner=workload.owner,
        guard=guard(uid=workload.uid, generation=workload.generation),
        policies=injection.changed,
        template=injection.template,
        taken_out=injection.changed - revisions_of(workload, injection.template).keys(),
        leftovers=injection.leftovers,
    )


def _rehearsal(case: Case, template: Mapping[str, Any]) -> Patch:
    """What leads to a template that has all that this one promises; empty if that is nothing."""
    workload = case.workload
    pods = as_pods_are(template, claims=workload.claims)
    if pods is template:
        return []
    return difference(case.template, pods, path=workload.template_path)


def _concerns(policy: PolicyFacts, case: Case) -> bool:
    recorded = policy.key in case.revisions and not _too_late_for(case)
    return recorded or any(policy is each for each in case.selected_by)


def _verdicts(case: Case) -> list[Verdict]:
    known = {policy.key for policy in case.snapshot.policies}
    gone = (case.snapshot.gone - known - case.waits.keys()) & case.revisions.keys()
    return [
        *(Verdict(key, Action.REMOVE) for key in sorted(gone)),
        *(verdict_on(each, case) for each in case.snapshot.policies if _concerns(each, case)),
    ]


def verdict_on(policy: PolicyFacts, case: Case) -> Verdict:
    """What to do about one policy of the snapshot in this case."""
    if policy.spec is None or policy.key in case.waits:
        return Verdict(policy.key, Action.HOLD, policy.desired)
    if opts_out(case) or (leaving(policy, case) and not policy.spec.paused):
        return Verdict(policy.key, Action.REMOVE)
    held = kept_off_by(policy, case) or held_back(policy, case)
    if held is not None or leaving(policy, case):
        return Verdict(policy.key, Action.HOLD, policy.desired)
    wish = policy.desired
    if wish is not None and not case.node_rule:
        wish = replace(wish, node_rule=NodeRule.NONE)
    return Verdict(policy.key, Action.APPLY, wish)


_STATE_OF_OBSTACLE = {
    Reason.NODE_RULE_OWNED_BY_GITOPS: State.SKIPPED,
    Reason.RECORD_UNREADABLE: State.SKIPPED,
    Reason.VOLUME_MISSING: State.SKIPPED,
}


def _standing(policy: PolicyFacts, case: Case, injection: Injection) -> Standing:
    ref = case.workload.ref
    if leaving(policy, case):
        return Standing(ref, State.PENDING, pause_of(policy), leaving=True)
    kept_off = kept_off_by(policy, case)
    if kept_off is not None:
        return Standing(ref, State.SKIPPED, kept_off)
    for finding in injection.obstacles.get(policy.key, ()):
        return Standing(ref, _STATE_OF_OBSTACLE.get(finding.reason, State.CONFLICTED), finding)
    if policy.key not in injection.current and _too_late_for(case):
        return Standing(ref, State.SKIPPED, _too_late(policy, case))
    if policy.key not in injection.current:
        held = held_back(policy, case) or case.waits.get(policy.key)
        reason = held.reason if held is not None else None
        return Standing(ref, State.SKIPPED if reason in HARM else State.PENDING, held)
    standing = rollout_standing(ref, case.workload.rollout)
    cost = case.workload.costs.get(policy.key)
    found = standing.finding or _unaided(policy.key, case)
    return replace(standing, finding=found, overhead=cost, pods=case.workload.rollout.pods)


def _unaided(key: str, case: Case) -> Finding | None:
    """That new Pods will lack what only the webhook gives them, or None."""
    if case.snapshot.webhook:
        return None
    record = read_record(case.template)
    mine = record.policies.get(key) if isinstance(record, Record) else None
    parts = mine.parts if mine is not None else ()
    at_pods = key in read_markers(case.template) or any(e.startswith(POD_PARTS) for e in parts)
    return NO_WEBHOOK if at_pods else None


def _too_late(policy: PolicyFacts, case: Case) -> Finding:
    """Why a running Job has not what the policy wants; its template cannot be changed any more."""
    blocked = refused_here(policy, case)
    if blocked is not None:
        return blocked
    if policy.key in case.revisions:
        return Finding(
            Reason.IMMUTABLE_TEMPLATE,
            "it has an older revision of the sidecars, and a Job's template cannot be changed; a "
            "new one has the current",
        )
    if case.workload.created > policy.created:
        return Finding(
            Reason.MISSED_ADMISSION,
            "it was created without its sidecars, while the webhook was away or the policy did not "
            "select it yet; a Job's template cannot be changed, so it ends without them",
        )
    return Finding(
        Reason.IMMUTABLE_TEMPLATE,
        "it is older than the policy, and a Job's template cannot be changed; a new one has them",
    )
