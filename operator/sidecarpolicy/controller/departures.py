"""Departures: proves that a policy is gone before anything that it added is taken back.

Absence of evidence is no evidence. A policy counts as gone only when a complete list
does not have it, a GET for it answers 404 for that very object, and both still hold
`GRACE` seconds later. A missing resource type, 401 and 403 prove nothing.
"""

import logging
import time

from sidecarpolicy.api.names import KIND
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.outcome import Result
from sidecarpolicy.cluster.resources import POLICIES
from sidecarpolicy.controller.inventory import Inventory

log = logging.getLogger(__name__)

GRACE = 30.0
_RETRY = 10.0


class Departures:
    """Keeps, per namespace, the policy keys whose absence is proved."""

    def __init__(self, api: Api, inventory: Inventory) -> None:
        self._api = api
        self._inventory = inventory
        self._missing_since: dict[tuple[str, str], float] = {}
        self._proved: set[tuple[str, str]] = set()

    def proved(self, namespace: str) -> frozenset[str]:
        """Keys of policies that are proved gone from a namespace."""
        return frozenset(key for space, key in self._proved if space == namespace)

    def returned(self, namespace: str, keys: frozenset[str]) -> None:
        """Forgets departures of policies that exist (again)."""
        for key in keys:
            self._missing_since.pop((namespace, key), None)
            self._proved.discard((namespace, key))

    async def investigate(self, namespace: str, keys: frozenset[str]) -> None:
        """Gathers proof about recorded policies that are not known; marks the next look."""
        for key in keys:
            if key.startswith(f"{KIND}/"):
                wait = await self._wait_for_proof(namespace, key)
                self._inventory.dirty_namespaces.mark_later(namespace, wait)

    async def _wait_for_proof(self, namespace: str, key: str) -> float:
        """Seconds until there is more to do about a missing policy."""
        now = time.monotonic()
        since = self._missing_since.setdefault((namespace, key), now)
        remaining = since + GRACE - now
        if since != now and remaining > 0:
            return remaining
        doubt = await self._doubt(namespace, key.partition("/")[2])
        if doubt is not None:
            del self._missing_since[namespace, key]
            log.warning("%s of %s is missing, but not proved gone: %s", key, namespace, doubt)
            return _RETRY
        if remaining > 0:
            return remaining
        self._proved.add((namespace, key))
        log.info("%s of %s is gone; taking back what it injected", key, namespace)
        return 0.0

    async def _doubt(self, namespace: str, name: str) -> str | None:
        """Why the policy may still exist; None if the API server denies it twice."""
        listed = await self._api.list_all(POLICIES, namespace=namespace)
        if not listed.done:
            return listed.message
        found = await self._api.get(POLICIES, name=name, namespace=namespace)
        if found.done:
            self._inventory.see_policy(found.body)
            return "it exists"
        if any(item["metadata"]["name"] == name for item in listed.body["items"]):
            return "it was listed"
        return None if found.result is Result.GONE else found.message
