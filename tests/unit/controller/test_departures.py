"""Departures: what proves that a policy is gone, and what does not, by an API server's answers.

An HTTP server stands for the API server.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import ClientSession, web

from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.connection import Connection
from sidecarpolicy.controller.departures import Departures
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.core.selection import Exclusions
from tests.support.builders import policy_object
from tests.support.waiting import soon

JSON = dict[str, Any]
GRACE = 0.1
KEY = "SidecarPolicy/log-shipper"
LIST, ONE, CRD = "list", "one", "crd"
RECORDED, EARLIER, LATER = "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z"


def gone(name: str = "") -> tuple[int, JSON]:
    """404 for an object, or, without a name, for its type."""
    return 404, {"kind": "Status", "message": "not found", "details": {"name": name}}


def made(time: str) -> tuple[int, JSON]:
    return 200, {"metadata": {"creationTimestamp": time}}


def refused(code: int) -> tuple[int, JSON]:
    return code, {"kind": "Status", "message": 'forbidden: User "x" cannot'}


PROOF = {LIST: (200, {"metadata": {}, "items": []}), ONE: gone("log-shipper"), CRD: made(EARLIER)}


@dataclass
class Server:
    """Answers by what is asked for, and what was asked."""

    answers: dict[str, tuple[int, JSON]]
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        what = CRD if "customresource" in request.path else ONE if "log" in request.path else LIST
        self.asked.append(what)
        code, body = self.answers[what]
        return web.json_response(body, status=code)


@asynccontextmanager
async def departures(**answers: tuple[int, JSON]) -> AsyncIterator[tuple[Departures, Server]]:
    """They work while the context is open; the policy is recorded, and nobody has seen it."""
    server, app = Server({**PROOF, **answers}), web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with ClientSession() as session:
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        api = Api(Connection(address, session, ClientSession))
        tested = Departures(api, Inventory(Exclusions("ours")), grace=GRACE)
        tested.consider("shop", {KEY: RECORDED})
        worker = asyncio.ensure_future(tested.run())
        try:
            yield tested, server
        finally:
            worker.cancel()
            await asyncio.wait([worker])
            await runner.cleanup()


async def proved(tested: Departures) -> frozenset[str]:
    return tested.proved("shop")


def test_a_policy_that_is_not_there_twice_is_gone() -> None:
    async def test() -> None:
        async with departures() as (tested, server):
            assert await soon(lambda: proved(tested)) == {KEY}
            assert server.asked == [LIST, ONE, CRD] * 2

    asyncio.run(test())


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param({LIST: refused(403)}, id="nobody lets us list policies"),
        pytest.param({LIST: refused(401)}, id="nobody knows us"),
        pytest.param({LIST: (500, {})}, id="the list fails"),
        pytest.param({LIST: gone()}, id="the CRD is away"),
        pytest.param({ONE: gone()}, id="the CRD went between list and look"),
        pytest.param({ONE: refused(403)}, id="nobody lets us look"),
        pytest.param({ONE: (200, policy_object())}, id="only the list misses it"),
        pytest.param({CRD: made(LATER)}, id="the CRD was created anew"),
        pytest.param({CRD: refused(403)}, id="nobody lets us see since when the CRD is there"),
        pytest.param({CRD: gone("x")}, id="the CRD is gone again"),
    ],
)
def test_no_proof_is(answers: dict[str, tuple[int, JSON]]) -> None:
    (odd,) = answers

    async def test() -> None:
        async with departures(**answers) as (tested, server):

            async def looked() -> bool:
                return odd in server.asked

            await soon(looked)
            await asyncio.sleep(3 * GRACE)
            assert tested.proved("shop") == frozenset()

    asyncio.run(test())
