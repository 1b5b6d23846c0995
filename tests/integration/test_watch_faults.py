"""What becomes of watches on their way from a real API server, and of the controller then."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import Lab
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.connection import connect
from sidecarpolicy.cluster.reflector import Reflector
from sidecarpolicy.cluster.resources import DEPLOYMENTS
from tests.support.admission import own_rights
from tests.support.cluster import Namespace, deployment, persisted, policy, writes_in
from tests.support.faults import Faults, Refusal
from tests.support.processes import Controller
from tests.support.replicas import install, led_by, replicas
from tests.support.waiting import eventually, stays

JSON = dict[str, Any]
PORT = 8901
OURS = ("deployments", "statefulsets", "daemonsets", "cronjobs", "jobs", "pods", "events")
"""What our own reflectors watch."""
KOPFS = ("nodes", "namespaces", "sidecarpolicies", "clustersidecarpolicies")


@pytest.fixture
def faults(capable: Lab) -> Iterator[Faults]:
    with Faults(capable, PORT).between() as between:
        yield between


@pytest.fixture
def behind(capable: Lab, faults: Faults, tmp_path: Path) -> Iterator[Controller]:
    """A controller that reaches the API server through the faults."""
    install(capable)
    rights = faults.kubeconfig(own_rights(capable, "controller", tmp_path), tmp_path / "by.json")
    with Controller(capable, tmp_path / "controller.log", kubeconfig=rights) as process:
        process.start("--log-format", "json")
        eventually(lambda: faults.watched() >= {*OURS, *KOPFS})
        yield process


def settled(shop: Namespace) -> None:
    shop.apply(policy(), deployment("web"))
    shop.wait_status("log-shipper", current=1)


def changes(shop: Namespace) -> int:
    """What we wrote there, but for Events, which come a moment later."""
    return sum(not what.startswith("events") for _, what in persisted(writes_in(shop)))


def recovers(shop: Namespace, *, seconds: float = 30) -> float:
    """Seconds until a new Deployment has its sidecar; after that nothing more is written."""
    start = time.monotonic()
    shop.apply(deployment("api"))
    shop.wait_status("log-shipper", current=2, seconds=seconds)
    took = time.monotonic() - start
    stays(lambda: changes(shop), seconds=3)
    assert shop.get("deployment", "web")["metadata"]["generation"] == 2
    assert shop.get("deployment", "api")["metadata"]["generation"] == 2
    return took


@pytest.mark.parametrize("code", [410, 429, 500, 504])
def test_an_error_in_the_stream_of_a_workload_is_outlived(
    code: int, shop: Namespace, behind: Controller, faults: Faults
) -> None:
    settled(shop)
    faults.inject(code, *OURS)
    recovers(shop)
    assert behind.running()


def test_a_watch_of_kopf_that_expired_shows_no_phantoms(
    shop: Namespace, behind: Controller, faults: Faults
) -> None:
    """Kopf says nothing of what was deleted while it could not see."""
    settled(shop)
    shop.apply(policy("second", sidecars=[{"name": "courier", "image": "lab.local/busybox:1"}]))
    shop.wait_status("second", current=1)
    shop.lab.add_fake_nodes(1, kubelet="1.36.3", prefix="passing")
    total = eventually(lambda: shop.status("log-shipper")["nodes"]["total"], until=lambda n: n == 3)
    faults.lose("DELETED", "nodes")
    faults.lose("DELETED", "sidecarpolicies")
    shop.lab.kubectl("delete", "node", "passing-0", "--wait=false")
    shop.delete("scpol", "second")
    stays(lambda: shop.status("log-shipper")["nodes"]["total"], seconds=2)
    faults.lose_no_more()
    faults.inject(410, *KOPFS)
    expired = time.monotonic()
    eventually(lambda: shop.status("log-shipper")["nodes"]["total"], until=lambda n: n == total - 1)
    print(f"phantoms gone after {time.monotonic() - expired:.1f} s")  # noqa: T201
    # Its sidecar goes 30 seconds after the policy is known to be gone.
    eventually(lambda: shop.sidecars("web"), until=lambda now: now == ["shipper"], seconds=60)
    assert behind.running()


def test_a_watch_that_is_silently_dead_is_replaced_within_half_a_minute(
    shop: Namespace, behind: Controller, faults: Faults
) -> None:
    settled(shop)
    faults.mute()
    print(f"recovered after {recovers(shop):.1f} s")  # noqa: T201
    # Kopf's watches too: a changed policy is seen.
    other = [{"name": "courier", "image": "lab.local/busybox:1"}]
    shop.patch("scpol", "log-shipper", {"spec": {"sidecars": other}})
    eventually(lambda: shop.sidecars("api"), until=lambda names: names == ["courier"])
    assert behind.running()


def test_a_list_that_expires_between_two_pages_is_taken_anew(
    shop: Namespace, faults: Faults, tmp_path: Path
) -> None:
    install(shop.lab)
    rights = faults.kubeconfig(own_rights(shop.lab, "controller", tmp_path), tmp_path / "by.json")
    shop.apply(*(deployment(name) for name in ("a", "b", "c")))
    faults.refuse(Refusal("&continue=", 410))
    seen = Seen()

    async def mirror() -> None:
        async with connect(str(rights)) as connection:
            reflector = Reflector(Api(connection), DEPLOYMENTS, seen, page=1)
            running = asyncio.ensure_future(reflector.run())
            try:
                await asyncio.wait_for(reflector.listed.wait(), 20)
            finally:
                running.cancel()
                await asyncio.wait([running])

    with shop.lab.entered():
        asyncio.run(mirror())
    assert {name for space, name in seen.held if space == shop.name} == {"a", "b", "c"}
    starts = [what for _, what in faults.asked if what.endswith("/deployments?limit=1")]
    assert len(starts) == 2


class Seen:
    """Keeps which objects there are."""

    def __init__(self) -> None:
        self.held: set[tuple[str, str]] = set()

    def facts(self, obj: JSON) -> tuple[str, str]:
        return obj["metadata"]["namespace"], obj["metadata"]["name"]

    def replace(self, facts: Iterable[tuple[str, str]]) -> None:
        self.held = set(facts)

    def store(self, fact: tuple[str, str]) -> None:
        self.held.add(fact)

    def forget(self, fact: tuple[str, str]) -> None:
        self.held.discard(fact)


@pytest.mark.parametrize("what", ["/deployments?limit", "/deployments?watch"])
def test_a_server_that_asks_to_be_left_alone_is_left_alone(
    what: str, shop: Namespace, behind: Controller, faults: Faults
) -> None:
    settled(shop)
    faults.refuse(Refusal(what, 429, {"Retry-After": "4"}))
    faults.inject(410, "deployments")

    def asked() -> list[float]:
        return [at for at, url in faults.asked if what in url]

    before = len(asked())
    eventually(lambda: len(asked()) >= before + 2)
    refused, again = asked()[before : before + 2]
    assert again - refused >= 4
    recovers(shop)
    assert behind.running()


@pytest.mark.parametrize("code", [429, 500, 504])
def test_where_an_error_in_kopfs_stream_ends_the_leader_a_standby_takes_over_at_once(
    code: int, shop: Namespace, faults: Faults, tmp_path: Path
) -> None:
    with replicas(shop.lab, tmp_path, "first", "second") as (first, second):
        first.process.reach_by(faults.kubeconfig(first.process.kubeconfig, tmp_path / "by.json"))
        first.start()
        led_by(shop.lab, "first")
        second.start()
        settled(shop)
        eventually(lambda: faults.watched() >= set(KOPFS))
        faults.inject(code, "nodes")
        hit = time.monotonic()
        led_by(shop.lab, "second")
        print(f"failover after an error in a watch: {time.monotonic() - hit:.1f} s")  # noqa: T201
        recovers(shop)
        assert first.process.stop() == 1


def test_a_write_that_is_refused_for_a_while_is_tried_again_when_the_server_says_so(
    shop: Namespace, behind: Controller, faults: Faults
) -> None:
    """As API Priority and Fairness refuses it: 429 with Retry-After."""
    settled(shop)
    url = f"/namespaces/{shop.name}/deployments/api?"
    faults.refuse(Refusal(url, 429, {"Retry-After": "3"}, times=2))
    shop.apply(deployment("api"))
    shop.wait_status("log-shipper", current=2, seconds=60)
    first, second, third, *_ = [
        at for at, what in faults.asked if f"PATCH /apis/apps/v1{url}" in what
    ]
    assert second - first >= 3
    assert third - second >= 3
    assert behind.running()
