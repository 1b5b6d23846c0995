"""What may go wrong on the way to an API server: a proxy in front of a real one, which tests tell
what to break. It speaks plain HTTP, so that it can be reached with any token.
"""

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import (
    ClientConnectionError,
    ClientSession,
    ClientTimeout,
    StreamReader,
    TCPConnector,
    web,
)

from lab import Lab

JSON = dict[str, Any]
_HOP = {"host", "connection", "transfer-encoding", "content-length"}


@dataclass(eq=False)
class _Watch:
    """One watch that passes through."""

    resource: str
    injected: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    mute: bool = False


@dataclass
class Refusal:
    """How the next requests are answered instead of being passed on."""

    what: str
    """A part of the URL."""
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1


class Faults:
    """The proxy. Its methods are for tests, from any thread."""

    def __init__(self, lab: Lab, port: int) -> None:
        self._lab = lab
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._watches: set[_Watch] = set()
        self._lost: set[tuple[str, str]] = set()
        self._refusals: list[Refusal] = []
        self.asked: list[tuple[float, str]] = []
        """When, by the loop's clock, and what."""

    def kubeconfig(self, own: Path, place: Path) -> Path:
        """The same rights as another kubeconfig's token has, by way of the proxy."""
        config = json.loads(own.read_text())
        config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self._port}"}
        place.write_text(json.dumps(config))
        return place

    def watched(self) -> set[str]:
        """Resources with a watch that passes through and is not mute."""
        return {each.resource for each in tuple(self._watches) if not each.mute}

    def inject(self, code: int, *resources: str) -> None:
        """Ends watches by an error in the stream; of all resources, if none is named."""
        status = {"kind": "Status", "status": "Failure", "message": "injected", "code": code}
        line = json.dumps({"type": "ERROR", "object": {"apiVersion": "v1", **status}}).encode()
        for each in tuple(self._watches):
            if not resources or each.resource in resources:
                self._loop.call_soon_threadsafe(each.injected.put_nowait, line + b"\n")

    def mute(self) -> None:
        """Every watch of now stays open, and nothing comes out of it any more."""
        for each in tuple(self._watches):
            each.mute = True

    def lose(self, event_type: str, resource: str) -> None:
        """From now on events of this type never arrive."""
        self._lost.add((event_type, resource))

    def lose_no_more(self) -> None:
        """Ends `lose`."""
        self._lost.clear()

    def refuse(self, refusal: Refusal) -> None:
        """Has matching requests answered so."""
        self._refusals.append(refusal)

    @contextmanager
    def between(self) -> Iterator["Faults"]:
        """The proxy runs while this lasts."""
        listening = threading.Event()
        thread = threading.Thread(target=self._run, args=(listening,), daemon=True)
        thread.start()
        try:
            assert listening.wait(10)
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._ended.set)
            thread.join()

    def _run(self, listening: threading.Event) -> None:
        with self._lab.entered(), asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(listening))

    async def _serve(self, listening: threading.Event) -> None:
        tls = ssl.create_default_context(cafile=str(self._lab.layout.pki / "ca.crt"))
        app = web.Application(client_max_size=2**24)
        async with ClientSession(
            connector=TCPConnector(ssl=tls, limit=0), read_bufsize=2**21, auto_decompress=False
        ) as self._session:
            app.router.add_route("*", "/{path:.*}", self._pass_on)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", self._port).start()
            listening.set()
            await self._ended.wait()
            await runner.cleanup()

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((self._loop.time(), f"{request.method} {request.rel_url}"))
        refused = self._refused(str(request.rel_url))
        if refused is not None:
            return refused
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
        try:
            async with self._session.request(
                request.method,
                f"https://127.0.0.1:443{request.rel_url}",
                headers=headers,
                data=await request.read() or None,
                timeout=ClientTimeout(total=None),
            ) as answer:
                kept = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP}
                made = web.StreamResponse(status=answer.status, headers=kept)
                await made.prepare(request)
                if request.query.get("watch") != "true" or answer.status != 200:
                    await made.write(await answer.read())
                    return made
                await self._stream(_Watch(request.path.rpartition("/")[2]), answer.content, made)
                return made
        except ClientConnectionError:
            return web.Response(status=502)

    def _refused(self, url: str) -> web.Response | None:
        for each in self._refusals:
            if each.what in url and each.times > 0:
                each.times -= 1
                status = {"kind": "Status", "message": "refused by a test", "code": each.status}
                return web.json_response(status, status=each.status, headers=each.headers)
        return None

    async def _stream(self, watch: _Watch, content: StreamReader, made: web.StreamResponse) -> None:
        self._watches.add(watch)
        try:
            ended = asyncio.ensure_future(watch.injected.get())
            passing = asyncio.ensure_future(self._copy(watch, content, made))
            with suppress(ClientConnectionError, ConnectionError):
                await asyncio.wait([ended, passing], return_when=asyncio.FIRST_COMPLETED)
                if ended.done():
                    await made.write(ended.result())
            for each in (ended, passing):
                each.cancel()
            await asyncio.wait([ended, passing])
            if watch.mute:
                await self._ended.wait()
        finally:
            self._watches.discard(watch)

    async def _copy(self, watch: _Watch, content: StreamReader, made: web.StreamResponse) -> None:
        async for line in content:
            event = json.loads(line)
            if not watch.mute and (event["type"], watch.resource) not in self._lost:
                await made.write(line)
