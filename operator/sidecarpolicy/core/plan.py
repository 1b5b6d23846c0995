"""The plan: for every policy and workload of a namespace a verdict, and the changes that follow.

Reads top to bottom as the rules of the product: who is selected, what holds a policy
back, what to do, and how the result reads in the policy's status. Decides nothing
about time or order of writes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sidecarpolicy.api.models import NodeRule
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.capability import NodeTally
from sidecarpolicy.core.facts import PolicyFacts, Ref, WorkloadFacts
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.inject import Action, Injection, Verdict, inject
from sidecarpolicy.core.jsonpatch import difference, guard
from sidecarpolicy.core.record import Record, read_record
from sidecarpolicy.core.selection import mismatch, opted_out
from sidecarpolicy.core.standing import (
    Refusal,
    Standing,
    State,
    TemplateChange,
    rollout_standing,
)

Refusals = Mapping[tuple[Ref, str], Refusal]
"""What the API server would not take, by workload and policy key."""


@dataclass(frozen=True)
class Snapshot:
    """Everything that the plan of one namespace depends on.

    `policies` are those of the namespace and all of the cluster, in the order of their keys.
    `gone` holds the keys of policies whose absence is proved; a recorded policy that
    is neither here nor in `policies` is held, because a missed event is no proof.
    `revert_share` is a number or a percentage of workloads to revert at one time.
    """

    namespace: str
    policies: tuple[PolicyFacts, ...] = ()
    workloads: tuple[WorkloadFacts, ...] = ()
    nodes: NodeTally = field(default_factory=NodeTally)
    gone: frozenset[str] = frozenset()
    revert_share: str = "10%"
    excluded: bool = False
    namespace_opted_out: bool = False
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    refused: Refusals = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Changes to make, and by policy key how every concerned workload stands.

    `recorded` are the keys of all policies that the namespace's records name.
    """

    changes: tuple[TemplateChange, ...]
    standings: Mapping[str, tuple[Standing, ...]]
    recorded: frozenset[str] = frozenset()


def plan(snapshot: Snapshot) -> Plan:
    """Decides about every workload of the namespace; planning the result changes nothing."""
    keys = [policy.key for policy in snapshot.policies]
    if snapshot.excluded:
        return Plan((), dict.fromkeys(keys, ()))
    standings: dict[str, list[Standing]] = {key: [] for key in keys}
    decisions = [_decide(_case(workload, snapshot)) for workload in snapshot.workloads]
    for decision in decisions:
        for key, standing in decision.standings.items():
            standings[key].append(standing)
    changes = [each.change for each in decisions if each.change is not None]
    return Plan(
        changes=_paced(changes, snapshot),
        standings={key: tuple(each) for key, each in standings.items()},
        recorded=frozenset(key for decision in decisions for key in decision.recorded),
    )


def change_of(snapshot: Snapshot, ref: Ref, refused: Refusals) -> TemplateChange | None:
    """What would be changed in one workload if these were refused."""
    workloads = tuple(each for each in snapshot.workloads if each.ref == ref)
    decided = plan(replace(snapshot, workloads=workloads, refused=refused))
    return next(iter(decided.changes), None)


def _paced(changes: Sequence[TemplateChange], snapshot: Snapshot) -> tuple[TemplateChange, ...]:
    """All changes, but reverts only as many as may roll at one time.

    A workload that is rolling as it is goes first and takes no place of its own: its
    rollout may be stuck on the very sidecar that is to be taken out.
    """
    reverts = [each for each in changes if each.reverts]
    unsettled = {each.ref for each in snapshot.workloads if not each.rollout.settled}
    rolling = len(unsettled - {each.ref for each in reverts})
    urgent = [each for each in reverts if each.ref in unsettled]
    quiet = sorted((each for each in reverts if each.ref not in unsettled), key=lambda c: c.ref)
    slots = share(snapshot.revert_share, len(reverts) + rolling) - rolling - len(urgent)
    others = [each for each in changes if not each.reverts]
    return (*others, *urgent, *quiet[: max(slots, 0)])


