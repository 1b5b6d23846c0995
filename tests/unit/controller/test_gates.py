"""When kubelets are asked for their feature gate, how often, and how many at one time."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sidecarpolicy.controller import gates
from sidecarpolicy.core.capability import Verdict
from sidecarpolicy.core.featuregate import Gate, Reading
from tests.support.asking import Asking, asking, ready
from tests.support.kubelets import Metrics, metrics
from tests.support.waiting import soon

RECORD = "sidecarpolicy.dev/feature-gate"


def run(kubelets: Metrics, story: Callable[[Asking], Awaitable[None]], **options: float) -> None:
    async def told() -> None:
        async with asking(kubelets, **options) as made:
            await story(made)

    asyncio.run(told())


async def quiet(made: Asking) -> None:
    """Gives a question that must not come the time to come."""
    await asyncio.sleep(0.1)
    assert made.kubelets.in_flight == 0


def test_a_kubelet_whose_version_leaves_it_open_is_asked_once() -> None:
    async def story(made: Asking) -> None:
        assert 0 < made.see("v1.31.0") <= gates.PATIENCE
        await made.asked(1)
        assert made.node().capability.verdict is Verdict.REJECTS
        assert made.see("v1.31.0", resourceVersion="6") == 0
        assert made.see("v1.31.0", resourceVersion="7", labels={"disk": "ssd"}) == 0
        await quiet(made)
        assert made.kubelets.asked == ["/api/v1/nodes/n1/proxy/metrics"]

    run(Metrics(metrics(0)), story)


@pytest.mark.parametrize("version", ["v1.36.3", "v1.27.1", "nonsense"])
def test_a_kubelet_whose_version_says_it_all_is_never_asked(version: str) -> None:
    async def story(made: Asking) -> None:
        assert made.see(version) == 0
        await quiet(made)
        assert made.kubelets.asked == []

    run(Metrics(), story)


def test_a_kubelet_is_asked_again_when_its_version_or_boot_changed() -> None:
    async def story(made: Asking) -> None:
        made.see("v1.31.0")
        await made.asked(1)
        made.see("v1.31.0", boot="boot-2", resourceVersion="6")
        await made.asked(2)
        made.see("v1.32.0", boot="boot-2", resourceVersion="7")
        await made.asked(3)
        assert made.node().reading == Reading("v1.32.0", "boot-2", Gate.ON)

    run(Metrics(), story)


def test_what_was_read_before_a_reboot_counts_until_it_is_read_again() -> None:
    async def story(made: Asking) -> None:
        made.see("v1.31.0")
        await made.asked(1)
        made.kubelets.status = 503
        assert made.see("v1.31.0", boot="boot-2", resourceVersion="6") == 0
        await made.asked(2)
        assert made.node().capability.verdict is Verdict.REJECTS

    run(Metrics(metrics(0)), story)


def test_a_node_that_becomes_ready_for_the_first_time_is_not_asked_twice() -> None:
    async def story(made: Asking) -> None:
        made.see("v1.31.0")
        await made.asked(1)
        made.see("v1.31.0", status=ready(), resourceVersion="6")
        await quiet(made)
        assert len(made.kubelets.asked) == 1

    run(Metrics(), story)


def test_a_node_that_was_not_ready_in_between_is_asked_again() -> None:
    async def story(made: Asking) -> None:
        made.see("v1.31.0", status=ready("10:00"))
        await made.asked(1)
        made.see("v1.31.0", resourceVersion="6")
        await quiet(made)
        assert len(made.kubelets.asked) == 1
        made.kubelets.text = metrics(0)
        made.see("v1.31.0", status=ready("11:00"), resourceVersion="7")
        await made.asked(2)
        assert made.node().capability.verdict is Verdict.REJECTS

    run(Metrics(), story)


def test_a_node_whose_kubelet_did_not_answer_is_asked_as_soon_as_it_is_ready() -> None:
    async def story(made: Asking) -> None:
        made.see("v1.31.0")
        await made.asked(1)
        assert "could not be read: HTTP 503" in made.node().capability.evidence
        made.kubelets.status = 200
        made.see("v1.31.0", status=ready(), resourceVersion="6")
        await made.asked(2)
        assert made.node().kubelet.gate is Gate.ON

    run(Metrics(status=503), story)


def test_a_kubelet_that_answered_is_asked_again_after_a_while() -> None:
    async def story(made: Asking) -> None:
        made.see("v1.31.0")
        await made.asked(1)
        made.kubelets.text = metrics(0)

        async def verdict() -> Verdict:
            return made.node().capability.verdict

        await soon(verdict, until=lambda found: found is Verdict.REJECTS, seconds=5)

    run(Metrics(), story, recheck=0.5)


def test_what_was_read_before_a_restart_of_ours_is_not_asked_for_at_once() -> None:
    async def story(made: Asking) -> None:
        kept = {RECORD: Reading("v1.31.0", "boot-1", Gate.OFF).text()}
        assert made.see("v1.31.0", annotations=kept) == 0
        made.see("v1.31.0", name="n2", boot="boot-2", annotations=kept)
        await made.asked(1)
        await quiet(made)
        assert made.kubelets.asked == ["/api/v1/nodes/n2/proxy/metrics"]
        assert made.node().capability.verdict is Verdict.REJECTS

    run(Metrics(), story)


def test_no_label_waits_for_a_kubelet_that_does_not_answer() -> None:
    async def story(made: Asking) -> None:
        assert made.see("v1.31.0") > 0
        await made.asked(1)
        assert made.see("v1.31.0", resourceVersion="6") == 0
        assert await made.inventory.dirty_nodes.take() == {"n1"}
        assert made.node().capability.verdict is Verdict.CAPABLE

    run(Metrics(status=503), story)


def test_an_override_ends_the_questions_and_its_end_begins_them_anew() -> None:
    async def story(made: Asking) -> None:
        made.see("v1.31.0")
        await made.asked(1)
        override = {"sidecarpolicy.dev/native-sidecars-override": "true"}
        made.see("v1.31.0", annotations=override, resourceVersion="6")
        assert made.node().capability.verdict is Verdict.CAPABLE
        made.see("v1.31.0", resourceVersion="7")
        await made.asked(2)
        assert made.node().capability.verdict is Verdict.REJECTS

    run(Metrics(metrics(0)), story)


def test_a_node_that_is_gone_is_asked_no_more() -> None:
    async def story(made: Asking) -> None:
        made.see("v1.31.0")
        await made.asked(1)
        made.inventory.forget_node("n1")
        await asyncio.sleep(0.1)  # a question that is under way may end
        asked = len(made.kubelets.asked)
        await asyncio.sleep(0.5)
        assert len(made.kubelets.asked) == asked

    run(Metrics(), story, recheck=0.2)


def test_a_new_node_does_not_wait_behind_those_that_are_asked_again() -> None:
    async def story(made: Asking) -> None:
        for number in range(200):
            made.see("v1.31.0", name=f"n{number}", status=ready("10:00"))
        await made.asked(200, seconds=30)
        made.kubelets.seconds = 0.1
        for number in range(200):
            made.see("v1.31.0", name=f"n{number}", status=ready("11:00"), resourceVersion="6")
        made.see("v1.31.0", name="new")

        async def asked() -> bool:
            return "/api/v1/nodes/new/proxy/metrics" in made.kubelets.asked

        await soon(asked)
        assert len(made.kubelets.asked) < 300

    run(Metrics(), story)
