"""`doctor`: what is wrong with Pods that have native sidecars, and what to do next.

Reads and never writes; needs no operator in the cluster. What it may not read is said, and
the diagnosis goes on without it.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidecarpolicy.api.models import TargetKind
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.cli.hanging import NOTHING_HANGS, Hanging, JobReader
from sidecarpolicy.cli.manifests import UnusableInputError
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.connection import NoClusterError, connect
from sidecarpolicy.cluster.outcome import Outcome, Result
from sidecarpolicy.cluster.resources import (
    DAEMON_SETS,
    EVENTS,
    JOBS,
    NODES,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
)
from sidecarpolicy.core.advice import Diagnosis
from sidecarpolicy.core.diagnosis import Case, diagnose
from sidecarpolicy.core.facts import NodeFacts, RawObject, Ref, node_facts
from sidecarpolicy.core.native import native_names
from sidecarpolicy.core.podfacts import Owner, PodFacts, concerns_us, made_from, pod_facts
from sidecarpolicy.core.refused import Refusal, lacks_pods, refusal_of

_POD: Final = "Pod"
_KINDS: Final = {
    "pod": _POD, "pods": _POD, "po": _POD,
    "deployment": "Deployment", "deployments": "Deployment", "deploy": "Deployment",
    "statefulset": "StatefulSet", "statefulsets": "StatefulSet", "sts": "StatefulSet",
    "daemonset": "DaemonSet", "daemonsets": "DaemonSet", "ds": "DaemonSet",
    "replicaset": "ReplicaSet", "replicasets": "ReplicaSet", "rs": "ReplicaSet",
    "job": "Job", "jobs": "Job",
}  # fmt: skip
_TEMPLATED: Final = {each.kind: each for each in (REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS, JOBS)}
_MAX_EVENTS: Final = 3


@dataclass(frozen=True)
class Target:
    """What is to be examined: one object, or all Pods of a namespace, or of all namespaces."""

    namespace: str
    """Empty for all."""
    kind: str = ""
    name: str = ""


@dataclass(frozen=True)
class Examination:
    """One Pod, and what was found."""

    pod: PodFacts
    node: NodeFacts | None
    diagnosis: Diagnosis | None
    concerned: bool = True
    """Whether it has, or is meant to have, native sidecars."""
    events: tuple[str, ...] = ()
    """The latest warnings about it."""


@dataclass(frozen=True)
class Report:
    """Everything that was examined, and what could not be read."""

    pods: tuple[Examination, ...]
    refused: tuple[Refusal, ...] = ()
    unread: tuple[str, ...] = ()
    hanging: Hanging = NOTHING_HANGS

    @property
    def counted(self) -> str:
        """How many Pods were examined, for people."""
        return f"{len(self.pods)} Pod{'' if len(self.pods) == 1 else 's'} with native sidecars"

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        pods_are = all(each.diagnosis is None for each in self.pods)
        return pods_are and not self.refused and not self.hanging.jobs


def target(wanted: str, namespace: str) -> Target:
    """What "pod/web-1" or "deploy/web" means; all Pods of the namespace where nothing is named."""
    if not wanted:
        return Target(namespace)
    given, _, name = wanted.partition("/")
    kind = _KINDS.get(given.lower())
    if kind is None or not name:
        raise UnusableInputError(f"{wanted!r} is not understood; write pod/NAME, deploy/NAME, …")
    if not namespace:
        raise UnusableInputError(f"{wanted} has a namespace; give it with -n instead of -A")
    return Target(namespace, kind, name)


async def examine(wanted: Target, *, kubeconfig: str | None = None) -> Report:
    """Reads and diagnoses; UnusableInputError if what is asked about cannot be read."""
    try:
        async with connect(kubeconfig) as connection:
            doctor = Doctor(Api(connection))
            if wanted.kind == _POD:
                return await doctor.one(wanted)
            return await doctor.many(wanted)
    except NoClusterError as error:
        raise UnusableInputError(str(error)) from error


class Doctor:
    """One round: gathers facts, asks the core, and remembers what could not be read."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._unread: list[str] = []
        self._jobs = JobReader(api, self._unread.append)

    async def one(self, wanted: Target) -> Report:
        """Examines one Pod, with all that can be read about it."""
        answer = await self._api.get(PODS, name=wanted.name, namespace=wanted.namespace)
        if not answer.done:
            raise UnusableInputError(answer.message)
        raw = {"kind": _POD, **answer.body}
        pod = pod_facts(raw)
        meant = await self._meant(pod, raw)
        node = await self._node(pod)
        case = Case(pod, time.time(), node, server=await self._server(), meant=meant)
        events = await self._events(pod)
        concerned = concerns_us(raw) or bool(meant)
        found = diagnose(case) if concerned else None
        hanging = await self._jobs.of_pod(raw)
        examined = Examination(pod, node, found, concerned, events)
        return Report((examined,), unread=tuple(self._unread), hanging=hanging)

    async def many(self, wanted: Target) -> Report:
        """Examines all Pods with native sidecars of a workload, a namespace or the cluster."""
        listed = await self._api.list_all(
            PODS,
            namespace=wanted.namespace or None,
            keep=lambda pod: pod_facts(pod) if concerns_us(pod) else None,
        )
        if not listed.done:
            raise UnusableInputError(listed.message)
        pods = [each for each in listed.items if each is not None and _owned(each.owner, wanted)]
        nodes, server = await self._nodes(), await self._server()
        youngest = {each.owner: each.created for each in sorted(pods, key=_created) if _runs(each)}
        examined = []
        for pod in sorted(pods, key=lambda each: each.ref):
            node, replaced = nodes.get(pod.node), pod.created < youngest.get(pod.owner, 0.0)
            case = Case(pod, time.time(), node, server=server, replaced=replaced and pod.over)
            examined.append(Examination(pod, node, diagnose(case)))
        refused = await self._refused(wanted, pods)
        hanging = await self._hanging(wanted)
        return Report(tuple(examined), refused, tuple(self._unread), hanging)

    async def _hanging(self, wanted: Target) -> Hanging:
        """Jobs that hang; a workload that makes none has none."""
        if wanted.kind not in ("", TargetKind.JOB):
            return NOTHING_HANGS
        return await self._jobs.of_namespace(wanted.namespace, job=wanted.name)

    async def _node(self, pod: PodFacts) -> NodeFacts | None:
        if not pod.node:
            return None
        answer = await self._api.get(NODES, name=pod.node)
        unknown = f"node {pod.node}, so it is not known what it does with native sidecars"
        return node_facts(answer.body) if self._read(answer, unknown) else None

    async def _nodes(self) -> Mapping[str, NodeFacts]:
        listed = await self._api.list_all(NODES, keep=node_facts)
        self._read(listed, "nodes, so it is not known what they do with native sidecars")
        return {each.name: each for each in listed.items}

    async def _server(self) -> str:
        answer = await self._api.server_version()
        read = self._read(answer, "the API server's version, so its known bugs are not looked for")
        return str(answer.body.get("gitVersion", "")) if read else ""

    async def _meant(self, pod: PodFacts, raw: RawObject) -> frozenset[str]:
        """Native sidecars in the owner's template; asked only if the Pod may have lost some."""
        ordinary = any(not each.native for each in pod.init)
        if not ordinary or pod.recorded:
            return frozenset()
        owner = await self._owner(pod.owner.direct, "whether the Pod lost a restartPolicy")
        if not owner or not made_from(raw, owner):
            return frozenset()
        return native_names(owner["spec"]["template"])

    async def _owner(self, owner: Ref, matter: str) -> RawObject | None:
        """A Pod's owner, if it is of a kind that has a template; empty if it is gone, None if it
        cannot be read. `matter` is what hangs on it.
        """
        resource = _TEMPLATED.get(owner.kind)
        if resource is None:
            return None
        answer = await self._api.get(resource, name=owner.name, namespace=owner.namespace)
        if answer.result is Result.GONE:
            return {}
        read = self._read(answer, f"{owner}, so it is not known {matter}")
        return answer.body if read else None

    async def _events(self, pod: PodFacts) -> tuple[str, ...]:
        listed = await self._api.list_all(
            EVENTS,
            namespace=pod.ref.namespace,
            fields=f"involvedObject.uid={pod.uid},type=Warning",
            keep=lambda event: event,
        )
        self._read(listed, "events about the Pod")
        return _latest(listed.items)

    async def _refused(self, wanted: Target, pods: list[PodFacts]) -> tuple[Refusal, ...]:
        """Owners whose Pods cannot be created, each by its latest Event."""
        listed = await self._api.list_all(
            EVENTS,
            namespace=wanted.namespace or None,
            fields="reason=FailedCreate",
            keep=refusal_of,
        )
        self._read(listed, "events, so workloads whose Pods cannot be created are not found")
        latest: dict[Owner, Refusal] = {}
        for each in sorted(filter(None, listed.items), key=lambda found: found.at):
            if _owned(each.owner, wanted):
                latest[each.owner] = each
        now = time.time()
        lasting = (e for e in latest.values() if e.lasts(now, youngest=_youngest(e.owner, pods)))
        return tuple([each for each in lasting if await self._concerns_us(each)])

    async def _concerns_us(self, refusal: Refusal) -> bool:
        """Whether Pods are still missing, and were to have native sidecars at all."""
        lost = refusal.diagnosis.reason is Reason.RESTART_POLICY_STRIPPED
        owner = await self._owner(refusal.owner.direct, "why it gets no Pods")
        if owner is None:
            return lost
        if not owner or not lacks_pods(owner, refusal.owner.direct.kind):
            return False
        return lost or bool(native_names(owner["spec"]["template"]))

    def _read(self, answer: Outcome, what: str) -> bool:
        """Whether it could be read; else notes what is not known therefore."""
        if not answer.done:
            self._unread.append(f"{what}: {answer.message}")
        return answer.done


def _owned(owner: Owner, wanted: Target) -> bool:
    names = {(each.kind, each.name) for each in (owner.ref, owner.direct)}
    return not wanted.kind or (wanted.kind, wanted.name) in names


def _created(pod: PodFacts) -> float:
    return pod.created


def _runs(pod: PodFacts) -> bool:
    return pod.phase == "Running" and pod.blocker is None and not pod.deleting


def _youngest(owner: Owner, pods: list[PodFacts]) -> float:
    theirs = (pod.created for pod in pods if pod.owner.ref == owner.ref)
    return max(theirs, default=0.0)


def _latest(events: tuple[RawObject, ...]) -> tuple[str, ...]:
    """The latest warnings, each once; Kubernetes' own, as ours would only repeat the diagnosis."""
    ordered = sorted(events, key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""))
    texts: dict[str, Any] = {}
    for event in reversed(ordered):
        texts.setdefault(f"{event.get('reason')}: {event.get('message')}")
    return tuple(texts)[:_MAX_EVENTS]
