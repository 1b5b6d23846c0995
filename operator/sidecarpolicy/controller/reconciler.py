"""The reconcile pass: gather → decide → apply → report, one scope (a namespace) at a time.

Level-based: a pass reads facts, never events, and a pass that crashed is simply run
again. Decisions are serial, writes concurrent and bounded.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.outcome import Outcome, Result
from sidecarpolicy.cluster.resources import DAEMON_SETS, WORKLOADS
from sidecarpolicy.controller.backoff import CONFLICT, Backoff
from sidecarpolicy.controller.culprits import Culprits
from sidecarpolicy.controller.daemons import AGAIN_SECONDS, Daemons
from sidecarpolicy.controller.departures import Departures
from sidecarpolicy.controller.fights import Fights
from sidecarpolicy.controller.foreign import Foreign
from sidecarpolicy.controller.harm import Harm
from sidecarpolicy.controller.herald import Herald
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.controller.ledger import Entry, Ledger
from sidecarpolicy.controller.openjobs import OpenJobs
from sidecarpolicy.controller.planning import Planner
from sidecarpolicy.controller.preflight import Preflight
from sidecarpolicy.controller.reporter import Reporter
from sidecarpolicy.controller.rescue import Rescue
from sidecarpolicy.controller.rollouts import Rollouts
from sidecarpolicy.controller.takenout import TakenOut
from sidecarpolicy.core.facts import CLUSTER, PolicyFacts, Ref
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.plan import Plan
from sidecarpolicy.core.semantic import fingerprint
from sidecarpolicy.core.snapshot import Snapshot
from sidecarpolicy.core.standing import Attempt, State, TemplateChange, report
from sidecarpolicy.core.status import policy_status
from sidecarpolicy.core.summary import summarize

log = logging.getLogger(__name__)

_IN_FLIGHT = 16
_MARGIN = 0.5
"""Seconds, so that a clock that rounds down does not wake us too early."""

_REASONS = {
    Result.CONFLICT: Reason.OBJECT_CHANGED,
    Result.REFUSED: Reason.REFUSED,
    Result.FORBIDDEN: Reason.FORBIDDEN,
    Result.UNAVAILABLE: Reason.API_UNAVAILABLE,
}


class Reconciler:
    """Brings the workloads and policies of dirty scopes in order."""

    def __init__(
        self,
        api: Api,
        inventory: Inventory,
        *,
        departures: Departures,
        preflight: Preflight,
        herald: Herald,
        revert_share: str,
    ) -> None:
        self._api = api
        self._inventory = inventory
        self._departures = departures
        self._preflight = preflight
        self._herald = herald
        self._reporter = Reporter(api, inventory)
        self._revert_share = revert_share
        self.passed: Callable[[float], None] = lambda _: None
        """Told how many seconds each pass took."""
        self._ledger = Ledger()
        self._culprits = Culprits(api, inventory)
        self._harm = Harm(api, inventory)
        self._daemons = Daemons(api, inventory)
        self._open_jobs = OpenJobs(inventory)
        self._foreign = Foreign()
        self._rollouts = Rollouts(api, inventory)
        self._rescue = Rescue(api, inventory)
        self._fights = Fights()
        self._planner = Planner()
        self._backoff = Backoff()
        self._rested: dict[Ref, tuple[str, Attempt]] = {}
        self._taken_out = TakenOut(inventory)
        self._slots = asyncio.Semaphore(_IN_FLIGHT)
        self._reporting = asyncio.Lock()

    async def run(self) -> None:
        """Works for ever. A fault in one scope, a bug of ours, stops no other."""
        await self._survey()
        while True:
            # The cluster comes last: its policies report what the passes over namespaces found.
            for scope in sorted(await self._inventory.dirty_scopes.take(), reverse=True):
                start = time.monotonic()
                self._inventory.dirty_scopes.pulse.beat()
                try:
                    await (self._reconcile(scope) if scope != CLUSTER else self._report(CLUSTER))
                    self.passed(time.monotonic() - start)
                except Exception:
                    wait = self._backoff.failed(scope, now=time.monotonic())
                    log.exception("Namespace %r: internal error, again in %.0f s", scope, wait)
                    self._inventory.dirty_scopes.mark_later(scope, wait)

    def counts(self) -> Mapping[tuple[str, State], int]:
        """All workloads by kind of policy and state."""
        return self._ledger.counts()

    async def report_pods(self) -> None:
        """Reports for ever what is new about Pods, which takes no plan."""
        while True:
            for scope in sorted(await self._inventory.dirty_reports.take()):
                try:
                    await self._report(scope)
                except Exception:
                    log.exception("Namespace %r: internal error, planned anew", scope)
                    self._inventory.dirty_scopes.mark(scope)

    async def _survey(self) -> None:
        """Notes how all namespaces stand before anything is changed: what rolls or failed in one
        keeps a policy of the cluster back in the others, also after a restart.
        """
        for namespace in self._inventory.namespaces.keys():  # noqa: SIM118 - a shelf is no dict
            try:
                snapshot = await self._rollouts.seen(self._snapshot(namespace))
                decided = await self._planner.plan(snapshot)
                asked = self._preflight.consider(snapshot, decided.standings)
                self._herald.remember(snapshot, decided)
                self._note(snapshot, decided, {}, asked=asked)
            except Exception:
                log.exception("Namespace %r: internal error, left out of the survey", namespace)

    async def _reconcile(self, namespace: str) -> None:
        if not self._inventory.knows(namespace):
            # Gone, or not seen yet, so that nobody knows whether it opted out.
            self._departures.consider(namespace, {})
            self._preflight.forget(namespace)
            self._planner.forget(namespace)
            self._herald.forget(namespace)
            self._look_at(self._ledger.drop(namespace))
            return
        snapshot = await self._rollouts.seen(self._snapshot(namespace))
        decided = await self._planner.plan(snapshot)
        if fought := self._fights.lost(decided, snapshot, now=time.monotonic()):
            snapshot = replace(snapshot, fought=fought)
            decided = await self._planner.plan(snapshot)
        self._wake(namespace, decided)
        asked = self._preflight.consider(snapshot, decided.standings)
        attempts = await self._apply_all(decided.changes, snapshot)
        self._departures.consider(namespace, decided.recorded, snapshot.policies)
        if any(attempt.superseded for attempt in attempts.values()):
            self._inventory.dirty_scopes.mark(namespace)
            return
        self._note(snapshot, decided, attempts, asked=asked)
        await self._rescue.look(snapshot)
        self._herald.note(snapshot, decided, attempts)
        await self._report(namespace)

    def _wake(self, namespace: str, decided: Plan) -> None:
        """Looks again when the next rollout will have failed, if nothing else happens."""
        if decided.due is not None:
            wait = max(decided.due - time.time(), 0.0) + _MARGIN
            self._inventory.dirty_scopes.mark_later(namespace, wait)

    def _snapshot(self, namespace: str) -> Snapshot:
        """What the cluster shows, with what only we know: refusals, rests, other namespaces."""
        shown = self._inventory.snapshot(namespace, gone=self._departures.proved(namespace))
        return replace(
            shown,
            blocked=self._preflight.holds(shown),
            refused=self._culprits.held(),
            elsewhere=self._ledger.elsewhere(namespace),
            resting=self._resting(),
            taken_out=self._taken_out.rolling(),
            revert_share=self._revert_share,
            now=time.time(),
            to_delete=self._rescue.commands,
        )

    def _resting(self) -> frozenset[Ref]:
        """Workloads that are tried again later; forgets those that are gone."""
        for ref in [each for each in self._rested if self._inventory.workload(each) is None]:
            del self._rested[ref]
            self._backoff.succeeded(ref)
        return frozenset(ref for ref in self._rested if self._rest_of(ref) > 0)

    def _rest_of(self, ref: Ref) -> float:
        return self._backoff.rest(ref, now=time.monotonic())

    async def _apply_all(
        self, changes: Sequence[TemplateChange], snapshot: Snapshot
    ) -> Mapping[Ref, Attempt]:
        attempts = await asyncio.gather(*(self._apply(change, snapshot) for change in changes))
        return {change.ref: attempt for change, attempt in zip(changes, attempts, strict=True)}

    async def _apply(self, change: TemplateChange, snapshot: Snapshot) -> Attempt:
        digest = fingerprint(change.patch)
        tried, attempt = self._rested.get(change.ref, ("", None))
        if tried != digest:
            self._backoff.relent(change.ref, now=time.monotonic())
        if attempt is not None and (wait := self._rest_of(change.ref)) > 0:
            # Of several wishes for a namespace the earliest counts; this one may have been later.
            self._inventory.dirty_scopes.mark_later(change.ref.namespace, wait)
            return replace(attempt, change=change)
        async with self._slots:
            if await self._superseded(change, snapshot):
                return Attempt(change, superseded=True)
            if (idle := await self._idle(change, snapshot)) is not None:
                return self._rest(Attempt(change, idle=idle), digest, at_least=AGAIN_SECONDS)
            outcome = await self._write(change)
        self._inventory.dirty_scopes.pulse.beat()
        if outcome.done or outcome.result is Result.GONE:
            return self._settled(change, outcome)
        if outcome.result is Result.REFUSED and await self._culprits.find(snapshot, change):
            return Attempt(change, superseded=True)
        return self._failed(change, outcome, digest)

    async def _superseded(self, change: TemplateChange, snapshot: Snapshot) -> bool:
        """Whether it is to be planned anew: it would do harm, or a policy changed while others were
        written. That may be paused now, or want something else, to roll a second time for.
        """
        if harm := await self._harm.of(change, snapshot):
            self._culprits.hold(snapshot, change, harm)
            return True
        then = {each.key: (each.uid, each.generation) for each in snapshot.policies}
        for key in change.policies:
            now = self._inventory.policy_of(key, change.ref.namespace)
            if then.get(key) != (now and (now.uid, now.generation)):
                return True
        return False

    async def _write(self, change: TemplateChange) -> Outcome:
        """Patches the workload. What is promised to Pods has to be valid, which nobody sees in an
        annotation: so the API server is first asked about a template that has it, as a dry run.
        """
        kind, where = WORKLOADS[change.ref.kind], change.ref
        if change.rehearsal:
            asked = await self._api.patch_json(
                kind, change.trial, name=where.name, namespace=where.namespace, dry_run=True
            )
            if asked.result is Result.REFUSED:
                return asked
        return await self._api.patch_json(
            kind, change.patch, name=where.name, namespace=where.namespace
        )

    def _settled(self, change: TemplateChange, outcome: Outcome) -> Attempt:
        self._backoff.succeeded(change.ref)
        self._culprits.forgive(change)
        self._rested.pop(change.ref, None)
        if outcome.result is Result.GONE:
            self._foreign.forget(change.ref)
            self._inventory.forget_workload(change.ref)
            return Attempt(change, gone=True)
        if change.difference:
            self._foreign.made(change)
            generation = outcome.body["metadata"]["generation"]
            self._fights.made(change, generation=generation, now=time.monotonic())
            log.info("%s: template patched for %s", change.ref, ", ".join(sorted(change.policies)))
        for key in sorted(change.failed):
            log.warning("%s: its rollout failed with %s, which was taken out", change.ref, key)
        for key, leftovers in change.leftovers.items():
            for each in leftovers:
                log.warning("%s: %s: %s: %s", change.ref, key, each.reason, each.message)
        self._inventory.refresh_workload(outcome.body, kind=change.ref.kind)
        self._taken_out.note(change)
        return Attempt(change)

    async def _idle(self, change: TemplateChange, snapshot: Snapshot) -> Finding | None:
        """Why the change would only make Pods roll for nothing, or None."""
        if (undone := self._foreign.undone(change)) is not None:
            return undone
        if change.ref.kind != DAEMON_SETS.kind or change.taken_out == change.policies:
            return None
        adding = change.policies - change.taken_out
        wishes = [p.desired for p in snapshot.policies if p.desired and p.key in adding]
        return await self._daemons.idle(change.ref, wishes)

    def _failed(self, change: TemplateChange, outcome: Outcome, digest: str) -> Attempt:
        finding = Finding(_REASONS[outcome.result], outcome.message)
        log.warning("%s not patched, tried again later: %s", change.ref, outcome.message)
        attempt = Attempt(change, failure=finding)
        at_most = CONFLICT if outcome.result is Result.CONFLICT else math.inf
        rested = self._rest(attempt, digest, at_least=outcome.retry_after, at_most=at_most)
        self._backoff.asked(change.ref, now=time.monotonic(), seconds=outcome.retry_after)
        return rested

    def _rest(
        self, attempt: Attempt, digest: str, *, at_least: float, at_most: float = math.inf
    ) -> Attempt:
        """Tries it again later, and gives its place to others at once."""
        ref, now = attempt.change.ref, time.monotonic()
        wait = self._backoff.failed(ref, now=now, at_least=at_least, at_most=at_most)
        self._rested[ref] = digest, attempt
        self._inventory.dirty_scopes.mark(ref.namespace)
        self._inventory.dirty_scopes.mark_later(ref.namespace, wait)
        return attempt

    def _note(
        self,
        snapshot: Snapshot,
        decided: Plan,
        attempts: Mapping[Ref, Attempt],
        *,
        asked: frozenset[str],
    ) -> None:
        """Writes down what the pass came to, for all policies; `asked` wait for dry runs."""
        space = snapshot.namespace
        entries = {}
        for policy in snapshot.policies:
            reported = report(policy.key, decided.standings[policy.key], attempts)
            standings = self._open_jobs.told(policy, reported)
            summary = replace(
                summarize(standings), preflight=self._preflight.told(space, policy.key)
            )
            open_ = policy.key in asked
            entries[policy.key] = Entry(policy.uid, policy.generation, summary, open_)
        self._look_at(self._ledger.put(space, entries))

    def _look_at(self, scopes: Iterable[str]) -> None:
        for scope in scopes:
            self._inventory.dirty_scopes.mark(scope)

    async def _report(self, scope: str) -> None:
        """Publishes what is new of the policies that live there."""
        async with self._reporting:
            for policy in self._inventory.policies(scope):
                await self._report_policy(policy)

    async def _report_policy(self, policy: PolicyFacts) -> None:
        summary = self._ledger.summary(policy)
        if summary is None:
            return
        if policy.scope == CLUSTER:
            summary = self._preflight.of_all(policy, summary)
        if summary is None:
            return
        strays, pods = self._inventory.strays(policy), self._inventory.pods.tally(policy)
        status = policy_status(
            policy,
            replace(summary, strays=strays, pods=pods),
            nodes=self._inventory.nodes_tally,
            excluded=self._inventory.excluded(policy.scope),
            webhook=self._inventory.webhook,
            now=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        await self._reporter.publish(policy, status)
