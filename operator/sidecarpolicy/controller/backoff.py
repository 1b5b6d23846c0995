"""Exponential back-off with jitter, per key."""

import math
import random
from collections.abc import Hashable

FIRST = 1.0
LAST = 60.0
CONFLICT = 1.0
"""The longest wait after a conflict: what is needed is a fresh look, not time."""


class Backoff:
    """Remembers how often each key failed, and until when it should rest."""

    def __init__(self, *, first: float = FIRST, last: float = LAST) -> None:
        """Seconds of the first wait and of the longest, before jitter takes up to half."""
        self._first, self._last = first, last
        self._failures: dict[Hashable, int] = {}
        self._until: dict[Hashable, float] = {}
        self._asked: dict[Hashable, float] = {}

    def failed(
        self, key: Hashable, *, now: float, at_least: float = 0.0, at_most: float = math.inf
    ) -> float:
        """Notes a failure at a monotonic time; returns the seconds to wait.

        `at_least` is what the API server asked for (Retry-After), of many at the same time, so
        it gets some jitter, too. `at_most` is for failures that waiting does not heal.
        """
        count = self._failures[key] = self._failures.get(key, 0) + 1
        # No power of many hours of failures: 2.0 ** 1024 is an error, not infinity.
        ceiling = min(self._first * 2.0 ** min(count - 1, 10), self._last, at_most)
        wait = max(ceiling * random.uniform(0.5, 1.0), at_least * random.uniform(1.0, 1.25))
        self._until[key] = now + wait
        self._asked.pop(key, None)
        return wait

    def asked(self, key: Hashable, *, now: float, seconds: float) -> None:
        """Notes beside a failure for how long the API server itself wants no further try."""
        self._asked[key] = now + seconds

    def relent(self, key: Hashable, *, now: float) -> None:
        """Something changed: what we chose to wait is void, what the server asked for is not."""
        if self._asked.get(key, now) > now:
            self._until[key] = self._asked[key]
        else:
            self.succeeded(key)

    def succeeded(self, key: Hashable) -> None:
        """Forgets a key's failures."""
        self._failures.pop(key, None)
        self._until.pop(key, None)
        self._asked.pop(key, None)

    def rest(self, key: Hashable, *, now: float) -> float:
        """For how many seconds more the key should be left alone; 0 or less for none."""
        return self._until.get(key, now) - now
