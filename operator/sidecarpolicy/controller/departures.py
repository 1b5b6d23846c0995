"""Departures: proves that a policy is gone before anything that it added is taken back.

Absence of evidence is no evidence. A policy counts as gone only when a complete list
does not have it, a GET for it answers 404 for that very object, and both still hold
`GRACE` seconds later. A missing resource type, 401 and 403 prove nothing. A proof ends
with the last record that names the policy: one that turns up later is looked into anew.
"""

import asyncio
import logging
import time
from dataclasses import dataclass

from sidecarpolicy.api.names import KIND
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.outcome import Result
from sidecarpolicy.cluster.resources import POLICIES
from sidecarpolicy.controller.inventory import Inventory

log = logging.getLogger(__name__)

GRACE = 30.0
_RETRY = 10.0
_MARGIN = 0.1


@dataclass(frozen=True)
class _Missing:
    """A recorded policy that is not known; `key` is as records have it."""

    namespace: str
    key: str

    @property
    def name(self) -> str:
        return self.key.removeprefix(f"{KIND}/")


class Departures:
    """Looks, one after the other, for policies that records name and nobody has seen."""

    def __init__(self, api: Api, inventory: Inventory) -> None:
        self._api = api
        self._inventory = inventory
        self._absent_since: dict[_Missing, float | None] = {}
        self._proved: set[_Missing] = set()
        self._queue: asyncio.Queue[_Missing] = asyncio.Queue()

    def proved(self, namespace: str) -> frozenset[str]:
        """Keys of policies that are proved gone from a namespace."""
        return frozenset(each.key for each in self._proved if each.namespace == namespace)

    def consider(self, namespace: str, keys: frozenset[str]) -> None:
        """Has these be looked for; forgets about all others of the namespace."""
        wanted = {_Missing(namespace, key) for key in keys}
        for missing in [*self._absent_since, *self._proved]:
            if missing.namespace == namespace and missing not in wanted:
                self._absent_since.pop(missing, None)
                self._proved.discard(missing)
        for missing in wanted - self._absent_since.keys() - self._proved:
            self._absent_since[missing] = None
            self._queue.put_nowait(missing)

    async def run(self) -> None:
        """Works for ever, beside the reconcile loop, which never waits for it."""
        while True:
            missing = await self._queue.get()
            if missing in self._absent_since:
                await self._look_for(missing)

    async def _look_for(self, missing: _Missing) -> None:
        doubt = await self._doubt(missing)
        if missing not in self._absent_since:
            return  # it came back while we asked
        now, since = time.monotonic(), self._absent_since[missing]
        if doubt is not None:
            log.warning("%s is missing, but not proved gone: %s", _shown(missing), doubt)
            self._absent_since[missing] = None
            self._look_again(missing, _RETRY)
        elif since is None or now - since < GRACE:
            since = self._absent_since[missing] = now if since is None else since
            self._look_again(missing, since + GRACE - now + _MARGIN)
        else:
            del self._absent_since[missing]
            self._proved.add(missing)
            log.info("%s is gone; what it injected is taken back", _shown(missing))
            self._inventory.dirty_namespaces.mark(missing.namespace)

    def _look_again(self, missing: _Missing, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._queue.put_nowait, missing)

    async def _doubt(self, missing: _Missing) -> str | None:
        """Why the policy may still exist; None if the API server denies it twice."""
        listed = await self._api.list_all(
            POLICIES, namespace=missing.namespace, keep=lambda obj: obj["metadata"]["name"]
        )
        if not listed.done:
            return listed.message
        if missing.name in listed.items:
            return "it is listed"
        found = await self._api.get(POLICIES, name=missing.name, namespace=missing.namespace)
        if found.done:
            self._inventory.see_policy(found.body)
            return "it exists"
        return None if found.result is Result.GONE else found.message


def _shown(missing: _Missing) -> str:
    return f"SidecarPolicy {missing.namespace}/{missing.name}"
