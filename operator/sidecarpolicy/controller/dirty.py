"""A set of keys that need work: marking twice is marking once, waiting costs nothing."""

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar

from sidecarpolicy.controller.pulse import Pulse

Key = TypeVar("Key", bound=Hashable)


class DirtySet(Generic[Key]):
    """Keys marked by event handlers and taken by one worker loop."""

    def __init__(self, *, settle: float) -> None:
        """`settle` is how many seconds a first mark waits for others to join it."""
        self._settle = settle
        self.pulse = Pulse()
        """Of the loop that takes from here."""
        self._keys: set[Key] = set()
        self._marked = asyncio.Event()
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        """How many keys wait."""
        return len(self._keys)

    def mark(self, key: Key) -> None:
        """Asks for work on a key now."""
        self._keys.add(key)
        self._marked.set()

    def unmark(self, key: Key) -> None:
        """Takes a mark back: nobody may come to take it for weeks (see controller.election)."""
        self._keys.discard(key)

    def mark_later(self, key: Key, seconds: float) -> None:
        """Asks for work on a key after a while; of several wishes the earliest counts."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        timer = self._timers.get(key)
        if timer is None or timer.when() > due:
            if timer is not None:
                timer.cancel()
            self._timers[key] = loop.call_at(due, self._ring, key)

    def _ring(self, key: Key) -> None:
        del self._timers[key]
        self.mark(key)

    async def take(self) -> set[Key]:
        """Waits for marks, lets a burst settle, and returns all marked keys at once."""
        self.pulse.rest()
        await self._marked.wait()
        await asyncio.sleep(self._settle)
        keys, self._keys = self._keys, set()
        self._marked.clear()
        self.pulse.beat()
        return keys
