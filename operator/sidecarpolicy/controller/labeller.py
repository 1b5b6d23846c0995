"""Labels nodes: one small loop of its own, so that no rollout keeps a new node waiting."""

import asyncio
import logging
import time

from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.outcome import Result
from sidecarpolicy.cluster.resources import NODES
from sidecarpolicy.controller.backoff import Backoff
from sidecarpolicy.controller.gates import Gates
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.core.labels import node_patch

log = logging.getLogger(__name__)

_IN_FLIGHT = 16


class Labeller:
    """Brings the label and the evidence of dirty nodes up to date."""

    def __init__(self, api: Api, inventory: Inventory, gates: Gates | None = None) -> None:
        """`gates` asks kubelets whose version leaves open what they do."""
        self._api = api
        self._inventory = inventory
        self._gates = gates
        self._backoff = Backoff()
        self._slots = asyncio.Semaphore(_IN_FLIGHT)

    async def run(self) -> None:
        """Works for ever."""
        while True:
            names = await self._inventory.dirty_nodes.take()
            await asyncio.gather(*(self._label(name) for name in names))

    async def _label(self, name: str) -> None:
        node = self._inventory.nodes.get(name)
        if node is None:
            return
        wait = self._gates.consider(node) if self._gates else 0.0
        if wait and node.capability.capable:
            # Pods would follow the label, and could be refused a moment later.
            self._inventory.dirty_nodes.mark_later(name, wait)
            return
        patch = node_patch(node)
        if patch is None:
            return
        async with self._slots:
            outcome = await self._api.patch_merge(NODES, patch, name=name)
        self._inventory.dirty_nodes.pulse.beat()
        if outcome.done:
            self._backoff.succeeded(name)
            log.info("Node %s: %s: %s", name, node.capability.verdict, node.capability.evidence)
            self._inventory.refresh_node(outcome.body)
        elif outcome.result is Result.GONE:
            self._backoff.succeeded(name)
            self._inventory.forget_node(name)
        else:
            wait = self._backoff.failed(name, now=time.monotonic(), at_least=outcome.retry_after)
            log.warning("Node %s not labelled, next try in %.0f s: %s", name, wait, outcome.message)
            self._inventory.dirty_nodes.mark_later(name, wait)
