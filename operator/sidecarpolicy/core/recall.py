"""Recall: decisions about workloads at rest, kept as long as nothing changes that they depend on.

A pass over a namespace looks at all its workloads, and mostly one of them has changed. What was
decided about the others still holds: a decision depends on the workload, on what was refused
there, and on the rest of the snapshot but for what only says whose turn it is. Law, and property
test: a plan with recall is the plan without it.

What rolls is decided anew each time, because time and the rollout's origin count there.
Templates and patches, which are large, are not kept but made again for those whose turn it is.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Protocol

from sidecarpolicy.core.case import case_of
from sidecarpolicy.core.decision import Decision, decide
from sidecarpolicy.core.facts import PolicyFacts, Ref, WorkloadFacts
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.holding import nowhere_to_run
from sidecarpolicy.core.snapshot import Snapshot
from sidecarpolicy.core.standing import Standing, TemplateChange

Waits = Mapping[str, Finding | None]
"""Keys of policies whose turn it is not, with what there is to say about it."""

OF_PACE: Final = frozenset({"workloads", "elsewhere", "resting", "taken_out", "revert_share"})
"""What a snapshot says about turns only."""
OF_ROLLOUTS: Final = frozenset({"now", "origins", "idle"})
"""What counts only for workloads that roll, or whose sidecars do not run."""
_ONE_BY_ONE: Final = frozenset({"policies", "nodes", "refused", "to_delete", "fought"})
"""What only a part of counts, or what counts for each workload apart."""
_WHOLE: Final = tuple(
    each.name for each in fields(Snapshot) if each.name not in OF_PACE | OF_ROLLOUTS | _ONE_BY_ONE
)
_NOTHING: Final = Snapshot("")


class Decider(Protocol):
    """Who decides about the workloads of one snapshot."""

    def wish(self, workload: WorkloadFacts) -> Decision:
        """What is to be done if it is everybody's turn."""

    def waiting(self, wish: Decision, waits: Waits) -> Decision:
        """What is to be done while these policies wait."""

    def whole(self, decision: Decision) -> Decision:
        """The decision with its change as it is to be written."""


class Afresh:
    """Decides about everything."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def wish(self, workload: WorkloadFacts) -> Decision:
        """Decided now."""
        return decide(case_of(workload, self._snapshot))

    def waiting(self, wish: Decision, waits: Waits) -> Decision:
        """Decided now."""
        return decide(replace(wish.case, waits=waits))

    def whole(self, decision: Decision) -> Decision:
        """As it is."""
        return decision


@dataclass
class _Kept:
    """What was decided about a workload, and of what; `apart` is what a snapshot says of it."""

    workload: WorkloadFacts
    apart: Any
    wish: Decision
    waits: Waits = field(default_factory=dict)
    waiting: Decision | None = None


class Recall:
    """What was decided about the workloads of one namespace. Not for use by several at a time."""

    def __init__(self) -> None:
        self._scene: Any = None
        self._snapshot = _NOTHING
        self._apart: Mapping[Ref, Any] = {}
        self._kept: dict[Ref, _Kept] = {}
        self._shared: dict[Any, Any] = {}
        self.decided = 0
        """How often a workload had to be decided about, all in all."""

    def about(self, snapshot: Snapshot) -> Decider:
        """Decides about this snapshot from now on; forgets what does not hold any more."""
        scene = _scene(snapshot)
        if scene != self._scene:
            self._kept, self._shared, self._scene = {}, {}, scene
        if len(self._kept) > len(snapshot.workloads):
            present = {each.ref for each in snapshot.workloads}
            self._kept = {ref: kept for ref, kept in self._kept.items() if ref in present}
        # Without its workloads, which what is kept would keep.
        self._snapshot = replace(snapshot, workloads=())
        self._apart = _by_workload(snapshot)
        return self

    def wish(self, workload: WorkloadFacts) -> Decision:
        """Kept from before, or decided now."""
        if not workload.rollout.finished or workload.ref in self._snapshot.idle:
            self._kept.pop(workload.ref, None)
            return self._decided(workload, {})
        kept, apart = self._kept.get(workload.ref), self._apart.get(workload.ref)
        if kept is None or kept.workload is not workload or kept.apart != apart:
            kept = _Kept(workload, apart, self._small(self._decided(workload, {})))
            self._kept[workload.ref] = kept
        return kept.wish

    def waiting(self, wish: Decision, waits: Waits) -> Decision:
        """The same, for those who wait for their turn."""
        kept = self._kept.get(wish.case.workload.ref)
        if kept is None:
            return decide(replace(wish.case, waits=waits))
        if kept.waiting is None or kept.waits != waits:
            kept.waits = waits
            kept.waiting = self._small(self._decided(kept.workload, waits))
        return kept.waiting

    def whole(self, decision: Decision) -> Decision:
        """Made again where only whom it concerns was kept."""
        kept = self._kept.get(decision.case.workload.ref)
        if kept is None or decision.change is None:
            return decision
        return self._decided(kept.workload, kept.waits if decision is kept.waiting else {})

    def _decided(self, workload: WorkloadFacts, waits: Waits) -> Decision:
        self.decided += 1
        return decide(replace(case_of(workload, self._snapshot), waits=waits))

    def _small(self, decision: Decision) -> Decision:
        """The decision without what is large, and can be made again. What many have in common,
        such as what a sidecar costs, is kept once.
        """
        done = decision.case.revisions
        case = replace(
            decision.case,
            template={},
            selected_by=(),
            snapshot=_NOTHING,
            revisions=self._shared.setdefault(tuple(done.items()), done),
        )
        return replace(
            decision,
            case=case,
            change=decision.change and _named(decision.change),
            standings={key: self._sharing(each) for key, each in decision.standings.items()},
        )

    def _sharing(self, standing: Standing) -> Standing:
        cost = standing.overhead
        if cost is None:
            return standing
        amounts = tuple(cost.before.items()), tuple(cost.after.items())
        said = *amounts, cost.qos_before, cost.qos_after, cost.findings
        return replace(standing, overhead=self._shared.setdefault(said, cost))


def _named(change: TemplateChange) -> TemplateChange:
    """Whom a change concerns, without the change."""
    return TemplateChange(change.ref, [], change.policies, taken_out=change.taken_out)


def _scene(snapshot: Snapshot) -> Any:
    """All of a snapshot that counts for every decision, as a value to compare."""
    whole = tuple(getattr(snapshot, name) for name in _WHOLE)
    # A policy's spec is told by its generation. Of its status, which changes often, counts only
    # whether the API server drops the field, which its revision tells.
    policies = tuple(
        (each.scope, each.key, each.uid, each.generation, each.created, each.deleting, _wish(each))
        for each in snapshot.policies
    )
    wishes = (each.desired for each in snapshot.policies)
    nodes = tuple(nowhere_to_run(wish, snapshot.nodes) for wish in wishes if wish is not None)
    return whole, policies, nodes


def _wish(policy: PolicyFacts) -> str:
    return policy.desired.revision if policy.desired is not None else ""


def _by_workload(snapshot: Snapshot) -> Mapping[Ref, Any]:
    found: defaultdict[Ref, dict[str, Any]] = defaultdict(dict)
    for (ref, key), refusal in snapshot.refused.items():
        if ref.namespace == snapshot.namespace:
            found[ref][key] = refusal
    for ref, command in snapshot.to_delete.items():
        found[ref]["to delete"] = command
    for ref, holds in snapshot.fought.items():
        found[ref]["fought"] = holds
    return found
