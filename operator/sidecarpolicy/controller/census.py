"""The census: complete lists of what Kopf watches, at the start and every few minutes.

Kopf reports no deletion that it missed (a relist after 410 Gone), and gives no sign
when its first listing is complete. So the controller counts for itself before its
first decision, and sweeps out phantoms afterwards.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.resources import (
    CLUSTER_POLICIES,
    NAMESPACES,
    NODES,
    POLICIES,
    Resource,
)
from sidecarpolicy.controller.backoff import Backoff
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.core.facts import CLUSTER

log = logging.getLogger(__name__)

See = Callable[[dict[str, Any]], None]

SWEEP_SECONDS = 300.0
SETTLE_SECONDS = 2.0
"""How long a sweep waits for the watches that are interrupted at the same time."""


class Census:
    """Lists nodes, namespaces and policies in full."""

    def __init__(self, api: Api, inventory: Inventory) -> None:
        self._api = api
        self._inventory = inventory
        self._wanted = asyncio.Event()
        self._backoff = Backoff(last=8.0)

    def sweep_soon(self) -> None:
        """A watch was interrupted for so long that its collection was listed anew."""
        self._wanted.set()

    async def take(self) -> None:
        """Fills the inventory; waits as long as the API server or the CRD is missing."""
        for resource, see in self._kinds():
            await self._list(resource, see)

    async def run(self) -> None:
        """Sees everything again, for ever, and sweeps out what exists no longer."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), SWEEP_SECONDS)
            await asyncio.sleep(SETTLE_SECONDS * random.uniform(0.5, 1.0))
            self._wanted.clear()
            await self._sweep()

    async def _sweep(self) -> None:
        inventory = self._inventory
        # Names are taken before the lists: what was added meanwhile is not judged.
        nodes, namespaces = inventory.nodes.keys(), inventory.namespaces.keys()
        policies = inventory.policy_names()
        listed = [await self._list(resource, see) for resource, see in self._kinds()]
        for name in nodes - {name for _, name in listed[0]}:
            inventory.forget_node(name)
        for name in namespaces - {name for _, name in listed[1]}:
            inventory.forget_namespace(name)
        for scope, name in policies - listed[2] - listed[3]:
            inventory.forget_policy(scope, name)

    def _kinds(self) -> tuple[tuple[Resource, See], ...]:
        inventory = self._inventory
        return (
            (NODES, inventory.see_node),
            (NAMESPACES, inventory.see_namespace),
            (POLICIES, inventory.see_policy),
            (CLUSTER_POLICIES, inventory.see_policy),
        )

    async def _list(self, resource: Resource, see: See) -> set[tuple[str, str]]:
        """Shows each object to the inventory; (namespace, name) of all of them."""

        def keep(obj: dict[str, Any]) -> tuple[str, str]:
            see(obj)
            return obj["metadata"].get("namespace", CLUSTER), obj["metadata"]["name"]

        while True:
            listed = await self._api.list_all(resource, keep=keep)
            if listed.done:
                self._backoff.succeeded(resource)
                return set(listed.items)
            wait = self._backoff.failed(resource, now=time.monotonic(), at_least=listed.retry_after)
            log.warning(
                "cannot list %s, next try in %.0f s: %s", resource.plural, wait, listed.message
            )
            await asyncio.sleep(wait)
