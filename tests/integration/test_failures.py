"""Rollouts that fail on a real control plane: who is blamed, what is taken back, what stays out.

The nodes here run any image, but no Pod that requests more than they have.
"""

import json
from typing import Any

import pytest

from tests.support.cluster import (
    Namespace,
    deployment,
    policy,
    problems,
    stateful_set,
    writes_in,
)
from tests.support.pods import running
from tests.support.processes import Controller, Webhook
from tests.support.waiting import eventually, stays

JSON = dict[str, Any]
HELD = "sidecarpolicy.dev/held"
QUICK = {"progressDeadlineSeconds": 4, "maxConcurrent": 1}
TARGETS = [{"kind": kind} for kind in ("Deployment", "StatefulSet", "DaemonSet")]


@pytest.fixture
def shop(space: Namespace) -> Namespace:
    """A namespace of the test's own; controller and webhook run."""
    return space


def shipper(cpu: str) -> JSON:
    requests = {"requests": {"cpu": cpu}}
    return {"name": "shipper", "image": "lab.local/busybox:1", "resources": requests}


def greedy(**rollout: Any) -> JSON:
    """A policy whose sidecar fits on no node."""
    return policy(sidecars=[shipper("9999")], targets=TARGETS, rollout={**QUICK, **rollout})


def mend(shop: Namespace) -> None:
    shop.patch("scpol", "log-shipper", {"spec": {"sidecars": [shipper("1m")]}})


def held(shop: Namespace, kind: str, name: str) -> list[JSON]:
    annotations = shop.get(kind, name)["metadata"].get("annotations", {})
    found: list[JSON] = json.loads(annotations.get(HELD, "[]"))
    return found


def settled(shop: Namespace, *kinds: str) -> None:
    def rest() -> bool:
        statuses = [each["status"] for kind in kinds for each in shop.all(kind)]
        wanted = [each["spec"].get("replicas") for kind in kinds for each in shop.all(kind)]
        return [each.get("readyReplicas") for each in statuses] == wanted

    eventually(rest)


def generations(shop: Namespace) -> dict[str, int]:
    return {e["metadata"]["name"]: e["metadata"]["generation"] for e in shop.all("deployment")}


def test_a_failed_rollout_is_taken_back_and_kept_out_until_the_policy_is_mended(
    shop: Namespace, processes: tuple[Controller, Webhook]
) -> None:
    controller, _ = processes
    names = [f"web-{number}" for number in range(4)]
    shop.apply(*(deployment(name, replicas=1) for name in names))
    settled(shop, "deployment")
    before = {name: shop.pods_template(name) for name in names}
    shop.apply(greedy())
    eventually(lambda: held(shop, "deployment", "web-0"))
    controller.kill()
    assert shop.pods_template("web-0") == before["web-0"]
    controller.start("--log-format", "json")
    status = shop.wait_status("log-shipper", failed=1, pending=3)
    (failed,) = (each for each in problems(status) if each["reason"] == "RolloutFailed")
    assert failed["name"] == "web-0"
    assert "0 available" in failed["message"] or "1 available" in failed["message"]
    assert {e["reason"] for e in problems(status)} == {"RolloutFailed", "RolloutStopped"}
    stays(lambda: generations(shop), seconds=5)
    assert generations(shop) == {"web-0": 3, "web-1": 1, "web-2": 1, "web-3": 1}

    shop.kubectl("set", "image", "deployment/web-0", "web=lab.local/busybox:2")
    stays(lambda: shop.sidecars("web-0"), seconds=2)
    assert shop.sidecars("web-0") == []

    mend(shop)
    shop.wait_status("log-shipper", current=4, seconds=60)
    assert held(shop, "deployment", "web-0") == []
    assert shop.sidecars("web-0") == ["shipper"]


def test_with_pause_a_failed_rollout_is_left_as_it_is_and_the_others_untouched(
    shop: Namespace,
) -> None:
    shop.apply(*(deployment(f"web-{number}", replicas=1) for number in range(3)))
    settled(shop, "deployment")
    shop.apply(greedy(onFailure="Pause"))
    status = shop.wait_status("log-shipper", failed=1, pending=2)
    assert "onFailure: Pause" in problems(status)[0]["message"]
    stays(lambda: generations(shop), seconds=3)
    assert generations(shop) == {"web-0": 2, "web-1": 1, "web-2": 1}
    assert shop.sidecars("web-0") == ["shipper"]
    mend(shop)
    shop.wait_status("log-shipper", current=3, seconds=60)
    assert generations(shop) == {"web-0": 3, "web-1": 2, "web-2": 2}


