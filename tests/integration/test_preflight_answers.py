"""The preflight on a real API server, with a webhook that answers dry runs as a test says.

What the preflight sees of the cluster a test tells it by hand, so that it can come earlier or
later than to the API server.
"""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

import pytest

from lab import Lab
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.controller.dryruns import IN_FLIGHT, DryRuns
from sidecarpolicy.core.inquiry import inquire
from sidecarpolicy.core.reading import Answer as Outcome
from tests.support import neighbour
from tests.support.answers import (
    BANK,
    FIRST_RETRY,
    HOOK,
    JSON,
    KEY,
    MANY,
    NAME,
    PORT,
    SHOP,
    SYSTEM,
    Bench,
    Stage,
    failing,
    has_account,
    kept,
    namespace,
    refused,
    stripped,
)
from tests.support.builders import policy, policy_object
from tests.support.certificates import authority, serving
from tests.support.waiting import eventually, soon


@pytest.fixture(scope="module")
def stage(installed: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The namespaces, and the configuration by which the API server asks the webhook about them."""
    ca = authority(datetime.now(UTC))
    directory = tmp_path_factory.mktemp(NAME)
    neighbour.write_pair(serving(ca, datetime.now(UTC), names=("127.0.0.1",)), directory)
    webhook = {
        "failurePolicy": "Fail",
        "rules": [neighbour.about("", "pods")],
        "namespaceSelector": {"matchLabels": {NAME: "true"}},
    }
    made = neighbour.configuration(NAME, PORT, ca, webhook)
    spaces = [namespace(each) for each in (SHOP, BANK, SYSTEM, *MANY)]
    names = [each["metadata"]["name"] for each in spaces]
    items = {"apiVersion": "v1", "kind": "List", "items": [*spaces, made]}
    try:
        installed.kubectl("apply", "-f", "-", input=json.dumps(items))
        for each in names:
            eventually(partial(has_account, installed, each))
        yield Stage(installed, directory)
    finally:
        installed.kubectl("delete", "mutatingwebhookconfiguration", NAME, "--ignore-not-found")
        installed.kubectl("delete", "namespace", *names, "--wait=false", "--ignore-not-found")


async def healed(bench: Bench) -> bool:
    return await bench.settled() == {}


def test_nothing_is_changed_before_a_dry_run_and_one_is_enough(stage: Stage) -> None:
    async def story(bench: Bench) -> None:
        bench.fill(SHOP, workloads=5)
        assert bench.look() == ({KEY: Reason.PREFLIGHT}, frozenset({KEY}))
        assert await bench.settled() == {}
        assert bench.look() == ({}, frozenset())
        assert bench.voice.asked == [f"{SHOP}/web-0-probe"]

    stage.play(story)


def test_a_policy_of_many_namespaces_and_many_policies_of_one_are_no_storm(stage: Stage) -> None:
    async def story(bench: Bench) -> None:
        bench.fill(*MANY, policies=20, workloads=3)
        for _ in range(3):
            for each in MANY:
                bench.look(each)
        for each in MANY:
            assert await bench.settled(each) == {}
        assert len(bench.voice.asked) == 20 * 20
        assert bench.voice.most_at_once == IN_FLIGHT

    stage.play(story)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(stripped, Reason.STRIPPED_BY_WEBHOOK), (refused, Reason.REFUSED), (failing, None)],
    ids=["stripped", "refused", "no answer"],
)
def test_a_policy_is_blocked_by_what_is_proved(
    stage: Stage, answer: Callable[[JSON], JSON], reason: Reason | None
) -> None:
    async def story(bench: Bench) -> None:
        bench.fill(SHOP)
        bench.voice.answer = answer
        assert await bench.settled() == ({KEY: reason} if reason else {})
        told = bench.preflight.told(SHOP, KEY)
        assert (told.tried, len(told.blocks)) == (1, 1 if reason else 0)

    stage.play(story)


def test_webhooks_that_come_and_go_have_only_those_tried_again_whose_pods_they_see(
    stage: Stage,
) -> None:
    async def story(bench: Bench) -> None:
        bench.fill(SHOP, BANK)
        await bench.settled()
        await bench.settled(BANK)
        await bench.inventory.dirty_scopes.take()
        bench.voice.answer, before = stripped, len(bench.voice.asked)
        mine = {**HOOK["webhooks"][0], "namespaceSelector": {"matchLabels": {"ns": SHOP}}}
        bench.webhooks.store(bench.webhooks.facts({**HOOK, "webhooks": [mine]}))
        assert await bench.inventory.dirty_scopes.take() == {SHOP}
        assert await bench.settled(BANK) == {}
        assert await bench.settled() == {KEY: Reason.STRIPPED_BY_WEBHOOK}
        assert bench.voice.asked[before:] == [f"{SHOP}/web-0-probe"]
        bench.voice.answer = kept
        bench.webhooks.replace([])
        assert await bench.settled() == {}

    stage.play(story)


def test_a_webhook_that_the_api_server_hears_of_later_than_we_do_is_found(stage: Stage) -> None:
    async def story(bench: Bench) -> None:
        bench.fill(SHOP)
        await bench.settled()
        bench.webhooks.store(bench.webhooks.facts(HOOK))
        assert await bench.settled() == {}
        bench.voice.answer = stripped

        async def look() -> dict[str, Reason]:
            return bench.look()[0]

        held = await soon(look, until=bool, seconds=15)
        assert held == {KEY: Reason.STRIPPED_BY_WEBHOOK}

    stage.play(story)


def test_what_is_only_tried_again_keeps_no_status_waiting(stage: Stage) -> None:
    async def story(bench: Bench) -> None:
        bench.fill(SHOP)
        bench.voice.answer = stripped
        await bench.settled()
        bench.voice.seconds, before = 3.0, len(bench.voice.asked)

        async def tried_again() -> bool:
            return len(bench.voice.asked) > before

        await soon(tried_again)
        assert bench.look() == ({KEY: Reason.STRIPPED_BY_WEBHOOK}, frozenset())

    stage.play(story)


def test_no_answer_lifts_no_block_and_an_answer_does_without_any_event(stage: Stage) -> None:
    async def story(bench: Bench) -> None:
        bench.fill(SHOP)
        bench.voice.answer = stripped
        await bench.settled()
        bench.voice.answer = failing
        bench.webhooks.replace([bench.webhooks.facts(HOOK)])
        assert await bench.settled() == {KEY: Reason.STRIPPED_BY_WEBHOOK}
        bench.voice.answer = kept

        async def look() -> dict[str, Reason]:
            return bench.look()[0]

        assert await soon(look, until=lambda held: not held, seconds=20) == {}

    stage.play(story)


def test_what_the_status_says_holds_after_a_restart_until_it_was_tried(stage: Stage) -> None:
    async def story(bench: Bench) -> None:
        bench.fill(SHOP)
        bench.voice.answer = failing
        (facts,) = bench.inventory.policies(SHOP)
        assert facts.desired is not None
        told = {"namespace": SHOP, "reason": "StrippedByWebhook", "message": "lost"}
        made = policy_object()
        made["metadata"] |= {"namespace": SHOP, "resourceVersion": "2"}
        made["status"] = {"revision": facts.desired.revision, "blockedNamespaces": [told]}
        bench.inventory.see_policy(made)
        assert bench.look()[0] == {KEY: Reason.STRIPPED_BY_WEBHOOK}
        assert await bench.settled() == {KEY: Reason.STRIPPED_BY_WEBHOOK}

    stage.play(story)


def test_a_refusal_is_looked_into_again_when_the_workload_changes(stage: Stage) -> None:
    async def story(bench: Bench) -> None:
        bench.fill(SHOP)
        bench.voice.answer = refused
        assert await bench.settled() == {KEY: Reason.REFUSED}
        bench.voice.answer = kept
        bench.change(1)
        await soon(partial(healed, bench), seconds=10)

    stage.play(story)


def test_templates_that_change_all_the_time_are_no_storm(stage: Stage) -> None:
    async def story(bench: Bench) -> None:
        bench.fill(SHOP)
        bench.voice.answer = refused
        await bench.settled()
        once, began = len(bench.voice.asked), time.monotonic()
        for number in range(40):
            bench.change(number)
            await bench.settled()
        turns = (time.monotonic() - began) / (FIRST_RETRY / 2)
        assert len(bench.voice.asked) / once - 1 <= turns + 2
        bench.voice.answer = kept
        bench.change(40)
        await soon(partial(healed, bench), seconds=10)

    stage.play(story)


def test_a_namespace_that_is_gone_is_forgotten(stage: Stage) -> None:
    async def story(bench: Bench) -> None:
        bench.fill(SHOP)
        bench.voice.answer = stripped
        await bench.settled()
        bench.preflight.forget(SHOP)
        assert bench.preflight.told(SHOP, KEY).tried == 0

    stage.play(story)


def test_a_server_that_answers_nobody_in_time_is_left_alone(stage: Stage) -> None:
    async def play() -> None:
        async with stage.connected() as (api, voice):
            voice.seconds = 2.0
            dry_runs = DryRuns(api, patience=0.1)
            for _ in range(3 * IN_FLIGHT):
                inquiry = inquire(policy(), ())
                verdict = await dry_runs.carry_out(inquiry, namespace=SHOP)
                assert verdict.answer is Outcome.INCONCLUSIVE
            assert 0 < len(voice.asked) <= IN_FLIGHT

    stage.run(play)
