"""The admission endpoint: one path, bounded bodies, bounded concurrency, nothing else."""

import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from sidecarpolicy.webhook.review import BadReviewError, Reviewed

log = logging.getLogger(__name__)

PATH = "/mutate"
MAX_BODY = 8 * 1024 * 1024
"""Bytes; etcd takes objects of 1.5 MiB, and an update carries two of them, escaped."""
MAX_IN_FLIGHT = 512
"""Reviews at one time; the API server has given up on later ones before their turn comes."""
_DRAIN_SECONDS = 10.0

Review = Callable[[bytes], Reviewed]
Observe = Callable[[Reviewed | None, float], None]
"""Told of every review, None for a bad one, with the seconds that it took."""


@asynccontextmanager
async def admission_server(
    listen: str, tls: ssl.SSLContext, *, review: Review, observe: Observe
) -> AsyncIterator[None]:
    """Serves on "HOST:PORT" while the context is open; what is under way is finished."""
    endpoint = _Endpoint(review, observe)
    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_post(PATH, endpoint.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_DRAIN_SECONDS)
    await runner.setup()
    host, _, port = listen.rpartition(":")
    await web.TCPSite(runner, host.strip("[]"), int(port), ssl_context=tls, backlog=1024).start()
    try:
        yield
    finally:
        await runner.cleanup()


class _Endpoint:
    def __init__(self, review: Review, observe: Observe) -> None:
        self._review = review
        self._observe = observe
        self._in_flight = 0

    async def handle(self, request: web.Request) -> web.Response:
        """Answers one review; what is none gets a 4xx, too many get a 503 (and pass, unseen)."""
        if self._in_flight >= MAX_IN_FLIGHT:
            return web.Response(status=503, text="too many reviews at one time\n")
        self._in_flight += 1
        try:
            return self._reviewed(await request.read())
        finally:
            self._in_flight -= 1

    def _reviewed(self, body: bytes) -> web.Response:
        start = time.perf_counter()
        try:
            reviewed = self._review(body)
        except BadReviewError as error:
            self._observe(None, time.perf_counter() - start)
            return web.Response(status=400, text=f"{error}\n")
        self._observe(reviewed, time.perf_counter() - start)
        return web.Response(body=reviewed.body, content_type="application/json")
