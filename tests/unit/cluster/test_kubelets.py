"""Asking a kubelet over TLS: what it gets to see, and what becomes of each kind of answer."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.connection import Connection
from sidecarpolicy.cluster.kubelets import (
    MAX_BYTES,
    Account,
    Answer,
    Direct,
    Target,
    ThroughApiServer,
    Tokens,
    directly,
)
from sidecarpolicy.core.featuregate import Gate
from tests.support.kubelets import GATE, Metrics, Signed, listening, metrics, signed

OURS = "Bearer our-own-token"
ACCOUNT = Account("ours", "node-metrics")


@dataclass
class Issuer:
    """An API server that issues tokens, numbered, as long as it may."""

    refusing: bool = False
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.path} as {request.headers['Authorization']}")
        if self.refusing:
            message = 'serviceaccounts "node-metrics" is forbidden: User "x" cannot create'
            return web.json_response({"kind": "Status", "message": message}, status=403)
        spec = {"expirationSeconds": (await request.json())["spec"]["expirationSeconds"]}
        token = f"token-{len(self.asked)}"
        return web.json_response({"spec": spec, "status": {"token": token}}, status=201)

    @asynccontextmanager
    async def api(self) -> AsyncIterator[Api]:
        """A connection to it, with credentials of ours."""
        app = web.Application()
        app.router.add_post("/api/v1/namespaces/{_}/serviceaccounts/{name}/token", self.answer)
        async with (
            listening(app) as port,
            ClientSession(headers={"Authorization": OURS}) as session,
        ):
            yield Api(Connection(f"http://127.0.0.1:{port}", session, ClientSession))


@pytest.fixture
def authority(tmp_path: Path) -> Signed:
    return signed(tmp_path / "pki")


@asynccontextmanager
async def source(authority: Signed, issuer: Issuer | None = None) -> AsyncIterator[Direct]:
    async with (
        (issuer or Issuer()).api() as api,
        directly(api, ACCOUNT, authority.ca_file) as direct,
    ):
        yield direct


def ask(kubelet: Metrics, authority: Signed, *, trusted: Signed | None = None) -> Answer:
    """What one question comes to."""

    async def answer() -> Answer:
        async with (
            source(trusted or authority) as direct,
            kubelet.serving(authority.server) as port,
        ):
            return await direct.read(Target("n1", "127.0.0.1", port))

    return asyncio.run(answer())


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        pytest.param(metrics(1), Gate.ON, id="on"),
        pytest.param(metrics(0), Gate.OFF, id="off"),
        pytest.param(metrics(None), Gate.ABSENT, id="absent"),
        pytest.param(b"", Gate.ABSENT, id="nothing"),
        pytest.param(GATE.format(0).strip().encode(), Gate.OFF, id="no newline at the end"),
        pytest.param(b"x" * 300_000 + b"\n" + metrics(0), Gate.OFF, id="after a long line"),
        pytest.param(metrics(0) + b"x\n" * MAX_BYTES, Gate.OFF, id="before more than is read"),
    ],
)
def test_the_gate_is_read(text: bytes, gate: Gate, authority: Signed) -> None:
    assert ask(Metrics(text), authority) == Answer(gate)


def test_a_kubelet_sees_the_token_of_the_other_account_and_never_ours(authority: Signed) -> None:
    kubelet = Metrics()
    ask(kubelet, authority)
    assert kubelet.tokens == ["Bearer token-1"]


@pytest.mark.parametrize(
    ("kubelet", "problem"),
    [
        (Metrics(status=401), "HTTP 401: it does not take the token"),
        (Metrics(status=403), "HTTP 403: the right to read its metrics is missing"),
        (Metrics(status=500), "HTTP 500"),
        (Metrics(b"x\n" * MAX_BYTES), "its metrics are larger than 4 MiB"),
        (Metrics(headers={"Content-Encoding": "gzip"}), "no answer: ClientPayloadError"),
    ],
)
def test_what_a_kubelet_may_do_is_an_answer(
    kubelet: Metrics, problem: str, authority: Signed
) -> None:
    assert ask(kubelet, authority) == Answer(problem=problem)


def test_a_certificate_of_another_authority_ends_it_before_anything_is_sent(
    authority: Signed, tmp_path: Path
) -> None:
    kubelet = Metrics()
    answer = ask(kubelet, authority, trusted=signed(tmp_path / "other"))
    assert answer.problem.startswith("its certificate is not trusted: ")
    assert kubelet.asked == []


def test_a_certificate_for_another_address_ends_it_before_anything_is_sent(tmp_path: Path) -> None:
    kubelet = Metrics()
    answer = ask(kubelet, signed(tmp_path / "pki", host="10.0.0.7"))
    assert "IP address mismatch" in answer.problem
    assert kubelet.asked == []


def test_a_redirect_takes_the_token_nowhere(authority: Signed) -> None:
    elsewhere = Metrics()

    async def answer() -> Answer:
        async with elsewhere.serving(authority.server) as port:
            location = {"Location": f"https://127.0.0.1:{port}/metrics"}
            kubelet = Metrics(status=302, headers=location)
            async with source(authority) as direct, kubelet.serving(authority.server) as first:
                return await direct.read(Target("n1", "127.0.0.1", first))

    assert asyncio.run(answer()) == Answer(problem="HTTP 302")
    assert elsewhere.asked == []


def test_where_nobody_listens_there_is_no_answer(authority: Signed) -> None:
    async def answer() -> Answer:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            async with source(authority) as direct:
                return await direct.read(Target("n1", "127.0.0.1", taken.getsockname()[1]))

    assert asyncio.run(answer()).problem.startswith("no connection: ")


@pytest.mark.parametrize("address", ["", "n1", "10.0.0.1/x?", "10.0.0.1:80", "user@10.0.0.1"])
def test_an_address_that_is_none_is_asked_nothing(address: str, authority: Signed) -> None:
    issuer = Issuer()

    async def answer() -> Answer:
        async with source(authority, issuer) as direct:
            return await direct.read(Target("n1", address, 10250))

    assert asyncio.run(answer()) == Answer(problem="the node has no usable InternalIP")
    assert issuer.asked == []


def test_without_a_token_no_kubelet_is_asked(authority: Signed) -> None:
    kubelet, issuer = Metrics(), Issuer(refusing=True)

    async def answers() -> list[Answer]:
        async with source(authority, issuer) as direct, kubelet.serving(authority.server) as port:
            target = Target("n1", "127.0.0.1", port)
            return list(await asyncio.gather(*(direct.read(target) for _ in range(20))))

    problems = {each.problem for each in asyncio.run(answers())}
    assert len(problems) == 1
    assert problems.pop().startswith("no token of ServiceAccount ours/node-metrics: ")
    assert (len(issuer.asked), kubelet.asked) == (1, [])


def test_one_token_serves_all_kubelets_until_it_gets_old() -> None:
    issuer, now = Issuer(), [0.0]

    async def tokens(*moments: float) -> list[str]:
        async with issuer.api() as api:
            kept = Tokens(api, ACCOUNT, clock=lambda: now[0])
            return [(await kept.current()).text for now[0] in moments]

    assert asyncio.run(tokens(0, 60, 419, 421, 840, 842)) == [
        "token-1", "token-1", "token-1", "token-2", "token-2", "token-3",
    ]  # fmt: skip
    assert {each.rpartition(" as ")[2] for each in issuer.asked} == {OURS}


def test_a_token_that_is_not_taken_is_replaced_but_not_at_each_complaint() -> None:
    issuer, now = Issuer(), [0.0]

    async def doubted(*moments: float) -> list[str]:
        async with issuer.api() as api:
            kept, found = Tokens(api, ACCOUNT, clock=lambda: now[0]), []
            for now[0] in moments:
                token = await kept.current()
                kept.doubt(token)
                found.append(token.text)
            return found

    assert asyncio.run(doubted(0, 1, 14, 16, 17, 18)) == [
        "token-1", "token-1", "token-1", "token-1", "token-2", "token-2",
    ]  # fmt: skip


def test_a_token_is_shown_in_no_log() -> None:
    async def shown() -> str:
        async with Issuer().api() as api:
            return repr(await Tokens(api, ACCOUNT).current())

    assert "token-1" not in asyncio.run(shown())


def test_through_the_api_server_our_own_credentials_are_used() -> None:
    proxied = Metrics(metrics(0))

    async def answer() -> Answer:
        async with (
            proxied.serving(path="/api/v1/nodes/{name}/proxy/metrics") as port,
            ClientSession(headers={"Authorization": OURS}) as session,
        ):
            connection = Connection(f"http://127.0.0.1:{port}", session, ClientSession)
            return await ThroughApiServer(connection).read(Target("n1", "", 0))

    assert asyncio.run(answer()) == Answer(Gate.OFF)
    assert proxied.asked == ["/api/v1/nodes/n1/proxy/metrics"]
    assert proxied.tokens == [OURS]
