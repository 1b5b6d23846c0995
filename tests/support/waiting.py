"""Waiting for what a cluster does in its own time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Found = TypeVar("Found")


def eventually(
    look: Callable[[], Found],
    *,
    until: Callable[[Found], bool] = bool,
    seconds: float = 30,
) -> Found:
    """What `look` sees as soon as it is as wanted; fails with the last sight after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if until(found):
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {seconds} s; last seen: {found!r}")
        time.sleep(0.1)


def stays(look: Callable[[], Found], *, seconds: float) -> Found:
    """What `look` sees, which must not change for a while."""
    first = look()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.2)
        now = look()
        assert now == first, f"changed from {first!r} to {now!r}"
    return first


def at_rest(look: Callable[[], Found], *, seconds: float, within: float = 60) -> Found:
    """What `look` sees once it has not changed for a while."""
    deadline = time.monotonic() + within
    last, since = look(), time.monotonic()
    while time.monotonic() < since + seconds:
        assert time.monotonic() < deadline, f"never at rest; last seen: {last!r}"
        time.sleep(0.2)
        now = look()
        if now != last:
            last, since = now, time.monotonic()
    return last


async def soon(
    look: Callable[[], Awaitable[Found]],
    *,
    until: Callable[[Found], bool] = bool,
    seconds: float = 30,
) -> Found:
    """The same inside a running event loop, which goes on meanwhile."""
    deadline = time.monotonic() + seconds
    while True:
        found = await look()
        if until(found):
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {seconds} s; last seen: {found!r}")
        await asyncio.sleep(0.05)
