"""The controller against a real API server: what it changes, once, and gives back exactly."""

import json

import pytest

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

REQUIRE = {"key": "sidecarpolicy.dev/native-sidecars", "operator": "In", "values": ["true"]}
ZONE = {"key": "zone", "operator": "In", "values": ["eu"]}


def required(*terms: object) -> object:
    selector = {"nodeSelectorTerms": list(terms)}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}


@pytest.mark.usefixtures("controller")
def test_existing_and_new_deployments_get_the_sidecar_by_one_patch_each(shop: Namespace) -> None:
    shop.apply(deployment("before"))
    eventually(lambda: shop.revisions("before"), until=lambda number: number == 1)
    shop.apply(policy(volumes=[{"name": "buffer", "emptyDir": {}}]))
    shop.apply(deployment("after"))
    status = shop.wait_status("log-shipper", current=2)
    assert status["nodes"] == {"capable": 1, "total": 2}
    assert problems(status) == []
    assert conditions(status) == {
        "Ready": ("True", "Ready"),
        "Accepted": ("True", "Accepted"),
        "ClusterCapable": ("True", "Capable"),
        "RolloutComplete": ("True", "Complete"),
    }
    for name in ("before", "after"):
        assert shop.sidecars(name) == ["shipper"]
        assert shop.get("deployment", name)["metadata"]["generation"] == 2
    stays(lambda: shop.revisions("before"), seconds=2)
    assert shop.revisions("before") == 2


@pytest.mark.usefixtures("controller")
def test_a_changed_policy_changes_its_deployment_once(shop: Namespace) -> None:
    shop.apply(policy(), deployment())
    shop.wait_status("log-shipper", current=1)
    generation = shop.get("deployment", "web")["metadata"]["generation"]
    renamed = [{"name": "courier", "image": "lab.local/busybox:1"}]
    shop.patch("scpol", "log-shipper", {"spec": {"sidecars": renamed}})
    shop.wait_status("log-shipper", current=1)
    eventually(lambda: shop.sidecars("web"), until=lambda names: names == ["courier"])
    stays(lambda: shop.get("deployment", "web")["metadata"]["generation"], seconds=3)
    assert shop.get("deployment", "web")["metadata"]["generation"] == generation + 1


@pytest.mark.usefixtures("controller")
def test_a_change_of_the_selector_alone_rolls_nothing_that_stays_selected(shop: Namespace) -> None:
    shop.apply(policy(), deployment())
    shop.wait_status("log-shipper", current=1)
    before = shop.get("deployment", "web")["metadata"]["generation"]
    shop.patch("scpol", "log-shipper", {"spec": {"selector": {"matchLabels": {"app": "web"}}}})
    shop.wait_status("log-shipper", current=1)
    assert shop.get("deployment", "web")["metadata"]["generation"] == before


RICH_POD = {
    "affinity": required({"matchExpressions": [ZONE]}, {"matchExpressions": [ZONE]}),
    "initContainers": [
        {"name": "migrate", "image": "lab.local/busybox:1"},
        {"name": "warm-up", "image": "lab.local/busybox:1"},
    ],
    "volumes": [{"name": "data", "emptyDir": {"sizeLimit": "1Gi"}}],
    "imagePullSecrets": [{"name": "own"}],
}


@pytest.mark.usefixtures("controller")
def test_deleting_a_policy_gives_back_exactly_what_the_user_wrote(shop: Namespace) -> None:
    shop.apply(deployment("plain"), deployment("rich", pod=RICH_POD))
    before = {name: shop.pods_template(name) for name in ("plain", "rich")}
    shop.apply(
        policy(
            volumes=[{"name": "buffer", "emptyDir": {}}],
            imagePullSecrets=[{"name": "own"}, {"name": "regcred"}],
        )
    )
    shop.wait_status("log-shipper", current=2)
    rich = shop.pods_template("rich")["spec"]
    assert shop.sidecars("rich") == ["shipper", "migrate", "warm-up"]
    assert rich["affinity"] == required(
        {"matchExpressions": [ZONE, REQUIRE]}, {"matchExpressions": [ZONE, REQUIRE]}
    )
    shop.delete("scpol", "log-shipper")
    stays(lambda: shop.sidecars("plain"), seconds=5)
    eventually(
        lambda: {name: shop.pods_template(name) for name in ("plain", "rich")},
        until=lambda now: now == before,
        seconds=60,
    )


