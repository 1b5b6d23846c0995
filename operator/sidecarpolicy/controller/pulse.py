"""A pulse: whether a loop gets on with its work, for the liveness probe.

A loop that waits for work is well, however long it waits; one that has work gives a beat
with each step of it that is done.
"""

import time
from collections.abc import Callable


class Pulse:
    """The pulse of one loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: float | None = None

    def beat(self) -> None:
        """A step was done, or work begins."""
        self._last = self._clock()

    def rest(self) -> None:
        """There is nothing to do."""
        self._last = None

    @property
    def silence(self) -> float:
        """Seconds since the last step, in the middle of work; 0 while there is none."""
        return 0.0 if self._last is None else self._clock() - self._last
