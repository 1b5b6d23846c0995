"""Culprits: which of several policies makes a template that the API server will not take?

The changes of all policies go out as one patch, so a refusal names the template, not the
policy. Each policy is tried on top of the ones before it, as a dry run; those that are
refused are held for a while, and the others get their way.
"""

import logging
import time
from collections.abc import Mapping
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
        """The refusals that still count, each until its time has come."""
        now = time.monotonic()
        rests = {each: self._backoff.rest(each, now=now) for each in self._refused}
        for (ref, key), rest in rests.items():
            if rest <= 0:
                del self._refused[ref, key]
            else:
                self._inventory.dirty_scopes.mark_later(ref.namespace, rest)
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
        candidates = _candidates(snapshot, change)
        waiting = {(change.ref, key): refusal for key, refusal in candidates.items()}
        held = False
        for key, refusal in candidates.items():
            del waiting[change.ref, key]
            finding = await self._try(snapshot, change.ref, {**self._refused, **waiting})
            if finding is not None:
                self._hold(change.ref, key, replace(refusal, finding=finding))
                held = True
        return held

    def hold(
        self, snapshot: Snapshot, change: TemplateChange, found: Mapping[str, Finding]
    ) -> None:
        """Takes in why a change must not be made for some of its policies, by their keys."""
        candidates = _candidates(snapshot, change)
        for key, finding in found.items():
            self._hold(change.ref, key, replace(candidates[key], finding=finding))

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
        said = refusal.finding
        log.warning("%s: %s: %s, again in %.0f s: %s", ref, key, said.reason, wait, said.message)
        self._refused[ref, key] = refusal
        self._inventory.dirty_scopes.mark_later(ref.namespace, wait)


def _candidates(snapshot: Snapshot, change: TemplateChange) -> dict[str, Refusal]:
    """The policies of a change, as they would be refused: in this very generation."""
    generation = next(e.generation for e in snapshot.workloads if e.ref == change.ref)
    return {
        each.key: Refusal(each.desired.revision, generation, _LATER)
        for each in snapshot.policies
        if each.key in change.policies and each.desired is not None
    }
