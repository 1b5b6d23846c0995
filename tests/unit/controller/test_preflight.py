"""The preflight against a server that answers dry runs as a test says."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.connection import connect
from sidecarpolicy.controller.dryruns import IN_FLIGHT, DryRuns
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.controller.preflight import Pace, Preflight
from sidecarpolicy.controller.webhooks import WebhookMirror
from sidecarpolicy.core.blocks import MAX_BLOCKED
from sidecarpolicy.core.facts import workload_facts
from sidecarpolicy.core.inquiry import inquire
from sidecarpolicy.core.plan import plan
from sidecarpolicy.core.reading import Answer as Outcome
from sidecarpolicy.core.selection import Exclusions
from tests.support.builders import deployment, policy, policy_object
from tests.support.waiting import soon

JSON = dict[str, Any]
Answer = tuple[int, JSON]
KEY = "SidecarPolicy/log-shipper"
FIRST_RETRY = 0.2
HOOK: JSON = {
    "metadata": {"name": "stripper"},
    "webhooks": [
        {
            "name": "strip.example.com",
            "rules": [
                {
                    "operations": ["CREATE"],
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "resources": ["pods"],
                }
            ],
        }
    ],
}


def kept(pod: JSON) -> Answer:
    return 201, pod


def stripped(pod: JSON) -> Answer:
    init = [{"name": each["name"]} for each in pod["spec"].get("initContainers", ())]
    return 201, {"spec": {"initContainers": init}}


def refused(pod: JSON) -> Answer:
    ours = "initContainers" in pod["spec"]
    return (403, {"message": "violates PodSecurity"}) if ours else (201, pod)


def failing(_: JSON) -> Answer:
    return 500, {"message": "failed calling webhook"}


class Server:
    """An API server as far as dry runs of Pods go."""

    def __init__(self) -> None:
        self.answer: Callable[[JSON], Answer] = kept
        self.at_home: Callable[[JSON], Answer] = kept
        self.version_text, self.metric = "v1.36.3", ""
        self.asked: list[str] = []
        self.most_at_once = 0
        self._now = 0

    async def hang(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        await asyncio.sleep(0.5)
        return web.Response(status=500)

    async def create(self, request: web.Request) -> web.Response:
        assert request.query["dryRun"] == "All"
        assert request.query["fieldValidation"] == "Strict"
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        await asyncio.sleep(0.001)
        pod = json.loads(await request.read())
        self.asked.append(f"{request.match_info['namespace']}/{pod['metadata']['name']}")
        home = request.match_info["namespace"] == "system"
        code, body = (self.at_home if home else self.answer)(pod)
        self._now -= 1
        return web.json_response(body, status=code)

    async def version(self, _: web.Request) -> web.Response:
        return web.json_response({"gitVersion": self.version_text})

    async def metrics(self, _: web.Request) -> web.Response:
        line = f'kubernetes_feature_enabled{{name="SidecarContainers",stage="BETA"}} {self.metric}'
        return web.Response(text=f"# HELP\n{line}\nother 1\n", status=200 if self.metric else 403)


class Bench:
    """A preflight, with what it sees of the cluster."""

    def __init__(self, api: Api, server: Server) -> None:
        self.server = server
        self.inventory = Inventory(Exclusions("system"))
        self.webhooks = WebhookMirror()
        pace = Pace(first_retry=FIRST_RETRY, every=0.05, lag=0.5)
        self.preflight = Preflight(api, self.inventory, self.webhooks, home="system", pace=pace)

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

    def look(self, namespace: str = "shop") -> tuple[dict[str, Reason], frozenset[str]]:
        """One pass: why policies are held, and which wait for an answer."""
        snapshot = self.inventory.snapshot(namespace)
        holds = self.preflight.holds(snapshot)
        decided = plan(replace(snapshot, blocked=holds))
        asked = self.preflight.consider(snapshot, decided.standings)
        return {key: each.reason for key, each in holds.items()}, asked

    async def settled(self, namespace: str = "shop") -> dict[str, Reason]:
        """Passes until nobody waits any more; why policies are held then."""

        async def look() -> tuple[dict[str, Reason], frozenset[str]]:
            return self.look(namespace)

        return (await soon(look, until=lambda seen: not seen[1], seconds=10))[0]


@asynccontextmanager
async def connected(place: Path, server: Server, *, hangs: bool = False) -> AsyncIterator[Api]:
    app = web.Application()
    create = server.hang if hangs else server.create
    app.router.add_post("/api/v1/namespaces/{namespace}/pods", create)
    app.router.add_get("/version", server.version)
    app.router.add_get("/metrics", server.metrics)
    async with TestServer(app) as listening:
        kubeconfig = place / "kubeconfig"
        cluster = {"server": str(listening.make_url("/")).rstrip("/")}
        kubeconfig.write_text(
            json.dumps(
                {
                    "clusters": [{"name": "x", "cluster": cluster}],
                    "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
                    "users": [{"name": "x", "user": {}}],
                    "current-context": "x",
                }
            )
        )
        async with connect(str(kubeconfig)) as connection:
            yield Api(connection)


@asynccontextmanager
async def running(place: Path) -> AsyncIterator[Bench]:
    server = Server()
    async with connected(place, server) as api:
        bench = Bench(api, server)
        task = asyncio.create_task(bench.preflight.run())
        try:
            yield bench
        finally:
            task.cancel()
            await asyncio.wait([task])


async def healed(bench: Bench) -> bool:
    return await bench.settled() == {}


def tried(place: Path, story: Callable[[Bench], Any]) -> None:
    async def play() -> None:
        async with running(place) as bench:
            await story(bench)

    asyncio.run(play())


def test_nothing_is_changed_before_a_dry_run_and_one_is_enough(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        bench.fill("shop", workloads=5)
        assert bench.look() == ({KEY: Reason.PREFLIGHT}, frozenset({KEY}))
        assert await bench.settled() == {}
        assert bench.look() == ({}, frozenset())
        assert bench.server.asked == ["shop/web-0-probe"]

    tried(tmp_path, story)


def test_a_policy_of_many_namespaces_and_many_policies_of_one_are_no_storm(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        spaces = [f"n{number}" for number in range(20)]
        bench.fill(*spaces, policies=20, workloads=3)
        for _ in range(3):
            for each in spaces:
                bench.look(each)
        for each in spaces:
            assert await bench.settled(each) == {}
        assert len(bench.server.asked) == 20 * 20
        assert bench.server.most_at_once == IN_FLIGHT

    tried(tmp_path, story)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(stripped, Reason.STRIPPED_BY_WEBHOOK), (refused, Reason.REFUSED), (failing, None)],
    ids=["stripped", "refused", "no answer"],
)
def test_a_policy_is_blocked_by_what_is_proved(
    tmp_path: Path, answer: Callable[[JSON], Answer], reason: Reason | None
) -> None:
    async def story(bench: Bench) -> None:
        bench.fill("shop")
        bench.server.answer = answer
        assert await bench.settled() == ({KEY: reason} if reason else {})
        told = bench.preflight.told("shop", KEY)
        assert (told.tried, len(told.blocks)) == (1, 1 if reason else 0)

    tried(tmp_path, story)


DROPS, STRIPPED = Reason.API_SERVER_DROPS_FIELD, Reason.STRIPPED_BY_WEBHOOK


@pytest.mark.parametrize(
    ("version", "metric", "at_home", "reason"),
    [
        pytest.param("v1.36.3", "0", stripped, STRIPPED, id="a version without a gate"),
        pytest.param("v1.27.9", "1", kept, DROPS, id="a version without the field"),
        pytest.param("v1.31.0", "0", kept, DROPS, id="the metric says off"),
        pytest.param("v1.31.0", "1", stripped, STRIPPED, id="the metric says on"),
        pytest.param("v1.31.0", "", stripped, DROPS, id="no metric, and lost where nobody strips"),
        pytest.param("v1.31.0", "", kept, STRIPPED, id="no metric, and kept elsewhere"),
        pytest.param("v1.31.0", "", failing, STRIPPED, id="nobody knows, and a webhook is asked"),
    ],
)
def test_the_api_server_is_told_from_a_webhook(
    tmp_path: Path, version: str, metric: str, at_home: Callable[[JSON], Answer], reason: Reason
) -> None:
    async def story(bench: Bench) -> None:
        bench.fill("shop")
        bench.server.answer, bench.server.at_home = stripped, at_home
        bench.server.version_text, bench.server.metric = version, metric
        mine = {**HOOK["webhooks"][0], "namespaceSelector": {"matchLabels": {"ns": "shop"}}}
        bench.webhooks.store(bench.webhooks.facts({**HOOK, "webhooks": [mine]}))
        assert await bench.settled() == {KEY: reason}

    tried(tmp_path, story)


def test_webhooks_that_come_and_go_have_only_those_tried_again_whose_pods_they_see(
    tmp_path: Path,
) -> None:
    async def story(bench: Bench) -> None:
        bench.fill("shop", "bank")
        await bench.settled()
        await bench.settled("bank")
        await bench.inventory.dirty_scopes.take()
        bench.server.answer, before = stripped, len(bench.server.asked)
        mine = {**HOOK["webhooks"][0], "namespaceSelector": {"matchLabels": {"ns": "shop"}}}
        bench.webhooks.store(bench.webhooks.facts({**HOOK, "webhooks": [mine]}))
        assert await bench.inventory.dirty_scopes.take() == {"shop"}
        assert await bench.settled("bank") == {}
        assert await bench.settled() == {KEY: Reason.STRIPPED_BY_WEBHOOK}
        assert bench.server.asked[before:] == ["shop/web-0-probe"]
        bench.server.answer = kept
        bench.webhooks.replace([])
        assert await bench.settled() == {}

    tried(tmp_path, story)


def test_a_webhook_that_the_api_server_hears_of_later_than_we_do_is_found(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        bench.fill("shop")
        await bench.settled()
        bench.webhooks.store(bench.webhooks.facts(HOOK))
        assert await bench.settled() == {}
        bench.server.answer = stripped

        async def look() -> dict[str, Reason]:
            return bench.look()[0]

        held = await soon(look, until=bool, seconds=15)
        assert held == {KEY: Reason.STRIPPED_BY_WEBHOOK}

    tried(tmp_path, story)


def test_no_answer_lifts_no_block_and_an_answer_does_without_any_event(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        bench.fill("shop")
        bench.server.answer = stripped
        await bench.settled()
        bench.server.answer = failing
        bench.webhooks.replace([bench.webhooks.facts(HOOK)])
        assert await bench.settled() == {KEY: Reason.STRIPPED_BY_WEBHOOK}
        bench.server.answer = kept

        async def look() -> dict[str, Reason]:
            return bench.look()[0]

        assert await soon(look, until=lambda held: not held, seconds=20) == {}

    tried(tmp_path, story)


def test_what_the_status_says_holds_after_a_restart_until_it_was_tried(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        bench.fill("shop")
        bench.server.answer = failing
        (facts,) = bench.inventory.policies("shop")
        assert facts.desired is not None
        told = {"namespace": "shop", "reason": "StrippedByWebhook", "message": "lost"}
        made = policy_object()
        made["metadata"]["resourceVersion"] = "2"
        made["status"] = {"revision": facts.desired.revision, "blockedNamespaces": [told]}
        bench.inventory.see_policy(made)
        assert bench.look()[0] == {KEY: Reason.STRIPPED_BY_WEBHOOK}
        assert await bench.settled() == {KEY: Reason.STRIPPED_BY_WEBHOOK}

    tried(tmp_path, story)


def test_a_refusal_is_looked_into_again_when_the_workload_changes(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        bench.fill("shop")
        bench.server.answer = refused
        assert await bench.settled() == {KEY: Reason.REFUSED}
        bench.server.answer = kept
        bench.change(1)
        await soon(partial(healed, bench), seconds=10)

    tried(tmp_path, story)


def test_templates_that_change_all_the_time_are_no_storm(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        bench.fill("shop")
        bench.server.answer = refused
        await bench.settled()
        once, began = len(bench.server.asked), time.monotonic()
        for number in range(40):
            bench.change(number)
            await bench.settled()
        turns = (time.monotonic() - began) / (FIRST_RETRY / 2)
        assert len(bench.server.asked) / once - 1 <= turns + 2
        bench.server.answer = kept
        bench.change(40)
        await soon(partial(healed, bench), seconds=10)

    tried(tmp_path, story)


def test_a_namespace_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        bench.fill("shop")
        bench.server.answer = stripped
        await bench.settled()
        bench.preflight.forget("shop")
        assert bench.preflight.told("shop", KEY).tried == 0

    tried(tmp_path, story)


def test_a_server_that_answers_nobody_in_time_is_left_alone(tmp_path: Path) -> None:
    async def play() -> None:
        server = Server()
        async with connected(tmp_path, server, hangs=True) as api:
            dry_runs = DryRuns(api, patience=0.05)
            for _ in range(3 * IN_FLIGHT):
                inquiry = inquire(policy(), ())
                verdict = await dry_runs.carry_out(inquiry, namespace="shop")
                assert verdict.answer is Outcome.INCONCLUSIVE
        assert 0 < len(server.asked) <= IN_FLIGHT

    asyncio.run(play())


def test_the_bound_of_the_status_is_that_of_the_crd() -> None:
    crd = Path(__file__).resolve().parents[3] / "crds" / "sidecarpolicies.sidecarpolicy.dev.yaml"
    text = crd.read_text()
    start = text.index("blockedNamespaces:")
    assert f"maxItems: {MAX_BLOCKED}\n" in text[start : text.index("conditions:", start)]
