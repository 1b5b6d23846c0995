"""The inventory: the latest facts of everything watched, and marks of what changed.

Facts only ever move forward: an event that is older than what we hold (our own write
is newer than events still on their way) is ignored.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from sidecarpolicy.cluster.resources import Resource
from sidecarpolicy.controller.dirty import DirtySet
from sidecarpolicy.core.capability import NodeTally, tally
from sidecarpolicy.core.facts import (
    NamespaceFacts,
    NodeFacts,
    PolicyFacts,
    RawObject,
    Ref,
    WorkloadFacts,
    namespace_facts,
    node_facts,
    policy_facts,
    workload_facts,
)
from sidecarpolicy.core.plan import Snapshot
from sidecarpolicy.core.selection import Exclusions

NODE_SETTLE = 0.05
NAMESPACE_SETTLE = 0.2


class Inventory:
    """Facts by identity. Not thread-safe; lives in one event loop."""

    def __init__(self, exclusions: Exclusions) -> None:
        self._exclusions = exclusions
        self._nodes: dict[str, NodeFacts] = {}
        self._namespaces: dict[str, NamespaceFacts] = {}
        self._policies: defaultdict[str, dict[str, PolicyFacts]] = defaultdict(dict)
        self._workloads: defaultdict[str, dict[Ref, WorkloadFacts]] = defaultdict(dict)
        self._tally = NodeTally()
        self.dirty_nodes: DirtySet[str] = DirtySet(settle=NODE_SETTLE)
        self.dirty_namespaces: DirtySet[str] = DirtySet(settle=NAMESPACE_SETTLE)

    def snapshot(self, namespace: str, *, gone: frozenset[str]) -> Snapshot:
        """What the plan of one namespace depends on."""
        facts = self._namespaces.get(namespace)
        return Snapshot(
            namespace=namespace,
            policies=tuple(sorted(self._policies[namespace].values(), key=lambda each: each.key)),
            workloads=tuple(self._workloads[namespace].values()),
            nodes=self._tally,
            gone=gone,
            excluded=self._exclusions.covers(namespace),
            namespace_opted_out=facts is not None and facts.opted_out,
        )

    def node(self, name: str) -> NodeFacts | None:
        """Facts of one node."""
        return self._nodes.get(name)

    def node_names(self) -> frozenset[str]:
        """All nodes held."""
        return frozenset(self._nodes)

    def namespace_names(self) -> frozenset[str]:
        """All namespaces held."""
        return frozenset(self._namespaces)

    def policy_names(self) -> frozenset[tuple[str, str]]:
        """(namespace, name) of all policies held."""
        return frozenset((space, name) for space, held in self._policies.items() for name in held)

    def store_node(self, obj: RawObject) -> None:
        """Takes in a raw Node."""
        node = node_facts(obj)
        held = self._nodes.get(node.name)
        if held is not None and held.version > node.version > 0:
            return
        self._nodes[node.name] = node
        if held is None or replace(held, version=node.version) != node:
            self.dirty_nodes.mark(node.name)
            self._recount()

    def forget_node(self, name: str) -> None:
        """Drops a Node."""
        if self._nodes.pop(name, None) is not None:
            self._recount()

    def store_namespace(self, obj: RawObject) -> None:
        """Takes in a raw Namespace."""
        facts = namespace_facts(obj)
        held = self._namespaces.get(facts.name)
        if held is not None and held.version > facts.version > 0:
            return
        self._namespaces[facts.name] = facts
        if held is not None and held.opted_out != facts.opted_out:
            self.dirty_namespaces.mark(facts.name)

    def forget_namespace(self, name: str) -> None:
        """Drops a Namespace and all that was in it."""
        self._namespaces.pop(name, None)
        self._policies.pop(name, None)
        self._workloads.pop(name, None)

    def store_policy(self, obj: RawObject) -> None:
        """Takes in a raw SidecarPolicy."""
        policy = policy_facts(obj)
        held = self._policies[policy.namespace].get(policy.name)
        if held is not None and held.uid == policy.uid and held.version > policy.version > 0:
            return
        self._policies[policy.namespace][policy.name] = policy
        if held is None or replace(held, version=policy.version) != policy:
            self.dirty_namespaces.mark(policy.namespace)

    def forget_policy(self, namespace: str, name: str) -> None:
        """Drops a SidecarPolicy; what it injected stays until its absence is proved."""
        if self._policies[namespace].pop(name, None) is not None:
            self.dirty_namespaces.mark(namespace)

    def store_workload(self, obj: RawObject, *, kind: str) -> None:
        """Takes in a raw workload."""
        workload = workload_facts(obj, kind=kind)
        held = self._workloads[workload.ref.namespace].get(workload.ref)
        if held is not None and held.uid == workload.uid and held.version > workload.version > 0:
            return
        self._workloads[workload.ref.namespace][workload.ref] = workload
        if held is None or replace(held, version=workload.version) != workload:
            self.dirty_namespaces.mark(workload.ref.namespace)

    def forget_workload(self, ref: Ref) -> None:
        """Drops a workload."""
        if self._workloads[ref.namespace].pop(ref, None) is not None:
            self.dirty_namespaces.mark(ref.namespace)

    def _recount(self) -> None:
        """Counts nodes again; every policy shows the numbers, so all get a look."""
        counted = tally(node.capability for node in self._nodes.values())
        if counted != self._tally:
            self._tally = counted
            for namespace, policies in self._policies.items():
                if policies:
                    self.dirty_namespaces.mark(namespace)


class WorkloadMirror:
    """Feeds one kind of workload from a reflector into the inventory."""

    def __init__(self, inventory: Inventory, resource: Resource) -> None:
        self._inventory = inventory
        self._kind = resource.kind
        self._known: set[Ref] = set()

    def replace(self, objects: Iterable[RawObject]) -> None:
        """Takes in a complete list; what is not in it is gone."""
        before, self._known = self._known, set()
        for obj in objects:
            self.store(obj)
        for ref in before - self._known:
            self._inventory.forget_workload(ref)

    def store(self, obj: RawObject) -> None:
        """Takes in one workload."""
        self._known.add(self._ref(obj))
        self._inventory.store_workload(obj, kind=self._kind)

    def forget(self, obj: RawObject) -> None:
        """Drops one workload."""
        self._known.discard(self._ref(obj))
        self._inventory.forget_workload(self._ref(obj))

    def _ref(self, obj: RawObject) -> Ref:
        return Ref(self._kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
