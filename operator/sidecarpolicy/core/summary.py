"""Summaries: what all workloads of a policy come to, in bounded space.

A ClusterSidecarPolicy is planned one namespace at a time; its status is the merger of
their summaries, so no pass over one namespace needs the workloads of another.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.facts import Ref
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.standing import Standing, State

MAX_PROBLEMS = 20

_WORST_FIRST = (State.FAILED, State.CONFLICTED, State.PENDING, State.SKIPPED)
_DENIALS = frozenset({Reason.REFUSED, Reason.FORBIDDEN})


@dataclass(frozen=True)
class Summary:
    """Workloads by state, the worst problems, and those that the API server would not take.

    `problems` are standings with a finding, worst first, at most MAX_PROBLEMS.
    """

    counts: Counter[State] = field(default_factory=Counter)
    problems: tuple[Standing, ...] = ()
    denied: int = 0

    @property
    def matched(self) -> int:
        """All workloads that the policy selects, or has parts in."""
        return sum(self.counts.values())

    @property
    def denial(self) -> Finding | None:
        """Why no workload at all gets its parts, in the API server's words; else None."""
        wanted = self.matched - self.counts[State.SKIPPED]
        if not self.denied or self.denied < wanted:
            return None
        return next(filter(_is_denial, (each.finding for each in self.problems)), None)


def summarize(standings: Sequence[Standing]) -> Summary:
    """The summary of one namespace's workloads."""
    return Summary(
        counts=Counter(each.state for each in standings),
        problems=_worst(standings),
        denied=sum(_is_denial(each.finding) for each in standings),
    )


def merge(summaries: Iterable[Summary]) -> Summary:
    """The summary of all."""
    counts: Counter[State] = Counter()
    problems: list[Standing] = []
    denied = 0
    for each in summaries:
        counts.update(each.counts)
        problems += each.problems
        denied += each.denied
    return Summary(counts, _worst(problems), denied)


def _worst(standings: Iterable[Standing]) -> tuple[Standing, ...]:
    noted = (each for each in standings if each.finding is not None)
    return tuple(heapq.nsmallest(MAX_PROBLEMS, noted, key=_badness))


def _badness(standing: Standing) -> tuple[int, Ref]:
    return _WORST_FIRST.index(standing.state), standing.ref


def _is_denial(finding: Finding | None) -> bool:
    return finding is not None and finding.reason in _DENIALS
