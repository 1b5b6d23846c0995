"""Overviews: a policy and where each of its workloads is, by the plan of the controller.

What only a try shows, such as a refusal, is not in any fact; it is taken from the policy's own
status, as far as that is about the current spec. Part of `sidecarpolicy status`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.blocks import HARM
from sidecarpolicy.core.checkup import Checked
from sidecarpolicy.core.checkup import State as Check
from sidecarpolicy.core.facts import PolicyFacts, RawObject
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.plan import plan
from sidecarpolicy.core.policychecks import policies as checked_policies
from sidecarpolicy.core.snapshot import Snapshot
from sidecarpolicy.core.standing import Standing, State

WORST_FIRST = (
    State.FAILED,
    State.CONFLICTED,
    State.PENDING,
    State.UPDATING,
    State.SKIPPED,
    State.CURRENT,
)
_WRONG = (State.FAILED, State.CONFLICTED)


@dataclass(frozen=True)
class Overview:
    """One policy: what is wrong with it by its status, and its workloads, the worst first.

    `standings` is None where workloads could not be read.
    """

    policy: PolicyFacts
    faults: tuple[Checked, ...]
    standings: tuple[Standing, ...] | None = ()

    @property
    def counts(self) -> Counter[State]:
        """Workloads by state."""
        return Counter(each.state for each in self.standings or ())

    @property
    def overhead(self) -> RawObject:
        """What its status says that its sidecars cost; nothing if that is of another spec."""
        status = self.policy.status
        current = status.get("observedGeneration") == self.policy.generation
        found: RawObject = (status.get("overhead") if current else None) or {}
        return found

    @property
    def well(self) -> bool:
        """Whether nothing is wrong; what is still to come is not."""
        return not self.faults and not any(self.counts[state] for state in _WRONG)


def overviews(
    policies: Iterable[tuple[RawObject, PolicyFacts]],
    snapshots: Iterable[Snapshot] | None,
    *,
    now: float,
) -> list[Overview]:
    """An overview of each policy; `now` in seconds since 1970.

    Without snapshots, nothing is known of workloads.
    """
    found: dict[tuple[str, str], list[Standing]] = {}
    for snapshot in snapshots or ():
        decided = plan(snapshot)
        for policy in snapshot.policies:
            of_policy = found.setdefault((policy.scope, policy.key), [])
            said = _problems(policy)
            of_policy += (_told(each, said) for each in decided.standings[policy.key])
    known = None if snapshots is None else found
    return [Overview(each, _faults(raw, now), _of(each, known)) for raw, each in policies]


def _of(
    policy: PolicyFacts, found: Mapping[tuple[str, str], list[Standing]] | None
) -> tuple[Standing, ...] | None:
    return None if found is None else _sorted(found.get((policy.scope, policy.key), ()))


def _faults(raw: RawObject, now: float) -> tuple[Checked, ...]:
    return tuple(e for e in checked_policies([raw], now) if e.state is Check.PROBLEM)


def _sorted(standings: Iterable[Standing]) -> tuple[Standing, ...]:
    return tuple(sorted(standings, key=lambda each: (WORST_FIRST.index(each.state), each.ref)))


def _told(standing: Standing, said: Mapping[tuple[str, str, str], Finding]) -> Standing:
    """With what the status says where the plan alone knows of no reason to wait, and that a rollout
    failed, where its history could not be read.
    """
    ref = standing.ref
    found = said.get((ref.kind, ref.namespace, ref.name))
    if found is None:
        return standing
    if standing.state is State.UPDATING and found.reason is Reason.ROLLOUT_FAILED:
        return replace(standing, state=State.FAILED, finding=found)
    if standing.state is not State.PENDING or standing.finding is not None:
        return standing
    state = State.SKIPPED if found.reason in HARM else State.PENDING
    return replace(standing, state=state, finding=found)


def _problems(policy: PolicyFacts) -> Mapping[tuple[str, str, str], Finding]:
    """What the status says of workloads, by kind, namespace and name; nothing if it is old."""
    if policy.status.get("observedGeneration") != policy.generation:
        return {}
    return {
        (each["kind"], each.get("namespace", ""), each["name"]): Finding(
            Reason(each["reason"]), each["message"]
        )
        for each in policy.status.get("problems") or ()
        if each["reason"] in tuple(Reason)
    }
