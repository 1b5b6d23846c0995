"""An HTTP server that stands for the API server, as far as a Lease goes, and has its faults."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientSession, web

from sidecarpolicy.cluster.connection import Connection
from sidecarpolicy.cluster.fence import fencing

JSON = dict[str, Any]
_ALL = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


@dataclass
class LeaseServer:
    """Keeps one Lease, with optimistic concurrency."""

    lease: JSON | None = None
    version: int = 0
    away: bool = False
    """It takes no request, as behind a network that is cut."""
    mute: bool = False
    """It does what it is asked to, but no answer comes back."""
    written: list[JSON] = field(default_factory=list)

    @property
    def holder(self) -> str:
        return str((self.lease or {"spec": {}})["spec"].get("holderIdentity") or "")

    def write(self, **spec: Any) -> None:
        """What somebody else makes of the record."""
        self.version += 1
        before = self.lease["spec"] if self.lease else {}
        meta = {"name": "sidecarpolicy-controller", "resourceVersion": str(self.version)}
        self.lease = {"metadata": meta, "spec": {**before, **spec}}

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Connection]:
        """A connection to it, while the context is open."""
        app = web.Application()
        app.router.add_get(_ALL + "/{name}", self._faulty(self._get))
        app.router.add_post(_ALL, self._faulty(self._create))
        app.router.add_patch(_ALL + "/{name}", self._faulty(self._patch))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            async with ClientSession(trace_configs=[fencing()]) as session:
                yield Connection(f"http://127.0.0.1:{port}", session, ClientSession)
        finally:
            await runner.cleanup()

    def _faulty(
        self, handle: Callable[[JSON], web.Response]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handler(request: web.Request) -> web.Response:
            body = await request.json() if request.can_read_body else {}
            if self.away:
                await asyncio.Event().wait()
            answer = handle(body)
            if self.mute:
                await asyncio.Event().wait()
            return answer

        return handler

    def _get(self, _: JSON) -> web.Response:
        if self.lease is None:
            details = {"name": "sidecarpolicy-controller"}
            return web.json_response({"message": "not found", "details": details}, status=404)
        return web.json_response(self.lease)

    def _create(self, body: JSON) -> web.Response:
        if self.lease is not None:
            return web.json_response({"message": "already exists"}, status=409)
        return self._take_in(body)

    def _patch(self, body: JSON) -> web.Response:
        if self.lease is None:
            return self._get(body)
        if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            return web.json_response({"message": "the object has been modified"}, status=409)
        return self._take_in(body)

    def _take_in(self, body: JSON) -> web.Response:
        self.written.append(body["spec"])
        self.write(**body["spec"])
        return web.json_response(self.lease)
