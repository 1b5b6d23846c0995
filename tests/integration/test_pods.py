"""Pods in the status of their policies: counted, named once, and reported without haste.

Their nodes are objects without kubelets, so the tests write their statuses, as kubelets would;
real ones are in tests/e2e/test_diagnosis.py.
"""

import json
import time
from collections.abc import Callable, Iterator
from urllib.request import urlopen

import pytest
import yaml

from lab import Lab
from tests.support.audit import writes
from tests.support.cluster import JSON, Namespace, persisted, policy
from tests.support.patients import recorded
from tests.support.processes import CONTROLLER_HEALTH, Controller
from tests.support.waiting import eventually, stays

RUNNING = {"state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}, "started": True}
NODE = "kept"
"""A node that nobody plays a kubelet for."""

CRASHES = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 3}


@pytest.fixture(autouse=True)
def kept(installed: Lab) -> Iterator[None]:
    """The node."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
    installed.kubectl("apply", "-f", "-", input=json.dumps(node))
    yield
    installed.kubectl("delete", "node", NODE)


def pod(name: str) -> JSON:
    """A Pod as the webhook leaves it, bound to a node."""
    sidecar = {"name": "shipper", "image": "shipper:1", "restartPolicy": "Always"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"sidecarpolicy.dev/injected": "true"}} | recorded(),
        "spec": {
            "nodeName": NODE,
            "initContainers": [sidecar],
            "containers": [{"name": "web", "image": "web:1"}],
            "terminationGracePeriodSeconds": 0,
        },
    }


def report(shop: Namespace, name: str, phase: str, shipper: JSON) -> None:
    """Writes a Pod's status."""
    common = {"ready": True, "restartCount": 0, "image": "x", "imageID": ""}
    status = {"phase": phase, "initContainerStatuses": [{"name": "shipper", **common, **shipper}]}
    patch = json.dumps({"status": status})
    shop.kubectl("patch", "pod", name, "--subresource=status", "--type=merge", "-p", patch)


def pods_of(shop: Namespace) -> Callable[[], JSON]:
    return lambda: shop.status("log-shipper").get("pods", {})


def status_writes(shop: Namespace) -> int:
    wanted = "sidecarpolicies/log-shipper/status"
    mine = (e for e in writes(shop.lab) if e["objectRef"].get("namespace") == shop.name)
    return sum(what == wanted for _, what in persisted(mine))


def told(shop: Namespace) -> list[tuple[str, str]]:
    return [
        (each["involvedObject"]["name"], each["reason"])
        for each in shop.all("events")
        if each["source"].get("component") == "sidecarpolicy-operator"
    ]


def metric(shop: Namespace, reason: str) -> float:
    with (
        shop.lab.entered(),
        urlopen(f"http://127.0.0.1:{CONTROLLER_HEALTH}/metrics", timeout=5) as answer,
    ):
        lines = answer.read().decode().splitlines()
    (line,) = (each for each in lines if f'reason="{reason}"' in each)
    return float(line.rpartition(" ")[2])


def test_pods_are_counted_as_they_come_recover_and_go(
    shop: Namespace, controller: Controller
) -> None:
    assert controller.running()
    shop.apply(policy(), pod("a"), pod("b"))
    eventually(
        pods_of(shop), until=lambda p: p == {"total": 2, "running": 0, "stuck": 0, "missed": 0}
    )
    report(shop, "a", "Running", RUNNING)
    report(shop, "b", "Pending", CRASHES)
    eventually(pods_of(shop), until=lambda p: (p["running"], p["stuck"]) == (1, 1))
    (first, *_) = shop.status("log-shipper")["problems"]
    assert (first["kind"], first["name"], first["reason"]) == ("Pod", "b", "CrashLooping")
    eventually(lambda: told(shop), until=lambda found: found == [("b", "CrashLooping")])
    assert metric(shop, "CrashLooping") == 1
    report(shop, "b", "Running", RUNNING)
    eventually(pods_of(shop), until=lambda p: (p["running"], p["stuck"]) == (2, 0))
    shop.kubectl("delete", "pod", "a", "--grace-period=0", "--force")
    eventually(pods_of(shop), until=lambda p: p["total"] == 1)
    assert metric(shop, "CrashLooping") == 0


def becomes(lab: Lab, kubelet: str) -> None:
    """Another kubelet reports for the node."""
    patch = json.dumps({"status": {"nodeInfo": {"kubeletVersion": kubelet}}})
    lab.kubectl("patch", "node", NODE, "--subresource=status", "--type=merge", "-p", patch)


def test_pods_that_run_on_a_node_that_loses_the_capability_are_told_of_until_it_has_it_again(
    shop: Namespace, controller: Controller
) -> None:
    def reasons() -> list[tuple[str, str]]:
        found = shop.status("log-shipper").get("problems", [])
        return [(each["name"], each["reason"]) for each in found if each["kind"] == "Pod"]

    assert controller.running()
    becomes(shop.lab, "v1.36.3")
    shop.apply(policy(), pod("a"))
    report(shop, "a", "Running", RUNNING)
    eventually(pods_of(shop), until=lambda p: p.get("running") == 1)
    becomes(shop.lab, "v1.26.15")
    eventually(reasons, until=lambda found: found == [("a", "NodeIgnoresSidecars")], seconds=10)
    assert pods_of(shop)() == {"total": 1, "running": 1, "stuck": 0, "missed": 0}
    becomes(shop.lab, "v1.36.3")
    eventually(reasons, until=lambda found: not found, seconds=20)


def test_a_restarted_controller_finds_the_same_and_writes_nothing(
    shop: Namespace, controller: Controller
) -> None:
    shop.apply(policy(), pod("a"), pod("b"))
    report(shop, "a", "Running", RUNNING)
    report(shop, "b", "Pending", CRASHES)
    eventually(pods_of(shop), until=lambda p: p.get("stuck") == 1 and p["running"] == 1)
    eventually(lambda: told(shop))
    controller.stop()
    before = status_writes(shop)
    controller.start("--log-format", "json")
    stays(lambda: (status_writes(shop), told(shop)), seconds=8)
    assert status_writes(shop) == before


def test_many_pods_are_reported_once_a_second_at_most(
    shop: Namespace, controller: Controller
) -> None:
    assert controller.running()
    shop.apply(policy())
    shop.wait_status("log-shipper", matched=0)
    before, start = status_writes(shop), time.monotonic()
    pods = yaml.safe_dump_all(pod(f"p{number}") for number in range(60))
    shop.lab.kubectl("-n", shop.name, "create", "-f", "-", input=pods)
    eventually(pods_of(shop), until=lambda p: p["total"] == 60)
    took = time.monotonic() - start
    assert status_writes(shop) - before <= took + 1
