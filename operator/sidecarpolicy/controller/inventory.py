"""The inventory: the latest facts of everything watched, and marks of what changed."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping

from sidecarpolicy.cluster.resources import Resource
from sidecarpolicy.controller.dirty import DirtySet
from sidecarpolicy.controller.judge import Judge
from sidecarpolicy.controller.places import Places
from sidecarpolicy.controller.podbook import PodBook
from sidecarpolicy.controller.scalers import ScalerMirror
from sidecarpolicy.controller.shelf import Shelf
from sidecarpolicy.core.capability import NodeTally, Verdict
from sidecarpolicy.core.facts import (
    CLUSTER,
    NamespaceFacts,
    NodeFacts,
    PolicyFacts,
    RawObject,
    Ref,
    WorkloadFacts,
    namespace_facts,
    policy_facts,
    policy_scope,
    workload_facts,
)
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.selection import Exclusions
from sidecarpolicy.core.snapshot import Snapshot, blocked_by_status

Strays = Mapping[Ref, Finding]
"""Pods and what they lack."""

NODE_SETTLE = 0.05
NAMESPACE_SETTLE = 0.2
REPORT_SETTLE = 1.0


class Inventory:
    """Facts by identity. Not thread-safe; lives in one event loop.

    `see_…` takes in an object from a list or an event, `refresh_…` what one of our own
    writes returned, `forget_…` a deletion.
    """

    def __init__(self, exclusions: Exclusions, judge: Judge | None = None) -> None:
        self._exclusions = exclusions
        self._judge = judge or Judge()
        self.nodes: Shelf[str, NodeFacts] = Shelf()
        self.places = Places()
        self.namespaces: Shelf[str, NamespaceFacts] = Shelf()
        self._policies: defaultdict[str, Shelf[str, PolicyFacts]] = defaultdict(Shelf)
        self._workloads: defaultdict[str, Shelf[Ref, WorkloadFacts]] = defaultdict(Shelf)
        self.pods = PodBook()
        self._strays: dict[tuple[str, str], Strays] = {}
        self._tally = NodeTally()
        self._webhook = False
        self.dirty_nodes: DirtySet[str] = DirtySet(settle=NODE_SETTLE)
        self.drifted_nodes: DirtySet[str] = DirtySet(settle=NAMESPACE_SETTLE)
        """Nodes that gained or lost the capability, so that Pods there are to be judged anew."""
        self.dirty_scopes: DirtySet[str] = DirtySet(settle=NAMESPACE_SETTLE)
        """Namespaces to plan, and CLUSTER, whose policies only have a status to report."""
        self.scalers = ScalerMirror(self.dirty_scopes.mark)
        self.dirty_reports: DirtySet[str] = DirtySet(settle=REPORT_SETTLE)
        """Scopes whose policies have something new to say about Pods, and nothing to plan."""

    @property
    def queues(self) -> Mapping[str, DirtySet[str]]:
        """What is marked, by what it is."""
        return {
            "nodes": self.dirty_nodes,
            "namespaces": self.dirty_scopes,
            "reports": self.dirty_reports,
        }

    def verdicts(self) -> Counter[Verdict]:
        """Nodes by what their kubelets do with native sidecars."""
        return Counter(each.capability.verdict for each in self.nodes)

    def knows(self, namespace: str) -> bool:
        """Whether the namespace itself has been seen."""
        return self.namespaces.get(namespace) is not None

    def ends(self, namespace: str) -> bool:
        """Whether a namespace is being deleted."""
        facts = self.namespaces.get(namespace)
        return facts is not None and facts.ending

    @property
    def nodes_tally(self) -> NodeTally:
        """How many nodes there are, and how many are capable."""
        return self._tally

    def policy(self, scope: str, name: str) -> PolicyFacts | None:
        """One policy."""
        return self._policies[scope].get(name)

    def policy_of(self, key: str, namespace: str) -> PolicyFacts | None:
        """The policy that a record in this namespace names."""
        return self.policy(policy_scope(key, namespace), key.partition("/")[2])

    @property
    def webhook(self) -> bool:
        """Whether the API server asks our webhook about new Pods, as far as is known."""
        return self._webhook

    def see_webhook(self, registered: bool) -> None:
        """Takes in whether it does; every policy may depend on it."""
        if registered != self._webhook:
            self._webhook = registered
            for scope, policies in self._policies.items():
                if policies.keys():
                    self._mark_policy(scope)

    def promising(self) -> frozenset[str]:
        """Namespaces with workloads whose Pods may need something that only the webhook adds."""
        return frozenset(
            namespace
            for namespace, workloads in self._workloads.items()
            if any(each.promising for each in workloads)
        )

    def strays(self, policy: PolicyFacts) -> Strays:
        """Pods that lack something of the policy, because the webhook missed them."""
        return self._strays.get((policy.scope, policy.key), {})

    def see_strays(self, found: Mapping[tuple[str, str], Strays]) -> None:
        """Takes in what a complete look came to; by scope and key of the policies."""
        before, self._strays = self._strays, dict(found)
        for policy in before.keys() | found.keys():
            if before.get(policy) != found.get(policy):
                self.dirty_scopes.mark(policy[0])

    def workload(self, ref: Ref) -> WorkloadFacts | None:
        """One workload."""
        return self._workloads[ref.namespace].get(ref)

    def rolling(self, ref: Ref) -> bool:
        """Whether a workload is there, and its rollout is under way."""
        workload = self.workload(ref)
        return workload is not None and not workload.rollout.settled

    def excluded(self, scope: str) -> bool:
        """Whether nothing in this namespace may ever be changed; never so for the cluster."""
        return scope != CLUSTER and self._exclusions.covers(scope)

    def policies(self, scope: str) -> tuple[PolicyFacts, ...]:
        """The policies of a namespace, or those of the cluster."""
        return tuple(sorted(self._policies[scope], key=lambda each: each.key))

    def snapshot(self, namespace: str, *, gone: frozenset[str] = frozenset()) -> Snapshot:
        """What is known of the cluster for the plan of one namespace."""
        facts = self.namespaces.get(namespace)
        policies = self.policies(CLUSTER) + self.policies(namespace)
        return Snapshot(
            namespace=namespace,
            policies=policies,
            blocked=blocked_by_status(policies, namespace),
            workloads=tuple(self._workloads[namespace]),
            nodes=self._tally,
            autoscalers=self.scalers.of(namespace),
            webhook=self._webhook,
            gone=gone,
            excluded=self.excluded(namespace),
            namespace_opted_out=facts is not None and facts.opted_out,
            namespace_labels=facts.labels if facts is not None else {},
        )

    def policy_names(self) -> frozenset[tuple[str, str]]:
        """(scope, name) of all policies held."""
        return frozenset(
            (scope, each.name) for scope, held in self._policies.items() for each in held
        )

    def see_node(self, obj: RawObject) -> None:
        """Takes in a raw Node."""
        node = self._judge.facts(obj)
        self.places.see(obj, node.capability.verdict)
        self._put_node(node, self.nodes.put)

    def refresh_node(self, obj: RawObject) -> None:
        """Takes in a Node that we labelled."""
        self._put_node(self._judge.facts(obj), self.nodes.refresh)

    def judge_again(self, name: str) -> None:
        """Takes in what else became known of a Node than the Node itself."""
        if (held := self.nodes.get(name)) is not None:
            self._put_node(self._judge.again(held), self.nodes.put)

    def forget_node(self, name: str) -> None:
        """Drops a Node."""
        held = self.nodes.get(name)
        self.places.forget(name)
        self.dirty_nodes.unmark(name)
        if held is not None and self.nodes.drop(name):
            self._recount(held, None)

    def _put_node(self, node: NodeFacts, put: Callable[[str, NodeFacts], bool]) -> None:
        held = self.nodes.get(node.name)
        if put(node.name, node):
            self.places.judge(node.name, node.capability.verdict)
            self.dirty_nodes.mark(node.name)
            self._recount(held, node)
            before = held.capability.verdict if held is not None else Verdict.CAPABLE
            if node.capability.verdict is not before:
                self.drifted_nodes.mark(node.name)

    def see_namespace(self, obj: RawObject) -> None:
        """Takes in a raw Namespace."""
        facts = namespace_facts(obj)
        if self.namespaces.put(facts.name, facts):
            self.dirty_scopes.mark(facts.name)

    def forget_namespace(self, name: str) -> None:
        """Drops a Namespace; what was in it has deletions of its own."""
        if self.namespaces.drop(name):
            self.dirty_scopes.mark(name)

    def see_policy(self, obj: RawObject) -> None:
        """Takes in a raw policy of either kind."""
        policy = policy_facts(obj)
        if self._policies[policy.scope].put(policy.name, policy):
            self._mark_policy(policy.scope)

    def refresh_policy(self, obj: RawObject) -> None:
        """Takes in a policy whose status we wrote."""
        policy = policy_facts(obj)
        if self._policies[policy.scope].refresh(policy.name, policy):
            self._mark_policy(policy.scope)

    def forget_policy(self, scope: str, name: str) -> None:
        """Drops a policy; what it injected stays until its absence is proved."""
        if self._policies[scope].drop(name):
            self._mark_policy(scope)

    def _mark_policy(self, scope: str) -> None:
        """Asks for a look at all that a changed policy of this scope may concern."""
        self.dirty_scopes.mark(scope)
        if scope == CLUSTER:
            for namespace in self.namespaces.keys():  # noqa: SIM118 - a shelf is no dict
                self.dirty_scopes.mark(namespace)

    def see_workload(self, workload: WorkloadFacts) -> None:
        """Takes in a workload."""
        if self._workloads[workload.ref.namespace].put(workload.ref, workload):
            self.dirty_scopes.mark(workload.ref.namespace)

    def refresh_workload(self, obj: RawObject, *, kind: str) -> None:
        """Takes in a workload that we patched."""
        workload = workload_facts(obj, kind=kind)
        if self._workloads[workload.ref.namespace].refresh(workload.ref, workload):
            self.dirty_scopes.mark(workload.ref.namespace)

    def forget_workload(self, ref: Ref) -> None:
        """Drops a workload."""
        if self._workloads[ref.namespace].drop(ref):
            self.dirty_scopes.mark(ref.namespace)

    def _recount(self, before: NodeFacts | None, after: NodeFacts | None) -> None:
        """Counts one node anew; every policy shows the numbers, so all get a look."""
        counted = self._tally.changed(
            before.capability if before else None, after.capability if after else None
        )
        if counted != self._tally:
            blocks = counted.kinds != self._tally.kinds
            self._tally = counted
            for scope, policies in self._policies.items():
                if policies.keys():
                    (self._mark_policy if blocks else self.dirty_scopes.mark)(scope)


class WorkloadMirror:
    """Feeds one kind of workload from a reflector into the inventory."""

    def __init__(self, inventory: Inventory, resource: Resource) -> None:
        self._inventory = inventory
        self._kind = resource.kind
        self._known: set[Ref] = set()

    def facts(self, obj: RawObject) -> WorkloadFacts:
        """What is kept of a raw object."""
        return workload_facts(obj, kind=self._kind)

    def replace(self, workloads: Iterable[WorkloadFacts]) -> None:
        """Takes in a complete list; what is not in it is gone."""
        before, self._known = self._known, set()
        for workload in workloads:
            self.store(workload)
        for ref in before - self._known:
            self._inventory.forget_workload(ref)

    def store(self, workload: WorkloadFacts) -> None:
        """Takes in one workload; a Job that ended is none any more."""
        if workload.over:
            self.forget(workload)
            return
        self._known.add(workload.ref)
        self._inventory.see_workload(workload)

    def forget(self, workload: WorkloadFacts) -> None:
        """Drops one workload."""
        self._known.discard(workload.ref)
        self._inventory.forget_workload(workload.ref)
