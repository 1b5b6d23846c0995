"""Optimistic writes against somebody who changes the same object all the time."""

from typing import Any

import pytest

from sidecarpolicy.cluster.resources import DEPLOYMENTS, POLICIES
from tests.support.cluster import Namespace, deployment, policy, writes_in
from tests.support.rewriter import Writer
from tests.support.waiting import eventually

JSON = dict[str, Any]


def another_limit(turn: int) -> JSON:
    """Another generation, for which no Pod rolls."""
    return {"spec": {"revisionHistoryLimit": 2 + turn % 2}}


def another_note(turn: int) -> JSON:
    """Another resource version, and the same generation."""
    return {"metadata": {"annotations": {"turn": str(turn)}}}


def codes(shop: Namespace, resource: str) -> list[int]:
    """How our writes of a resource ended."""
    return [
        each["responseStatus"]["code"]
        for each in writes_in(shop)
        if each["objectRef"]["resource"] == resource
    ]


@pytest.mark.usefixtures("controller")
def test_a_deployment_that_changes_all_the_time_gets_its_sidecar_all_the_same(
    shop: Namespace,
) -> None:
    shop.apply(deployment("web"))
    path = DEPLOYMENTS.path(namespace=shop.name, name="web")
    with Writer(shop.lab, path, another_limit).at_work() as writer:
        eventually(lambda: writer.written > 20)
        shop.apply(policy())
        eventually(lambda: shop.sidecars("web"), seconds=60)
        so_far = writer.written
        eventually(lambda: writer.written > so_far + 20)
    print(writer.written, "writes of others; ours:", codes(shop, "deployments"))  # noqa: T201
    assert codes(shop, "deployments").count(200) == 1
    assert set(codes(shop, "deployments")) <= {200, 422}
    shop.wait_status("log-shipper", current=1)


@pytest.mark.usefixtures("controller")
def test_a_policy_that_changes_all_the_time_gets_its_status_all_the_same(shop: Namespace) -> None:
    shop.apply(policy(), deployment("web"))
    path = POLICIES.path(namespace=shop.name, name="log-shipper")
    with Writer(shop.lab, path, another_note).at_work() as writer:
        shop.wait_status("log-shipper", current=1, seconds=60)
        shop.apply(deployment("api"))
        shop.wait_status("log-shipper", current=2, seconds=60)
    print(writer.written, "writes of others; ours:", codes(shop, "sidecarpolicies"))  # noqa: T201
    assert set(codes(shop, "sidecarpolicies")) <= {200, 409}
