"""Rescue: deletes the one Pod that keeps a StatefulSet from going back (core.stranded).

Exactly that Pod, in exactly the state that was seen: its uid and resourceVersion go along as
preconditions. Without the right to it, the status has the command for who has it.
"""

import logging
import time
from collections.abc import Mapping

from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.outcome import Result
from sidecarpolicy.cluster.resources import PODS
from sidecarpolicy.controller.backoff import Backoff
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.controller.rollouts import stages_of
from sidecarpolicy.core.facts import RawObject, Ref, WorkloadFacts
from sidecarpolicy.core.snapshot import Snapshot
from sidecarpolicy.core.stranded import failed_stages, may_be_stranded, stranded

log = logging.getLogger(__name__)


class Rescue:
    """Looks, with growing intervals, as long as a StatefulSet does not come to rest."""

    def __init__(self, api: Api, inventory: Inventory) -> None:
        self._api = api
        self._inventory = inventory
        self._backoff = Backoff(first=2.0)
        self._commands: dict[Ref, str] = {}

    @property
    def commands(self) -> Mapping[Ref, str]:
        """What somebody with the right to it has to run, by StatefulSet."""
        return dict(self._commands)

    async def look(self, snapshot: Snapshot) -> None:
        """Rescues what is stranded in a namespace, and asks for another look."""
        stuck = {each.ref for each in snapshot.workloads if may_be_stranded(each)}
        for ref in [e for e in self._commands if e.namespace == snapshot.namespace]:
            if ref not in stuck:
                del self._commands[ref]
                self._inventory.dirty_scopes.mark(ref.namespace)
        for workload in snapshot.workloads:
            if workload.ref not in stuck:
                self._backoff.succeeded(workload.ref)
            elif self._backoff.rest(workload.ref, now=time.monotonic()) <= 0:
                await self._rescue(workload)
                wait = self._backoff.failed(workload.ref, now=time.monotonic())
                self._inventory.dirty_scopes.mark_later(workload.ref.namespace, wait)

    async def _rescue(self, workload: WorkloadFacts) -> None:
        failed = failed_stages(workload, await stages_of(workload, self._api) or ())
        pod = await self._stranded(workload, failed) if failed else None
        if pod is None:
            return
        name, namespace = pod["name"], workload.ref.namespace
        answer = await self._api.delete(
            PODS, name=name, namespace=namespace, uid=pod["uid"], version=pod["resourceVersion"]
        )
        if answer.done:
            log.info("%s: deleted Pod %s, which kept it from going back", workload.ref, name)
        elif answer.result in (Result.FORBIDDEN, Result.REFUSED):
            self._ask_for_it(workload.ref, f"kubectl -n {namespace} delete pod {name}")
        elif answer.result is not Result.GONE:
            log.warning("%s: Pod %s not deleted: %s", workload.ref, name, answer.message)

    async def _stranded(self, workload: WorkloadFacts, failed: frozenset[str]) -> RawObject | None:
        def keep(pod: RawObject) -> RawObject:
            return {"metadata": pod["metadata"], "status": pod.get("status") or {}}

        listed = await self._api.list_all(
            PODS,
            namespace=workload.ref.namespace,
            labels=workload.progress.selector,
            keep=keep,
        )
        return stranded(listed.items, workload, failed=failed) if listed.done else None

    def _ask_for_it(self, ref: Ref, command: str) -> None:
        if self._commands.get(ref) != command:
            log.warning("%s: no right to delete a Pod that keeps it from going back", ref)
            self._commands[ref] = command
            self._inventory.dirty_scopes.mark(ref.namespace)
