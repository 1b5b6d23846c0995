"""Marks and back-off of the controller's loops."""

import asyncio

import pytest

from sidecarpolicy.controller.backoff import FIRST, LAST, Backoff
from sidecarpolicy.controller.dirty import DirtySet


def test_a_burst_of_marks_is_taken_at_once() -> None:
    async def scenario() -> set[str]:
        dirty: DirtySet[str] = DirtySet(settle=0)
        for key in ("a", "b", "a"):
            dirty.mark(key)
        return await dirty.take()

    assert asyncio.run(scenario()) == {"a", "b"}


def test_of_two_later_marks_the_earlier_counts() -> None:
    async def scenario() -> tuple[set[str], bool]:
        dirty: DirtySet[str] = DirtySet(settle=0)
        dirty.mark_later("a", 60)
        dirty.mark_later("a", 0.01)
        dirty.mark_later("a", 30)
        taken = await asyncio.wait_for(dirty.take(), 5)
        try:
            await asyncio.wait_for(dirty.take(), 0.05)
        except TimeoutError:
            return taken, True
        return taken, False

    assert asyncio.run(scenario()) == ({"a"}, True)


def test_each_failure_waits_longer_up_to_an_end() -> None:
    backoff = Backoff()
    waits = [backoff.failed("key", now=0) for _ in range(12)]
    assert FIRST / 2 <= waits[0] <= FIRST
    assert LAST / 2 <= waits[-1] <= LAST


def test_a_day_of_failures_is_waited_through() -> None:
    backoff = Backoff()
    for _ in range(2_000):
        assert backoff.failed("key", now=0) <= LAST


def test_a_server_that_asks_for_more_time_gets_it_and_not_from_all_at_the_same_moment() -> None:
    waits = {Backoff().failed("key", now=0, at_least=99) for _ in range(20)}
    assert min(waits) >= 99
    assert len(waits) > 1


def test_a_change_ends_the_rest_that_we_chose_but_not_what_the_server_asked_for() -> None:
    backoff = Backoff()
    backoff.failed("ours", now=100)
    backoff.relent("ours", now=100)
    assert backoff.rest("ours", now=100) <= 0
    backoff.failed("theirs", now=100, at_least=7)
    backoff.asked("theirs", now=100, seconds=7)
    backoff.relent("theirs", now=101)
    assert backoff.rest("theirs", now=101) == 6
    backoff.relent("theirs", now=107)
    assert backoff.rest("theirs", now=107) <= 0


def test_what_waiting_does_not_heal_is_never_waited_for_long() -> None:
    backoff = Backoff()
    assert max(backoff.failed("key", now=0, at_most=1.0) for _ in range(20)) <= 1.0


def test_a_success_ends_the_rest() -> None:
    backoff = Backoff()
    wait = backoff.failed("key", now=0)
    assert backoff.rest("key", now=wait / 2) == pytest.approx(wait / 2)
    assert backoff.rest("key", now=wait) <= 0
    backoff.succeeded("key")
    assert backoff.rest("key", now=0) <= 0