def share(text: str, total: int) -> int:
    """A number, or a percentage of `total` rounded down; at least 1."""
    number = int(text.removesuffix("%"))
    return max(1, total * number // 100 if text.endswith("%") else number)


def blocker(policy: PolicyFacts, nodes: NodeTally) -> Finding | None:
    """What keeps a policy from changing any workload, or None."""
    if policy.spec is None:
        return Finding(Reason.INVALID, policy.invalid)
    if policy.spec.paused:
        return Finding(Reason.PAUSED, "paused: existing and new workloads stay as they are")
    if nodes.total and not nodes.capable and policy.spec.node_rule is not NodeRule.NONE:
        return Finding(
            Reason.NO_CAPABLE_NODES,
            f"none of {nodes.total} nodes runs native sidecars; upgrade a kubelet to 1.29 or later",
        )
    return None


@dataclass(frozen=True)
class _Case:
    """One workload with all that the decision about it needs."""

    workload: WorkloadFacts
    template: Mapping[str, Any]
    revisions: Mapping[str, str]
    selected_by: tuple[PolicyFacts, ...]
    refusal: Finding | None
    snapshot: Snapshot


@dataclass(frozen=True)
class _Decision:
    """What to do with one workload, and how it stands under the policies that select it."""

    change: TemplateChange | None
    standings: Mapping[str, Standing]
    recorded: frozenset[str]


def _case(workload: WorkloadFacts, snapshot: Snapshot) -> _Case:
    template = json.loads(workload.template)
    record = read_record(template)
    policies = record.policies if isinstance(record, Record) else {}
    return _Case(
        workload=workload,
        template=template,
        revisions={key: each.revision for key, each in policies.items()},
        selected_by=tuple(
            each
            for each in snapshot.policies
            if unselected(each, workload, template, snapshot) is None
        ),
        refusal=_refusal(workload, template, snapshot),
        snapshot=snapshot,
    )


def _decide(case: _Case) -> _Decision:
    verdicts = _verdicts(case)
    workload = case.workload
    injection = inject(case.template, verdicts, site=workload.site, claims=workload.claims)
    concerned = [each for each in case.snapshot.policies if _concerns(each, case)]
    return _Decision(
        change=_change(case, injection),
        standings={policy.key: _standing(policy, case, injection) for policy in concerned},
        recorded=frozenset(case.revisions),
    )


def _change(case: _Case, injection: Injection) -> TemplateChange | None:
    workload = case.workload
    patch = difference(case.template, injection.template, path=workload.template_path)
    if not patch:
        return None
    gone = injection.changed & case.snapshot.gone
    return TemplateChange(
        ref=workload.ref,
        patch=[*guard(uid=workload.uid, generation=workload.generation), *patch],
        policies=injection.changed,
        template=injection.template,
        reverts=gone == injection.changed,
        leftovers=tuple(found for key in gone for found in injection.leftovers.get(key, ())),
    )


def _concerns(policy: PolicyFacts, case: _Case) -> bool:
    return policy in case.selected_by or policy.key in case.revisions


def _verdicts(case: _Case) -> list[Verdict]:
    known = {policy.key for policy in case.snapshot.policies}
    gone = (case.snapshot.gone - known) & case.revisions.keys()
    return [
        *(Verdict(key, Action.REMOVE) for key in sorted(gone)),
        *(_verdict(each, case) for each in case.snapshot.policies if _concerns(each, case)),
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


def _refusal(
    workload: WorkloadFacts, template: Mapping[str, Any], snapshot: Snapshot
) -> Finding | None:
    """Why no policy may be applied to this workload, or None."""
    if opted_out(template.get("metadata")):
        return Finding(Reason.OPTED_OUT, "its Pod template opts out")
    if snapshot.namespace_opted_out:
        return Finding(Reason.OPTED_OUT, "its namespace opts out")
    if workload.owner is not None:
        return Finding(
            Reason.OWNED_BY_CONTROLLER, f"{workload.owner} controls it and would undo any change"
        )
    return None


def _verdict(policy: PolicyFacts, case: _Case) -> Verdict:
    if policy.spec is None:
        return Verdict(policy.key, Action.HOLD)
    if _leaving(policy, case) or _opted_out(case):
        return Verdict(policy.key, Action.REMOVE)
    held = case.refusal or blocker(policy, case.snapshot.nodes) or _refused(policy, case)
    if held is not None:
        return Verdict(policy.key, Action.HOLD, policy.desired)
    return Verdict(policy.key, Action.APPLY, policy.desired)


def _refused(policy: PolicyFacts, case: _Case) -> Finding | None:
    """Why the API server would not take the policy here, as far as it was asked about this."""
    refusal = case.snapshot.refused.get((case.workload.ref, policy.key))
    if refusal is None or policy.desired is None:
        return None
    asked = (refusal.revision, refusal.generation)
    same = asked == (policy.desired.revision, case.workload.generation)
    return refusal.finding if same else None


def _leaving(policy: PolicyFacts, case: _Case) -> bool:
    return policy.spec is not None and policy not in case.selected_by


def _opted_out(case: _Case) -> bool:
    return case.refusal is not None and case.refusal.reason is Reason.OPTED_OUT


_STATE_OF_OBSTACLE = {
    Reason.NODE_RULE_OWNED_BY_GITOPS: State.SKIPPED,
    Reason.RECORD_UNREADABLE: State.SKIPPED,
}


def _standing(policy: PolicyFacts, case: _Case, injection: Injection) -> Standing:
    ref = case.workload.ref
    if _leaving(policy, case):
        return Standing(ref, State.PENDING, leaving=True)
    if case.refusal is not None:
        return Standing(ref, State.SKIPPED, case.refusal)
    for finding in injection.obstacles.get(policy.key, ()):
        return Standing(ref, _STATE_OF_OBSTACLE.get(finding.reason, State.CONFLICTED), finding)
    if policy.key not in injection.current:
        found = blocker(policy, case.snapshot.nodes) or _refused(policy, case)
        return Standing(ref, State.PENDING, found)
    return rollout_standing(ref, case.workload.rollout)
