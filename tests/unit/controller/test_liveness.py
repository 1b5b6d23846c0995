"""When a restart is the remedy: only then is the process not alive."""

import asyncio

import pytest

from sidecarpolicy.controller.dirty import DirtySet
from sidecarpolicy.controller.liveness import LIMIT, ailment
from sidecarpolicy.controller.pulse import Pulse


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_loop_that_waits_for_work_is_well_for_ever() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    clock.now += 10 * LIMIT
    assert ailment(watch_age=0, loops={"nodes": pulse}) == ""
    pulse.beat()
    pulse.rest()
    clock.now += 10 * LIMIT
    assert ailment(watch_age=0, loops={"nodes": pulse}) == ""


def test_a_loop_that_hangs_in_the_middle_of_work_is_not() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    pulse.beat()
    clock.now += LIMIT - 1
    pulse.beat()  # slow, but it gets on
    clock.now += LIMIT
    assert ailment(watch_age=0, loops={"namespaces": pulse}) == ""
    clock.now += 1
    found = ailment(watch_age=0, loops={"namespaces": pulse})
    assert found == "the loop over namespaces has not got on for 301 seconds"


@pytest.mark.parametrize("age", [0.0, 30.0, 120.0], ids="a bookmark {} seconds late".format)
def test_a_watch_that_is_quiet_for_a_while_is_well(age: float) -> None:
    assert ailment(watch_age=age, loops={}) == ""


def test_a_watch_that_hears_nothing_for_long_is_not() -> None:
    found = ailment(watch_age=LIMIT + 1, loops={})
    assert found == "a watch has heard nothing of the API server for 301 seconds"


def test_the_loop_that_takes_marks_has_a_pulse_only_while_it_works() -> None:
    async def work() -> list[bool]:
        marks: DirtySet[str] = DirtySet(settle=0.0)
        seen = [marks.pulse.silence > 0]
        marks.mark("a")
        await marks.take()
        await asyncio.sleep(0.01)
        seen.append(marks.pulse.silence > 0)
        waiting = asyncio.ensure_future(marks.take())
        await asyncio.sleep(0.01)
        seen.append(marks.pulse.silence > 0)
        waiting.cancel()
        return seen

    assert asyncio.run(work()) == [False, True, False]
