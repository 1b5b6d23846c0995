"""Policies that cannot work: workloads stay untouched, the status says why, time heals."""

import pytest

from lab import Lab
from tests.support.cluster import CRD, Namespace, conditions, deployment, policy
from tests.support.controller import Controller
from tests.support.waiting import eventually, stays


@pytest.mark.usefixtures("controller")
def test_without_a_capable_node_nothing_changes_until_one_joins(shop: Namespace) -> None:
    shop.lab.kubectl("delete", "node", "new-0")
    shop.apply(policy(), deployment())
    status = shop.wait_status("log-shipper", pending=1)
    assert conditions(status)["Ready"] == ("False", "NoCapableNodes")
    assert "kubelet to 1.29" in status["problems"][0]["message"]
    assert shop.sidecars("web") == []
    shop.lab.add_fake_nodes(1, kubelet="1.36.3", prefix="new")
    shop.wait_status("log-shipper", current=1)
    assert conditions(shop.status("log-shipper"))["Ready"] == ("True", "Ready")


@pytest.mark.usefixtures("controller")
def test_a_name_of_the_users_own_is_never_overwritten(shop: Namespace) -> None:
    own = {"initContainers": [{"name": "shipper", "image": "lab.local/busybox:1"}]}
    shop.apply(policy(), deployment(pod=own))
    status = shop.wait_status("log-shipper", conflicted=1)
    (problem,) = status["problems"]
    assert (problem["reason"], problem["name"]) == ("NameConflict", "web")
    assert "'shipper'" in problem["message"]
    assert shop.get("deployment", "web")["metadata"]["generation"] == 1
    renamed = [{"name": "courier", "image": "lab.local/busybox:1"}]
    shop.patch("scpol", "log-shipper", {"spec": {"sidecars": renamed}})
    shop.wait_status("log-shipper", current=1)
    assert shop.sidecars("web") == ["courier", "shipper"]


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param({"imagePulPolicy": "Always"}, 'unknown field "spec', id="a typo in a field"),
        pytest.param(
            {"volumeMounts": [{"name": "nowhere", "mountPath": "/x"}]},
            'Not found: "nowhere"',
            id="a mount without a volume",
        ),
    ],
)
def test_what_the_api_server_refuses_is_reported_in_its_words(
    shop: Namespace, fault: dict[str, object], words: str
) -> None:
    good = {"name": "shipper", "image": "lab.local/busybox:1"}
    shop.apply(policy(sidecars=[{**good, **fault}]), deployment())
    status = shop.wait_status("log-shipper", pending=1)
    eventually(lambda: shop.status("log-shipper")["problems"])
    (problem,) = shop.status("log-shipper")["problems"]
    assert problem["reason"] == "Refused"
    assert words in problem["message"]
    assert len(problem["message"]) < 700
    assert conditions(status)["RolloutComplete"][0] == "False"
    assert shop.get("deployment", "web")["metadata"]["generation"] == 1
    shop.apply(policy(sidecars=[good]))
    shop.wait_status("log-shipper", current=1)


@pytest.mark.usefixtures("controller")
def test_a_deployment_that_goes_is_no_longer_counted(shop: Namespace) -> None:
    shop.apply(policy(), deployment("web"), deployment("api"))
    shop.wait_status("log-shipper", current=2)
    shop.delete("deployment", "web")
    status = shop.wait_status("log-shipper", matched=1, current=1)
    assert status["problems"] == []


def test_an_excluded_namespace_is_never_touched(shop: Namespace, controller: Controller) -> None:
    controller.stop()
    controller.start("--exclude-namespaces", shop.name)
    shop.apply(policy(), deployment())
    status = shop.wait_status("log-shipper", matched=0)
    assert conditions(status)["Ready"] == ("False", "NamespaceExcluded")
    assert shop.sidecars("web") == []


@pytest.mark.usefixtures("controller")
def test_a_paused_policy_freezes_what_exists(shop: Namespace) -> None:
    shop.apply(policy(), deployment("web"))
    shop.wait_status("log-shipper", current=1)
    renamed = [{"name": "courier", "image": "lab.local/busybox:1"}]
    shop.patch("scpol", "log-shipper", {"spec": {"sidecars": renamed, "paused": True}})
    shop.wait_status("log-shipper", pending=1)
    assert shop.sidecars("web") == ["shipper"]
    shop.patch("scpol", "log-shipper", {"spec": {"paused": False}})
    shop.wait_status("log-shipper", current=1)
    assert shop.sidecars("web") == ["courier"]


def test_a_missing_crd_is_waited_for_and_deleting_it_leaves_nothing_stuck(
    capable: Lab, shop: Namespace, controller: Controller
) -> None:
    shop.apply(policy(), deployment())
    shop.wait_status("log-shipper", current=1)
    capable.kubectl("delete", "crd", "sidecarpolicies.sidecarpolicy.dev", "--timeout=20s")
    stays(lambda: shop.sidecars("web"), seconds=3)
    controller.stop()
    controller.start(wait=False)
    eventually(lambda: "cannot list sidecarpolicies" in controller.log())
    assert not controller.ready()
    capable.kubectl("apply", "-f", str(CRD))
    eventually(controller.ready)
    shop.apply(policy())
    shop.wait_status("log-shipper", current=1)
    assert shop.get("deployment", "web")["metadata"]["generation"] == 2
