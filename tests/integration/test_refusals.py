"""Pods that cannot be created: told as long as their owner lacks them."""

from collections.abc import Callable

from tests.support.cluster import JSON, Namespace, deployment, policy, problems
from tests.support.processes import Controller
from tests.support.waiting import eventually

KEEPS_NODES_AWAY = {"nodeSelector": {"kubernetes.io/hostname": "nowhere"}}
"""The Pods only have to exist."""


def account(name: str) -> JSON:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}


def injected(shop: Namespace, *names: str) -> None:
    """Deployments without replicas, each with a sidecar and a ServiceAccount that is not there."""
    made = (
        deployment(each, pod={"serviceAccountName": each, **KEEPS_NODES_AWAY}) for each in names
    )
    shop.apply(policy(nodeRule="None"), *made)
    shop.wait_status("log-shipper", current=len(names))


def refused(shop: Namespace) -> Callable[[], list[str]]:
    """Which workloads get no Pods, by the status."""

    def named() -> list[str]:
        found = problems(shop.status("log-shipper"))
        return [each["name"] for each in found if each["reason"] == "PodNotCreated"]

    return named


def test_a_workload_whose_service_account_came_a_moment_later_is_in_no_trouble(
    shop: Namespace, controller: Controller
) -> None:
    assert controller.running()
    injected(shop, "late", "never")
    shop.kubectl("scale", "deployment/late", "deployment/never", "--replicas=1")
    eventually(lambda: shop.kubectl("get", "events", "--field-selector=reason=FailedCreate"))
    shop.apply(account("late"))
    eventually(refused(shop), until=lambda found: found == ["never"])
    told = {each["involvedObject"]["name"] for each in shop.all("events")
            if each["reason"] == "PodNotCreated"}  # fmt: skip
    assert told <= {"never"}
    shop.kubectl("scale", "deployment/never", "--replicas=0")
    eventually(refused(shop), until=lambda found: not found)