def test_a_new_revision_takes_the_place_of_one_that_rolls_and_nothing_rolls_twice(
    shop: Namespace,
) -> None:
    shop.apply(*(deployment(f"web-{number}", replicas=1) for number in range(2)))
    settled(shop, "deployment")
    shop.apply(greedy(progressDeadlineSeconds=600))
    shop.wait_status("log-shipper", updating=1, pending=1)
    mend(shop)
    shop.wait_status("log-shipper", current=2, seconds=60)
    assert generations(shop) == {"web-0": 3, "web-1": 2}


def test_what_fails_because_of_its_owner_is_neither_counted_nor_taken_back(
    shop: Namespace,
) -> None:
    shop.apply(deployment("web", replicas=1))
    settled(shop, "deployment")
    fine = policy(sidecars=[shipper("1m")], rollout={**QUICK})
    shop.apply(fine)
    shop.wait_status("log-shipper", current=1)
    requests = {"requests": {"cpu": "9999"}}
    shop.patch(
        "deployment",
        "web",
        [{"op": "add", "path": "/spec/template/spec/containers/0/resources", "value": requests}],
    )
    status = shop.wait_status("log-shipper", failed=0, pending=1)
    assert problems(status)[0]["reason"] == "ProgressDeadlineExceeded"
    assert "not because of this policy" in problems(status)[0]["message"]
    assert shop.sidecars("web") == ["shipper"]
    shop.apply(deployment("api", replicas=1))
    shop.wait_status("log-shipper", current=1, pending=1)


def pods_by_name(shop: Namespace) -> dict[str, str]:
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in running(shop)}


def deleted_by_us(shop: Namespace) -> list[str]:
    events = [each for each in writes_in(shop) if each["verb"] == "delete"]
    return [each["objectRef"]["name"] for each in events]


def test_a_stateful_set_that_waits_for_its_failed_pod_is_rescued(shop: Namespace) -> None:
    shop.apply(stateful_set(replicas=3))
    settled(shop, "statefulset")
    before = pods_by_name(shop)
    shop.apply(greedy())
    eventually(lambda: held(shop, "statefulset", "db"), seconds=60)
    settled(shop, "statefulset")
    assert deleted_by_us(shop) == ["db-2"]
    after = pods_by_name(shop)
    assert {name for name in before if before[name] != after[name]} == {"db-2"}
    shop.wait_status("log-shipper", failed=1)
    mend(shop)
    shop.wait_status("log-shipper", current=1, seconds=60)


def test_without_the_right_to_delete_it_the_status_has_the_command(shop: Namespace) -> None:
    shop.apply(stateful_set(replicas=2))
    settled(shop, "statefulset")
    role = json.loads(shop.kubectl("get", "clusterrole", "sidecarpolicy-controller", "-o", "json"))
    index = next(at for at, rule in enumerate(role["rules"]) if "delete" in rule["verbs"])
    path, verbs = f"/rules/{index}/verbs", role["rules"][index]["verbs"]
    fewer = [each for each in verbs if each != "delete"]
    change = [{"op": "replace", "path": path, "value": fewer}]
    shop.patch("clusterrole", "sidecarpolicy-controller", change)
    try:
        shop.apply(greedy())
        command = f"kubectl -n {shop.name} delete pod db-1"
        said = eventually(
            lambda: problems(shop.status("log-shipper")),
            until=lambda found: bool(found) and command in found[0]["message"],
            seconds=60,
        )
        assert said[0]["reason"] == "RolloutFailed"
        shop.kubectl("delete", "pod", "db-1")
        settled(shop, "statefulset")
        eventually(
            lambda: problems(shop.status("log-shipper")),
            until=lambda found: command not in found[0]["message"],
        )
    finally:
        shop.patch(
            "clusterrole",
            "sidecarpolicy-controller",
            [{"op": "replace", "path": path, "value": verbs}],
        )


def daemon_set() -> JSON:
    made = deployment("logs")
    del made["spec"]["replicas"]
    return {**made, "kind": "DaemonSet"}


def daemons(shop: Namespace) -> dict[str, int]:
    status: JSON = shop.get("daemonset", "logs")["status"]
    keys = ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
    return {key: status.get(key, 0) for key in keys}


def rests(found: dict[str, int]) -> bool:
    return 0 < min(found.values()) == max(found.values())


def test_pods_of_a_daemon_set_run_without_what_failed(shop: Namespace) -> None:
    shop.apply(daemon_set())
    eventually(
        lambda: daemons(shop), until=lambda found: 0 < min(found.values()) == max(found.values())
    )
    shop.apply(greedy())
    eventually(lambda: held(shop, "daemonset", "logs"), seconds=60)

    def rest(found: dict[str, int]) -> bool:
        return min(found.values()) == max(found.values())

    eventually(lambda: daemons(shop), until=rest, seconds=60)
    assert not [pod for pod in running(shop) if "initContainers" in pod["spec"]]
    shop.wait_status("log-shipper", failed=1)
    mend(shop)
    shop.wait_status("log-shipper", current=1, seconds=60)
    assert [pod for pod in running(shop) if "initContainers" in pod["spec"]]
