"""`status`: policies and where their workloads are. Reads a cluster once and never writes.

What may not be read is said, and the rest is shown: without the nodes, for one, nothing is held
back because of them.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sidecarpolicy.api.names import NAMESPACE_NAME_LABEL, WEBHOOK_CONFIGURATION
from sidecarpolicy.cli.manifests import UnusableInputError
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.connection import NoClusterError, connect
from sidecarpolicy.cluster.outcome import Result
from sidecarpolicy.cluster.resources import (
    CLUSTER_POLICIES,
    NAMESPACES,
    NODES,
    POLICIES,
    WEBHOOK_CONFIGURATIONS,
    WORKLOADS,
    Resource,
)
from sidecarpolicy.controller.rollouts import origin_of
from sidecarpolicy.core.capability import NodeTally, Rules, tally
from sidecarpolicy.core.facts import (
    CLUSTER,
    NamespaceFacts,
    PolicyFacts,
    RawObject,
    WorkloadFacts,
    namespace_facts,
    node_facts,
    policy_facts,
    workload_facts,
)
from sidecarpolicy.core.failure import in_question
from sidecarpolicy.core.overview import Overview, overviews
from sidecarpolicy.core.registration import sees_pods
from sidecarpolicy.core.selection import Exclusions
from sidecarpolicy.core.snapshot import Snapshot, blocked_by_status


@dataclass(frozen=True)
class View:
    """What is asked for: `namespace` is empty for all."""

    namespace: str
    exclusions: Exclusions
    rules: Rules


@dataclass(frozen=True)
class Status:
    """Policies in the order in which they act, and what could not be read."""

    policies: tuple[Overview, ...]
    unread: tuple[str, ...]

    @property
    def well(self) -> bool:
        """Whether nothing is wrong with any of them, and all could be read."""
        return not self.unread and all(each.well for each in self.policies)


async def look(view: View, *, kubeconfig: str | None = None) -> Status:
    """Reads everything once; UnusableInputError if the policies cannot be read."""
    try:
        async with connect(kubeconfig) as connection:
            return await Reader(Api(connection), view).read()
    except NoClusterError as error:
        raise UnusableInputError(str(error)) from error


class Reader:
    """One round through a cluster."""

    def __init__(self, api: Api, view: View) -> None:
        self._api = api
        self._view = view
        self._unread: list[str] = []

    async def read(self) -> Status:
        """All that there is to see."""
        policies = await self._policies()
        snapshots = await self._snapshots([facts for _, facts in policies]) if policies else []
        found = overviews(policies, snapshots, now=time.time())
        return Status(tuple(found), tuple(self._unread))

    async def _policies(self) -> list[tuple[RawObject, PolicyFacts]]:
        """Of the namespace, or of all, and of the cluster; whoever may not read those sees his."""

        def kept(kind: Resource) -> Callable[[RawObject], tuple[RawObject, PolicyFacts]]:
            return lambda obj: ({"kind": kind.kind, **obj}, policy_facts(obj))

        own = await self._api.list_all(
            POLICIES, keep=kept(POLICIES), namespace=self._view.namespace or None
        )
        if own.result is Result.UNAVAILABLE and own.code == 404:
            raise UnusableInputError("the API server knows no policies; install the CRDs")
        if not own.done:
            raise UnusableInputError(f"cannot list policies: {own.message}")
        shared = await self._list(CLUSTER_POLICIES, kept(CLUSTER_POLICIES), everywhere=True)
        return sorted([*(shared or ()), *own.items], key=lambda each: (each[1].scope, each[1].key))

    async def _snapshots(self, policies: Iterable[PolicyFacts]) -> list[Snapshot] | None:
        """One for each namespace that has a policy or a workload."""
        workloads = await self._workloads()
        if workloads is None:
            return None
        by_scope: defaultdict[str, list[PolicyFacts]] = defaultdict(list)
        for policy in policies:
            by_scope[policy.scope].append(policy)
        spaces, nodes = await self._spaces(), await self._nodes()
        webhook = await self._webhook()
        names = sorted((by_scope.keys() | workloads.keys()) - {CLUSTER})
        shown = (
            _snapshot(
                spaces.get(name) or NamespaceFacts(name, "", 0, {NAMESPACE_NAME_LABEL: name}),
                policies=(*by_scope[CLUSTER], *by_scope[name]),
                workloads=tuple(workloads.get(name, ())),
                nodes=nodes,
                webhook=webhook,
                excluded=self._view.exclusions.covers(name),
            )
            for name in names
        )
        return [await self._judged(each) for each in shown]

    async def _judged(self, snapshot: Snapshot) -> Snapshot:
        """With the time, and with what rollouts brought that may have failed."""
        now = replace(snapshot, now=time.time())
        found = {each.ref: await origin_of(each, self._api) for each in in_question(now)}
        return replace(now, origins={ref: read for ref, read in found.items() if read is not None})

    async def _workloads(self) -> Mapping[str, list[WorkloadFacts]] | None:
        found: defaultdict[str, list[WorkloadFacts]] = defaultdict(list)
        for kind in WORKLOADS.values():
            listed = await self._list(kind, partial(workload_facts, kind=kind.kind))
            if listed is None:
                return None
            for each in listed:
                if not each.over:
                    found[each.ref.namespace].append(each)
        return found

    async def _spaces(self) -> Mapping[str, NamespaceFacts]:
        if not self._view.namespace:
            listed = await self._list(NAMESPACES, namespace_facts, everywhere=True)
            return {each.name: each for each in listed or ()}
        answer = await self._api.get(NAMESPACES, name=self._view.namespace)
        if answer.done:
            return {self._view.namespace: namespace_facts(answer.body)}
        self._unread.append(f"namespace {self._view.namespace}: {answer.message}")
        return {}

    async def _nodes(self) -> NodeTally:
        listed = await self._list(
            NODES, lambda obj: node_facts(obj, self._view.rules).capability, everywhere=True
        )
        return tally(listed or ())

    async def _webhook(self) -> bool:
        """Whether new Pods are seen; whoever may not look believes it."""
        answer = await self._api.get(WEBHOOK_CONFIGURATIONS, name=WEBHOOK_CONFIGURATION)
        if answer.done or answer.result is Result.GONE:
            return answer.done and sees_pods(answer.body)
        self._unread.append(f"the webhook's registration: {answer.message}")
        return True

    async def _list(
        self, kind: Resource, keep: Callable[[Any], Any], *, everywhere: bool = False
    ) -> tuple[Any, ...] | None:
        namespace = None if everywhere else self._view.namespace or None
        listed = await self._api.list_all(kind, keep=keep, namespace=namespace)
        if listed.done:
            return listed.items
        self._unread.append(f"{kind.plural}: {listed.message}")
        return None


def _snapshot(
    space: NamespaceFacts,
    *,
    policies: tuple[PolicyFacts, ...],
    workloads: tuple[WorkloadFacts, ...],
    nodes: NodeTally,
    webhook: bool,
    excluded: bool,
) -> Snapshot:
    return Snapshot(
        space.name,
        policies=policies,
        workloads=workloads,
        nodes=nodes,
        webhook=webhook,
        excluded=excluded,
        blocked=blocked_by_status(policies, space.name),
        namespace_opted_out=space.opted_out,
        namespace_labels=space.labels,
    )
