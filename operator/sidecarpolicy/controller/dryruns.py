"""Dry runs: has the API server take Pods without storing them, and finds out about its gate.

A bounded number at one time. A server, or a webhook behind it, that answered none of the last
ones in time is left alone for a while: no answer blocks nobody.
"""

import asyncio
import logging
import time

from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.resources import PODS
from sidecarpolicy.core import gate
from sidecarpolicy.core.gate import Gate
from sidecarpolicy.core.inquiry import Inquiry, Trial, Verdict
from sidecarpolicy.core.reading import Answer, Reading, Reply, read

log = logging.getLogger(__name__)

IN_FLIGHT = 8
_PATIENCE = 12.0
"""Seconds; the API server gives a webhook 10 unless its configuration says otherwise."""
_QUIET = 60.0
_GATE_KEPT = 30.0
_LATE = Reading(Answer.INCONCLUSIVE, "the API server did not answer dry runs in time")


class DryRuns:
    """Carries inquiries out."""

    def __init__(self, api: Api, *, patience: float = _PATIENCE) -> None:
        """`patience` is how many seconds an answer may take."""
        self._api = api
        self._patience = patience
        self._late = 0
        self._quiet_until = 0.0
        self._gate: tuple[float, Gate] = (0.0, Gate.UNKNOWN)

    async def carry_out(self, inquiry: Inquiry, *, namespace: str) -> Verdict:
        """Asks the API server until the inquiry has its verdict."""
        try:
            trial = next(inquiry)
            while True:
                trial = inquiry.send(await self._try(trial, namespace))
        except StopIteration as end:
            verdict: Verdict = end.value
            return verdict

    async def _try(self, trial: Trial, namespace: str) -> Reading:
        if time.monotonic() < self._quiet_until:
            return _LATE
        try:
            async with asyncio.timeout(self._patience):
                outcome = await self._api.create(PODS, trial.pod, namespace, dry_run=True)
        except TimeoutError:
            self._late += 1
            if self._late >= IN_FLIGHT:
                log.warning("%s; none for %.0f s", _LATE.message, _QUIET)
                self._quiet_until = time.monotonic() + _QUIET
            return _LATE
        self._late = 0
        return read(Reply(outcome.code, outcome.message, outcome.body), trial.sidecars)

    async def gate(self) -> Gate:
        """The API server's own gate, by its version or its metric; kept for half a minute."""
        since, known = self._gate
        if since and time.monotonic() - since < _GATE_KEPT:
            return known
        version = await self._api.server_version()
        known = gate.by_version(str(version.body.get("gitVersion", "")))
        if known is Gate.UNKNOWN:
            known = gate.by_metric(await self._api.metric(gate.METRIC))
        self._gate = time.monotonic(), known
        return known
