"""What may go wrong between a candidate and the Lease that a real API server keeps."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession, TCPConnector, web

from lab import Lab
from sidecarpolicy.cluster.connection import Connection, connect
from sidecarpolicy.cluster.fence import fencing

JSON = dict[str, Any]
NAME = "sidecarpolicy-controller"
PORT = 9558
"""In the lab's own network."""
_KIND = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME}}
_MERGE = {"Content-Type": "application/merge-patch+json"}


class LeaseFaults:
    """A way to the API server that may be cut, in one direction or both; and the Lease itself."""

    def __init__(self, real: Connection, namespace: str, connection: Connection) -> None:
        """`connection` is a candidate's, which has the faults in its way; `real` is ours."""
        self._real = real
        self.namespace = namespace
        self.connection = connection
        self._leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._reachable = asyncio.Event()
        self._reachable.set()
        self.mute = False
        """Requests come through, and no answer comes back."""
        self.written = 0
        """Writes of candidates that the API server took."""

    def cut(self, away: bool) -> None:
        """Whether no request comes through, as behind a network that is cut."""
        (self._reachable.clear if away else self._reachable.set)()

    async def holder(self) -> str:
        """Who the Lease says leads."""
        return str((await self.record()).get("holderIdentity") or "")

    async def record(self) -> JSON:
        """The Lease's spec; empty where there is none."""
        async with self._real.session.get(self._url(f"{self._leases}/{NAME}")) as answer:
            found: JSON = (await answer.json()).get("spec") or {} if answer.ok else {}
            return found

    async def create(self, **spec: Any) -> None:
        """A Lease from before."""
        made = {**_KIND, "spec": spec}
        async with self._real.session.post(self._url(self._leases), json=made) as answer:
            assert answer.ok, await answer.text()

    async def change(self, **spec: Any) -> None:
        """What somebody else makes of it."""
        url, patch = self._url(f"{self._leases}/{NAME}"), {"spec": spec}
        async with self._real.session.patch(url, json=patch, headers=_MERGE) as answer:
            assert answer.ok, await answer.text()

    async def delete(self) -> None:
        """Takes it away."""
        async with self._real.session.delete(self._url(f"{self._leases}/{NAME}")) as answer:
            assert answer.ok, await answer.text()

    def _url(self, path: str) -> str:
        return f"{self._real.server}{path}"

    async def pass_on(self, request: web.Request) -> web.Response:
        """One request of a candidate."""
        body = await request.read()
        await self._reachable.wait()
        kind = {k: v for k, v in request.headers.items() if k == "Content-Type"}
        async with self._real.session.request(
            request.method, self._url(str(request.rel_url)), data=body or None, headers=kind
        ) as answer:
            text = await answer.read()
            self.written += answer.ok and request.method != "GET"
        if self.mute:
            await asyncio.Event().wait()
        return web.Response(body=text, status=answer.status, content_type="application/json")


@asynccontextmanager
async def between(lab: Lab, namespace: str, *, connections: int = 0) -> AsyncIterator[LeaseFaults]:
    """The faults, while candidates may connect; over so many connections, 0 for any number."""
    app = web.Application()
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    async with (
        connect(str(lab.kubeconfig)) as real,
        ClientSession(
            trace_configs=[fencing()], connector=TCPConnector(limit=connections)
        ) as session,
    ):
        made = Connection(f"http://127.0.0.1:{PORT}", session, ClientSession)
        faults = LeaseFaults(real, namespace, made)
        app.router.add_route("*", "/{path:.*}", faults.pass_on)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", PORT).start()
        try:
            yield faults
        finally:
            await runner.cleanup()
