"""The endpoint over real TLS: it answers, or refuses in a clean way, whoever calls."""

import asyncio
import gzip
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import pytest
import uvloop

from sidecarpolicy.webhook.review import review
from sidecarpolicy.webhook.server import MAX_BODY, Manners, admission_server
from sidecarpolicy.webhook.tls import ServingContext
from tests.support.builders import policy_object
from tests.support.certificates import HOST, authority, client, serving
from tests.support.cluster import deployment
from tests.support.reviews import memory, request
from tests.support.waiting import soon

NOW = datetime.now(UTC)
CA = authority(NOW)
PAIR = serving(CA, NOW)
TRUST = client([CA.certificate])
REVIEW = json.dumps(
    {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u",
            "userInfo": {"username": "alice"},
            **request(deployment(), kind="Deployment"),
        },
    }
).encode()


@dataclass
class Server:
    """Where it listens, and what it was seen to do."""

    port: int
    leaving: bool = False
    seen: int = 0

    async def connect(self) -> "Connection":
        streams = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=TRUST, server_hostname=HOST
        )
        return Connection(*streams)

    async def ask(self, body: bytes = REVIEW, **parts: str) -> tuple[int, bytes]:
        """Status and body of the answer to a request on a connection of its own."""
        connection = await self.connect()
        try:
            connection.send(body, **parts)
            return await connection.answer()
        finally:
            await connection.close()


