"""The decision about one workload: a verdict for each policy, and the change that follows.

Reads top to bottom as the rules of the product: what to do, and how the result reads in the
policy's status. Who is selected is in core.case, what holds a policy back in core.holding.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from sidecarpolicy.api.models import NodeRule, TargetKind
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core import daemonset
from sidecarpolicy.core.autoscaling import hindrance
from sidecarpolicy.core.blocks import HARM
from sidecarpolicy.core.carried import revisions_of
from sidecarpolicy.core.case import Case, at_pods, leaving, opts_out
from sidecarpolicy.core.facts import PolicyFacts
from sidecarpolicy.core.failure import ended, failure, kept_out_by, new_hold, reverts, unproved
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.held import Hold, rewritten
from sidecarpolicy.core.holding import NO_WEBHOOK, held_back, kept_off_by, pause_of, refused_here
from sidecarpolicy.core.inject import Action, Injection, Verdict, inject
from sidecarpolicy.core.jsonpatch import Patch, difference, guard
from sidecarpolicy.core.marker import as_pods_are, read_markers
from sidecarpolicy.core.noderule import POD_PARTS
from sidecarpolicy.core.podtime import MARKED_KINDS, carry_out
from sidecarpolicy.core.record import Record, read_record
from sidecarpolicy.core.retries import fails_with
from sidecarpolicy.core.standing import Standing, State, TemplateChange, rollout_standing
from sidecarpolicy.core.truce import fought, gives_in


@dataclass(frozen=True)
class Decision:
    """What to do with one workload, and how it stands under the policies that select it."""

    case: Case
    change: TemplateChange | None
    standings: Mapping[str, Standing]
    reverted: frozenset[str] = frozenset()
    """Keys of policies whose parts are taken out because they failed, or because of a fight."""

    @property
    def recorded(self) -> frozenset[str]:
        """Keys of the policies that the template's record names."""
        return frozenset(self.case.revisions)

    @cached_property
    def given(self) -> Mapping[str, str]:
        """The revisions that the template's Pods get, without those that it keeps out of them."""
        return {key: each for key, each in self.case.revisions.items() if not _out(each)}

    @property
    def rolling(self) -> frozenset[str]:
        """Keys of those for which the workload rolls, or did not come to rest for us yet."""
        if self.case.workload.rollout.settled:
            return frozenset(key for key, each in self.standings.items() if each.restless)
        given_up = (key for key, each in self.standings.items() if each.given_up)
        return self.recorded.difference(given_up)

    def takes_out(self, key: str) -> bool:
        """Whether the change takes a policy's parts out, because it does not select any more, or
        because they failed.
        """
        standing = self.standings.get(key)
        left = standing is not None and (standing.leaving or opts_out(self.case))
        return left or key in self.reverted


def decide(case: Case) -> Decision:
    """A verdict for each policy that concerns the workload, and the change that follows."""
    concerned = [each for each in case.snapshot.policies if _concerns(each, case)]
    reverted = [each for each in concerned if _reverted(each, case)]
    lost = [each for each in concerned if gives_in(each, case)]
    injection = _carried_out(case, _verdicts(case), failed=reverted)
    return Decision(
        case=case,
        change=_change(case, injection, failed=reverted),
        standings={policy.key: _standing(policy, case, injection) for policy in concerned},
        reverted=frozenset(policy.key for policy in (*reverted, *lost)),
    )


def _carried_out(
    case: Case, verdicts: Sequence[Verdict], *, failed: Sequence[PolicyFacts]
) -> Injection:
    """The verdicts as far as the kind allows: a Job's template never changes, a DaemonSet's
    is only told to roll. What is being created can have everything.
    """
    workload = case.workload
    if _too_late_for(case):
        wanted = {each.key: each.desired.revision for each in verdicts if each.desired is not None}
        same = wanted.items() & case.revisions.items()
        return Injection(case.template, frozenset(key for key, _ in same))
    if not case.snapshot.creating and workload.ref.kind == TargetKind.DAEMON_SET:
        out = {each.key: each.desired.revision for each in failed if each.desired is not None}
        return daemonset.mark(case.template, verdicts, failed=out)
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


def _change(
    case: Case, injection: Injection, *, failed: Sequence[PolicyFacts]
) -> TemplateChange | None:
    workload = case.workload
    patch = difference(case.template, injection.template, path=workload.template_path)
    after = revisions_of(workload.ref.kind, injection.template)
    holds = _holds(case, after, failed=failed)
    holding = [] if case.of_pod else rewritten(workload.hold_site, holds)
    if not patch and not holding:
        return None
    return TemplateChange(
        ref=workload.ref,
        difference=patch,
        holding=holding,
        failed=frozenset(each.key for each in failed),
        rehearsal=_rehearsal(case, injection.template) if patch else [],
        owner=workload.owner,
        guard=guard(uid=workload.uid, generation=workload.generation),
        policies=injection.changed,
        template=injection.template,
        taken_out=injection.changed.difference(key for key in after if not _out(after[key])),
        leftovers=injection.leftovers,
    )


def _out(revision: str) -> bool:
    return daemonset.kept_out(revision) is not None


