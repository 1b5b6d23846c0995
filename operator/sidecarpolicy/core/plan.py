"""The plan: for every policy and workload of a namespace a verdict, and the changes that follow.

Reads top to bottom as the rules of the product: who is selected, what holds a policy
back, what to do, and how the result reads in the policy's status. Decides nothing
about time or order of writes.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from sidecarpolicy.api.models import NodeRule
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.capability import NodeTally
from sidecarpolicy.core.facts import PolicyFacts, Ref, RolloutFacts, WorkloadFacts
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.inject import Action, Injection, Verdict, inject
from sidecarpolicy.core.jsonpatch import Patch, difference, generation_guard
from sidecarpolicy.core.record import Record, read_record
from sidecarpolicy.core.selection import opted_out, selects

TEMPLATE_PATH = "/spec/template"


class State(StrEnum):
    """Where a workload stands under one policy: exactly one of these."""

    CURRENT = "current"
    UPDATING = "updating"
    PENDING = "pending"
    FAILED = "failed"
    SKIPPED = "skipped"
    CONFLICTED = "conflicted"


@dataclass(frozen=True)
class Standing:
    """One workload under one policy."""

    ref: Ref
    state: State
    finding: Finding | None = None


@dataclass(frozen=True)
class TemplateChange:
    """One guarded JSON patch of a workload; `policies` are the keys that want it."""

    ref: Ref
    patch: Patch
    policies: frozenset[str]


@dataclass(frozen=True)
class Snapshot:
    """Everything that the plan of one namespace depends on.

    `gone` holds the keys of policies whose absence is proved; a recorded policy that
    is neither here nor in `policies` is held, because a missed event is no proof.
    """

    namespace: str
    policies: tuple[PolicyFacts, ...] = ()
    workloads: tuple[WorkloadFacts, ...] = ()
    nodes: NodeTally = field(default_factory=NodeTally)
    gone: frozenset[str] = frozenset()
    excluded: bool = False
    namespace_opted_out: bool = False


@dataclass(frozen=True)
class Plan:
    """Changes to make, and by policy key how every selected workload stands.

    `unaccounted` are recorded policies that are neither known nor proved gone.
    """

    changes: tuple[TemplateChange, ...]
    standings: Mapping[str, tuple[Standing, ...]]
    unaccounted: frozenset[str] = frozenset()


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
    recorded = {key for decision in decisions for key in decision.recorded}
    return Plan(
        changes=tuple(each.change for each in decisions if each.change is not None),
        standings={key: tuple(each) for key, each in standings.items()},
        unaccounted=frozenset(recorded - standings.keys() - snapshot.gone),
    )


def blocker(policy: PolicyFacts, nodes: NodeTally) -> Finding | None:
    """What keeps a policy from changing any workload, or None."""
    if policy.spec is None:
        return Finding(Reason.INVALID, policy.invalid)
    if policy.spec.paused:
        return Finding(Reason.PAUSED, "the policy is paused")
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
        selected_by=tuple(each for each in snapshot.policies if _selects(each, workload, template)),
        refusal=_refusal(workload, template, snapshot),
        snapshot=snapshot,
    )


def _decide(case: _Case) -> _Decision:
    verdicts = _verdicts(case)
    injection = inject(case.template, verdicts, site=case.workload.site)
    patch = difference(case.template, injection.template, path=TEMPLATE_PATH)
    change = None
    if patch:
        guarded = [generation_guard(case.workload.generation), *patch]
        keys = frozenset(verdict.key for verdict in verdicts)
        change = TemplateChange(case.workload.ref, guarded, keys)
    return _Decision(
        change=change,
        standings={each.key: _standing(each, case, injection) for each in case.selected_by},
        recorded=frozenset(case.revisions),
    )


def _verdicts(case: _Case) -> list[Verdict]:
    gone = case.snapshot.gone & case.revisions.keys()
    concerned = [
        policy
        for policy in case.snapshot.policies
        if policy in case.selected_by or policy.key in case.revisions
    ]
    return [
        *(Verdict(key, Action.REMOVE) for key in sorted(gone)),
        *(_verdict(policy, case) for policy in concerned),
    ]


def _selects(policy: PolicyFacts, workload: WorkloadFacts, template: Mapping[str, Any]) -> bool:
    return policy.spec is not None and selects(
        policy.spec, kind=workload.ref.kind, name=workload.ref.name, template=template
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
    opts_out = case.refusal is not None and case.refusal.reason is Reason.OPTED_OUT
    if policy not in case.selected_by or opts_out:
        return Verdict(policy.key, Action.REMOVE)
    if case.refusal is not None or blocker(policy, case.snapshot.nodes) is not None:
        return Verdict(policy.key, Action.HOLD)
    return Verdict(policy.key, Action.APPLY, policy.desired)


_STATE_OF_FINDING = {
    Reason.NODE_RULE_OWNED_BY_GITOPS: State.SKIPPED,
    Reason.RECORD_UNREADABLE: State.SKIPPED,
}


def _standing(policy: PolicyFacts, case: _Case, injection: Injection) -> Standing:
    ref = case.workload.ref
    if case.refusal is not None:
        return Standing(ref, State.SKIPPED, case.refusal)
    for finding in injection.findings.get(policy.key, ()):
        return Standing(ref, _STATE_OF_FINDING.get(finding.reason, State.CONFLICTED), finding)
    if policy.desired is None or case.revisions.get(policy.key) != policy.desired.revision:
        return Standing(ref, State.PENDING, blocker(policy, case.snapshot.nodes))
    return _rollout_standing(ref, case.workload.rollout)


def _rollout_standing(ref: Ref, rollout: RolloutFacts) -> Standing:
    if rollout.deadline_exceeded:
        return Standing(
            ref,
            State.FAILED,
            Finding(Reason.PROGRESS_DEADLINE_EXCEEDED, f"its rollout stopped: {rollout.message}"),
        )
    return Standing(ref, State.CURRENT if rollout.finished else State.UPDATING)


@dataclass(frozen=True)
class Attempt:
    """How a change went: done, failed for a reason, or the workload was gone."""

    failure: Finding | None = None
    gone: bool = False


def report(standings: Iterable[Standing], attempts: Mapping[Ref, Attempt]) -> tuple[Standing, ...]:
    """The standings after the changes were tried."""
    return tuple(
        _after(standing, attempts.get(standing.ref))
        for standing in standings
        if not attempts.get(standing.ref, Attempt()).gone
    )


def _after(standing: Standing, attempt: Attempt | None) -> Standing:
    if attempt is None or standing.state in (State.SKIPPED, State.CONFLICTED):
        return standing
    if attempt.failure is None:
        return Standing(standing.ref, State.UPDATING)
    untouched = standing.state is not State.PENDING
    return standing if untouched else replace(standing, finding=attempt.failure)


def counts(standings: Sequence[Standing]) -> dict[str, int]:
    """Workloads by state, with `matched` as their total, in the order of the status."""
    return {
        "matched": len(standings),
        **{state.value: _count(standings, state) for state in State},
    }


def _count(standings: Iterable[Standing], state: State) -> int:
    return sum(standing.state is state for standing in standings)
