"""A fence: asks at the very last moment whether a write may still be sent.

A process that was stopped for a minute (SIGSTOP, a paused virtual machine, a starved node)
goes on in the middle of whatever it did. Between a check and the bytes on the wire there may
be a connection to wait for, a TLS handshake, or that minute. So aiohttp asks right before it
hands a request's bytes to the connection. What is left is one turn of the event loop, until the
bytes are with the kernel; what is stopped there, or on its way, carries the generation or version
that it was decided by, and is refused if somebody else wrote the object.
"""

from collections.abc import Callable
from types import SimpleNamespace

from aiohttp import ClientSession, TraceConfig, TraceRequestChunkSentParams

Fence = Callable[[], bool]
"""Whether a write may be sent now."""


class FencedError(Exception):
    """A write that was not sent, because the time in which it was allowed is over."""


def fencing() -> TraceConfig:
    """What a session needs so that requests with a fence as `trace_request_ctx` obey it.

    Only bodies are asked about: every request of ours that writes has one.
    """
    config = TraceConfig()
    config.on_request_chunk_sent.append(_ask)
    return config


async def _ask(_: ClientSession, context: SimpleNamespace, __: TraceRequestChunkSentParams) -> None:
    fence: Fence | None = context.trace_request_ctx
    if fence is not None and not fence():
        raise FencedError("not sent: this process does not lead any more")
