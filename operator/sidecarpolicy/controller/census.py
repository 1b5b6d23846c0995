"""The census: complete lists of what Kopf watches, at the start and every few minutes.

Kopf reports no deletion that it missed (a relist after 410 Gone), and gives no sign
when its first listing is complete. So the controller counts for itself before its
first decision, and sweeps out phantoms afterwards.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.resources import (
    CLUSTER_POLICIES,
    NAMESPACES,
    NODES,
    POLICIES,
    Resource,
)
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.core.facts import CLUSTER

log = logging.getLogger(__name__)

See = Callable[[dict[str, Any]], None]

SWEEP_SECONDS = 300.0
_RETRY_SECONDS = 3.0


class Census:
    """Lists nodes, namespaces and policies in full."""

    def __init__(self, api: Api, inventory: Inventory) -> None:
        self._api = api
        self._inventory = inventory

    async def take(self) -> None:
        """Fills the inventory; waits as long as the API server or the CRD is missing."""
        for resource, see in self._kinds():
            await self._list(resource, see)

    async def run(self) -> None:
        """Sees everything again, for ever, and sweeps out what exists no longer."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
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
                return set(listed.items)
            log.warning(
                "cannot list %s, next try in %.0f s: %s",
                resource.plural,
                _RETRY_SECONDS,
                listed.message,
            )
            await asyncio.sleep(_RETRY_SECONDS)
