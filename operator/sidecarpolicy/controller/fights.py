"""Fights as far as this process saw them; what follows is for core.fights to say.

What is decided outlives it: as a hold on the workload.
"""

from collections.abc import Iterable, Iterator, Mapping

from sidecarpolicy.core.facts import PolicyFacts, Ref, WorkloadFacts
from sidecarpolicy.core.fights import WINDOW, Bout, over, taken_out, wanted_again, written
from sidecarpolicy.core.held import Because, Hold
from sidecarpolicy.core.plan import Plan
from sidecarpolicy.core.snapshot import Snapshot
from sidecarpolicy.core.standing import TemplateChange


class Fights:
    """A bout for each policy and workload that was written lately."""

    def __init__(self) -> None:
        self._bouts: dict[tuple[Ref, str], Bout] = {}
        self._swept = 0.0

    def lost(
        self, planned: Plan, snapshot: Snapshot, *, now: float
    ) -> Mapping[Ref, tuple[Hold, ...]]:
        """New holds by workload: what is planned there was undone too often. `now` in seconds."""
        self._sweep(now)
        if not planned.changes:
            return {}
        known = {each.ref: each for each in snapshot.workloads}
        by_key = {each.key: each for each in snapshot.policies}
        found: dict[Ref, tuple[Hold, ...]] = {}
        for change in planned.changes:
            wanted = (by_key.get(key) for key in sorted(change.policies - change.taken_out))
            policies = [each for each in wanted if each is not None]
            if holds := tuple(self._given_in(policies, known[change.ref], now)):
                found[change.ref] = holds
        return found

    def made(self, change: TemplateChange, *, generation: int, now: float) -> None:
        """Notes that a change was made, and the workload's generation since then."""
        for key in change.policies:
            where = change.ref, key
            if (bout := self._bouts.get(where)) is None:
                continue
            out = key in change.taken_out
            after = taken_out(bout) if out else written(bout, generation=generation, now=now)
            self._bouts[where] = after

    def _given_in(
        self, policies: Iterable[PolicyFacts], workload: WorkloadFacts, now: float
    ) -> Iterator[Hold]:
        for policy in policies:
            if policy.desired is None:
                continue
            where, revision = (workload.ref, policy.key), policy.desired.revision
            bout = wanted_again(self._bouts.get(where), workload, revision=revision, now=now)
            self._bouts[where] = bout
            if bout.lost:
                yield Hold(policy.key, revision, Because.FIGHT, workload.writer.manager)

    def _sweep(self, now: float) -> None:
        """Forgets what counts no more, once a window."""
        if now > self._swept + WINDOW:
            self._swept = now
            self._bouts = {k: bout for k, bout in self._bouts.items() if not over(bout, now)}
