"""The reconcile pass: gather → decide → apply → report, one namespace at a time.

Level-based: a pass reads facts, never events, and a pass that crashed is simply run
again. Decisions are serial, writes concurrent and bounded.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.outcome import Outcome, Result
from sidecarpolicy.cluster.resources import WORKLOADS
from sidecarpolicy.controller.backoff import Backoff
from sidecarpolicy.controller.departures import Departures
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.controller.reporter import Reporter
from sidecarpolicy.core.facts import Ref
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.plan import Plan, Snapshot, plan
from sidecarpolicy.core.semantic import fingerprint
from sidecarpolicy.core.standing import Attempt, TemplateChange, report
from sidecarpolicy.core.status import policy_status

log = logging.getLogger(__name__)

_IN_FLIGHT = 16

_REASONS = {
    Result.CONFLICT: Reason.OBJECT_CHANGED,
    Result.REFUSED: Reason.REFUSED,
    Result.FORBIDDEN: Reason.FORBIDDEN,
    Result.UNAVAILABLE: Reason.API_UNAVAILABLE,
}


class Reconciler:
    """Brings the workloads and policies of dirty namespaces in order."""

    def __init__(
        self,
        api: Api,
        inventory: Inventory,
        *,
        departures: Departures,
        reporter: Reporter,
        revert_share: str,
    ) -> None:
        self._api = api
        self._inventory = inventory
        self._departures = departures
        self._reporter = reporter
        self._revert_share = revert_share
        self._backoff = Backoff()
        self._failures: dict[Ref, tuple[str, Finding]] = {}
        self._slots = asyncio.Semaphore(_IN_FLIGHT)

    async def run(self) -> None:
        """Works for ever. A fault in one namespace, a bug of ours, stops no other."""
        while True:
            for namespace in sorted(await self._inventory.dirty_namespaces.take()):
                try:
                    await self._reconcile(namespace)
                except Exception:
                    wait = self._backoff.failed(namespace, now=time.monotonic())
                    log.exception("Namespace %s: internal error, again in %.0f s", namespace, wait)
                    self._inventory.dirty_namespaces.mark_later(namespace, wait)

    async def _reconcile(self, namespace: str) -> None:
        if not self._inventory.knows(namespace):
            return  # whether it opted out is not known yet; its own event will mark it again
        snapshot = self._inventory.snapshot(
            namespace, gone=self._departures.proved(namespace), revert_share=self._revert_share
        )
        decided = plan(snapshot)
        attempts = await self._apply_all(decided.changes)
        known = frozenset(policy.key for policy in snapshot.policies)
        self._departures.consider(namespace, decided.recorded - known)
        await self._report(snapshot, decided, attempts)

    async def _apply_all(self, changes: Sequence[TemplateChange]) -> Mapping[Ref, Attempt]:
        attempts = await asyncio.gather(*(self._apply(change) for change in changes))
        return {change.ref: attempt for change, attempt in zip(changes, attempts, strict=True)}

    async def _apply(self, change: TemplateChange) -> Attempt:
        digest = fingerprint(change.patch)
        failed_before, finding = self._failures.get(change.ref, ("", None))
        if failed_before != digest:
            self._backoff.succeeded(change.ref)  # a new wish need not wait for the old one
        elif self._backoff.rest(change.ref, now=time.monotonic()) > 0:
            return Attempt(change, failure=finding)
        async with self._slots:
            outcome = await self._api.patch_json(
                WORKLOADS[change.ref.kind],
                change.patch,
                name=change.ref.name,
                namespace=change.ref.namespace,
            )
        if outcome.done or outcome.result is Result.GONE:
            return self._settled(change, outcome)
        return self._failed(change, outcome, digest)

    def _settled(self, change: TemplateChange, outcome: Outcome) -> Attempt:
        self._backoff.succeeded(change.ref)
        self._failures.pop(change.ref, None)
        if outcome.result is Result.GONE:
            self._inventory.forget_workload(change.ref)
            return Attempt(change, gone=True)
        log.info("%s: template patched for %s", change.ref, ", ".join(sorted(change.policies)))
        for leftover in change.leftovers:
            log.warning("%s: %s", change.ref, leftover.message)
        self._inventory.refresh_workload(outcome.body, kind=change.ref.kind)
        return Attempt(change)

    def _failed(self, change: TemplateChange, outcome: Outcome, digest: str) -> Attempt:
        ref = change.ref
        wait = self._backoff.failed(ref, now=time.monotonic(), at_least=outcome.retry_after)
        log.warning("%s not patched, next try in %.0f s: %s", ref, wait, outcome.message)
        self._inventory.dirty_namespaces.mark_later(ref.namespace, wait)
        finding = Finding(_REASONS[outcome.result], outcome.message)
        self._failures[ref] = digest, finding
        return Attempt(change, failure=finding)

    async def _report(
        self, snapshot: Snapshot, decided: Plan, attempts: Mapping[Ref, Attempt]
    ) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for policy in snapshot.policies:
            status = policy_status(
                policy,
                report(policy.key, decided.standings[policy.key], attempts),
                nodes=snapshot.nodes,
                excluded=snapshot.excluded,
                now=now,
            )
            await self._reporter.publish(policy, status)
