"""How a process lives and ends: its parts run together, and the first that ends, ends all."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Awaitable, Coroutine
from typing import Any, NoReturn

import uvloop

from sidecarpolicy.cluster.connection import NoClusterError

log = logging.getLogger(__name__)

_LAST_SECONDS = 3.0
"""How long what was cancelled may take to end."""


def run_to_end(main: Coroutine[Any, Any, None]) -> None:
    """Runs a process's main coroutine; returns after a signal, raises if a part of it fails."""
    uvloop.run(_and_leave(main))


async def _and_leave(main: Coroutine[Any, Any, None]) -> None:
    """Sees to it that the process then ends: tasks of a library may not let go."""
    code = 1
    try:
        await main
        code = 0
    except NoClusterError:
        raise
    except Exception as error:
        log.error("The process ends, because a part of it failed: %r", error)
        raise
    finally:
        leaving = threading.Timer(_LAST_SECONDS, os._exit, (code,))
        leaving.daemon = True
        leaving.start()


def leave_at_once(why: str) -> NoReturn:
    """Ends the process here and now, with all its connections: nothing is done in an orderly way.

    For when every further step would be one too many.
    """
    log.error("The process ends at once: %s", why)
    logging.shutdown()
    os._exit(1)


async def told_to_end() -> None:
    """Ends on SIGTERM or SIGINT, which a process that is PID 1 ignores otherwise."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    await told.wait()


async def first_to_end(*parts: Awaitable[Any]) -> None:
    """Runs all until the first ends, which ends the others; raises what that one raised."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_LAST_SECONDS)
    for task in done:
        task.result()
