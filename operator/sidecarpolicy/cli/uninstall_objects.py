"""Reads, deletes and cleans objects for `uninstall`, and tells of each; a dry run only tells."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from sidecarpolicy.cli.uninstall_steps import Action, State, Step
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.outcome import Outcome, Result
from sidecarpolicy.cluster.resources import Resource
from sidecarpolicy.core.removal import bare_patch

JSON = dict[str, Any]

_IN_FLIGHT: Final = 16
_ATTEMPTS: Final = 5
_FIRST_WAIT: Final = 0.5
_LOOK_SECONDS: Final = 0.5


class StoppedError(Exception):
    """Something that everything else depends on could not be read."""

    def __init__(self, step: Step) -> None:
        super().__init__(step.message)
        self.step = step


class Objects:
    """The cluster's objects, one kind at a time."""

    def __init__(self, api: Api, tell: Callable[[Step], None], *, dry_run: bool) -> None:
        self._api = api
        self._tell = tell
        self._dry_run = dry_run
        self._slots = asyncio.Semaphore(_IN_FLIGHT)

    async def listed(
        self,
        kind: Resource,
        keep: Callable[[JSON], Any],
        *,
        labels: str = "",
        namespace: str | None = None,
    ) -> list[Any]:
        """What `keep` makes of all objects of a kind, but for None; none of a kind that is not
        served.
        """
        listed = await _patiently(
            lambda: self._api.list_all(kind, keep=keep, labels=labels, namespace=namespace)
        )
        if listed.code == 404:
            return []
        if not listed.done:
            raise StoppedError(_failed(kind, "", listed))
        return [each for each in listed.items if each is not None]

    async def get(self, kind: Resource, name: str) -> JSON | None:
        """An object that belongs to no namespace, or None if there is none."""
        found = await _patiently(lambda: self._api.get(kind, name=name))
        if found.done:
            return found.body
        if found.code == 404:
            return None
        raise StoppedError(_failed(kind, name, found))

    async def delete_named(self, kind: Resource, name: str) -> bool:
        """Deletes one object that belongs to no namespace; whether it was there."""
        found = await self.get(kind, name)
        if found is not None:
            await self._delete(kind, found["metadata"])
        return found is not None

    async def delete_labelled(
        self, kind: Resource, labels: str, *, namespace: str | None = None
    ) -> bool:
        """Deletes all objects of a kind with these labels; whether there were any."""
        found = await self.listed(
            kind, lambda obj: obj["metadata"], labels=labels, namespace=namespace
        )
        await asyncio.gather(*(self._delete(kind, meta) for meta in found))
        return bool(found)

    async def clean(self, kind: Resource, found: Sequence[JSON]) -> None:
        """Takes our labels and annotations off objects with this metadata."""
        await asyncio.gather(*(self._clean(kind, meta) for meta in found))

    async def wait_until_none(
        self, kind: Resource, labels: str, *, namespace: str, seconds: float
    ) -> list[str]:
        """Waits until no such objects are left; the names of those that still are."""
        names: list[str] = []

        async def look() -> bool:
            names[:] = await self.listed(
                kind, lambda obj: obj["metadata"]["name"], labels=labels, namespace=namespace
            )
            return not names

        return [] if self._dry_run or await _within(seconds, look) else names

    async def wait_until_gone(self, kind: Resource, name: str, *, seconds: float) -> bool:
        """Waits for the end of an object that belongs to no namespace; whether that came."""

        async def look() -> bool:
            return await self.get(kind, name) is None

        return self._dry_run or await _within(seconds, look)

    async def _delete(self, kind: Resource, meta: JSON) -> None:
        await self._do(
            Action.DELETE,
            kind,
            meta,
            lambda: self._api.delete(
                kind, name=meta["name"], uid=meta["uid"], namespace=meta.get("namespace")
            ),
        )

    async def _clean(self, kind: Resource, meta: JSON) -> None:
        patch = bare_patch(meta)
        if patch is not None:
            await self._do(
                Action.CLEAN,
                kind,
                meta,
                lambda: self._api.patch_merge(
                    kind, patch, name=meta["name"], namespace=meta.get("namespace")
                ),
            )

    async def _do(
        self, action: Action, kind: Resource, meta: JSON, write: Callable[[], Awaitable[Outcome]]
    ) -> None:
        where = meta.get("namespace", "")
        if self._dry_run:
            self._tell(Step(State.PLANNED, action, kind.kind, meta["name"], where))
            return
        async with self._slots:
            outcome = await _patiently(write)
        # A conflict is one of the uid: what was meant is gone, another has its name.
        fine = outcome.done or outcome.result in (Result.GONE, Result.CONFLICT)
        state, message = (State.DONE, "") if fine else (State.FAILED, outcome.message)
        self._tell(Step(state, action, kind.kind, meta["name"], where, message))


async def _patiently(ask: Callable[[], Awaitable[Outcome]]) -> Outcome:
    """Asks again, later and later, as long as nobody answers."""
    wait = _FIRST_WAIT
    for _ in range(_ATTEMPTS - 1):
        outcome = await ask()
        if outcome.result is not Result.UNAVAILABLE or outcome.code == 404:
            return outcome
        await asyncio.sleep(max(wait, outcome.retry_after))
        wait *= 2
    return await ask()


async def _within(seconds: float, look: Callable[[], Awaitable[bool]]) -> bool:
    """Whether what is waited for comes in time."""
    deadline = time.monotonic() + seconds
    while True:
        if await look():
            return True
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_LOOK_SECONDS)


def _failed(kind: Resource, name: str, outcome: Outcome) -> Step:
    return Step(State.FAILED, Action.NONE, kind.kind, name, "", f"not read: {outcome.message}")
