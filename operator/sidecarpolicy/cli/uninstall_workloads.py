"""Takes the operator's parts out of workloads, a few at a time, each until it has rolled.

Every write is guarded by uid and generation and drawn from what was just read, so edits that
users make meanwhile survive; what changed in between is read and decided again.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sidecarpolicy.cli.uninstall_steps import Action, State, Step
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.outcome import Outcome, Result
from sidecarpolicy.cluster.resources import WORKLOADS
from sidecarpolicy.core.facts import Ref
from sidecarpolicy.core.pace import share
from sidecarpolicy.core.removal import Removal, removal, waits_for_owner
from sidecarpolicy.core.rollout import rollout_facts

_FIRST_WAIT: Final = 0.05
_LONGEST_WAIT: Final = 10.0
_LOOKS_A_SECOND: Final = 20
"""How many workloads that roll are looked at in a second, all in all."""

RawObject = dict[str, Any]


@dataclass(frozen=True)
class Pace:
    """How many workloads roll at one time, a number or a percentage of all, and for how many
    seconds each is waited for.
    """

    max_concurrent: str
    timeout: float


class Workloads:
    """Frees workloads of what policies added."""

    def __init__(self, api: Api, pace: Pace, tell: Callable[[Step], None]) -> None:
        self._api = api
        self._pace = pace
        self._tell = tell
        self._look_again = 1.0

    async def free(self, found: Sequence[Ref]) -> list[Step]:
        """Frees all of them; a fault of one stops no other."""
        slots = share(self._pace.max_concurrent, len(found))
        self._look_again = max(1.0, min(slots / _LOOKS_A_SECOND, 30.0))
        gate = asyncio.Semaphore(slots)

        async def one(ref: Ref) -> Step:
            async with gate:
                step = await self._one(ref)
            self._tell(step)
            return step

        return await asyncio.gather(*(one(ref) for ref in found))

    async def _one(self, ref: Ref) -> Step:
        """Frees one and waits for its rollout."""
        try:
            async with asyncio.timeout(self._pace.timeout):
                freed = await self._freed(ref)
        except TimeoutError:
            return _step(ref, State.FAILED, "others changed it all the time, or nobody answered")
        if isinstance(freed, Step):
            return freed
        said = "; ".join((_taken(freed), *(each.message for each in freed.leftovers)))
        try:
            async with asyncio.timeout(self._pace.timeout):
                state, waits = await self._rolled(freed)
        except TimeoutError:
            state, waits = State.UNFINISHED, f"not rolled after {self._pace.timeout:.0f} s"
        return _step(ref, state, f"{said}; {waits}" if waits else said)

    async def _freed(self, ref: Ref) -> Removal | Step:
        """Writes until the API server's answer has nothing of ours any more."""
        wait, taken = _FIRST_WAIT, None
        while True:
            found = await self._read(ref)
            if found.result is Result.GONE:
                return _step(ref, State.DONE, "it is gone")
            if found.done:
                wanted = removal(found.body, kind=ref.kind)
                if wanted.stuck is not None:
                    return _step(ref, State.FAILED, wanted.stuck.message)
                if not wanted.patch:
                    return taken or wanted
                taken = wanted
                # The answer is not trusted: a webhook that goes on for a moment may have put back
                # what was taken out. The next look says.
                found = await self._api.patch_json(
                    WORKLOADS[ref.kind], wanted.patch, name=ref.name, namespace=ref.namespace
                )
            if found.result in (Result.REFUSED, Result.FORBIDDEN):
                return _step(ref, State.FAILED, found.message)
            await asyncio.sleep(max(wait * random.uniform(0.5, 1.0), found.retry_after))
            wait = min(wait * 2, _LONGEST_WAIT)

    async def _rolled(self, freed: Removal) -> tuple[State, str]:
        """Waits until the Pods are made anew; how that ended, and what there is to say of it."""
        ref = freed.ref
        while freed.policies:
            found = await self._read(ref)
            if found.result is Result.GONE:
                break
            if found.done:
                if owner := waits_for_owner(found.body):
                    return State.STAYS, f"{owner}, so its Pods keep theirs until they are replaced"
                rollout = rollout_facts(found.body, kind=ref.kind)
                if rollout.deadline_exceeded:
                    return State.UNFINISHED, f"its rollout stopped: {rollout.message}"
                if rollout.finished:
                    break
            await asyncio.sleep(self._look_again * random.uniform(0.5, 1.0))
        return State.DONE, ""

    async def _read(self, ref: Ref) -> Outcome:
        return await self._api.get(WORKLOADS[ref.kind], name=ref.name, namespace=ref.namespace)


def _taken(freed: Removal) -> str:
    if freed.policies:
        return f"free of {', '.join(sorted(freed.policies))}"
    return "annotation removed" if freed.patch else "it was free already"


def _step(ref: Ref, state: State, message: str) -> Step:
    return Step(state, Action.STRIP, ref.kind, ref.name, ref.namespace, message)