def _holds(
    case: Case, after: Mapping[str, str], *, failed: Sequence[PolicyFacts]
) -> Iterator[Hold]:
    """What stays out of the workload from now on; `after` are the revisions that it has then."""
    made = {each.policy: each for each in case.snapshot.fought.get(case.workload.ref, ())}
    made |= {each.key: hold for each in failed if (hold := new_hold(each, case)) is not None}
    for each in case.workload.holds:
        if each.policy not in made and not ended(each, case, carried=after.get(each.policy)):
            yield each
    yield from made.values()


def _rehearsal(case: Case, template: Mapping[str, Any]) -> Patch:
    """What leads to a template that has all that this one promises; empty if that is nothing."""
    workload = case.workload
    pods = as_pods_are(template, claims=workload.claims)
    if pods is template:
        return []
    return difference(case.template, pods, path=workload.template_path)


def _concerns(policy: PolicyFacts, case: Case) -> bool:
    recorded = policy.key in case.revisions and not _too_late_for(case)
    return recorded or policy.key in case.selecting


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
    left = leaving(policy, case) and not policy.spec.paused
    if opts_out(case) or left or _reverted(policy, case) or gives_in(policy, case):
        return Verdict(policy.key, Action.REMOVE)
    kept_off = kept_off_by(policy, case)
    if kept_off is not None and _fails_jobs(policy, case):
        return Verdict(policy.key, Action.REMOVE)
    held = kept_off or fought(policy, case) or held_back(policy, case)
    if held is not None or leaving(policy, case):
        return Verdict(policy.key, Action.HOLD, policy.desired)
    wish = policy.desired
    if wish is not None and not case.node_rule:
        wish = replace(wish, node_rule=NodeRule.NONE)
    return Verdict(policy.key, Action.APPLY, wish)


def _fails_jobs(policy: PolicyFacts, case: Case) -> bool:
    """Whether a CronJob, whose owner allows fewer retries by now, makes Jobs that fail for it."""
    allowed = case.workload.retries
    if allowed is None or policy.key not in case.revisions:
        return False
    return fails_with(as_pods_are(case.template), policy.key, allowed)


def _reverted(policy: PolicyFacts, case: Case) -> bool:
    """Whether a policy that is wanted here is taken out all the same."""
    wanted = not leaving(policy, case) and kept_off_by(policy, case) is None
    return wanted and reverts(policy, case)


_STATE_OF_OBSTACLE = {
    Reason.NODE_RULE_OWNED_BY_GITOPS: State.SKIPPED,
    Reason.RECORD_UNREADABLE: State.SKIPPED,
    Reason.VOLUME_MISSING: State.SKIPPED,
    Reason.NOTHING_TO_ADOPT: State.SKIPPED,
    Reason.LAST_CONTAINER: State.SKIPPED,
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
    if policy.key not in injection.current and not _reverted(policy, case):
        return _missing(policy, case)
    standing = _rollout(policy, case)
    cost = case.costs.get(policy.key)
    found = standing.finding or _unaided(policy.key, case) or _unscaled(policy, case)
    return replace(standing, finding=found, overhead=cost, pods=case.workload.rollout.pods)


def _missing(policy: PolicyFacts, case: Case) -> Standing:
    """Where a workload is that does not carry the current revision, with nothing in the way."""
    ref, kept_out, truce = case.workload.ref, kept_out_by(policy, case), fought(policy, case)
    if _too_late_for(case):
        return Standing(ref, State.SKIPPED, _too_late(policy, case))
    if kept_out is not None:
        return Standing(ref, State.FAILED, kept_out, given_up=True)
    if truce is not None:
        return Standing(ref, State.CONFLICTED, truce)
    held = held_back(policy, case) or case.waits.get(policy.key)
    reason = held.reason if held is not None else None
    return Standing(ref, State.SKIPPED if reason in HARM else State.PENDING, held)


def _rollout(policy: PolicyFacts, case: Case) -> Standing:
    """Where a workload is that carries the current revision."""
    ref, failed = case.workload.ref, failure(policy, case)
    kept_out = kept_out_by(policy, case)
    if kept_out is not None:
        return Standing(ref, State.FAILED, kept_out, given_up=True)
    if failed is None and unproved(policy, case):
        return Standing(ref, State.UPDATING, restless=True)
    if failed is None:
        return rollout_standing(ref, case.workload.rollout)
    if failed.ours is None:
        return Standing(ref, State.UPDATING, failed.finding, restless=True)
    state = State.FAILED if failed.ours else State.PENDING
    return Standing(ref, state, failed.finding, given_up=True)


def _unscaled(policy: PolicyFacts, case: Case) -> Finding | None:
    """That an autoscaler cannot count a sidecar of the policy: it came later, or with the
    workload, when nobody could ask for it; or None.
    """
    ref, known = case.workload.ref, case.snapshot.autoscalers
    if policy.desired is None or not any(each.target == ref.name for each in known):
        return None
    present = [each.desired for each in case.snapshot.policies if each.key in case.revisions]
    added = [name for wish in filter(None, present) for name in wish.running]
    pods = as_pods_are(case.template, claims=case.workload.claims)
    found = hindrance(known, ref, pods, added=added)
    if found is None or found.container not in policy.desired.running:
        return None
    return Finding(Reason.STOPS_AUTOSCALING, found.message)


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
