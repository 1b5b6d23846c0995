"""What answers on a kubelet's port: it records who asked, and says what it is told to say."""

import asyncio
import queue
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from lab import Lab
from tests.support.certificates import authority, serving

GATE = 'kubernetes_feature_enabled{{name="SidecarContainers",stage="BETA"}} {}\n'


def metrics(gate: int | None) -> bytes:
    """A kubelet's metrics, with the gate somewhere in the middle, or without it."""
    others = "".join(f'kubernetes_feature_enabled{{name="Other{n}"}} 1\n' for n in range(200))
    line = GATE.format(gate) if gate is not None else ""
    return f"# HELP kubernetes_feature_enabled [BETA] …\n{others}{line}{others}".encode()


@dataclass
class Metrics:
    """Metrics of one kubelet or of many, for whoever asks."""

    text: bytes = field(default_factory=lambda: metrics(1))
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    """How long an answer takes."""
    asked: list[str] = field(default_factory=list)
    """Paths."""
    tokens: list[str] = field(default_factory=list)
    """What was sent as Authorization."""
    in_flight: int = 0
    most: int = 0
    """How many requests there were at one time."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        self.tokens.append(request.headers.get("Authorization", ""))
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await asyncio.sleep(self.seconds)
            return web.Response(body=self.text, status=self.status, headers=self.headers)
        finally:
            self.in_flight -= 1

    @asynccontextmanager
    async def serving(
        self, tls: ssl.SSLContext | None = None, *, path: str = "/metrics", port: int = 0
    ) -> AsyncIterator[int]:
        """Answers on a port of 127.0.0.1 while the context is open."""
        app = web.Application()
        app.router.add_get(path, self.answer)
        async with listening(app, tls, port=port) as found:
            yield found


@asynccontextmanager
async def listening(
    app: web.Application, tls: ssl.SSLContext | None = None, *, port: int = 0
) -> AsyncIterator[int]:
    """The port of 127.0.0.1 where it answers."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@contextmanager
def answering(lab: Lab, kubelet: Metrics, tls: ssl.SSLContext) -> Iterator[int]:
    """The same inside a lab's network, from a thread of its own; the port."""
    loop, ended, ports = asyncio.new_event_loop(), asyncio.Event(), queue.Queue[int]()

    async def serve() -> None:
        async with kubelet.serving(tls) as port:
            ports.put(port)
            await ended.wait()

    def run() -> None:
        with lab.entered(), asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield ports.get(timeout=10)
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


@dataclass(frozen=True)
class Signed:
    """A CA's certificate in a file, and a server's side of TLS that it vouches for."""

    ca_file: str
    server: ssl.SSLContext


def signed(place: Path, *, host: str = "127.0.0.1") -> Signed:
    """A fresh CA, and a certificate of it for this host."""
    place.mkdir(exist_ok=True)
    ca = authority(datetime.now(UTC))
    pair = serving(ca, datetime.now(UTC), names=(host,))
    (place / "ca.crt").write_bytes(ca.chain_pem)
    (place / "tls.crt").write_bytes(pair.chain_pem)
    (place / "tls.key").write_bytes(pair.key_pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(place / "tls.crt", place / "tls.key")
    return Signed(str(place / "ca.crt"), context)
