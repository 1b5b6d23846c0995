"""Rollouts on real kubelets: waves, a pause, a newer revision, and whose turn it is."""

from collections import defaultdict

import pytest

from tests.e2e.test_main_job import container, sidecar
from tests.support.cluster import JSON, Namespace, deployment, policy, stateful_set
from tests.support.waiting import eventually, stays

QUICK: JSON = {"containers": [container("web")], "terminationGracePeriodSeconds": 1}
PLAIN: tuple[str, ...] = ()
WAITS = "WaitingForOwner"


def app(name: str = "web") -> JSON:
    return deployment(name, replicas=1, pod=QUICK)


def rolled_out(shop: Namespace, *names: str) -> None:
    for name in names:
        shop.kubectl("rollout", "status", f"deployment/{name}", "--timeout=90s")


def workloads(shop: Namespace) -> dict[str, int]:
    """Numbers by state, as the policy's status has them."""
    found: dict[str, int] = shop.status("log-shipper").get("workloads", {})
    return found


def sidecars_of_revisions(shop: Namespace) -> dict[str, list[tuple[str, ...]]]:
    """By Deployment, the sidecars of each ReplicaSet that it has had, in their order."""
    found: defaultdict[str, list[tuple[int, tuple[str, ...]]]] = defaultdict(list)
    for each in shop.all("replicaset"):
        number = int(each["metadata"]["annotations"]["deployment.kubernetes.io/revision"])
        added = each["spec"]["template"]["spec"].get("initContainers", [])
        names = tuple(container["name"] for container in added)
        found[each["metadata"]["ownerReferences"][0]["name"]].append((number, names))
    return {name: [names for _, names in sorted(sets)] for name, sets in found.items()}


@pytest.mark.usefixtures("labelled")
def test_a_rollout_in_waves_is_paused_resumed_and_superseded_and_nothing_rolls_for_nothing(
    shop: Namespace,
) -> None:
    names = [f"web-{number}" for number in range(6)]
    shop.apply(*(app(name) for name in names))
    rolled_out(shop, *names)
    shop.apply(policy(sidecars=[sidecar()], rollout={"maxConcurrent": 2}))
    eventually(lambda: workloads(shop), until=lambda n: n.get("current", 0) >= 1, seconds=60)
    shop.patch("scpol", "log-shipper", {"spec": {"paused": True}})
    halfway = shop.wait_status("log-shipper", updating=0, seconds=60)["workloads"]
    assert 1 <= halfway["current"] <= 4
    stays(lambda: workloads(shop), seconds=3)
    shop.apply(app("late"))
    assert shop.sidecars("late") == ["shipper"]
    shop.wait_status("log-shipper", current=halfway["current"] + 1, seconds=60)

    newer = {"spec": {"paused": False, "sidecars": [sidecar("courier")]}}
    shop.patch("scpol", "log-shipper", newer)
    most = 0

    def watched() -> int:
        nonlocal most
        numbers = workloads(shop)
        most = max(most, numbers.get("updating", 0))
        return numbers.get("current", 0)

    eventually(watched, until=lambda current: current == 7, seconds=120)
    assert 1 <= most <= 2
    seen = sidecars_of_revisions(shop)
    assert seen.pop("late") == [("shipper",), ("courier",)]
    passed = [PLAIN, ("courier",)], [PLAIN, ("shipper",), ("courier",)]
    assert [each for each in seen.values() if each not in passed] == []
    assert sum(each == passed[1] for each in seen.values()) == halfway["current"]


@pytest.mark.usefixtures("labelled")
def test_an_owners_update_brings_the_sidecar_in_by_one_rollout(shop: Namespace) -> None:
    shop.apply(app())
    rolled_out(shop, "web")
    shop.apply(policy(sidecars=[sidecar()], rollout={"existing": "OnNextUpdate"}))
    status = shop.wait_status("log-shipper", pending=1)
    (problem, *_) = status["problems"]
    assert (problem["name"], problem["reason"]) == ("web", "OnNextUpdate")
    stays(lambda: shop.revisions("web"), seconds=3)
    shop.kubectl("set", "env", "deployment/web", "STAGE=test")
    shop.wait_status("log-shipper", current=1, seconds=60)
    assert sidecars_of_revisions(shop) == {"web": [PLAIN, ("shipper",)]}
    (pod,) = eventually(lambda: shop.all("pod"), until=lambda pods: len(pods) == 1)
    assert pod["spec"]["containers"][0]["env"] == [{"name": "STAGE", "value": "test"}]


@pytest.mark.usefixtures("labelled")
def test_what_only_owners_can_let_roll_keeps_no_other_workload_waiting(shop: Namespace) -> None:
    paused, by_hand = app("paused"), stateful_set("by-hand", replicas=1, pod=QUICK)
    split = stateful_set("split", replicas=2, pod=QUICK)
    by_hand["spec"]["updateStrategy"] = {"type": "OnDelete"}
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    split["spec"]["updateStrategy"] = strategy
    shop.apply(paused, by_hand, split, app("web"), app("zero"))
    rolled_out(shop, "paused", "web")
    eventually(
        lambda: {
            each["metadata"]["name"]: each["status"].get("readyReplicas", 0)
            for each in shop.all("statefulset")
        },
        until=lambda ready: ready == {"by-hand": 1, "split": 2},
        seconds=60,
    )
    shop.kubectl("rollout", "pause", "deployment/paused")
    shop.kubectl("scale", "deployment/zero", "--replicas=0")
    shop.apply(policy(sidecars=[sidecar()], rollout={"maxConcurrent": 1}))
    status = shop.wait_status("log-shipper", current=2, updating=3, pending=0, seconds=90)
    eventually(
        lambda: {e["name"] for e in shop.status("log-shipper")["problems"] if e["reason"] == WAITS},
        until=lambda found: found == {"paused", "by-hand", "split"},
        seconds=60,
    )
    assert status["workloads"]["failed"] == 0

    shop.kubectl("rollout", "resume", "deployment/paused")
    shop.kubectl("delete", "pod", "by-hand-0")
    shop.patch(
        "statefulset", "split", {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}
    )
    shop.wait_status("log-shipper", current=5, seconds=90)