@pytest.mark.usefixtures("controller")
def test_a_policy_that_comes_back_at_once_rolls_nothing(shop: Namespace) -> None:
    shop.apply(policy(), deployment())
    shop.wait_status("log-shipper", current=1)
    generation = shop.get("deployment", "web")["metadata"]["generation"]
    shop.delete("scpol", "log-shipper")
    shop.apply(policy())
    shop.wait_status("log-shipper", current=1)
    assert shop.get("deployment", "web")["metadata"]["generation"] == generation


@pytest.mark.usefixtures("controller")
def test_opting_out_takes_the_sidecar_back(shop: Namespace) -> None:
    shop.apply(policy(), deployment())
    shop.wait_status("log-shipper", current=1)
    shop.kubectl("annotate", "namespace", shop.name, "sidecarpolicy.dev/inject=false")
    status = shop.wait_status("log-shipper", skipped=1)
    assert problems(status)[0]["reason"] == "OptedOut"
    assert shop.sidecars("web") == []
    shop.kubectl("annotate", "namespace", shop.name, "sidecarpolicy.dev/inject-")
    shop.wait_status("log-shipper", current=1)


@pytest.mark.usefixtures("controller")
def test_an_affinity_that_a_gitops_tool_owns_stays_as_it_is(shop: Namespace) -> None:
    in_git = deployment(pod={"affinity": required({"matchExpressions": [ZONE]})})
    shop.apply(in_git, server_side=True, manager="kustomize-controller")
    shop.apply(policy())
    shop.wait_status("log-shipper", current=1)
    spec = shop.pods_template("web")["spec"]
    assert spec["affinity"] == required({"matchExpressions": [ZONE]})
    assert spec["nodeSelector"] == {"sidecarpolicy.dev/native-sidecars": "true"}
    generation = shop.get("deployment", "web")["metadata"]["generation"]
    shop.apply(in_git, server_side=True, manager="kustomize-controller")
    stays(lambda: shop.get("deployment", "web")["metadata"]["generation"], seconds=3)
    assert shop.get("deployment", "web")["metadata"]["generation"] == generation


def test_no_object_ever_carries_a_finalizer_or_an_annotation_of_kopf(
    shop: Namespace, controller: Controller
) -> None:
    shop.apply(policy(), deployment())
    shop.wait_status("log-shipper", current=1)
    controller.stop()
    controller.start()
    everything = shop.kubectl("get", "scpol,deployments,replicasets", "-o", "json")
    nodes = shop.kubectl("get", "nodes,namespaces", "-o", "json")
    for obj in json.loads(everything)["items"] + json.loads(nodes)["items"]:
        assert "finalizers" not in obj["metadata"]
        assert "kopf" not in json.dumps(obj["metadata"])


def test_an_idle_controller_and_its_successor_write_nothing(
    shop: Namespace, controller: Controller
) -> None:
    shop.apply(policy(), deployment())
    shop.wait_status("log-shipper", current=1)
    before = len(writes_in(shop))
    assert before > 0
    stays(lambda: len(writes_in(shop)), seconds=5)
    controller.stop()
    controller.start()
    stays(lambda: len(writes_in(shop)), seconds=10)
    assert persisted(writes_in(shop)[before:]) == []


def test_a_controller_that_is_killed_between_writes_is_carried_on_by_the_next(
    shop: Namespace, controller: Controller
) -> None:
    shop.apply(*(deployment(f"web-{number}") for number in range(30)))
    shop.apply(policy())
    eventually(lambda: shop.sidecars("web-0") or shop.sidecars("web-29"))
    controller.kill()
    controller.start()
    shop.wait_status("log-shipper", current=30)
    generations = {each["metadata"]["generation"] for each in shop.all("deployment")}
    assert generations == {2}


def test_a_running_controller_ends_cleanly_on_a_signal(controller: Controller) -> None:
    assert controller.stop() == 0
