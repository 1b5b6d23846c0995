"""The census: complete lists of what Kopf watches, at the start and every few minutes.

Kopf reports no deletion that it missed (a relist after 410 Gone), and gives no sign
when its first listing is complete. So the controller counts for itself before its
first decision, and sweeps out phantoms afterwards.
"""

import asyncio
import logging
from typing import Any

from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.resources import NAMESPACES, NODES, POLICIES, Resource
from sidecarpolicy.controller.inventory import Inventory

log = logging.getLogger(__name__)

SWEEP_SECONDS = 300.0
_RETRY_SECONDS = 3.0


class Census:
    """Lists nodes, namespaces and policies in full."""

    def __init__(self, api: Api, inventory: Inventory) -> None:
        self._api = api
        self._inventory = inventory

    async def take(self) -> None:
        """Fills the inventory; waits as long as the API server or the CRD is missing."""
        for resource in (NODES, NAMESPACES, POLICIES):
            for obj in await self._list(resource):
                self._store(resource, obj)

    async def run(self) -> None:
        """Sweeps out, for ever, what exists no longer."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await self._sweep()

    async def _sweep(self) -> None:
        # Names are taken before the list: what was added meanwhile is not judged.
        nodes, namespaces = self._inventory.nodes.keys(), self._inventory.namespaces.keys()
        policies = self._inventory.policy_names()
        for name in nodes - {each["metadata"]["name"] for each in await self._list(NODES)}:
            self._inventory.forget_node(name)
        listed = {each["metadata"]["name"] for each in await self._list(NAMESPACES)}
        for name in namespaces - listed:
            self._inventory.forget_namespace(name)
        known = {
            (each["metadata"]["namespace"], each["metadata"]["name"])
            for each in await self._list(POLICIES)
        }
        for namespace, name in policies - known:
            self._inventory.forget_policy(namespace, name)

    async def _list(self, resource: Resource) -> list[dict[str, Any]]:
        while True:
            listed = await self._api.list_all(resource)
            if listed.done:
                items: list[dict[str, Any]] = listed.body["items"]
                return items
            log.warning(
                "cannot list %s, next try in %.0f s: %s",
                resource.plural,
                _RETRY_SECONDS,
                listed.message,
            )
            await asyncio.sleep(_RETRY_SECONDS)

    def _store(self, resource: Resource, obj: dict[str, Any]) -> None:
        if resource is NODES:
            self._inventory.see_node(obj)
        elif resource is NAMESPACES:
            self._inventory.see_namespace(obj)
        else:
            self._inventory.see_policy(obj)
