"""Health over HTTP: /healthz says that the process works, or what keeps it from that until it is
started anew, /readyz that it knows the cluster,
and /metrics, where there are any, tells Prometheus how it does.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

log = logging.getLogger(__name__)

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


@asynccontextmanager
async def health_server(
    listen: str,
    *,
    ready: Callable[[], bool],
    ailment: Callable[[], str] = str,
    metrics: Callable[[], bytes] | None = None,
) -> AsyncIterator[None]:
    """Serves on "HOST:PORT" while the context is open; an empty `ailment` is none."""

    async def healthz(_: web.Request) -> web.Response:
        if found := ailment():
            log.error("Not alive: %s", found)
            return web.Response(text=f"{found}\n", status=503)
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        if ready():
            return web.Response(text="ok\n")
        return web.Response(text="still listing the cluster\n", status=503)

    async def exposition(_: web.Request) -> web.Response:
        text = metrics() if metrics is not None else b""
        return web.Response(body=text, headers={"Content-Type": _PROMETHEUS})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz)])
    if metrics is not None:
        app.add_routes([web.get("/metrics", exposition)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    host, _, port = listen.rpartition(":")
    await web.TCPSite(runner, host.strip("[]"), int(port)).start()
    try:
        yield
    finally:
        await runner.cleanup()
