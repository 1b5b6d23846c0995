"""What the API server's answers mean: each kind of outcome, provoked for real."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp.test_utils import TestServer
from aiohttp.web import Application, Request, Response

from lab import Lab
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.connection import NoClusterError, connect
from sidecarpolicy.cluster.outcome import Outcome, Result
from sidecarpolicy.cluster.resources import DEPLOYMENTS, POLICIES, SECRETS, Resource
from sidecarpolicy.core.jsonpatch import guard
from tests.support.cluster import Namespace, deployment

Ask = Callable[[Api], Awaitable[Outcome]]
NO_SUCH_TYPE = Resource("sidecarpolicy.dev", "v1alpha1", "unicorns", "Unicorn")
PAUSE = {"op": "replace", "path": "/spec/paused", "value": True}


def name_of(obj: dict[str, Any]) -> str:
    return str(obj["metadata"]["name"])


def ask(lab: Lab, question: Ask, *, kubeconfig: Path | None = None) -> Outcome:
    """The outcome of one question; in-process, inside the lab's network."""

    async def answer() -> Outcome:
        async with connect(str(kubeconfig or lab.kubeconfig)) as connection:
            return await question(Api(connection))

    with lab.entered():
        return asyncio.run(answer())


def patching(shop: Namespace, *operations: dict[str, Any], name: str = "web") -> Ask:
    return lambda api: api.patch_json(DEPLOYMENTS, list(operations), name=name, namespace=shop.name)


def pointing_at(server: str) -> dict[str, Any]:
    """A kubeconfig without credentials."""
    return {
        "clusters": [{"name": "x", "cluster": {"server": server.rstrip("/")}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "users": [{"name": "x", "user": {}}],
        "current-context": "x",
    }


def uid(shop: Namespace) -> str:
    return str(shop.get("deployment", "web")["metadata"]["uid"])


@pytest.fixture
def web(shop: Namespace) -> Namespace:
    shop.apply(deployment())
    return shop


def test_a_patch_under_a_fitting_guard_is_done_and_returns_the_object(web: Namespace) -> None:
    outcome = ask(web.lab, patching(web, *guard(uid=uid(web), generation=1), PAUSE))
    assert outcome.result is Result.DONE
    assert outcome.body["spec"]["paused"] is True
    managers = {each["manager"] for each in outcome.body["metadata"]["managedFields"]}
    assert "sidecarpolicy-operator" in managers


def test_a_patch_of_an_object_that_changed_meanwhile_is_a_conflict(web: Namespace) -> None:
    outcome = ask(web.lab, patching(web, *guard(uid=uid(web), generation=7), PAUSE))
    assert outcome.result is Result.CONFLICT
    assert "paused" not in web.get("deployment", "web")["spec"]


def test_a_patch_of_an_object_that_was_recreated_under_its_name_is_a_conflict(
    web: Namespace,
) -> None:
    before = uid(web)
    web.delete("deployment", "web")
    web.apply(deployment(pod={"initContainers": [{"name": "new", "image": "busybox"}]}))
    outcome = ask(web.lab, patching(web, *guard(uid=before, generation=1), PAUSE))
    assert outcome.result is Result.CONFLICT
    assert web.sidecars("web") == ["new"]


def test_a_merge_patch_with_a_stale_version_is_a_conflict(web: Namespace) -> None:
    stale = {"metadata": {"resourceVersion": "1"}, "spec": {"paused": True}}
    outcome = ask(
        web.lab, lambda api: api.patch_merge(DEPLOYMENTS, stale, name="web", namespace=web.name)
    )
    assert outcome.result is Result.CONFLICT


def test_a_merge_patch_of_a_recreated_object_is_a_conflict(web: Namespace) -> None:
    other = {"metadata": {"uid": "11111111-1111-1111-1111-111111111111"}}
    outcome = ask(
        web.lab, lambda api: api.patch_merge(DEPLOYMENTS, other, name="web", namespace=web.name)
    )
    assert outcome.result is Result.CONFLICT


def test_an_object_that_is_absent_is_gone(shop: Namespace) -> None:
    read = ask(shop.lab, lambda api: api.get(POLICIES, name="nobody", namespace=shop.name))
    assert read.result is Result.GONE
    patched = ask(shop.lab, patching(shop, PAUSE, name="nobody"))
    assert patched.result is Result.GONE


def test_a_name_from_a_tampered_record_reaches_no_other_address(shop: Namespace) -> None:
    name = "../../../../../api/v1/namespaces/default"
    outcome = ask(shop.lab, lambda api: api.get(POLICIES, name=name, namespace=shop.name))
    assert not outcome.done


def test_a_missing_resource_type_proves_nothing_about_an_object(shop: Namespace) -> None:
    outcome = ask(shop.lab, lambda api: api.get(NO_SUCH_TYPE, name="x", namespace=shop.name))
    assert outcome.result is Result.UNAVAILABLE


def test_an_invalid_object_is_refused_in_the_servers_words(web: Namespace) -> None:
    bad = {"op": "replace", "path": "/spec/replicas", "value": -1}
    outcome = ask(web.lab, patching(web, bad))
    assert outcome.result is Result.REFUSED
    assert "must be greater than or equal to 0" in outcome.message


def test_a_lacking_right_is_forbidden_and_no_proof_of_absence(
    web: Namespace, tmp_path: Path
) -> None:
    web.kubectl("create", "serviceaccount", "nobody")
    token = web.kubectl("create", "token", "nobody").strip()
    config = yaml.safe_load(web.lab.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    kubeconfig = tmp_path / "nobody.kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    for question in (
        patching(web, PAUSE),
        lambda api: api.list_all(DEPLOYMENTS, keep=name_of),
        lambda api: api.get(POLICIES, name="absent", namespace=web.name),
    ):
        assert ask(web.lab, question, kubeconfig=kubeconfig).result is Result.FORBIDDEN


def test_a_list_of_several_pages_is_complete(shop: Namespace) -> None:
    shop.apply(*(deployment(f"web-{number}") for number in range(7)))

    async def in_pages_of_three(api: Api) -> Outcome:
        return await api.list_all(DEPLOYMENTS, keep=name_of, namespace=shop.name, page=3)

    listed = ask(shop.lab, in_pages_of_three)
    assert listed.items == tuple(f"web-{number}" for number in range(7))


def test_a_garbled_answer_is_no_answer_and_its_text_is_not_repeated(tmp_path: Path) -> None:
    async def garbled(_: Request) -> Response:
        return Response(text='{"kind": "Secret", "data": {"password": "cGFzc3dvcmQ=')

    async def attempt() -> Outcome:
        app = Application()
        app.router.add_get("/{path:.*}", garbled)
        async with TestServer(app) as server:
            kubeconfig = tmp_path / "kubeconfig"
            kubeconfig.write_text(yaml.safe_dump(pointing_at(str(server.make_url("/")))))
            async with connect(str(kubeconfig)) as connection:
                return await Api(connection).get(SECRETS, name="db", namespace="shop")

    outcome = asyncio.run(attempt())
    assert outcome.result is Result.UNAVAILABLE
    assert outcome.message == "the answer is no JSON object (HTTP 200)"


def test_an_outcome_is_printed_without_its_object(web: Namespace) -> None:
    outcome = ask(web.lab, lambda api: api.get(DEPLOYMENTS, name="web", namespace=web.name))
    assert outcome.done
    assert "containers" not in repr(outcome)


def test_no_way_to_a_cluster_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    async def attempt() -> None:
        async with connect(str(tmp_path / "missing")):
            pass

    with pytest.raises(NoClusterError, match="--kubeconfig"):
        asyncio.run(attempt())
