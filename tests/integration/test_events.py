"""Events: what happened, told once, to the owners of workloads and the authors of policies."""

import json
from pathlib import Path

import pytest

from lab import Lab
from tests.support.cluster import JSON, Namespace, cluster_policy, deployment, policy
from tests.support.processes import Controller
from tests.support.waiting import eventually, stays

MANY = 30
OPTED_OUT = {"annotations": {"sidecarpolicy.dev/inject": "false"}}


def told(shop: Namespace, kind: str) -> list[tuple[str, str, str, int]]:
    """(name, type, reason, count) of our Events about objects of a kind."""
    return sorted(
        (each["involvedObject"]["name"], each["type"], each["reason"], each["count"])
        for each in shop.all("events")
        if each["source"].get("component") == "sidecarpolicy-operator"
        and each["involvedObject"]["kind"] == kind
    )


def changed(reason: str) -> list[tuple[str, str, str, int]]:
    return [(f"web-{number:02}", "Normal", reason, 1) for number in range(MANY)]


def summed_up(*reasons: str) -> list[tuple[str, str, str, int]]:
    return [("log-shipper", "Normal", reason, MANY) for reason in sorted(reasons)]


def renamed(name: str) -> JSON:
    return {"spec": {"sidecars": [{"name": name, "image": "lab.local/busybox:1"}]}}


def test_a_rollout_is_told_to_each_owner_and_summed_up_for_the_author(
    shop: Namespace, capable: Lab, tmp_path: Path
) -> None:
    shop.apply(*(deployment(f"web-{number:02}") for number in range(MANY)))
    with Controller(capable, tmp_path / "controller.log") as controller:
        controller.start("--revert-max-concurrent", "100%")
        shop.apply(policy(rollout={"maxConcurrent": 7}))
        shop.wait_status("log-shipper", current=MANY, seconds=60)
        eventually(lambda: told(shop, "Deployment"), until=lambda e: e == changed("Injected"))
        eventually(lambda: told(shop, "SidecarPolicy"), until=lambda e: e == summed_up("Injected"))
        controller.kill()
        controller.start("--revert-max-concurrent", "100%")
        stays(lambda: (told(shop, "Deployment"), told(shop, "SidecarPolicy")), seconds=3)
        shop.patch("scpol", "log-shipper", renamed("courier"))
        both = summed_up("Injected", "Updated")
        eventually(lambda: told(shop, "SidecarPolicy"), until=lambda e: e == both, seconds=60)
        shop.kubectl("delete", "scpol", "log-shipper")
        everything = sorted(changed("Injected") + changed("Updated") + changed("Reverted"))
        eventually(lambda: told(shop, "Deployment"), until=lambda e: e == everything, seconds=90)
    described = shop.kubectl("describe", "deployment", "web-00")
    assert "SidecarPolicy" in described
    assert "had added was taken out" in described


@pytest.mark.usefixtures("controller")
def test_what_stands_in_the_way_is_told_to_the_workload_and_its_policy(shop: Namespace) -> None:
    clash = deployment("clash", pod={"initContainers": [{"name": "shipper", "image": "x"}]})
    shop.apply(clash, deployment("out", template=OPTED_OUT), policy())
    eventually(
        lambda: told(shop, "Deployment"),
        until=lambda found: (
            found == [("clash", "Warning", "Conflicted", 1), ("out", "Normal", "Skipped", 1)]
        ),
    )
    eventually(
        lambda: told(shop, "SidecarPolicy"),
        until=lambda found: (
            found
            == [
                ("log-shipper", "Normal", "Skipped", 1),
                ("log-shipper", "Warning", "Conflicted", 1),
            ]
        ),
    )


@pytest.mark.usefixtures("controller")
def test_a_rollout_that_stopped_is_told_where_it_failed_and_at_the_policy(shop: Namespace) -> None:
    shop.apply(deployment(replicas=1), deployment("zzz"))
    eventually(lambda: shop.get("deployment", "web")["status"].get("readyReplicas") == 1)
    greedy: JSON = {"name": "shipper", "image": "lab.local/busybox:1"}
    greedy["resources"] = {"requests": {"cpu": "9999"}}
    rollout = {"maxConcurrent": 1, "progressDeadlineSeconds": 4}
    shop.apply(policy(sidecars=[greedy], rollout=rollout))
    stopped = "Warning", "RolloutStopped", 1
    eventually(lambda: ("web", *stopped) in told(shop, "Deployment"))
    eventually(lambda: ("log-shipper", *stopped) in told(shop, "SidecarPolicy"))


@pytest.mark.usefixtures("controller")
def test_events_of_a_cluster_policy_are_in_the_namespace_default(shop: Namespace) -> None:
    name = f"of-{shop.name}"
    only = {"matchLabels": {"kubernetes.io/metadata.name": shop.name}}
    shop.apply(deployment())
    shop.lab.kubectl(
        "apply", "-f", "-", input=json.dumps(cluster_policy(name, namespaceSelector=only))
    )
    try:
        eventually(
            lambda: told(Namespace(shop.lab, "default"), "ClusterSidecarPolicy"),
            until=lambda found: (name, "Normal", "Injected", 1) in found,
        )
        described = shop.lab.kubectl("describe", "cscpol", name)
        assert f"was added to 1 workload: Deployment {shop.name}/web" in described
    finally:
        shop.lab.kubectl("delete", "cscpol", name)
