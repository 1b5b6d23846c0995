"""Departures: proves that a policy is gone before anything that it added is taken back.

Absence of evidence is no evidence. A policy counts as gone only when a complete list
does not have it, a GET for it answers 404 for that very object, its CRD is not younger than it
(controller.witness), and all that still holds `GRACE` seconds later. A missing resource type,
401 and 403 prove nothing. A proof ends with the last record that names the policy: one that
turns up later is looked into anew.
"""

import asyncio
import logging
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sidecarpolicy.api.names import GROUP
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.outcome import Result
from sidecarpolicy.cluster.resources import CRDS, policies_in
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.controller.witness import Witnesses
from sidecarpolicy.core.facts import CLUSTER, PolicyFacts, policy_scope, policy_title

log = logging.getLogger(__name__)

GRACE = 30.0
_RETRY = 10.0
_MARGIN = 0.1


@dataclass(frozen=True)
class _Missing:
    """A recorded policy that is not known; `key` is as records have it."""

    scope: str
    key: str

    @property
    def name(self) -> str:
        return self.key.partition("/")[2]

    def __str__(self) -> str:
        return policy_title(self.scope, self.key)


class Departures:
    """Looks, one after the other, for policies that records name and nobody has seen."""

    def __init__(self, api: Api, inventory: Inventory, *, grace: float = GRACE) -> None:
        self._api = api
        self._inventory = inventory
        self._grace = grace
        self._recorded: dict[str, frozenset[_Missing]] = {}
        self._absent_since: dict[_Missing, float | None] = {}
        self._proved: set[_Missing] = set()
        self._doubts: dict[_Missing, str] = {}
        self._witnesses = Witnesses()
        self._queue: asyncio.Queue[_Missing] = asyncio.Queue()

    def proved(self, namespace: str) -> frozenset[str]:
        """Keys of policies that are proved gone from a namespace."""
        return frozenset(each.key for each in self._proved if each.scope in (namespace, CLUSTER))

    def consider(
        self,
        namespace: str,
        recorded: Mapping[str, str],
        policies: Sequence[PolicyFacts] = (),
    ) -> None:
        """Has those that are recorded, but not among these policies, be looked for; forgets what no
        namespace records any more. With each key comes the latest time at which its record may
        have been written.
        """
        self._witnesses.note(namespace, recorded, policies)
        keys = recorded.keys() - {policy.key for policy in policies}
        wanted = frozenset(_Missing(policy_scope(key, namespace), key) for key in keys)
        before = self._recorded.pop(namespace, frozenset())
        if wanted:
            self._recorded[namespace] = wanted
        for missing in before - wanted:
            if not any(missing in recorded for recorded in self._recorded.values()):
                self._absent_since.pop(missing, None)
                self._doubts.pop(missing, None)
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
            if self._doubts.get(missing) != doubt:
                log.warning("%s is missing, but not proved gone: %s", missing, doubt)
            self._doubts[missing] = doubt
            self._absent_since[missing] = None
            self._look_again(missing, _RETRY * random.uniform(0.8, 1.2))
        elif since is None or now - since < self._grace:
            since = self._absent_since[missing] = now if since is None else since
            self._look_again(missing, since + self._grace - now + _MARGIN)
        else:
            del self._absent_since[missing]
            self._proved.add(missing)
            log.info("%s is gone; what it injected is taken back", missing)
            for namespace, recorded in self._recorded.items():
                if missing in recorded:
                    self._inventory.dirty_scopes.mark(namespace)

    def _look_again(self, missing: _Missing, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._queue.put_nowait, missing)

    async def _doubt(self, missing: _Missing) -> str | None:
        """Why the policy may still exist; None if the API server denies it twice."""
        kind, namespace = policies_in(missing.scope), missing.scope or None
        listed = await self._api.list_all(
            kind, namespace=namespace, keep=lambda obj: obj["metadata"]["name"]
        )
        if not listed.done:
            return listed.message
        if missing.name in listed.items:
            return "it is listed"
        found = await self._api.get(kind, name=missing.name, namespace=namespace)
        if found.done:
            self._inventory.see_policy(found.body)
            return "it exists"
        return await self._reset(missing) if found.result is Result.GONE else found.message

    async def _reset(self, missing: _Missing) -> str | None:
        """That the policy may have gone with its CRD, or None if the CRD is older than it."""
        crd = f"{policies_in(missing.scope).plural}.{GROUP}"
        found = await self._api.get(CRDS, name=crd)
        if not found.done:
            return f"since when its CRD is there is not known: {found.message}"
        holding = (space for space, names in self._recorded.items() if missing in names)
        seen, made = self._witnesses.latest(missing.key, holding), found.body["metadata"]
        if seen and seen >= made["creationTimestamp"]:
            return None
        return (
            f"CRD {crd} was created at {made['creationTimestamp']}, and the policy was not seen "
            "since; what went with its CRD was deleted by nobody. Create it anew, and delete it if "
            "its parts are to go"
        )
