"""What takes time: thousands of nodes, and a kubelet that does not answer.

One HTTP server stands for all kubelets; there is no cluster.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from tests.support.asking import Asking, asking
from tests.support.kubelets import Metrics, metrics
from tests.support.waiting import soon

AT_ONE_TIME = 16


def run(kubelets: Metrics, story: Callable[[Asking], Awaitable[None]]) -> None:
    async def told() -> None:
        async with asking(kubelets) as made:
            await story(made)

    asyncio.run(told())


def test_five_thousand_nodes_are_asked_a_few_at_a_time_and_once() -> None:
    async def story(made: Asking) -> None:
        for number in range(5000):
            made.see("v1.31.0", name=f"n{number}")
        await made.asked(5000, seconds=60)
        assert len(set(made.kubelets.asked)) == 5000
        assert made.kubelets.most <= AT_ONE_TIME
        for number in range(5000):
            made.see("v1.31.0", name=f"n{number}", resourceVersion="6")
        cpu = time.process_time()
        await asyncio.sleep(1)
        assert time.process_time() - cpu < 0.3, "it is busy with nothing to do"
        assert len(made.kubelets.asked) == 5000

    run(Metrics(metrics(1)), story)


def most_asked(seconds: float) -> int:
    """How often one kubelet may be asked that always fails: at 0, and 2.5, 7.5, 17.5 … seconds."""
    return 1 + sum(seconds >= 2.5 * (2**n - 1) for n in (1, 2, 3, 4, 5))


def test_five_hundred_kubelets_that_fail_are_asked_ever_more_rarely() -> None:
    async def story(made: Asking) -> None:
        for number in range(500):
            made.see("v1.31.0", name=f"n{number}")
        since = time.monotonic()
        await made.asked(500, seconds=60)
        while (elapsed := time.monotonic() - since) < 8:
            assert len(made.kubelets.asked) <= 500 * most_asked(elapsed)
            await asyncio.sleep(0.2)
        assert len(made.kubelets.asked) > 500
        assert made.kubelets.most <= AT_ONE_TIME

    run(Metrics(status=503), story)


def test_a_kubelet_that_says_nothing_is_left_alone_after_five_seconds() -> None:
    async def story(made: Asking) -> None:
        made.see("v1.31.0")
        since = time.monotonic()
        await soon(evidence_of(made), until=lambda found: "no answer within 5 s" in found)
        assert time.monotonic() - since >= 5

    def evidence_of(made: Asking) -> Callable[[], Awaitable[str]]:
        async def evidence() -> str:
            return made.node().capability.evidence

        return evidence

    run(Metrics(seconds=6), story)
