"""Fights with writers that take out what we put in: who gives in, what stays, and how it ends."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from lab import Lab
from sidecarpolicy.api.names import CAPABILITY_LABEL
from tests.support import admission
from tests.support.admission import EVERY_KIND, created, known, names
from tests.support.cluster import (
    Namespace,
    conditions,
    deployment,
    persisted,
    policy,
    problems,
    writes_in,
)
from tests.support.processes import Controller
from tests.support.waiting import eventually, stays

JSON = dict[str, Any]
HELD = "sidecarpolicy.dev/held"
NEWER = [{"name": "agent", "image": "lab.local/busybox:1"}]


def strip(space: Namespace, manager: str) -> None:
    """Writes the Deployment as Git has it, and nothing else of it."""
    whole = {**deployment(), "metadata": {"name": "web", "namespace": space.name}}
    replace = ["kubectl", "replace", f"--field-manager={manager}", "-f", "-"]
    # It meets a conflict now and then, as other controllers write as well.
    eventually(lambda: space.lab.run(replace, input=json.dumps(whole), check=False).returncode == 0)


def fight(space: Namespace, manager: str) -> None:
    """Takes the sidecars out as often as they come in, until they stay out."""
    space.lab.kubectl(
        *("-n", space.name, "create", f"--field-manager={manager}", "-f", "-"),
        input=json.dumps(deployment()),
    )
    space.apply(policy())
    for _ in range(3):
        eventually(lambda: space.sidecars("web") == ["shipper"])
        strip(space, manager)
    space.wait_status("log-shipper", matched=1, conflicted=1)


def held(space: Namespace) -> list[JSON]:
    annotations = space.get("deployment", "web")["metadata"].get("annotations", {})
    found: list[JSON] = json.loads(annotations.get(HELD, "[]"))
    return found


def ours(space: Namespace) -> int:
    """How often we wrote the Deployment."""
    return persisted(writes_in(space)).count(("patch", "deployments/web"))


@pytest.mark.parametrize(
    ("manager", "remedy"),
    [("argocd-controller", "ignoreDifferences"), ("kubectl-replace", "kubectl apply")],
)
def test_who_takes_our_parts_out_three_times_has_won_and_is_named(
    shop: Namespace, controller: Controller, manager: str, remedy: str
) -> None:
    fight(shop, manager)
    status = shop.status("log-shipper")
    assert conditions(status)["RolloutComplete"] == ("False", "WorkloadsConflicted")
    (problem,) = problems(status)
    assert (problem["reason"], problem["name"]) == ("Fight", "web")
    assert f"({manager} wrote its Pod template last)" in problem["message"]
    assert remedy in problem["message"]
    (entry,) = held(shop)
    assert (entry["reason"], entry["manager"]) == ("Fight", manager)
    assert entry["revision"] == status["revision"]
    stays(lambda: ours(shop), seconds=3)
    assert ours(shop) == 3 + 1  # the sidecars, and that they stay out
    assert shop.revisions("web") == 2


def test_the_loser_of_a_fight_stays_out_after_a_restart_and_while_the_winner_goes_on(
    shop: Namespace, controller: Controller
) -> None:
    fight(shop, "deployer")
    controller.stop()
    controller.start("--log-format", "json")
    shop.wait_status("log-shipper", conflicted=1)
    shop.kubectl("set", "image", "deployment/web", "web=lab.local/busybox:2")
    stays(lambda: shop.sidecars("web"), seconds=3)
    assert shop.sidecars("web") == []
    assert held(shop)


def test_a_hold_that_the_winner_drops_with_the_rest_is_written_again_without_a_rollout(
    shop: Namespace, controller: Controller
) -> None:
    fight(shop, "deployer")
    before = shop.pods_template("web")
    strip(shop, "deployer")
    eventually(lambda: held(shop))
    assert shop.pods_template("web") == before
    assert ours(shop) == 3 + 2


def test_a_new_revision_ends_the_truce(shop: Namespace, controller: Controller) -> None:
    fight(shop, "deployer")
    shop.patch("scpol", "log-shipper", {"spec": {"sidecars": NEWER}})
    shop.wait_status("log-shipper", current=1)
    assert shop.sidecars("web") == ["agent"]
    assert held(shop) == []


def test_a_policy_that_goes_takes_its_hold_along(shop: Namespace, controller: Controller) -> None:
    fight(shop, "deployer")
    shop.delete("scpol", "log-shipper")
    eventually(lambda: not held(shop), seconds=60)


def test_who_takes_out_the_node_rule_alone_has_no_sidecar_left_without_it(
    shop: Namespace, controller: Controller
) -> None:
    """`kubectl apply` writes the affinity as a whole, and is no tool that we make way for."""
    linux = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [linux]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    git = deployment(pod={"affinity": {"nodeAffinity": required}})
    shop.apply(git)
    before = shop.pods_template("web")
    shop.apply(policy())
    for _ in range(3):
        eventually(lambda: CAPABILITY_LABEL in str(shop.pods_template("web")["spec"]["affinity"]))
        shop.apply(git)
    shop.wait_status("log-shipper", conflicted=1)
    assert shop.pods_template("web") == before
    shop.apply(git)
    stays(lambda: shop.pods_template("web"), seconds=2)
    assert shop.pods_template("web") == before


@pytest.fixture
def space(cluster: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Namespace]:
    """A namespace of a cluster with controller and webhook."""
    name = f"fights-{uuid4().hex[:6]}"
    with admission.running(cluster, tmp_path_factory.mktemp("fights")):
        cluster.kubectl("create", "namespace", name)
        yield Namespace(cluster, name)
        cluster.kubectl("delete", "namespace", name, "--wait=false")


def test_the_webhook_obeys_a_truce_until_a_new_revision(space: Namespace) -> None:
    known(space, policy(targets=EVERY_KIND))
    revision = eventually(lambda: space.status("log-shipper").get("revision"))
    hold = {"policy": "SidecarPolicy/log-shipper", "revision": revision, "reason": "Fight"}
    meta = {"name": "web", "annotations": {HELD: json.dumps([hold])}}
    obj, said = created(space, {**deployment(), "metadata": meta})
    assert names(obj["spec"]["template"]["spec"]) == []
    assert "not applied: Fight" in said
    space.kubectl("set", "image", "deployment/web", "web=lab.local/busybox:2")
    assert space.sidecars("web") == []
    space.wait_status("log-shipper", matched=1, conflicted=1)
    space.patch("scpol", "log-shipper", {"spec": {"sidecars": NEWER}})
    space.wait_status("log-shipper", matched=1, current=1)
    assert space.sidecars("web") == ["agent"]
    assert held(space) == []
