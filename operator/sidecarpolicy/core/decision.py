"""The decision about one workload: a verdict for each policy, and the change that follows.

Reads top to bottom as the rules of the product: who is selected, what holds a policy
back, what to do, and how the result reads in the policy's status.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sidecarpolicy.api.models import InjectAt, NodeRule, TargetKind
from sidecarpolicy.api.names import WEBHOOK_CONFIGURATION
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core import daemonset
from sidecarpolicy.core.blocks import HARM
from sidecarpolicy.core.capability import NodeTally
from sidecarpolicy.core.facts import PolicyFacts, WorkloadFacts
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.inject import Action, Injection, Verdict, inject
from sidecarpolicy.core.jsonpatch import Patch, difference, guard
from sidecarpolicy.core.marker import as_pods_are, read_markers
from sidecarpolicy.core.noderule import POD_PARTS
from sidecarpolicy.core.podtime import MARKED_KINDS, carry_out
from sidecarpolicy.core.record import Record, read_record
from sidecarpolicy.core.selection import mismatch, opted_out
from sidecarpolicy.core.snapshot import Snapshot
from sidecarpolicy.core.standing import Standing, State, TemplateChange, rollout_standing
from sidecarpolicy.core.times import seconds


def blocker(
    policy: PolicyFacts, nodes: NodeTally, *, creating: bool = False, webhook: bool = True
) -> Finding | None:
    """What keeps a policy from changing any workload, or None.

    A paused policy freezes what exists; what is being created now still gets its sidecars.
    `webhook` says whether the API server asks our webhook about Pods.
    """
    if policy.spec is None:
        return Finding(Reason.INVALID, policy.invalid)
    paused = _paused(policy)
    if paused is not None and not creating:
        return paused
    if policy.spec.inject_at is InjectAt.POD and not webhook:
        return NO_WEBHOOK
    return nowhere_to_run(policy.spec.node_rule, nodes)


NO_WEBHOOK = Finding(
    Reason.WEBHOOK_NOT_REGISTERED,
    f"the webhook adds this to Pods, and MutatingWebhookConfiguration {WEBHOOK_CONFIGURATION} has "
    "no webhook for Pods that works; install it",
)


def nowhere_to_run(rule: NodeRule, nodes: NodeTally) -> Finding | None:
    """That no node runs native sidecars, so that Pods with this rule could only wait; or None."""
    if not nodes.total or nodes.capable or rule is NodeRule.NONE:
        return None
    return Finding(
        Reason.NO_CAPABLE_NODES,
        f"none of {nodes.total} nodes runs native sidecars; upgrade a kubelet to 1.29 or later",
    )


def _paused(policy: PolicyFacts) -> Finding | None:
    if policy.spec is None or not policy.spec.paused:
        return None
    return Finding(Reason.PAUSED, "paused: existing workloads stay as they are")


@dataclass(frozen=True)
class Case:
    """One workload with all that the decision about it needs."""

    workload: WorkloadFacts
    template: Mapping[str, Any]
    revisions: Mapping[str, str]
    selected_by: tuple[PolicyFacts, ...]
    refusal: Finding | None
    snapshot: Snapshot
    waits: Mapping[str, Finding | None] = field(default_factory=dict)
    """Keys of policies whose turn it is not, with what there is to say about it."""
    node_rule: bool = True
    """Whether Pods made from the template may still choose their node."""
    of_pod: bool = False
    """Whether the template is a Pod's own, which promises nothing to any other."""


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
        return standing is not None and (standing.leaving or _opted_out(self.case))


def case_of(workload: WorkloadFacts, snapshot: Snapshot) -> Case:
    """Looks at a workload as the controller keeps it."""
    return look(workload, json.loads(workload.template), snapshot)


def look(workload: WorkloadFacts, template: Mapping[str, Any], snapshot: Snapshot) -> Case:
    """Looks at a workload with this template before any decision about it."""
    return Case(
        workload=workload,
        template=template,
        revisions=_revisions(workload, template),
        selected_by=tuple(
            each
            for each in snapshot.policies
            if unselected(each, workload, template, snapshot) is None
        ),
        refusal=_refusal(template, snapshot),
        snapshot=snapshot,
    )


def _revisions(workload: WorkloadFacts, template: Mapping[str, Any]) -> Mapping[str, str]:
    """What was done here, by policy key."""
    if workload.ref.kind == TargetKind.DAEMON_SET:
        return daemonset.revisions(template)
    record = read_record(template)
    policies = record.policies if isinstance(record, Record) else {}
    done = {key: each.revision for key, each in policies.items()}
    if workload.ref.kind not in MARKED_KINDS:
        return done
    return {key: each.revision for key, each in read_markers(template).items()} | done


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
        at_pods=frozenset(p.key for p in case.snapshot.policies if _at_pods(p)),
        site=workload.site.with_webhook if webhook else workload.site,
        claims=workload.claims,
    )


def _at_pods(policy: PolicyFacts) -> bool:
    return policy.spec is not None and policy.spec.inject_at is InjectAt.POD


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
        taken_out=injection.changed - _revisions(workload, injection.template).keys(),
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


