"""Rollouts: reads where those come from that may have failed, once for each change of a template.

Asks only while one of ours rolls and says too little itself, or is late (core.failure). What
cannot be read is asked again; until then nobody is blamed.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from sidecarpolicy.api.models import TargetKind
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.resources import CONTROLLER_REVISIONS, REPLICA_SETS
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.core.facts import Ref, WorkloadFacts
from sidecarpolicy.core.failure import in_question
from sidecarpolicy.core.origin import Origin, Stage, origin, stage
from sidecarpolicy.core.snapshot import Snapshot
from sidecarpolicy.core.times import seconds

log = logging.getLogger(__name__)

_IN_FLIGHT = 8
_AGAIN_SECONDS = 5.0
_RIGHT_AFTER = 60.0
"""Seconds after which it shows in the kubelet's restarts."""
_SOON = 1.0


class Rollouts:
    """Remembers each origin for as long as its workload is in question."""

    def __init__(self, api: Api, inventory: Inventory) -> None:
        self._api = api
        self._inventory = inventory
        self._known: dict[Ref, tuple[tuple[str, str], Origin]] = {}
        self._slots = asyncio.Semaphore(_IN_FLIGHT)

    async def seen(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with the origins of all that is in question in it."""
        snapshot = replace(snapshot, idle=self._idle(snapshot))
        asked = in_question(snapshot)
        found = await asyncio.gather(*(self._origin(each) for each in asked))
        self._forget(snapshot.namespace, keep=frozenset(each.ref for each in asked))
        return replace(snapshot, origins=self._told(asked, found))

    def _idle(self, snapshot: Snapshot) -> Mapping[Ref, Mapping[str, float]]:
        found = {each.ref: self._without(each, snapshot.now) for each in snapshot.workloads}
        return {ref: by_policy for ref, by_policy in found.items() if by_policy}

    def _without(self, workload: WorkloadFacts, now: float) -> Mapping[str, float]:
        """Whose sidecars do not run in a workload's Pods, or may not stay.

        Beside a sidecar that ends at once, Pods may be ready for a moment: right after the
        rollout of a Deployment the next wave must not go by that.
        """
        pods, done = self._inventory.pods, workload.rollout.finished
        if not done or now > seconds(workload.progress.seen) + _RIGHT_AFTER:
            return pods.idle(workload.ref, arrived=done)
        found = {**pods.fresh(workload.ref, now=now), **pods.idle(workload.ref)}
        if found:
            self._inventory.dirty_scopes.mark_later(workload.ref.namespace, _SOON)
        return found

    def _told(
        self, asked: tuple[WorkloadFacts, ...], found: list[Origin | None]
    ) -> Mapping[Ref, Origin]:
        pods, pairs = self._inventory.pods, zip(asked, found, strict=True)
        return {
            each.ref: replace(read.blaming(pods.blamed(each.ref)), cause=pods.cause(each.ref))
            for each, read in pairs
            if read
        }

    async def _origin(self, workload: WorkloadFacts) -> Origin | None:
        change = workload.uid, workload.progress.change
        known, held = self._known.get(workload.ref, (None, None))
        if known == change:
            return held
        async with self._slots:
            read = await origin_of(workload, self._api)
        if read is None:
            self._inventory.dirty_scopes.mark_later(workload.ref.namespace, _AGAIN_SECONDS)
        else:
            self._known[workload.ref] = change, read
        return read

    def _forget(self, namespace: str, *, keep: frozenset[Ref]) -> None:
        gone = [ref for ref in self._known if ref.namespace == namespace and ref not in keep]
        for ref in gone:
            del self._known[ref]


async def origin_of(workload: WorkloadFacts, api: Api) -> Origin | None:
    """Where a workload's rollout comes from; None if nobody knows."""
    stages = await stages_of(workload, api)
    return origin(stages or (), kind=workload.ref.kind)


async def stages_of(workload: WorkloadFacts, api: Api) -> tuple[Stage, ...] | None:
    """The templates that a workload has had, as far as they are kept; None if nobody knows."""
    deployment = workload.ref.kind == TargetKind.DEPLOYMENT
    listed = await api.list_all(
        REPLICA_SETS if deployment else CONTROLLER_REVISIONS,
        namespace=workload.ref.namespace,
        labels=workload.progress.selector,
        keep=partial(stage, owner=workload.uid, proven=workload.progress.proven),
    )
    if not listed.done:
        log.warning("%s: its history is not read: %s", workload.ref, listed.message)
        return None
    return tuple(filter(None, listed.items))
