"""The memory of the webhook: all that a review needs, fed by reflectors, no API call ever.

Policies, namespaces' labels, and one word per node. What is not known yet is not guessed:
the process is ready only once everything has been listed.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Generic, TypeVar

from sidecarpolicy.core.capability import RULES, NodeTally, Rules, Verdict, capability, tally
from sidecarpolicy.core.facts import (
    CLUSTER,
    NamespaceFacts,
    NodeFacts,
    PolicyFacts,
    RawObject,
    namespace_facts,
    node_facts,
    policy_facts,
)
from sidecarpolicy.core.gate import by_version
from sidecarpolicy.core.selection import Exclusions
from sidecarpolicy.core.shortlist import Shortlist
from sidecarpolicy.core.snapshot import Snapshot, blocked_by_status, untried

Fact = TypeVar("Fact", NamespaceFacts, NodeFacts, PolicyFacts)

_NOBODY = Shortlist()

_PATIENCE = 0.5
"""Seconds to wait for a namespace; the API server waits for 2 seconds for our answer."""
_GLANCE = 0.02


class Mirrored(Generic[Fact]):
    """The mirror of one collection; `changed` is called after each change."""

    def __init__(
        self,
        facts: Callable[[RawObject], Fact],
        key: Callable[[Fact], str],
        changed: Callable[[], None],
    ) -> None:
        self.facts: Callable[[RawObject], Fact] = facts
        self._key: Callable[[Fact], str] = key
        self._changed = changed
        self.held: dict[str, Fact] = {}

    def replace(self, facts: Iterable[Fact]) -> None:
        """Takes in a complete list."""
        self.held = {self._key(fact): fact for fact in facts}
        self._changed()

    def store(self, fact: Fact) -> None:
        """Takes in one object."""
        self.held[self._key(fact)] = fact
        self._changed()

    def forget(self, fact: Fact) -> None:
        """Drops one object."""
        self.held.pop(self._key(fact), None)
        self._changed()


class Memory:
    """A View of the cluster for core.admission."""

    def __init__(self, exclusions: Exclusions, rules: Rules = RULES) -> None:
        self._exclusions = exclusions
        self._rules = rules
        self.policies = Mirrored(policy_facts, str, self._sort)
        self.cluster_policies = Mirrored(policy_facts, str, self._sort)
        self.namespaces = Mirrored(namespace_facts, lambda each: each.name, lambda: None)
        self.nodes = Mirrored(self._node_facts, lambda each: each.name, self._count)
        self._by_scope: dict[str, Shortlist] = {}
        self._tally = NodeTally()

    async def meet(self, namespace: str) -> None:
        """Waits a moment for a namespace that is not known.

        What is created right after its namespace can be faster than our watch, and the
        namespace's labels and its opt-out decide.
        """
        for _ in range(round(_PATIENCE / _GLANCE)):
            if namespace in self.namespaces.held:
                return
            await asyncio.sleep(_GLANCE)

    def snapshot(
        self, namespace: str, *, creating: bool, labels: Mapping[str, str] | None
    ) -> Snapshot:
        """The policies that could concern a template of the namespace; all, without labels.

        Nothing is selected in a namespace that is not known: it may have opted out.
        """
        known = self.namespaces.held.get(namespace)
        scopes = [self._by_scope.get(scope, _NOBODY) for scope in (CLUSTER, namespace)]
        policies = tuple(
            policy
            for scope in scopes
            for policy in (scope.all if labels is None else scope.of(labels))
        )
        return Snapshot(
            namespace=namespace,
            policies=policies,
            blocked={
                **untried(policies, by_version(self._rules.api_server)),
                **blocked_by_status(policies, namespace),
            },
            obedient=True,
            nodes=self._tally,
            excluded=known is None or self._exclusions.covers(namespace),
            namespace_opted_out=known is not None and known.opted_out,
            namespace_labels=known.labels if known is not None else {},
            creating=creating,
        )

    def verdict(self, node: str) -> Verdict | None:
        """What a node does with a native sidecar; None for one that is not known."""
        known = self.nodes.held.get(node)
        return known.capability.verdict if known is not None else None

    def judge_by(self, api_server: str) -> None:
        """Judges all nodes anew by another version of the API server."""
        self._rules = replace(self._rules, api_server=api_server)
        self.nodes.replace(
            replace(node, capability=capability(node.kubelet, self._rules))
            for node in tuple(self.nodes.held.values())
        )

    def _node_facts(self, obj: RawObject) -> NodeFacts:
        """What the controller read of a kubelet comes with the Node, as an annotation."""
        return node_facts(obj, self._rules)

    def _sort(self) -> None:
        scopes: defaultdict[str, list[PolicyFacts]] = defaultdict(list)
        for policy in (*self.policies.held.values(), *self.cluster_policies.held.values()):
            if not policy.deleting:
                scopes[policy.scope].append(policy)
        self._by_scope = {scope: Shortlist(policies) for scope, policies in scopes.items()}

    def _count(self) -> None:
        self._tally = tally(node.capability for node in self.nodes.held.values())
