"""The fence: what was decided in time, but comes too late, is not sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientSession, TCPConnector, web

from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.connection import Connection
from sidecarpolicy.cluster.fence import fencing
from sidecarpolicy.cluster.outcome import Outcome, Result
from sidecarpolicy.cluster.resources import NODES


@asynccontextmanager
async def serving(asked: list[str], slow: asyncio.Event) -> AsyncIterator[Connection]:
    """A server that answers reads when it is told to, over a single connection."""

    async def handle(request: web.Request) -> web.Response:
        asked.append(request.method)
        if request.method == "GET":
            await slow.wait()
        return web.json_response({"metadata": {"resourceVersion": "1"}})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    connector = TCPConnector(limit=1)
    try:
        async with ClientSession(connector=connector, trace_configs=[fencing()]) as session:
            yield Connection(f"http://127.0.0.1:{port}", session, ClientSession)
    finally:
        await runner.cleanup()


def test_a_write_that_waited_for_a_connection_until_its_time_was_over_is_not_sent() -> None:
    asked: list[str] = []

    async def main() -> Outcome:
        leads, slow = [True], asyncio.Event()
        async with serving(asked, slow) as connection:
            api = Api(connection, fence=lambda: leads[0])
            reading = asyncio.ensure_future(api.get(NODES, name="n"))
            await asyncio.sleep(0.1)
            writing = asyncio.ensure_future(api.patch_merge(NODES, {}, name="n"))
            await asyncio.sleep(0.1)
            leads[0] = False
            slow.set()
            assert (await reading).done
            return await writing

    outcome = asyncio.run(main())
    assert outcome == Outcome(Result.UNAVAILABLE, "not sent: this process does not lead any more")
    assert asked == ["GET"]


def test_a_fence_keeps_nobody_from_reading_and_lets_who_leads_write() -> None:
    asked: list[str] = []

    async def main() -> None:
        leads, slow = [True], asyncio.Event()
        slow.set()
        async with serving(asked, slow) as connection:
            api = Api(connection, fence=lambda: leads[0])
            assert (await api.patch_merge(NODES, {}, name="n")).done
            leads[0] = False
            assert (await api.get(NODES, name="n")).done
            assert not (await api.create(NODES, {})).done
            assert not (await api.patch_json(NODES, [], name="n", dry_run=True)).done
            leads[0] = True
            assert (await api.patch_merge(NODES, {}, name="n")).done

    asyncio.run(main())
    assert asked == ["PATCH", "GET", "PATCH"]
