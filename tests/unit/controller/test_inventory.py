"""The inventory: facts move forward only, and only news makes work."""

import asyncio
from typing import Any

from sidecarpolicy.api.names import ROLLOUT_ANNOTATION
from sidecarpolicy.cluster.resources import DEPLOYMENTS
from sidecarpolicy.controller.inventory import Inventory, WorkloadMirror
from sidecarpolicy.core.selection import Exclusions
from tests.support.builders import deployment, policy_object


def inventory() -> Inventory:
    return Inventory(Exclusions("sidecarpolicy-system"))


def at(version: int, obj: dict[str, Any], **meta: Any) -> dict[str, Any]:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version), **meta}}


def generations(held: Inventory) -> list[int]:
    return [each.generation for each in held.snapshot("shop", gone=frozenset()).workloads]


def marks(held: Inventory) -> set[str]:
    async def taken() -> set[str]:
        try:
            return await asyncio.wait_for(held.dirty_scopes.take(), 0.5)
        except TimeoutError:
            return set()

    return asyncio.run(taken())


def test_an_event_older_than_our_own_write_is_ignored() -> None:
    held = inventory()
    mirror = WorkloadMirror(held, DEPLOYMENTS)
    mirror.store(mirror.facts(at(5, deployment())))
    held.refresh_workload(at(9, deployment(), generation=2), kind="Deployment")
    mirror.store(mirror.facts(at(7, deployment())))
    assert generations(held) == [2]


def test_a_recreated_object_replaces_the_old_one_whatever_its_version() -> None:
    held = inventory()
    mirror = WorkloadMirror(held, DEPLOYMENTS)
    mirror.store(mirror.facts(at(9, deployment(), generation=4)))
    mirror.store(mirror.facts(at(8, deployment(), uid="another")))
    assert generations(held) == [1]


def test_the_answer_to_a_write_does_not_bring_back_what_was_deleted_meanwhile() -> None:
    held = inventory()
    mirror = WorkloadMirror(held, DEPLOYMENTS)
    mirror.store(mirror.facts(deployment()))
    mirror.forget(mirror.facts(deployment()))
    held.refresh_workload(at(9, deployment()), kind="Deployment")
    assert generations(held) == []


def test_what_a_new_list_lacks_is_forgotten() -> None:
    held = inventory()
    mirror = WorkloadMirror(held, DEPLOYMENTS)
    mirror.replace([mirror.facts(deployment("web")), mirror.facts(deployment("api"))])
    mirror.replace([mirror.facts(deployment("api"))])
    assert [each.ref.name for each in held.snapshot("shop", gone=frozenset()).workloads] == ["api"]


def test_only_news_asks_for_work() -> None:
    held = inventory()
    held.see_policy(policy_object())
    assert marks(held) == {"shop"}
    held.see_policy(at(2, policy_object()))
    assert marks(held) == set()
    held.see_policy(at(3, policy_object(generation=2)))
    assert marks(held) == {"shop"}


def test_a_change_of_the_tally_asks_every_policy_to_look_again() -> None:
    held = inventory()
    held.see_policy(policy_object())
    assert marks(held) == {"shop"}
    node = {
        "metadata": {"name": "n1", "uid": "u", "resourceVersion": "1"},
        "status": {"nodeInfo": {"kubeletVersion": "v1.36.3"}},
    }
    held.see_node(node)
    assert marks(held) == {"shop"}
    held.see_node(at(2, node, labels={"disk": "ssd"}))
    assert marks(held) == set()
    held.forget_node("n1")
    assert marks(held) == {"shop"}


def test_the_answer_to_a_label_counts_if_the_kubelet_was_upgraded_meanwhile() -> None:
    held = inventory()
    node = {
        "metadata": {"name": "n1", "uid": "u", "resourceVersion": "1"},
        "status": {"nodeInfo": {"kubeletVersion": "v1.28.15"}},
    }
    held.see_node(node)
    held.refresh_node(at(2, {**node, "status": {"nodeInfo": {"kubeletVersion": "v1.36.3"}}}))
    assert held.snapshot("shop", gone=frozenset()).nodes.capable == 1
    assert asyncio.run(held.dirty_nodes.take()) == {"n1"}


def namespace(name: str, **labels: str) -> dict[str, Any]:
    meta = {"name": name, "uid": name, "resourceVersion": "1", "labels": labels}
    return {"metadata": meta}


def cluster_policy(**fields: Any) -> dict[str, Any]:
    made = policy_object("mesh", namespaceSelector={"matchLabels": {"mesh": "on"}}, **fields)
    del made["metadata"]["namespace"]
    return made


def test_a_cluster_policy_concerns_every_namespace() -> None:
    held = inventory()
    held.see_namespace(namespace("shop"))
    held.see_namespace(namespace("bank"))
    assert marks(held) == {"shop", "bank"}
    held.see_policy(cluster_policy())
    assert marks(held) == {"", "shop", "bank"}
    held.see_policy(policy_object())
    keys = [each.key for each in held.snapshot("shop", gone=frozenset()).policies]
    assert keys == ["ClusterSidecarPolicy/mesh", "SidecarPolicy/log-shipper"]


def test_one_capable_node_more_makes_no_namespace_be_planned_for_a_cluster_policy() -> None:
    held = inventory()
    for name in ("n1", "n2"):
        held.see_namespace(namespace("shop"))
        held.see_policy(cluster_policy())
        marks(held)
        node = {
            "metadata": {"name": name, "uid": name, "resourceVersion": "1"},
            "status": {"nodeInfo": {"kubeletVersion": "v1.36.3"}},
        }
        held.see_node(node)
        assert marks(held) == ({"", "shop"} if name == "n1" else {""})


def test_a_namespace_that_goes_takes_nothing_with_it_that_may_be_of_its_successor() -> None:
    held = inventory()
    mirror = WorkloadMirror(held, DEPLOYMENTS)
    mirror.store(mirror.facts(deployment()))
    held.forget_namespace("shop")
    assert generations(held) == [1]
    assert not held.knows("shop")


def test_news_of_the_webhook_concern_all_that_a_policy_may_select() -> None:
    held = inventory()
    held.see_policy(policy_object())
    marks(held)
    assert not held.snapshot("shop").webhook
    held.see_webhook(registered=True)
    assert marks(held) == {"shop"}
    assert held.snapshot("shop").webhook
    held.see_webhook(registered=True)
    assert marks(held) == set()


def test_namespaces_with_promises_are_known_as_long_as_there_are_any() -> None:
    held = inventory()
    mirror = WorkloadMirror(held, DEPLOYMENTS)
    mirror.store(mirror.facts(at(1, deployment("plain"))))
    assert held.promising() == frozenset()
    marked = deployment()
    marked["spec"]["template"]["metadata"]["annotations"] = {ROLLOUT_ANNOTATION: "{}"}
    mirror.store(mirror.facts(at(2, marked)))
    assert held.promising() == {"shop"}
    mirror.store(mirror.facts(at(3, deployment())))
    assert held.promising() == frozenset()
