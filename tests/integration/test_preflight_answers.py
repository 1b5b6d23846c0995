"""The preflight on a real API server, with a webhook that answers dry runs as a test says.

What the preflight sees of the cluster a test tells it by hand, so that it can come earlier or
later than to the API server.
"""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from lab import Lab
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.connection import connect
from sidecarpolicy.cluster.resources import PODS
from sidecarpolicy.controller.dryruns import IN_FLIGHT, DryRuns
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.controller.preflight import Pace, Preflight
from sidecarpolicy.controller.webhooks import WebhookMirror
from sidecarpolicy.core.facts import workload_facts
from sidecarpolicy.core.inquiry import inquire
from sidecarpolicy.core.plan import plan
from sidecarpolicy.core.reading import Answer as Outcome
from sidecarpolicy.core.selection import Exclusions
from tests.support import neighbour, stripper
from tests.support.builders import deployment, policy, policy_object
from tests.support.certificates import authority, serving
from tests.support.waiting import eventually, soon

JSON = dict[str, Any]
KEY = "SidecarPolicy/log-shipper"
FIRST_RETRY = 0.2
NAME = "answers"
SHOP, BANK, SYSTEM = "answers-shop", "answers-bank", "answers-system"
MANY = [f"answers-{number}" for number in range(20)]
PORT = 9557
HOOK: JSON = {
    "metadata": {"name": NAME},
    "webhooks": [{"name": "answers.example.com", "rules": [neighbour.about("", "pods")]}],
}


def kept(_: JSON) -> JSON:
    return {"allowed": True}


def stripped(pod: JSON) -> JSON:
    patch = base64.b64encode(json.dumps(stripper.patch(pod)).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": patch}


def refused(pod: JSON) -> JSON:
    ours = "initContainers" in pod["spec"]
    return {"allowed": not ours, "status": {"code": 403, "message": "no sidecars here"}}


def failing(_: JSON) -> JSON:
    raise web.HTTPInternalServerError


class Voice:
    """The webhook; `asked` is about which Pods."""

    def __init__(self) -> None:
        self.answer: Callable[[JSON], JSON] = kept
        self.seconds = 0.02
        self.asked: list[str] = []
        self.most_at_once = 0
        self._now = 0

    async def review(self, request: web.Request) -> web.Response:
        asked = (await request.json())["request"]
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        self.asked.append(f"{asked['namespace']}/{asked['object']['metadata']['name']}")
        try:
            await asyncio.sleep(self.seconds)
            response = {"uid": asked["uid"], **self.answer(asked["object"])}
        finally:
            self._now -= 1
        document = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
        return web.json_response({**document, "response": response})


class Bench:
    """A preflight, with what it sees of the cluster."""

    def __init__(self, api: Api, voice: Voice) -> None:
        self.voice = voice
        self.inventory = Inventory(Exclusions(SYSTEM))
        self.webhooks = WebhookMirror()
        pace = Pace(first_retry=FIRST_RETRY, every=0.05, lag=0.5)
        self.preflight = Preflight(api, self.inventory, self.webhooks, home=SYSTEM, pace=pace)

    def fill(self, *namespaces: str, policies: int = 1, workloads: int = 1) -> None:
        for name in namespaces:
            meta = {"name": name, "uid": name, "resourceVersion": "1", "labels": {"ns": name}}
            self.inventory.see_namespace({"metadata": meta})
            for number in range(policies):
                made = policy_object("log-shipper" if policies == 1 else f"p-{number}")
                made["metadata"] |= {"namespace": name}
                self.inventory.see_policy(made)
            for number in range(workloads):
                raw = deployment(f"web-{number}", metadata={"namespace": name})
                self.inventory.see_workload(workload_facts(raw, kind="Deployment"))

    def change(self, number: int) -> None:
        """The owner changes the template of a workload."""
        spec = {"containers": [{"name": "web", "image": f"other:{number}"}]}
        raw = deployment("web-0", pods={"metadata": {"labels": {"app": "web"}}, "spec": spec})
        raw["metadata"]["resourceVersion"] = str(2 + number)
        self.inventory.see_workload(workload_facts(raw, kind="Deployment"))

    def look(self, namespace: str = SHOP) -> tuple[dict[str, Reason], frozenset[str]]:
        """One pass: why policies are held, and which wait for an answer."""
        snapshot = self.inventory.snapshot(namespace)
        holds = self.preflight.holds(snapshot)
        decided = plan(replace(snapshot, blocked=holds))
        asked = self.preflight.consider(snapshot, decided.standings)
        return {key: each.reason for key, each in holds.items()}, asked

    async def settled(self, namespace: str = SHOP) -> dict[str, Reason]:
        """Passes until nobody waits any more; why policies are held then."""

        async def look() -> tuple[dict[str, Reason], frozenset[str]]:
            return self.look(namespace)

        return (await soon(look, until=lambda seen: not seen[1], seconds=10))[0]


@pytest.fixture(scope="module")
def stage(installed: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Stage"]:
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


def namespace(name: str) -> JSON:
    meta = {"name": name, "labels": {NAME: "true"}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}


def has_account(lab: Lab, name: str) -> bool:
    """Whether Pods can be created there."""
    asked = ("-n", name, "get", "serviceaccounts", "default", "--ignore-not-found", "-o", "name")
    return bool(lab.kubectl(*asked))


class Stage:
    """Where stories are played: in the lab's network, with the webhook in the same process."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self._lab = lab
        self._directory = directory

    def play(self, story: Callable[[Bench], Any]) -> None:
        async def played() -> None:
            async with self.connected() as (api, voice):
                bench = Bench(api, voice)
                task = asyncio.create_task(bench.preflight.run())
                try:
                    await story(bench)
                finally:
                    task.cancel()
                    await asyncio.wait([task])

        self.run(played)

    def run(self, play: Callable[[], Any]) -> None:
        with self._lab.entered():
            asyncio.run(play())

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[Api, Voice]]:
        """The webhook listens, and the API server is known to ask it."""
        voice = Voice()
        app = web.Application()
        app.router.add_post("/mutate", voice.review)
        runner = web.AppRunner(app)
        await runner.setup()
        tls = neighbour.server_context(self._directory)
        await web.TCPSite(runner, "127.0.0.1", PORT, ssl_context=tls).start()
        try:
            async with connect(str(self._lab.kubeconfig)) as connection:
                await soon(partial(is_asked, Api(connection), voice))
                yield Api(connection), voice
        finally:
            await runner.cleanup()


async def is_asked(api: Api, voice: Voice) -> bool:
    """Whether the API server asks the webhook; nothing of it is left behind."""
    made = {"containers": [{"name": "web", "image": "x"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "first"}, "spec": made}
    await api.create(PODS, pod, SHOP, dry_run=True)
    asked = bool(voice.asked)
    voice.asked.clear()
    return asked


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
