"""The webhook beside others: other injectors, other controllers, kubectl, and changing policies."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from lab import Lab, api
from tests.support import admission, injector
from tests.support.admission import EVERY_KIND, dry_run, every, known, names, pod
from tests.support.audit import writes
from tests.support.cluster import Namespace, cluster_policy, deployment
from tests.support.waiting import eventually, stays

JSON = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def _processes(cluster: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Controller and webhook, each with the rights of its own ServiceAccount."""
    with admission.running(cluster, tmp_path_factory.mktemp("neighbours")):
        yield


@pytest.fixture
def space(cluster: Lab) -> Iterator[Namespace]:
    """A namespace of the test's own."""
    name = f"beside-{uuid4().hex[:6]}"
    cluster.kubectl("create", "namespace", name)
    yield Namespace(cluster, name)
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.mark.parametrize("reinvocation", ["Never", "IfNeeded"])
@pytest.mark.parametrize(
    ("name", "order"),
    [("a-mesh", ["shipper", "mesh"]), ("z-mesh", ["mesh", "shipper"])],
    ids=["asked before us", "asked after us"],
)
def test_beside_another_injector_both_are_there_once_and_nothing_rolls(
    space: Namespace, tmp_path: Path, name: str, order: list[str], reinvocation: str
) -> None:
    known(space, every())
    with injector.registered(space.lab, tmp_path, name=name, reinvocation=reinvocation):
        space.apply(deployment(), pod())
        assert space.sidecars("web") == order
        assert names(space.get("pod", "alone")["spec"]) == order
        space.wait_status("log-shipper", current=1)
        text = json.dumps({**deployment(), "metadata": {"name": "web", "namespace": space.name}})
        space.lab.kubectl("replace", "-f", "-", input=text)
        space.apply(deployment())
        space.kubectl("scale", "deployment/web", "--replicas=0")
        stays(lambda: space.pods_template("web"), seconds=2)
        assert sorted(space.sidecars("web")) == sorted(order)
        eventually(lambda: space.revisions("web"))
        assert space.revisions("web") == 1
        space.kubectl("set", "image", "deployment/web", "web=lab.local/busybox:2")
        assert space.sidecars("web") == order
        space.wait_status("log-shipper", current=1)
        assert space.sidecars("web") == order
        assert space.revisions("web") == 2


