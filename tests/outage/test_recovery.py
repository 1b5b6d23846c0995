"""The controller, in the middle of its work, when the control plane fails."""

import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tests.support import etcd
from tests.support.cluster import Namespace, deployment, policy, writes_in
from tests.support.processes import Controller
from tests.support.replicas import led_by, replicas
from tests.support.waiting import eventually

JSON = dict[str, Any]
NAMES = tuple(f"web-{number}" for number in range(6))


def quiet(shop: Namespace) -> None:
    """Soon nothing is written any more."""
    eventually(lambda: seconds_since_a_write(shop) > 5, seconds=60)


def seconds_since_a_write(shop: Namespace) -> float:
    taken = (each for each in writes_in(shop) if each["responseStatus"]["code"] < 300)
    last = max(each["requestReceivedTimestamp"] for each in taken)
    return (datetime.now(UTC) - datetime.fromisoformat(last)).total_seconds()


def current(shop: Namespace) -> int:
    """How many workloads are current; 0 while nobody answers."""
    counted = shop.status("log-shipper").get("workloads", {})
    return int(counted.get("current", 0))


def unhurried(name: str) -> JSON:
    """A Deployment whose Pods count after three seconds, so that a rollout takes as long."""
    made = deployment(name, replicas=1)
    return {**made, "spec": {**made["spec"], "minReadySeconds": 3}}


def available(shop: Namespace) -> int:
    return sum(each["status"].get("availableReplicas", 0) for each in shop.all("deployment"))


def test_an_api_server_that_fails_twice_during_a_rollout_changes_nothing_of_its_end(
    shop: Namespace, tmp_path: Path
) -> None:
    shop.apply(*map(unhurried, NAMES))
    # Kubernetes' own controllers, and kubelets, may still be recovering from the test before.
    eventually(lambda: available(shop), until=lambda number: number == len(NAMES), seconds=240)
    with Controller(shop.lab, tmp_path / "controller.log") as controller:
        controller.start("--log-format", "json")
        shop.apply(policy(rollout={"maxConcurrent": 1}))
        for before in (1, 3):
            done = eventually(partial(current, shop), until=before.__le__, seconds=60)
            assert done < len(NAMES)
            shop.lab.restart_api_server()
        shop.wait_status("log-shipper", current=len(NAMES), seconds=90)
        quiet(shop)
        assert controller.running()
    for name in NAMES:
        assert shop.get("deployment", name)["metadata"]["generation"] == 2
        assert shop.revisions(name) == 2


def test_a_compaction_of_etcd_under_the_watches_leaves_no_phantoms(
    shop: Namespace, tmp_path: Path
) -> None:
    """After it, no watch can go on from where it was: all get 410 and list again."""
    lab = shop.lab
    lab.add_fake_nodes(1, kubelet="1.36.3", prefix="passing")
    with Controller(lab, tmp_path / "controller.log") as controller:
        controller.start("--log-format", "json")
        shop.apply(policy(), deployment("web"), deployment("gone"))
        shop.wait_status("log-shipper", current=2)
        assert shop.status("log-shipper")["nodes"]["total"] == 2
        with controller.stopped():
            lab.stop_api_server()
            lab.start_api_server()
            lab.kubectl("delete", "node", "passing-0", "--wait=false")
            shop.delete("deployment", "gone")
            etcd.compact(lab)
            lab.stop_api_server()
            lab.start_api_server()
            shop.apply(deployment("api"))
        seen = time.monotonic()
        shop.wait_status("log-shipper", matched=2, current=2, seconds=30)
        eventually(lambda: shop.status("log-shipper")["nodes"]["total"], until=lambda n: n == 1)
        print(f"recovered after {time.monotonic() - seen:.1f} s")  # noqa: T201
        assert "listing again" in controller.log()
        quiet(shop)
        assert controller.running()
    assert shop.get("deployment", "web")["metadata"]["generation"] == 2


def test_etcd_killed_during_a_rollout_changes_nothing_of_its_end(
    shop: Namespace, tmp_path: Path
) -> None:
    shop.apply(*(deployment(name) for name in NAMES))
    with Controller(shop.lab, tmp_path / "controller.log") as controller:
        controller.start("--log-format", "json")
        shop.apply(policy(rollout={"maxConcurrent": 1}))
        eventually(lambda: current(shop) >= 1, seconds=60)
        shop.lab.restart_etcd()
        shop.wait_status("log-shipper", current=len(NAMES), seconds=90)
        quiet(shop)
        assert controller.running()
    generations = {each["metadata"]["generation"] for each in shop.all("deployment")}
    assert generations == {2}


def test_a_leader_without_an_api_server_ends_and_a_standby_is_there_when_it_is_back(
    shop: Namespace, tmp_path: Path
) -> None:
    with replicas(shop.lab, tmp_path, "first", "second") as (first, second):
        first.start()
        led_by(shop.lab, "first")
        second.start()
        shop.apply(policy(), deployment("web"))
        shop.wait_status("log-shipper", current=1)
        shop.lab.stop_api_server()
        away = time.monotonic()
        eventually(lambda: not first.process.running(), seconds=20)
        assert time.monotonic() - away < 15  # before another could lead
        assert second.process.running()
        shop.lab.start_api_server()
        back = time.monotonic()
        led_by(shop.lab, "second")
        print(f"leads {time.monotonic() - back:.1f} s after the API server is back")  # noqa: T201
        shop.apply(deployment("api"))
        eventually(lambda: shop.sidecars("api"))
        # Kubernetes' own controllers need a minute to get going again.
        shop.wait_status("log-shipper", current=2, seconds=90)
        assert first.process.stop() == 1
        assert "the Lease is lost" in first.process.log()
