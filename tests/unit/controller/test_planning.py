"""Planning leaves the event loop free, however long it takes."""

import asyncio

from sidecarpolicy.controller.planning import Planner
from sidecarpolicy.core.plan import plan
from tests.support.builders import policy, sidecar, snapshot
from tests.support.plans import many


def test_the_event_loop_goes_on_while_a_large_namespace_is_planned() -> None:
    policies = tuple(policy(f"p{n}", sidecars=[sidecar(f"s{n}")]) for n in range(30))
    large = snapshot(policies=policies, workloads=many(60))
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.001)
            beats += 1

    async def main() -> None:
        heart = asyncio.create_task(beat())
        made = await Planner().plan(large)
        heart.cancel()
        assert made == plan(large)

    asyncio.run(main())
    assert beats > 10
