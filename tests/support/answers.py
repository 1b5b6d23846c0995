"""A preflight on a real API server, with a webhook that answers dry runs as a test says."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from lab import Lab
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.connection import connect
from sidecarpolicy.cluster.resources import PODS
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.controller.preflight import Pace, Preflight
from sidecarpolicy.controller.webhooks import WebhookMirror
from sidecarpolicy.core.facts import workload_facts
from sidecarpolicy.core.plan import plan
from sidecarpolicy.core.selection import Exclusions
from tests.support import neighbour, stripper
from tests.support.builders import deployment, policy_object
from tests.support.waiting import soon

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
            await asyncio.sleep(0.25)  # connections with TLS take a moment to close


async def is_asked(api: Api, voice: Voice) -> bool:
    """Whether the API server asks the webhook; nothing of it is left behind."""
    made = {"containers": [{"name": "web", "image": "x"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "first"}, "spec": made}
    await api.create(PODS, pod, SHOP, dry_run=True)
    asked = bool(voice.asked)
    voice.asked.clear()
    return asked
