"""Publishes statuses: only when they say something new, and at most one a second per policy."""

import logging
import math
import time
from typing import Any

from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.outcome import Result
from sidecarpolicy.cluster.resources import policies_in
from sidecarpolicy.controller.backoff import CONFLICT, Backoff
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.core.facts import PolicyFacts

log = logging.getLogger(__name__)

MIN_INTERVAL = 1.0


class Reporter:
    """Writes the status subresource of policies."""

    def __init__(self, api: Api, inventory: Inventory) -> None:
        self._api = api
        self._inventory = inventory
        self._backoff = Backoff()
        self._written: dict[str, float] = {}

    async def publish(self, policy: PolicyFacts, status: dict[str, Any]) -> None:
        """Writes a status if it differs; postpones it if the last one is too fresh."""
        if status == policy.status:
            return
        now = time.monotonic()
        fresh = self._written.get(policy.uid, now - MIN_INTERVAL) + MIN_INTERVAL - now
        rest = max(fresh, self._backoff.rest(policy.uid, now=now))
        if rest > 0:
            self._inventory.dirty_scopes.mark_later(policy.scope, rest)
            return
        removed = dict.fromkeys(policy.status.keys() - status.keys())
        guard = {"uid": policy.uid, "resourceVersion": str(policy.version)}
        outcome = await self._api.patch_merge(
            policies_in(policy.scope),
            {"metadata": guard, "status": {**removed, **status}},
            name=policy.name,
            namespace=policy.scope or None,
            subresource="status",
        )
        if outcome.done:
            self._written[policy.uid] = now
            self._backoff.succeeded(policy.uid)
            self._inventory.refresh_policy(outcome.body)
        elif outcome.result is Result.GONE:
            self._inventory.forget_policy(policy.scope, policy.name)
        else:
            conflict = outcome.result is Result.CONFLICT
            wait = self._backoff.failed(
                policy.uid,
                now=now,
                at_least=outcome.retry_after,
                at_most=CONFLICT if conflict else math.inf,
            )
            log.log(
                logging.DEBUG if conflict else logging.WARNING,
                "Status of %s not written, next try in %.0f s: %s",
                policy,
                wait,
                outcome.message,
            )
            self._inventory.dirty_scopes.mark_later(policy.scope, wait)
