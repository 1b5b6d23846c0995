"""Finds what the operator left in a cluster: in templates, histories, Pods and nodes.

Reads everything once, a page at a time, and keeps only what carries something of ours.
"""

from dataclasses import dataclass
from typing import Any, Final

from sidecarpolicy.api.names import INJECTED_LABEL
from sidecarpolicy.cli.uninstall_objects import Objects
from sidecarpolicy.cli.uninstall_steps import Action, State, Step
from sidecarpolicy.cluster.resources import (
    CONTROLLER_REVISIONS,
    JOBS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    WORKLOADS,
    Resource,
)
from sidecarpolicy.core.facts import Ref, controlling_owner
from sidecarpolicy.core.noderule import needs_label
from sidecarpolicy.core.removal import marked, of_users, ours, removal, waits_for_owner

JSON = dict[str, Any]

_KEPT_META: Final = ("name", "namespace", "uid", "labels", "annotations")
_MADE_ANEW: Final = ("ReplicaSet", "StatefulSet", "DaemonSet", "Job")
"""Whose Pods are told of with their owners."""


@dataclass(frozen=True, order=True)
class Found:
    """A workload with parts of policies; what rolls already is freed first."""

    settled: bool
    ref: Ref
    planned: Step


class Traces:
    """One look at a cluster after the other."""

    def __init__(self, objects: Objects, *, node_labels: bool) -> None:
        """`node_labels`: whether nodes are to lose them."""
        self._objects = objects
        self._node_labels = node_labels

    async def templates(self) -> list[Found]:
        """All workloads whose templates or metadata carry anything, but for Jobs."""
        kinds = (kind for kind in WORKLOADS.values() if kind is not JOBS)
        lists = [await self._objects.listed(kind, _keeper(kind)) for kind in kinds]
        return sorted(each for found in lists for each in found)

    async def what_ends_by_itself(self) -> list[Step]:
        """Jobs and Pods that have sidecars until they end, and hold nothing up."""
        jobs = await self._objects.listed(JOBS, self._job)
        pods = await self._objects.listed(PODS, _running, labels=INJECTED_LABEL)
        return [*jobs, *pods]

    async def clean(self) -> None:
        """Takes labels and annotations off histories, ended Pods and nodes."""
        for kind in (REPLICA_SETS, CONTROLLER_REVISIONS, JOBS):  # they have labels of templates
            await self._objects.clean(kind, await self._objects.listed(kind, _labelled))
        ended = await self._objects.listed(PODS, _ended, labels=INJECTED_LABEL)
        await self._objects.clean(PODS, ended)
        if self._node_labels:
            await self._objects.clean(NODES, await self._objects.listed(NODES, _labelled))

    async def of_users(self) -> list[Step]:
        """What people wrote for the operator to read, on nodes and namespaces."""
        return [
            _stays(kind, each["metadata"], f"its annotation {key} is not the operator's to remove")
            for kind in (NODES, NAMESPACES)
            for each in await self._objects.listed(kind, _annotated)
            for key in of_users(each["metadata"])
        ]

    async def returned(self) -> list[Step]:
        """What carries something again after it was taken off."""
        nodes = await self._objects.listed(NODES, _labelled) if self._node_labels else []
        refs = [each.ref for each in await self.templates()]
        named = [(each.kind, each.name, each.namespace) for each in refs]
        named += [(NODES.kind, each["name"], "") for each in nodes]
        message = (
            "it was written again: a controller still runs somewhere, or a GitOps tool brings it; "
            "end that, and run this again"
        )
        return [
            Step(State.FAILED, Action.NONE, kind, name, space, message)
            for kind, name, space in named
        ]

    def _job(self, job: JSON) -> Step | None:
        if not marked(job, kind=JOBS.kind) or removal(job, kind=JOBS.kind).facts.over:
            return None
        message = "it keeps its sidecars until it ends"
        if self._node_labels and needs_label(job["spec"]["template"]["spec"]):
            message += "; Pods that it is yet to create will wait for a node label that is gone"
        return _stays(JOBS, job["metadata"], message)


def _keeper(kind: Resource) -> Any:
    def keep(obj: JSON) -> Found | None:
        if not marked(obj, kind=kind.kind):
            return None
        wanted = removal(obj, kind=kind.kind)
        stuck = wanted.stuck.message if wanted.stuck else ""
        said = stuck or ", ".join(sorted(wanted.policies)) or "its annotation"
        if owner := waits_for_owner(obj):
            said += f" ({owner})"
        ref = wanted.ref
        state = State.FAILED if stuck else State.PLANNED
        step = Step(state, Action.STRIP, ref.kind, ref.name, ref.namespace, said)
        return Found(wanted.facts.rollout.settled, ref, step)

    return keep


def _running(pod: JSON) -> Step | None:
    owner = controlling_owner(pod["metadata"])
    told = owner is not None and owner[0] in _MADE_ANEW
    if told or _over(pod):
        return None
    return _stays(PODS, pod["metadata"], "it keeps its sidecars until it ends")


def _ended(pod: JSON) -> JSON | None:
    return _labelled(pod) if _over(pod) else None


def _over(pod: JSON) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _labelled(obj: JSON) -> JSON | None:
    """The metadata of what carries something of ours, as far as it is needed."""
    meta = obj["metadata"]
    return {key: meta[key] for key in _KEPT_META if key in meta} if any(ours(meta)) else None


def _annotated(obj: JSON) -> JSON | None:
    return obj if of_users(obj["metadata"]) else None


def _stays(kind: Resource, meta: JSON, message: str) -> Step:
    return Step(
        State.STAYS, Action.NONE, kind.kind, meta["name"], meta.get("namespace", ""), message
    )
