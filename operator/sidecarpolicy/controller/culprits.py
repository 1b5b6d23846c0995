"""Culprits: which of several policies makes a template that the API server will not take?

The changes of all policies go out as one patch, so a refusal names the template, not the
policy. Each policy is tried on top of the ones before it, as a dry run; those that are
refused are held for a while, and the others get their way.
"""

import logging
import time
from dataclasses import replace

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.outcome import Result
from sidecarpolicy.cluster.resources import WORKLOADS
from sidecarpolicy.controller.backoff import Backoff
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.core.facts import Ref
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.plan import change_of
from sidecarpolicy.core.snapshot import Refusals, Snapshot
from sidecarpolicy.core.standing import Refusal, TemplateChange

log = logging.getLogger(__name__)

_LATER = Finding(Reason.REFUSED, "its turn to be tried comes later")


class Culprits:
    """Remembers whose parts were refused in which workload, and for how long to hold them."""

    def __init__(self, api: Api, inventory: Inventory) -> None:
        self._api = api
        self._inventory = inventory
        self._backoff = Backoff()
        self._refused: dict[tuple[Ref, str], Refusal] = {}

    def held(self) -> Refusals:
        """The refusals that still count."""
        now = time.monotonic()
        for each in [each for each in self._refused if self._backoff.rest(each, now=now) <= 0]:
            del self._refused[each]
        return dict(self._refused)

    def forgive(self, change: TemplateChange) -> None:
        """Notes that a change was taken after all."""
        for key in change.policies:
            self._backoff.succeeded((change.ref, key))

    async def find(self, snapshot: Snapshot, change: TemplateChange) -> bool:
        """Tries the policies of a refused change, each on top of those that went well.

        Whether any is held now, so that planning again is worth while.
        """
        if len(change.policies) == 1:
            return False
        generation = next(e.generation for e in snapshot.workloads if e.ref == change.ref)
        candidates = {
            each.key: Refusal(each.desired.revision, generation, _LATER)
            for each in snapshot.policies
            if each.key in change.policies and each.desired is not None
        }
        waiting = {(change.ref, key): refusal for key, refusal in candidates.items()}
        held = False
        for key, refusal in candidates.items():
            del waiting[change.ref, key]
            finding = await self._try(snapshot, change.ref, {**self._refused, **waiting})
            if finding is not None:
                self._hold(change.ref, key, replace(refusal, finding=finding))
                held = True
        return held

    async def _try(self, snapshot: Snapshot, ref: Ref, refused: Refusals) -> Finding | None:
        """Why the API server would not take the change without the refused policies."""
        change = change_of(snapshot, ref, refused)
        if change is None:
            return None
        outcome = await self._api.patch_json(
            WORKLOADS[ref.kind], change.trial, name=ref.name, namespace=ref.namespace, dry_run=True
        )
        refused_too = outcome.result is Result.REFUSED
        return Finding(Reason.REFUSED, outcome.message) if refused_too else None

    def _hold(self, ref: Ref, key: str, refusal: Refusal) -> None:
        wait = self._backoff.failed((ref, key), now=time.monotonic())
        log.warning("%s: %s refused, again in %.0f s: %s", ref, key, wait, refusal.finding.message)
        self._refused[ref, key] = refusal
        self._inventory.dirty_scopes.mark_later(ref.namespace, wait)
