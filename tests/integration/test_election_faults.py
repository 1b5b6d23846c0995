"""Elections about a real Lease with faults in the way to it, in fractions of the real terms."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from sidecarpolicy.controller.election import Candidate, Election, clock
from sidecarpolicy.core.lease import Terms
from tests.support.cluster import Namespace
from tests.support.lease_faults import LeaseFaults, between
from tests.support.waiting import soon

TERMS = Terms(duration=6.0, renew_deadline=4.0, retry=0.3, look=0.2)


class EndedError(Exception):
    """The process would have ended here."""


def end(why: str) -> None:
    raise EndedError(why)


@dataclass
class Worker:
    """One process: it works as long as it leads."""

    election: Election
    begun: float = 0.0
    ended: list[float] = field(default_factory=list)

    async def work(self) -> None:
        self.begun = clock()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.append(clock())

    async def run(self) -> None:
        await self.election.lead(self.work)

    @property
    def leads(self) -> bool:
        return self.election.holds()


def worker(lease: LeaseFaults, name: str) -> Worker:
    candidate = Candidate(name, lease.namespace, TERMS)
    return Worker(Election(lease.connection, candidate, leave=end))  # type: ignore[arg-type]


async def leading(one: Worker) -> None:
    async def begun() -> bool:
        return one.leads and one.begun > 0

    await soon(begun)


Scene = Callable[[LeaseFaults], Awaitable[None]]
Play = Callable[[Scene], None]


@pytest.fixture
def play(shop: Namespace) -> Play:
    """Plays a scene in the lab's network; the Lease is in a namespace of the test's own."""

    def play(scene: Scene) -> None:
        async def main() -> None:
            async with between(shop.lab, shop.name) as lease:
                await scene(lease)

        with shop.lab.entered():
            asyncio.run(main())

    return play


def test_of_two_only_one_leads_and_the_other_follows_an_orderly_end(play: Play) -> None:
    async def scene(lease: LeaseFaults) -> None:
        first, second = worker(lease, "first"), worker(lease, "second")
        one = asyncio.ensure_future(first.run())
        await leading(first)
        two = asyncio.ensure_future(second.run())
        await asyncio.sleep(TERMS.duration + 0.5)
        assert (first.leads, second.leads) == (True, False)
        one.cancel()
        await asyncio.wait([one])
        given_back = clock()
        assert await lease.holder() == ""
        assert not first.leads
        await leading(second)
        assert second.begun - given_back < TERMS.renew_deadline
        two.cancel()
        await asyncio.wait([two])

    play(scene)


@pytest.mark.parametrize("fault", ["away", "mute"])
def test_a_leader_that_cannot_renew_ends_before_another_could_lead(play: Play, fault: str) -> None:
    async def scene(lease: LeaseFaults) -> None:
        one = worker(lease, "first")
        task = asyncio.ensure_future(one.run())
        await leading(one)
        lease.cut(fault == "away")
        lease.mute = fault == "mute"
        cut_off = clock()
        with pytest.raises(EndedError, match="not renewed for 4 seconds"):
            await task
        assert not one.leads
        assert clock() - cut_off < TERMS.duration
        assert one.ended[0] - cut_off < TERMS.renew_deadline + 0.5

    play(scene)


def test_a_leader_ends_as_soon_as_it_sees_that_another_leads(play: Play) -> None:
    async def scene(lease: LeaseFaults) -> None:
        one = worker(lease, "first")
        task = asyncio.ensure_future(one.run())
        await leading(one)
        await lease.change(holderIdentity="usurper")
        with pytest.raises(EndedError, match="'usurper' leads"):
            await task
        assert await lease.holder() == "usurper"

    play(scene)


def test_an_answer_that_got_lost_costs_nobody_the_lead(play: Play) -> None:
    async def scene(lease: LeaseFaults) -> None:
        one = worker(lease, "first")
        task = asyncio.ensure_future(one.run())
        await leading(one)
        lease.mute = True
        before = lease.written

        async def renewed() -> bool:
            return lease.written > before

        await soon(renewed)
        lease.mute = False
        await asyncio.sleep(2 * TERMS.renew_deadline)
        assert one.leads
        task.cancel()
        await asyncio.wait([task])

    play(scene)


def test_a_lease_that_was_deleted_is_made_anew_by_its_holder_before_anybody_else(
    play: Play,
) -> None:
    async def scene(lease: LeaseFaults) -> None:
        first, second = worker(lease, "first"), worker(lease, "second")
        tasks = [asyncio.ensure_future(first.run())]
        await leading(first)
        tasks.append(asyncio.ensure_future(second.run()))
        await asyncio.sleep(3 * TERMS.look)  # the second saw it
        await lease.delete()
        await asyncio.sleep(TERMS.renew_deadline)
        assert (await lease.holder(), first.leads, second.leads) == ("first", True, False)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    play(scene)


def test_who_is_restarted_under_the_same_name_leads_on_at_once(play: Play) -> None:
    async def scene(lease: LeaseFaults) -> None:
        await lease.create(holderIdentity="pod-1", leaseDurationSeconds=15, leaseTransitions=2)
        one, start = worker(lease, "pod-1"), clock()
        task = asyncio.ensure_future(one.run())
        await leading(one)
        assert one.begun - start < TERMS.duration
        assert (await lease.record())["leaseTransitions"] == 2
        task.cancel()
        await asyncio.wait([task])

    play(scene)
