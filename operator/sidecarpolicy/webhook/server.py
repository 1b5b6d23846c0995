"""The admission endpoint: one path, bounded bodies, bounded concurrency, nothing else."""

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from sidecarpolicy.webhook.review import BadReviewError, Reviewed

log = logging.getLogger(__name__)

PATH = "/mutate"
MAX_BODY = 8 * 1024 * 1024
"""Bytes; etcd takes objects of 1.5 MiB, and an update carries two of them, escaped."""
MAX_IN_FLIGHT = 512
"""Reviews at one time; the API server has given up on later ones before their turn comes."""
_DRAIN_SECONDS = 10.0
_READ_SECONDS = 10.0
"""For how long a body may take to arrive; the API server waits for an answer for 2 seconds."""

Review = Callable[[bytes], Awaitable[Reviewed]]
Observe = Callable[[Reviewed | None, float], None]
"""Told of every review, None for a bad one, with the seconds that it took."""


@dataclass(frozen=True)
class Manners:
    """How clients are treated."""

    leaving: Callable[[], bool] = lambda: False
    """Whether each answer ends its connection."""
    patience: float = _READ_SECONDS
    places: int = MAX_IN_FLIGHT


@asynccontextmanager
async def admission_server(
    listen: str,
    tls: ssl.SSLContext,
    *,
    review: Review,
    observe: Observe,
    manners: Manners = Manners(),
) -> AsyncIterator[None]:
    """Serves on "HOST:PORT" while the context is open; what is under way is finished.

    When it is `leaving`, each answer ends its connection: the API server keeps connections
    for long, whatever the Service says, and would send a review into one that just closed.
    """
    endpoint = _Endpoint(review, observe, manners)
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
    def __init__(self, review: Review, observe: Observe, manners: Manners) -> None:
        self._review = review
        self._observe = observe
        self._manners = manners
        self._in_flight = 0

    async def handle(self, request: web.Request) -> web.Response:
        """Answers one review; what is none gets a 4xx, too many get a 503 (and pass, unseen)."""
        if self._in_flight >= self._manners.places:
            return web.Response(status=503, text="too many reviews at one time\n")
        self._in_flight += 1
        try:
            response = await self._reviewed(await self._body(request))
        finally:
            self._in_flight -= 1
        if self._manners.leaving():
            response.force_close()
        return response

    async def _body(self, request: web.Request) -> bytes:
        """The whole body. A client that stops half-way must not keep its place for ever."""
        try:
            async with asyncio.timeout(self._manners.patience):
                return await request.read()
        except TimeoutError as error:
            raise web.HTTPRequestTimeout(text="the body did not arrive\n") from error
        except web.RequestPayloadError as error:
            raise web.HTTPBadRequest(text="the body cannot be read\n") from error

    async def _reviewed(self, body: bytes) -> web.Response:
        start = time.perf_counter()
        try:
            reviewed = await self._review(body)
        except BadReviewError as error:
            self._observe(None, time.perf_counter() - start)
            return web.Response(status=400, text=f"{error}\n")
        self._observe(reviewed, time.perf_counter() - start)
        return web.Response(body=reviewed.body, content_type="application/json")