class Connection:
    """One connection, on which requests are written by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.closing = False

    def send(
        self, body: bytes, *, method: str = "POST", path: str = "/mutate", headers: str = ""
    ) -> None:
        lengths = "" if "Transfer-Encoding" in headers else f"Content-Length: {len(body)}\r\n"
        self.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}{lengths}\r\n".encode() + body)

    def write(self, raw: bytes) -> None:
        self._writer.write(raw)

    async def answer(self) -> tuple[int, bytes]:
        async with asyncio.timeout(20):
            head = await self._reader.readuntil(b"\r\n\r\n")
            lines = head.decode().lower().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            self.closing = headers.get("connection") == "close"
            content = await self._reader.readexactly(int(headers["content-length"]))
        return int(lines[0].split()[1]), content

    async def ended(self) -> bool:
        """Whether the server closed the connection, after all that it wrote is read."""
        async with asyncio.timeout(20):
            return await self._reader.read() == b""

    async def close(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def serve(patience: float, places: int) -> AsyncIterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = Server(free.getsockname()[1])
    tls = ServingContext()
    assert tls.present(PAIR.chain_pem, PAIR.key_pem) == ""

    def observe(*_: object) -> None:
        server.seen += 1

    async with admission_server(
        f"127.0.0.1:{server.port}",
        tls.context,
        review=partial(review, view=memory(policy_object()), own_user="controller"),
        observe=observe,
        manners=Manners(lambda: server.leaving, patience, places),
    ):
        yield server


def against(
    test: Callable[[Server], Awaitable[None]], *, patience: float = 10.0, places: int = 50
) -> None:
    async def main() -> None:
        async with serve(patience, places) as server:
            await test(server)
            # Whatever happened, a review is answered now.
            assert (await server.ask())[0] == 200

    uvloop.run(main())


def test_a_review_is_answered_again_and_again_on_one_connection() -> None:
    async def test(server: Server) -> None:
        connection = await server.connect()
        for _ in range(3):
            connection.send(REVIEW)
            status, body = await connection.answer()
            assert (status, json.loads(body)["response"]["patchType"]) == (200, "JSONPatch")
            assert not connection.closing
        await connection.close()
        assert server.seen == 3

    against(test)


CHUNKED = "Transfer-Encoding: chunked\r\n"
GZIP = "Content-Encoding: gzip\r\n"


@pytest.mark.parametrize(
    ("status", "body", "parts"),
    [
        pytest.param(400, b"hello", {}, id="no review"),
        pytest.param(400, b"", {}, id="no body"),
        pytest.param(404, REVIEW, {"path": "/"}, id="another path"),
        pytest.param(404, REVIEW, {"path": "/mutate/x"}, id="a path below"),
        pytest.param(404, REVIEW, {"path": "/mutate/../../etc/passwd"}, id="a path upwards"),
        pytest.param(405, b"", {"method": "GET"}, id="another method"),
        pytest.param(405, REVIEW, {"method": "PUT"}, id="a method with a body"),
        pytest.param(400, REVIEW, {"headers": GZIP}, id="a body that is not compressed as it says"),
        pytest.param(
            400, b"zz\r\n", {"headers": CHUNKED}, id="a body in chunks that are none"
        ),
        pytest.param(413, b" " * (MAX_BODY + 1), {}, id="a huge body"),
        pytest.param(
            413,
            gzip.compress(b" " * (20 * MAX_BODY), compresslevel=9),
            {"headers": GZIP},
            id="a small body that becomes huge",
        ),
    ],
)  # fmt: skip
def test_what_is_no_request_of_an_api_server_gets_a_4xx(
    status: int, body: bytes, parts: dict[str, str]
) -> None:
    async def test(server: Server) -> None:
        assert (await server.ask(body, **parts))[0] == status

    against(test)


def test_a_body_of_almost_the_limit_is_reviewed() -> None:
    async def test(server: Server) -> None:
        padded = REVIEW + b" " * (MAX_BODY - len(REVIEW) - 1)
        assert (await server.ask(padded))[0] == 200

    against(test)


HALF = (
    f"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Length: {len(REVIEW)}\r\n\r\n".encode()
    + REVIEW[: len(REVIEW) // 2]
)


def test_clients_that_stop_in_the_middle_of_a_body_are_told_off() -> None:
    async def test(server: Server) -> None:
        slow = [await server.connect() for _ in range(20)]
        for each in slow:
            each.write(HALF)
        assert (await server.ask())[0] == 200  # meanwhile
        for each in slow:
            assert (await each.answer())[0] == 408
            await each.close()

    against(test, patience=1.0)


def test_clients_that_take_all_places_give_them_back() -> None:
    async def test(server: Server) -> None:
        slow = [await server.connect() for _ in range(5)]
        for each in slow:
            each.write(HALF)
        await soon(server.ask, until=lambda found: found[0] == 503, seconds=5)
        await soon(server.ask, until=lambda found: found[0] == 200, seconds=5)
        for each in slow:
            await each.close()

    against(test, patience=2.0, places=5)


def test_clients_that_go_away_in_the_middle_of_a_body_leave_nothing_behind() -> None:
    async def test(server: Server) -> None:
        for _ in range(20):
            gone = await server.connect()
            gone.write(HALF)
            await gone.close()
        await soon(server.ask, until=lambda found: found[0] == 200, seconds=5)

    against(test, places=5)


def test_who_speaks_no_tls_or_trusts_nobody_is_no_trouble() -> None:
    async def test(server: Server) -> None:
        _, plain = await asyncio.open_connection("127.0.0.1", server.port)
        plain.write(b"POST /mutate HTTP/1.1\r\n\r\n")
        with pytest.raises(ssl.SSLError):
            await asyncio.open_connection(
                "127.0.0.1", server.port, ssl=client([authority(NOW).certificate]),
                server_hostname=HOST,
            )  # fmt: skip
        plain.transport.abort()

    against(test)


def test_when_it_leaves_each_answer_ends_its_connection() -> None:
    async def test(server: Server) -> None:
        connection = await server.connect()
        connection.send(REVIEW)
        assert (await connection.answer())[0] == 200
        server.leaving = True
        connection.send(REVIEW)
        assert (await connection.answer())[0] == 200
        assert connection.closing
        assert await connection.ended()
        await connection.close()

    against(test)
