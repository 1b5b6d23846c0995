"""What a Service does for our processes: passes each new connection to the one that it points to.

Connections that exist stay where they are, as with kube-proxy.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lab import Lab

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Service:
    """A port of a lab, and the port behind it, which may change."""

    def __init__(self, port: int, target: int) -> None:
        self._port = port
        self.target = target
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()

    @contextmanager
    def serving(self, lab: Lab) -> Iterator["Service"]:
        """Passes connections on while this lasts."""
        listening = threading.Event()
        thread = threading.Thread(target=self._run, args=(lab, listening), daemon=True)
        thread.start()
        assert listening.wait(10)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._ended.set)
            thread.join()

    def _run(self, lab: Lab, listening: threading.Event) -> None:
        with lab.entered(), asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(listening))

    async def _serve(self, listening: threading.Event) -> None:
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", self._port)
        listening.set()
        await self._ended.wait()
        server.close()

    async def _pass_on(self, *client: asyncio.StreamReader | asyncio.StreamWriter) -> None:
        reader, writer = client
        assert isinstance(reader, asyncio.StreamReader)
        assert isinstance(writer, asyncio.StreamWriter)
        try:
            behind = await asyncio.open_connection("127.0.0.1", self.target)
            await asyncio.gather(_copy(reader, behind[1]), _copy(behind[0], writer))
        except OSError:
            writer.transport.abort()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await source.read(65536):
            sink.write(chunk)
            await sink.drain()
    sink.close()
