"""Leader election: one process of several writes, the others only look.

    ready → acquire (the Lease is free) → lead: renew beside the work → release
                                            └ lost: the process ends at once

Whoever leads may write until `renew_deadline` after the start of the last request that renewed
the Lease (`holds`, which the fence asks before each write); nobody else leads before `duration`
after the API server took that request.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.connection import Connection
from sidecarpolicy.cluster.outcome import Outcome, Result
from sidecarpolicy.cluster.resources import LEASES
from sidecarpolicy.controller.backoff import Backoff
from sidecarpolicy.core.lease import (
    NONE,
    TERMS,
    Lease,
    Sighting,
    Terms,
    lease_of,
    released,
    sight,
    taken,
)
from sidecarpolicy.process.life import first_to_end, leave_at_once

log = logging.getLogger(__name__)

LEASE = "sidecarpolicy-controller"
_RELEASE_SECONDS = 2.0
_NEVER = float("-inf")
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class LostLeaseError(Exception):
    """Somebody else leads, or may do so soon."""


@dataclass(frozen=True)
class Candidate:
    """Who wants to lead, and where the Lease is."""

    identity: str
    namespace: str
    terms: Terms = TERMS


def clock() -> float:
    """Seconds on a clock that only goes forward, also while the machine is suspended."""
    return time.clock_gettime(_CLOCK)


class Election:
    """Our part in it."""

    def __init__(
        self,
        connection: Connection,
        candidate: Candidate,
        leave: Callable[[str], NoReturn] = leave_at_once,
    ) -> None:
        """`leave` ends the process when the Lease is lost, and gets the reason."""
        self._api = Api(connection, fence=self._in_hand)
        self._leave = leave
        self._me = candidate.identity
        self._namespace = candidate.namespace
        self._terms = candidate.terms
        self._seen: Sighting | None = None
        self._renewed = _NEVER
        self._deadline = _NEVER
        self._backoff = Backoff(first=self._terms.retry, last=4 * self._terms.retry)
        self._said = ""

    def holds(self) -> bool:
        """Whether we lead, and nobody else can by now. The fence of all writes."""
        return clock() < self._until

    @property
    def _until(self) -> float:
        return self._renewed + self._terms.renew_deadline

    async def lead(self, work: Callable[[], Awaitable[None]]) -> None:
        """Waits until we lead, then works. Gives the Lease back when the work ends or is
        cancelled; ends the process when somebody else may lead before that.
        """
        await self._acquire()
        log.info("Leading as %r", self._me)
        try:
            await first_to_end(self._keep_or_leave(), work())
        finally:
            await self._release()

    async def _acquire(self) -> None:
        while not self.holds():
            wait = await self._try()
            await asyncio.sleep(wait)

    async def _try(self) -> float:
        """Takes the Lease if it is free; after how many seconds to look again."""
        looked = await self._in_time(self._api.get(LEASES, **self._where))
        if not looked.done and looked.result is not Result.GONE:
            return self._failed("Cannot read", looked)
        lease = lease_of(looked.body) if looked.done else NONE
        if looked.done or self._seen is None:
            # A Lease that was deleted under its holder is that one's until it must have noticed.
            self._seen = sight(self._seen, lease, now=clock())
        free_in = self._seen.free_in(self._me, terms=self._terms, now=clock())
        if free_in > 0:
            self._say(f"Waiting: {self._seen.lease.holder!r} leads")
            return min(free_in, self._terms.look * random.uniform(0.8, 1.0))
        outcome = await self._write(lease)
        if outcome.done:
            self._backoff.succeeded(LEASE)
            return 0.0
        if outcome.result in (Result.CONFLICT, Result.GONE):
            return self._terms.look * random.uniform(0.2, 1.0)
        return self._failed("Cannot take", outcome)

    async def _keep_or_leave(self) -> None:
        try:
            await self._keep()
        except LostLeaseError as error:
            self._leave(f"the Lease is lost: {error}")

    async def _keep(self) -> NoReturn:
        """Renews for ever."""
        while True:
            left = self._until - clock()
            await asyncio.sleep(min(self._terms.retry, max(left, 0)))
            if not self.holds():
                raise LostLeaseError(f"not renewed for {self._terms.renew_deadline:.0f} seconds")
            await self._renew()

    async def _renew(self) -> None:
        assert self._seen is not None
        outcome = await self._write(self._seen.lease)
        if outcome.result in (Result.CONFLICT, Result.GONE):
            # An answer that got lost may have been a "yes", and people may edit a Lease.
            looked = await self._in_time(self._api.get(LEASES, **self._where))
            lease = lease_of(looked.body) if looked.done else NONE
            if looked.done and lease.holder != self._me:
                raise LostLeaseError(f"{lease.holder or 'nobody'!r} leads")
            if looked.done or looked.result is Result.GONE:
                outcome = await self._write(lease)
        if not outcome.done:
            self._say(f"Lease not renewed: {outcome.message}", logging.WARNING)

    async def _write(self, lease: Lease) -> Outcome:
        """Writes our record over this very Lease; who leads by it does so from the start of the
        request on, because the answer may take long.
        """
        start = clock()
        record = taken(lease, self._me, terms=self._terms, wall=_time_of_day())
        outcome = await self._in_time(self._put(lease, record))
        if outcome.done:
            self._renewed = start
            self._seen = sight(self._seen, lease_of(outcome.body), now=start)
            self._said = ""
        return outcome

    def _put(self, lease: Lease, record: dict[str, Any]) -> Awaitable[Outcome]:
        if not lease.version:
            meta = {"name": LEASE, "namespace": self._namespace}
            made = {"apiVersion": "coordination.k8s.io/v1", "kind": LEASES.kind}
            return self._api.create(
                LEASES, {**made, "metadata": meta, "spec": record}, self._namespace
            )
        guard = {"resourceVersion": lease.version}
        return self._api.patch_merge(LEASES, {"metadata": guard, "spec": record}, **self._where)

    async def _release(self) -> None:
        """Lets another lead at once; nothing is written from here on."""
        held, self._renewed = self.holds(), _NEVER
        if held and self._seen is not None:
            with_nobody = self._put(self._seen.lease, released(_time_of_day()))
            outcome = await self._in_time(with_nobody, seconds=_RELEASE_SECONDS)
            log.info("Lease given back" if outcome.done else "Lease left to expire")

    async def _in_time(
        self, request: Awaitable[Outcome], *, seconds: float | None = None
    ) -> Outcome:
        """A request that hangs leaves time for another one before the deadline."""
        left = self._until - clock() if self.holds() else self._terms.renew_deadline
        seconds = seconds or min(left, self._terms.renew_deadline / 2)
        self._deadline = clock() + seconds
        try:
            async with asyncio.timeout(seconds):
                return await request
        except TimeoutError:
            return Outcome(Result.UNAVAILABLE, "no answer in time")

    def _in_hand(self) -> bool:
        """Whether a request for the Lease is still the one of a moment ago: its own fence."""
        return clock() < self._deadline

    def _failed(self, what: str, outcome: Outcome) -> float:
        lease = f"{self._namespace}/{LEASE}"
        self._say(f"{what} the Lease {lease}, tried again: {outcome.message}", logging.WARNING)
        return self._backoff.failed(LEASE, now=clock(), at_least=outcome.retry_after)

    def _say(self, what: str, level: int = logging.INFO) -> None:
        """Once, not every second."""
        if what != self._said:
            self._said = what
            log.log(level, what)

    @property
    def _where(self) -> dict[str, str]:
        return {"name": LEASE, "namespace": self._namespace}


def _time_of_day() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