def test_pods_of_a_replica_set_that_another_controller_owns_get_the_sidecar(
    space: Namespace,
) -> None:
    known(space, every())
    space.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rollout"}})
    uid = space.get("configmap", "rollout")["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "rollout", "uid": uid}
    labels = {"app": "canary", "rollouts-pod-template-hash": "6f5d9"}
    made = deployment("canary", replicas=1, template={"labels": labels})
    made["kind"] = "ReplicaSet"
    made["metadata"]["ownerReferences"] = [{**owner, "controller": True}]
    space.apply(made)
    (found,) = eventually(lambda: space.all("pod"))
    assert names(found["spec"]) == ["shipper"]
    assert found["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet"
    assert names(space.get("replicaset", "canary")["spec"]["template"]["spec"]) == []


def test_pods_that_kubectl_debug_makes_are_not_changed(space: Namespace) -> None:
    known(space, every())
    image = "--image=lab.local/busybox:1"
    space.kubectl("debug", "node/new-0", image)
    (found,) = [e for e in space.all("pod") if "debug" in e["metadata"]["name"]]
    assert names(found["spec"]) == []
    assert "affinity" not in found["spec"]
    space.apply(pod())
    before = space.get("pod", "alone")["spec"]
    space.kubectl("debug", "alone", image, "--copy-to=copy", "--container=look")
    copy = space.get("pod", "copy")["spec"]
    assert names(copy) == names(before) == ["shipper"]
    assert copy.get("affinity") == before.get("affinity")


def test_a_mirror_of_a_static_pod_is_not_changed(space: Namespace) -> None:
    known(space, every())
    uid = space.get("node", "new-0")["metadata"]["uid"]
    node = {"apiVersion": "v1", "kind": "Node", "name": "new-0", "uid": uid, "controller": True}
    notes = {"kubernetes.io/config.mirror": "1", "kubernetes.io/config.source": "file"}
    mirror = pod("static-new-0", annotations=notes, ownerReferences=[node])
    mirror["spec"]["nodeName"] = "new-0"
    assert names(dry_run(space, mirror)["spec"]) == []
    del mirror["metadata"]["annotations"]["kubernetes.io/config.mirror"]
    assert names(dry_run(space, mirror)["spec"]) == ["shipper"]


def test_names_that_the_api_server_makes_are_no_obstacle(space: Namespace) -> None:
    known(space, every())
    for made in (pod(), deployment()):
        made["metadata"] = {"generateName": "made-", "labels": made["metadata"].get("labels", {})}
        found = dry_run(space, made)
        spec = found["spec"] if made["kind"] == "Pod" else found["spec"]["template"]["spec"]
        assert found["metadata"]["name"].startswith("made-")
        assert names(spec) == ["shipper"]


def test_a_dry_run_leaves_no_trace(space: Namespace) -> None:
    known(space, every())
    space.wait_status("log-shipper", matched=0)
    before = len(writes(space.lab))
    for made in (pod(), deployment()):
        dry_run(space, made)
    stays(lambda: space.kubectl("get", "pods,deployments,events", "-o", "name"), seconds=1)
    assert space.all("pod") + space.all("deployment") + space.all("event") == []
    ours = [e for e in writes(space.lab)[before:] if e["objectRef"].get("namespace") == space.name]
    assert ours == []


def sidecars_now(space: Namespace) -> list[str]:
    """What a Pod that were created now would get; in a few milliseconds."""
    path = f"/api/v1/namespaces/{space.name}/pods?dryRun=All"
    answer = api.request(space.lab.layout, "POST", path, pod("probe"))
    assert answer.status == 201, answer
    return names(answer.json()["spec"])


def test_a_policy_that_is_deleted_and_made_anew_is_obeyed_at_once(space: Namespace) -> None:
    for _ in range(3):
        space.apply(every())
        eventually(lambda: sidecars_now(space) == ["shipper"], seconds=1)
        space.delete("scpol", "log-shipper")
        eventually(lambda: sidecars_now(space) == [], seconds=1)
    space.apply(every(sidecars=[{"name": "other", "image": "lab.local/busybox:1"}]))
    eventually(lambda: sidecars_now(space) == ["other"], seconds=1)


def test_a_change_of_the_namespaces_labels_is_obeyed_within_a_second(space: Namespace) -> None:
    team = {"matchLabels": {"team": space.name}}
    made = cluster_policy(space.name, namespaceSelector=team, targets=EVERY_KIND)
    space.apply(made)
    stays(lambda: sidecars_now(space), seconds=1)
    assert sidecars_now(space) == []
    for _ in range(2):
        space.lab.kubectl("label", "namespace", space.name, f"team={space.name}")
        eventually(lambda: sidecars_now(space) == ["shipper"], seconds=1)
        space.lab.kubectl("annotate", "namespace", space.name, "sidecarpolicy.dev/inject=false")
        eventually(lambda: sidecars_now(space) == [], seconds=1)
        space.lab.kubectl("annotate", "namespace", space.name, "sidecarpolicy.dev/inject-")
        eventually(lambda: sidecars_now(space) == ["shipper"], seconds=1)
        space.lab.kubectl("label", "namespace", space.name, "team-")
        eventually(lambda: sidecars_now(space) == [], seconds=1)
    space.lab.kubectl("delete", "cscpol", space.name)


@pytest.mark.parametrize(
    "field",
    [{"ports": 8080}, {"args": 7}, {"env": [{"name": "A", "value": 1}]}, {"resources": []}],
    ids=str,
)
def test_a_sidecar_of_the_wrong_types_keeps_nobody_from_creating(
    space: Namespace, field: JSON
) -> None:
    known(space, every())
    broken = {"name": "broken", "image": "lab.local/busybox:1", **field}
    space.apply(every("a-broken", sidecars=[broken]))
    stays(lambda: sidecars_now(space), seconds=1)
    assert sidecars_now(space) == ["shipper"]
