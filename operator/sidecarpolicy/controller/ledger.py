"""The ledger: what the latest pass over each namespace came to, for every policy.

A policy's status is drawn from it. An entry counts only for the very policy, and the
generation of it, that the pass knew: nothing is reported of a spec that was not planned.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sidecarpolicy.core.facts import CLUSTER, PolicyFacts, policy_scope
from sidecarpolicy.core.summary import Summary, merge


@dataclass(frozen=True)
class Entry:
    """What one pass came to for one policy."""

    uid: str
    generation: int
    summary: Summary


class Ledger:
    """Entries by namespace and policy key."""

    def __init__(self) -> None:
        self._entries: dict[str, Mapping[str, Entry]] = {}

    def put(self, namespace: str, entries: Mapping[str, Entry]) -> bool:
        """Replaces a namespace's entries; whether any of a cluster policy is new."""
        before = self._entries.get(namespace, {})
        self._entries[namespace] = entries
        keys = {*before, *entries}
        return any(before.get(key) != entries.get(key) for key in keys if _of_cluster(key))

    def drop(self, namespace: str) -> None:
        """Forgets a namespace."""
        self._entries.pop(namespace, None)

    def summary(self, policy: PolicyFacts) -> Summary | None:
        """What the policy's workloads come to; None until all were planned under its spec."""
        spaces = self._entries if policy.scope == CLUSTER else (policy.scope,)
        found = [self._entries.get(space, {}).get(policy.key) for space in spaces]
        if any(each is None or not _about(each, policy) for each in found):
            return None
        return merge(each.summary for each in found if each is not None)


def _of_cluster(key: str) -> bool:
    return policy_scope(key, "namespace") == CLUSTER


def _about(entry: Entry, policy: PolicyFacts) -> bool:
    return (entry.uid, entry.generation) == (policy.uid, policy.generation)
