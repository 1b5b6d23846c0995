"""Summaries: what all workloads of a policy come to, in bounded space.

A ClusterSidecarPolicy is planned one namespace at a time; its status is the merger of
their summaries, so no pass over one namespace needs the workloads of another.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.blocks import LEFT_ALONE, MAX_PROBLEMS, Preflight, merged
from sidecarpolicy.core.facts import Ref
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.resources import ResourceList, add, larger, times
from sidecarpolicy.core.standing import Standing, State
from sidecarpolicy.core.trouble import NO_PODS, PodTally

_WORST_FIRST = (
    State.FAILED,
    State.CONFLICTED,
    State.PENDING,
    State.SKIPPED,
    State.UPDATING,
    State.CURRENT,
)
_DENIALS = frozenset({Reason.REFUSED, Reason.FORBIDDEN})
_FOR_PEOPLE = frozenset({Reason.PAUSED, Reason.ON_NEXT_UPDATE, Reason.WAITING_FOR_OWNER})


@dataclass(frozen=True)
class Summary:
    """Workloads by state, the worst problems, and those that the API server would not take.

    `problems` are standings with a finding, worst first, at most MAX_PROBLEMS. What the
    sidecars cost is the most for a single Pod, by resource; what all Pods request together
    without and with them are sums, at their wanted number.
    """

    counts: Counter[State] = field(default_factory=Counter)
    problems: tuple[Standing, ...] = ()
    denied: int = 0
    strays: Mapping[Ref, Finding] = field(default_factory=dict)
    """Pods that the webhook missed, and what they lack."""
    missed: int = 0
    """Jobs that do."""
    waits: Counter[Reason] = field(default_factory=Counter)
    """Workloads that go on only when somebody does something, by what they wait for."""
    pods: PodTally = NO_PODS
    """What was seen of the Pods that have them."""
    per_pod: ResourceList = field(default_factory=dict)
    before: ResourceList = field(default_factory=dict)
    after: ResourceList = field(default_factory=dict)
    preflight: Preflight = field(default_factory=Preflight)

    @property
    def matched(self) -> int:
        """All workloads that the policy selects, or has parts in."""
        return sum(self.counts.values())

    @property
    def rolling(self) -> int:
        """Workloads that are on the way, and hold a place of `maxConcurrent`."""
        return self.counts[State.UPDATING] - self.waits[Reason.WAITING_FOR_OWNER]

    @property
    def denial(self) -> Finding | None:
        """Why no workload at all gets its parts, in the API server's words; else None."""
        wanted = self.matched - self.counts[State.SKIPPED]
        if not self.denied or self.denied < wanted:
            return None
        return next(filter(_is_denial, (each.finding for each in self.problems)), None)


def summarize(standings: Sequence[Standing]) -> Summary:
    """The summary of one namespace's workloads."""
    costs = [(each.overhead, each.pods) for each in standings if each.overhead]
    return Summary(
        counts=Counter(each.state for each in standings),
        problems=_worst([*standings, *_warnings(standings)]),
        denied=sum(_is_denial(each.finding) for each in standings),
        missed=sum(map(_missed, standings)),
        waits=Counter(filter(None, map(_waits_for, standings))),
        per_pod=reduce(larger, (cost.requests for cost, _ in costs), {}),
        before=reduce(add, (times(cost.before, pods) for cost, pods in costs), {}),
        after=reduce(add, (times(cost.after, pods) for cost, pods in costs), {}),
    )


def merge(summaries: Iterable[Summary]) -> Summary:
    """The summary of all."""
    summaries = tuple(summaries)
    counts: Counter[State] = Counter()
    waits: Counter[Reason] = Counter()
    problems: list[Standing] = []
    denied = missed = 0
    per_pod: ResourceList = {}
    before: ResourceList = {}
    after: ResourceList = {}
    for each in summaries:
        counts.update(each.counts)
        waits.update(each.waits)
        problems += each.problems
        denied += each.denied
        missed += each.missed
        per_pod = larger(per_pod, each.per_pod)
        before, after = add(before, each.before), add(after, each.after)
    return Summary(
        counts,
        _worst(problems),
        denied,
        missed=missed,
        waits=waits,
        per_pod=per_pod,
        before=before,
        after=after,
        preflight=merged(each.preflight for each in summaries),
    )


def _warnings(standings: Iterable[Standing]) -> Iterator[Standing]:
    """A change of the Pods' QoS class and its kind; requests that lack are the policy's own."""
    for each in standings:
        for finding in each.overhead.findings if each.overhead else ():
            if finding.reason is not Reason.NO_RESOURCE_REQUEST:
                yield replace(each, finding=finding)


def _worst(standings: Iterable[Standing]) -> tuple[Standing, ...]:
    noted = (each for each in standings if each.finding is not None)
    return tuple(heapq.nsmallest(MAX_PROBLEMS, noted, key=_badness))


def _badness(standing: Standing) -> tuple[bool, int, Ref]:
    """What the webhook reads in a status comes first."""
    found = standing.finding
    obeyed = found is not None and found.reason in LEFT_ALONE
    return not obeyed, _WORST_FIRST.index(standing.state), standing.ref


def _waits_for(standing: Standing) -> Reason | None:
    reason = standing.finding.reason if standing.finding is not None else None
    waits = reason in _FOR_PEOPLE and standing.state in (State.PENDING, State.UPDATING)
    return reason if waits else None


def _missed(standing: Standing) -> bool:
    found = standing.finding
    return found is not None and found.reason is Reason.MISSED_ADMISSION


def _is_denial(finding: Finding | None) -> bool:
    return finding is not None and finding.reason in _DENIALS