def unselected(
    policy: PolicyFacts, workload: WorkloadFacts, template: Mapping[str, Any], snapshot: Snapshot
) -> str | None:
    """Why a policy does not select a workload of the snapshot, or None if it does."""
    if snapshot.excluded:
        return f"namespace {snapshot.namespace} is excluded from all policies"
    if policy.spec is None:
        return policy.invalid
    return mismatch(
        policy.spec,
        kind=workload.ref.kind,
        name=workload.ref.name,
        template=template,
        namespace_labels=snapshot.namespace_labels,
    )


def _refusal(template: Mapping[str, Any], snapshot: Snapshot) -> Finding | None:
    """Why no policy may be applied to this workload, or None."""
    if opted_out(template.get("metadata")):
        return Finding(Reason.OPTED_OUT, "its Pod template opts out")
    if snapshot.namespace_opted_out:
        return Finding(Reason.OPTED_OUT, "its namespace opts out")
    return None


def _kept_off(policy: PolicyFacts, case: Case) -> Finding | None:
    """Why this policy may not be applied here, or None; a mere annotation may, whoever owns it."""
    owner = case.workload.owner
    if case.refusal is not None or owner is None or _at_pods(policy):
        return case.refusal
    return Finding(
        Reason.OWNED_BY_CONTROLLER,
        f"{owner} controls it and would undo any change; set injectAt: Pod in the policy to have "
        "the sidecars added to its Pods",
    )


def verdict_on(policy: PolicyFacts, case: Case) -> Verdict:
    """What to do about one policy of the snapshot in this case."""
    if policy.spec is None or policy.key in case.waits:
        return Verdict(policy.key, Action.HOLD, policy.desired)
    if _opted_out(case) or (_leaving(policy, case) and not policy.spec.paused):
        return Verdict(policy.key, Action.REMOVE)
    held = _kept_off(policy, case) or _held(policy, case)
    if held is not None or _leaving(policy, case):
        return Verdict(policy.key, Action.HOLD, policy.desired)
    wish = policy.desired
    if wish is not None and not case.node_rule:
        wish = replace(wish, node_rule=NodeRule.NONE)
    return Verdict(policy.key, Action.APPLY, wish)


def _held(policy: PolicyFacts, case: Case) -> Finding | None:
    """What keeps a policy from changing this workload now, or None."""
    return _blocker(policy, case) or _refused(policy, case) or _unsettled(policy, case)


def _unsettled(policy: PolicyFacts, case: Case) -> Finding | None:
    """That a workload without our parts is rolling or failing by itself: let it come to rest first.

    Then its failure is not taken for ours. One that came along with the policy, or later, is not
    waited for: it may need its sidecar to become available at all.
    """
    workload = case.workload
    if case.snapshot.creating or case.revisions or workload.rollout.finished:
        return None
    if seconds(workload.created) > seconds(policy.created) - _TOGETHER_SECONDS:
        return None
    return Finding(
        Reason.NOT_SETTLED,
        f"its own rollout is not finished ({workload.rollout.message}), and is waited for",
    )


def _blocker(policy: PolicyFacts, case: Case) -> Finding | None:
    snapshot = case.snapshot
    return blocker(policy, snapshot.nodes, creating=snapshot.creating, webhook=snapshot.webhook)


def _refused(policy: PolicyFacts, case: Case) -> Finding | None:
    """Why the API server would not take the policy here: in the whole namespace, or in just
    this generation of the workload, as far as it was asked.
    """
    if policy.key in case.snapshot.blocked:
        return case.snapshot.blocked[policy.key]
    if case.snapshot.obedient and policy.refused(case.workload.ref):
        return Finding(Reason.REFUSED, "it would do harm; see the policy's status")
    refusal = case.snapshot.refused.get((case.workload.ref, policy.key))
    if refusal is None or policy.desired is None:
        return None
    asked = (refusal.revision, refusal.generation)
    same = asked == (policy.desired.revision, case.workload.generation)
    return refusal.finding if same else None


def _leaving(policy: PolicyFacts, case: Case) -> bool:
    return policy.spec is not None and policy not in case.selected_by


def _opted_out(case: Case) -> bool:
    return case.refusal is not None and case.refusal.reason is Reason.OPTED_OUT


_TOGETHER_SECONDS = 30.0
"""What is applied together with a policy may be a little older than it."""

_STATE_OF_OBSTACLE = {
    Reason.NODE_RULE_OWNED_BY_GITOPS: State.SKIPPED,
    Reason.RECORD_UNREADABLE: State.SKIPPED,
    Reason.VOLUME_MISSING: State.SKIPPED,
}


def _standing(policy: PolicyFacts, case: Case, injection: Injection) -> Standing:
    ref = case.workload.ref
    if _leaving(policy, case):
        return Standing(ref, State.PENDING, _paused(policy), leaving=True)
    kept_off = _kept_off(policy, case)
    if kept_off is not None:
        return Standing(ref, State.SKIPPED, kept_off)
    for finding in injection.obstacles.get(policy.key, ()):
        return Standing(ref, _STATE_OF_OBSTACLE.get(finding.reason, State.CONFLICTED), finding)
    if policy.key not in injection.current and _too_late_for(case):
        return Standing(ref, State.SKIPPED, _too_late(policy, case))
    if policy.key not in injection.current:
        held = _held(policy, case) or case.waits.get(policy.key)
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
    blocked = _refused(policy, case)
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
