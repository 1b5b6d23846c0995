"""Policies that cannot work: workloads stay untouched, the status says why, time heals."""

import json

import pytest

from lab import Lab
from tests.support.cluster import CRDS, Namespace, conditions, deployment, policy, problems
from tests.support.processes import Controller
from tests.support.waiting import eventually, stays


@pytest.mark.usefixtures("controller")
def test_without_a_capable_node_nothing_changes_until_one_joins(shop: Namespace) -> None:
    shop.lab.kubectl("delete", "node", "new-0")
    shop.apply(policy(), deployment())
    status = shop.wait_status("log-shipper", pending=1)
    assert conditions(status)["Ready"] == ("False", "NoCapableNodes")
    assert "kubelet to 1.29" in problems(status)[0]["message"]
    assert shop.sidecars("web") == []
    shop.lab.add_fake_nodes(1, kubelet="1.36.3", prefix="new")
    shop.wait_status("log-shipper", current=1)
    assert conditions(shop.status("log-shipper"))["Ready"] == ("True", "Ready")


@pytest.mark.usefixtures("controller")
def test_a_name_of_the_users_own_is_never_overwritten(shop: Namespace) -> None:
    own = {"initContainers": [{"name": "shipper", "image": "lab.local/busybox:1"}]}
    shop.apply(policy(), deployment(pod=own))
    status = shop.wait_status("log-shipper", conflicted=1)
    (problem,) = problems(status)
    assert (problem["reason"], problem["name"]) == ("NameConflict", "web")
    assert "'shipper'" in problem["message"]
    assert shop.get("deployment", "web")["metadata"]["generation"] == 1
    renamed = [{"name": "courier", "image": "lab.local/busybox:1"}]
    shop.patch("scpol", "log-shipper", {"spec": {"sidecars": renamed}})
    shop.wait_status("log-shipper", current=1)
    assert shop.sidecars("web") == ["courier", "shipper"]


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize(
    ("fault", "words", "reason"),
    [
        pytest.param(
            {"imagePulPolicy": "Always"},
            'unknown field "spec',
            "Invalid",
            id="a typo in a field, which is wrong everywhere",
        ),
        pytest.param(
            {"securityContext": {"runAsUser": 1000}},
            "cannot be set for a windows pod",
            "Refused",
            id="a field that no Pod of this operating system can have",
        ),
    ],
)
def test_what_the_api_server_refuses_is_reported_in_its_words(
    shop: Namespace, fault: dict[str, object], words: str, reason: str
) -> None:
    good = {"name": "shipper", "image": "lab.local/busybox:1"}
    shop.apply(policy(sidecars=[{**good, **fault}]), deployment(pod={"os": {"name": "windows"}}))
    status = shop.wait_status("log-shipper", pending=1)
    eventually(lambda: problems(shop.status("log-shipper")))
    (problem,) = problems(shop.status("log-shipper"))
    assert problem["reason"] == reason
    assert words in problem["message"]
    assert len(problem["message"]) < 700
    assert conditions(status)["Ready"] == ("False", reason)
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
    assert problems(status) == []


def test_an_excluded_namespace_is_never_touched(shop: Namespace, controller: Controller) -> None:
    controller.stop()
    controller.start("--exclude-namespaces", f"istio-system, {shop.name}")
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


def record(policy: str, part: str = "container/s") -> str:
    policies = {policy: {"revision": "x", "parts": {part: ""}}}
    return json.dumps({"policies": policies, "made": []})


def test_records_that_somebody_made_up_change_nothing_and_stop_nobody(
    shop: Namespace, controller: Controller
) -> None:
    texts = {
        "broken": "{oops",
        "deep": "[" * 50_000,
        "nameless": record("SidecarPolicy/"),
        "climbing": record("SidecarPolicy/../.."),
        "unknown": record("SidecarPolicy/log-shipper", "env/A"),
    }
    for name, text in texts.items():
        annotated = {"annotations": {"sidecarpolicy.dev/injected": text}}
        shop.apply(deployment(name, template=annotated), server_side=True)
    shop.apply(deployment("good"), policy())
    status = shop.wait_status("log-shipper", current=1, skipped=5)
    assert {each["reason"] for each in problems(status)} == {"RecordUnreadable"}
    assert all(shop.get("deployment", each)["metadata"]["generation"] == 1 for each in texts)
    assert controller.running()


def test_a_volume_source_of_an_odd_type_is_refused_and_stops_nobody(
    shop: Namespace, controller: Controller
) -> None:
    shop.apply(policy(volumes=[{"name": "v", "configMap": "my-name"}]), deployment())
    eventually(lambda: problems(shop.status("log-shipper")))
    status = shop.status("log-shipper")
    assert problems(status)[0]["reason"] == "Invalid"
    assert conditions(status)["Accepted"] == ("False", "Invalid")
    assert controller.running()


@pytest.mark.usefixtures("controller")
def test_a_selector_on_our_own_label_rolls_nothing_for_ever(shop: Namespace) -> None:
    ours = {"key": "sidecarpolicy.dev/injected", "operator": "DoesNotExist"}
    shop.apply(policy(selector={"matchExpressions": [ours]}), deployment())
    shop.wait_status("log-shipper", current=1)
    stays(lambda: shop.get("deployment", "web")["metadata"]["generation"], seconds=3)


@pytest.mark.usefixtures("controller")
def test_a_changed_sidecar_stays_and_is_reported_when_its_policy_moves_on(shop: Namespace) -> None:
    shop.apply(policy(), deployment())
    shop.wait_status("log-shipper", current=1)
    shop.kubectl("set", "image", "deployment/web", "shipper=my/own:1")
    status = shop.wait_status("log-shipper", conflicted=1)
    assert problems(status)[0]["reason"] == "PartChanged"
    assert shop.sidecars("web") == ["shipper"]


def test_a_missing_crd_is_waited_for_and_deleting_it_leaves_nothing_stuck(
    capable: Lab, shop: Namespace, controller: Controller
) -> None:
    shop.apply(policy(), deployment())
    shop.wait_status("log-shipper", current=1)
    capable.kubectl("delete", "crd", "sidecarpolicies.sidecarpolicy.dev", "--timeout=20s")
    # Without its watch it must not go on as if it saw anything.
    eventually(lambda: not controller.running(), seconds=40)
    assert shop.sidecars("web") == ["shipper"]
    controller.start(wait=False)
    eventually(lambda: "cannot list sidecarpolicies" in controller.log())
    assert not controller.ready()
    assert controller.stop() == 0  # promptly, also while it waits
    controller.start(wait=False)
    capable.kubectl("apply", "-f", str(CRDS))
    eventually(controller.ready)
    shop.apply(policy())
    shop.wait_status("log-shipper", current=1)
    assert shop.get("deployment", "web")["metadata"]["generation"] == 2
