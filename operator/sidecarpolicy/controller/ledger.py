"""The ledger: what the latest pass over each namespace came to, for every policy.

A policy's status is drawn from it. An entry counts only for the very policy, and the
generation of it, that the pass knew: nothing is reported of a spec that was not planned.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from sidecarpolicy.core.facts import CLUSTER, PolicyFacts, policy_scope
from sidecarpolicy.core.snapshot import Elsewhere
from sidecarpolicy.core.standing import State
from sidecarpolicy.core.summary import Summary, merge


@dataclass(frozen=True)
class Entry:
    """What one pass came to for one policy."""

    uid: str
    generation: int
    summary: Summary
    open: bool = False
    """Whether dry runs are under way: counted for others' pace, but not reported yet."""


class Ledger:
    """Entries by namespace and policy key, and the totals of cluster policies."""

    def __init__(self) -> None:
        self._entries: dict[str, Mapping[str, Entry]] = {}
        self._totals: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def put(self, namespace: str, entries: Mapping[str, Entry]) -> frozenset[str]:
        """Replaces a namespace's entries.

        Returns the scopes to look at because of it: CLUSTER if there is news of its policies,
        and the namespaces in which such a policy waits for a place that is free now.
        """
        before = self._entries.get(namespace, {})
        self._entries[namespace] = entries
        changed = {
            key
            for key in before.keys() | entries.keys()
            if _of_cluster(key) and before.get(key) != entries.get(key)
        }
        freed = [key for key in changed if self._count(key, before, entries)]
        waiting = {space for key in freed for space in self._entries if self._waits(key, space)}
        return frozenset(waiting | {CLUSTER} if changed else ())

    def drop(self, namespace: str) -> frozenset[str]:
        """Forgets a namespace; returns the scopes to look at because of it, as `put` does."""
        scopes = self.put(namespace, {})
        del self._entries[namespace]
        return scopes

    def elsewhere(self, namespace: str) -> Mapping[str, Elsewhere]:
        """What cluster policies have to do with outside of a namespace."""
        own = self._entries.get(namespace, {})
        return {key: _elsewhere(total, own.get(key)) for key, total in self._totals.items()}

    def counts(self) -> Counter[tuple[str, State]]:
        """All workloads by kind of policy and state."""
        found: Counter[tuple[str, State]] = Counter()
        for entries in self._entries.values():
            for key, entry in entries.items():
                kind = key.partition("/")[0]
                for state, number in entry.summary.counts.items():
                    found[kind, state] += number
        return found

    def _count(self, key: str, before: Mapping[str, Entry], after: Mapping[str, Entry]) -> bool:
        """Brings a total up to date; whether fewer workloads keep others waiting now."""
        total = self._totals[key]
        busy = total[_ROLLING] + total[State.FAILED]
        for entries, add in ((before, total.subtract), (after, total.update)):
            if key in entries:
                add(_numbers(entries[key].summary))
        return total[_ROLLING] + total[State.FAILED] < busy

    def _waits(self, key: str, namespace: str) -> bool:
        entry = self._entries[namespace].get(key)
        return entry is not None and entry.summary.counts[State.PENDING] > 0

    def summary(self, policy: PolicyFacts) -> Summary | None:
        """What the policy's workloads come to; None until all were planned under its spec."""
        spaces = self._entries if policy.scope == CLUSTER else (policy.scope,)
        found = [self._entries.get(space, {}).get(policy.key) for space in spaces]
        if any(each is None or not _about(each, policy) for each in found):
            return None
        return merge(each.summary for each in found if each is not None)


def _of_cluster(key: str) -> bool:
    return policy_scope(key, "namespace") == CLUSTER


_ROLLING = "rolling"
"""Key of those that hold a place, beside those of the states."""


def _numbers(summary: Summary) -> Counter[str]:
    counts: dict[str, int] = {state: summary.counts[state] for state in State}
    return Counter({**counts, _ROLLING: summary.rolling})


def _elsewhere(total: Counter[str], own: Entry | None) -> Elsewhere:
    rest = total - _numbers(own.summary) if own is not None else total
    return Elsewhere(
        matched=sum(rest[state] for state in State if state is not State.SKIPPED),
        rolling=rest[_ROLLING],
        failed=rest[State.FAILED],
    )


def _about(entry: Entry, policy: PolicyFacts) -> bool:
    same = (entry.uid, entry.generation) == (policy.uid, policy.generation)
    return same and not entry.open
