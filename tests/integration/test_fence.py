"""The fence: what was decided in time, but comes too late, is not sent."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.outcome import Outcome, Result
from sidecarpolicy.cluster.resources import LEASES
from tests.support.cluster import Namespace
from tests.support.lease_faults import NAME, LeaseFaults, between

LATE = "not sent: this process does not lead any more"
Scene = Callable[[LeaseFaults], Awaitable[None]]


@pytest.fixture
def play(shop: Namespace) -> Callable[[Scene], None]:
    """Plays a scene over a single connection to the API server."""

    def play(scene: Scene) -> None:
        async def main() -> None:
            async with between(shop.lab, shop.name, connections=1) as lease:
                await lease.create(holderIdentity="me")
                await scene(lease)

        with shop.lab.entered():
            asyncio.run(main())

    return play


def patched(api: Api, lease: LeaseFaults, *, dry_run: bool = False) -> Awaitable[Outcome]:
    patch = [{"op": "add", "path": "/spec/holderIdentity", "value": "somebody"}]
    return api.patch_json(LEASES, patch, name=NAME, namespace=lease.namespace, dry_run=dry_run)


def test_a_write_that_waited_for_a_connection_until_its_time_was_over_is_not_sent(
    play: Callable[[Scene], None],
) -> None:
    async def scene(lease: LeaseFaults) -> None:
        leads = [True]
        api = Api(lease.connection, fence=lambda: leads[0])
        lease.cut(True)
        reading = asyncio.ensure_future(api.get(LEASES, name=NAME, namespace=lease.namespace))
        await asyncio.sleep(0.2)
        writing = asyncio.ensure_future(patched(api, lease))
        await asyncio.sleep(0.2)
        leads[0] = False
        lease.cut(False)
        assert (await reading).done
        assert await writing == Outcome(Result.UNAVAILABLE, LATE)
        assert (lease.written, await lease.holder()) == (0, "me")

    play(scene)


def test_a_fence_keeps_nobody_from_reading_and_lets_who_leads_write(
    play: Callable[[Scene], None],
) -> None:
    async def scene(lease: LeaseFaults) -> None:
        leads = [False]
        api = Api(lease.connection, fence=lambda: leads[0])
        assert (await api.get(LEASES, name=NAME, namespace=lease.namespace)).done
        assert not (await patched(api, lease)).done
        assert not (await patched(api, lease, dry_run=True)).done
        assert not (await api.create(LEASES, {"metadata": {"name": "b"}}, lease.namespace)).done
        assert (lease.written, await lease.holder()) == (0, "me")
        leads[0] = True
        assert (await patched(api, lease)).done
        assert (lease.written, await lease.holder()) == (1, "somebody")

    play(scene)
