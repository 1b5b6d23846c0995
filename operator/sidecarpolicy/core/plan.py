"""The plan: for every policy and workload of a namespace a verdict, and the changes that follow.

Decides what is changed now and what waits for its turn; what is to be done with a
single workload is decided in core.decision.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.decision import Decision
from sidecarpolicy.core.facts import Ref
from sidecarpolicy.core.failure import deadlines
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.pace import Budget, budgets
from sidecarpolicy.core.recall import Afresh, Decider, Recall
from sidecarpolicy.core.snapshot import Refusals, Snapshot
from sidecarpolicy.core.standing import Standing, TemplateChange


@dataclass(frozen=True)
class Plan:
    """Changes to make, and by policy key how every concerned workload stands.

    `recorded` are the keys of all policies that the namespace's records and holds name, each with
    the latest time (RFC 3339, UTC) at which such a one may have been written. `due` is when the
    next rollout will have failed, in seconds since 1970, if none gets further. `revisions` are
    those that each workload gives its Pods, by policy key, where it gives them any.
    """

    changes: tuple[TemplateChange, ...]
    standings: Mapping[str, tuple[Standing, ...]]
    recorded: Mapping[str, str] = field(default_factory=dict)
    due: float | None = None
    revisions: Mapping[Ref, Mapping[str, str]] = field(default_factory=dict)


def plan(snapshot: Snapshot, recall: Recall | None = None) -> Plan:
    """Decides about every workload of the namespace; planning the result changes nothing.

    With `recall`, which has to be the namespace's own, only about those that changed.
    """
    keys = [policy.key for policy in snapshot.policies]
    if snapshot.excluded:
        return Plan((), dict.fromkeys(keys, ()))
    decider = Afresh(snapshot) if recall is None else recall.about(snapshot)
    wishes = [decider.wish(workload) for workload in snapshot.workloads]
    decisions = wishes
    if any(wish.change is not None for wish in wishes):
        decisions = [decider.whole(each) for each in _paced(wishes, snapshot, decider)]
    standings: dict[str, list[Standing]] = {key: [] for key in keys}
    for decision in decisions:
        for key, standing in decision.standings.items():
            standings[key].append(standing)
    return Plan(
        changes=tuple(each.change for each in decisions if each.change is not None),
        standings={key: tuple(each) for key, each in standings.items()},
        recorded=_recorded(decisions),
        due=min((end for each in decisions for end in deadlines(each.case)), default=None),
        revisions={each.case.workload.ref: each.given for each in decisions if each.given},
    )


def _recorded(decisions: Iterable[Decision]) -> Mapping[str, str]:
    times: dict[str, str] = {}
    for decision in decisions:
        workload = decision.case.workload
        time = max(workload.created, workload.written)
        for key in (*decision.case.revisions, *(each.policy for each in workload.holds)):
            if time >= times.get(key, ""):
                times[key] = time
    return times


def change_of(snapshot: Snapshot, ref: Ref, refused: Refusals) -> TemplateChange | None:
    """What would be changed in one workload if these were refused; it has everybody's turn."""
    workloads = tuple(each for each in snapshot.workloads if each.ref == ref)
    decided = plan(replace(snapshot, workloads=workloads, refused=refused, elsewhere={}))
    return next(iter(decided.changes), None)


def _paced(wishes: Sequence[Decision], snapshot: Snapshot, decider: Decider) -> Iterator[Decision]:
    """The decisions as far as it is their policies' turn, decided anew where one has to wait."""
    available = budgets(wishes, snapshot)
    for wish in sorted(wishes, key=_urgency):
        waits = _waits(wish, available, snapshot)
        yield decider.waiting(wish, waits) if waits else wish


def _urgency(decision: Decision) -> tuple[bool, str, str]:
    """What rolls goes first, then by kind and name; plain text, which is compared at once."""
    workload = decision.case.workload
    settled = workload.rollout.settled and not decision.reverted
    return settled, workload.ref.kind, workload.ref.name


def _waits(
    decision: Decision, available: Mapping[str, Budget], snapshot: Snapshot
) -> dict[str, Finding | None]:
    """The policies that have no place left for this change; the others take theirs.

    What rests makes nothing roll, so it takes no place.
    """
    if decision.change is None:
        return {}
    workload = decision.case.workload
    free = not workload.rollout.settled or workload.ref in snapshot.resting
    waits: dict[str, Finding | None] = {}
    for key in decision.change.policies & available.keys():
        budget = available[key]
        if budget.stopped is not None and not decision.takes_out(key):
            waits[key] = budget.stopped
        elif free or key in decision.reverted:
            continue
        elif budget.slots > 0:
            budget.slots -= 1
        else:
            waits[key] = _refused_before(snapshot, workload.ref, key)
    return waits


def _refused_before(snapshot: Snapshot, ref: Ref, key: str) -> Finding | None:
    """What the API server said of a policy's current revision when it was tried in a workload.

    It is said on while that waits for another try, because the webhook obeys it.
    """
    policy = next((each for each in snapshot.policies if each.key == key), None)
    if policy is None or policy.desired is None:
        return None
    said = policy.refused(ref)
    same = policy.status.get("revision") == policy.desired.revision
    return said if same and said is not None and said.reason is Reason.REFUSED else None
