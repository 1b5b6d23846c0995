"""What the controller looks at before it changes a single workload: nodes, volumes, autoscalers,
and whether the workload is at rest.
"""

import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from lab import Lab
from tests.support import admission
from tests.support.cluster import Namespace, deployment, policy, problems
from tests.support.waiting import eventually, stays

JSON = dict[str, Any]
SSD = {"nodeSelector": {"disk": "ssd"}}


@pytest.fixture(scope="module", autouse=True)
def _processes(cluster: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Controller and webhook, each with the rights of its own ServiceAccount."""
    with admission.running(cluster, tmp_path_factory.mktemp("harm")):
        yield


@pytest.fixture
def space(cluster: Lab) -> Iterator[Namespace]:
    """A namespace of the test's own, and the only disk on a node that cannot run sidecars."""
    name = f"harm-{uuid4().hex[:6]}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("label", "node", "old-0", "disk=ssd")
    yield Namespace(cluster, name)
    cluster.kubectl("label", "node", "old-0", "new-0", "disk-")
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def said(status: JSON) -> dict[str, str]:
    """Messages by reason."""
    return {each["reason"]: each["message"] for each in problems(status)}


def test_a_workload_that_would_find_no_node_goes_on_without_until_there_is_one(
    space: Namespace,
) -> None:
    space.apply(deployment("web", pod=SSD), deployment("api"))
    space.apply(policy())
    found = space.wait_status("log-shipper", current=1, skipped=1)
    assert said(found)["NoFeasibleNode"].startswith(
        "with the node rule its Pods could run nowhere: of 2 nodes, "
    )
    space.kubectl("label", "deployment", "web", "an=edit")
    space.patch("deployment", "web", {"spec": {"template": {"metadata": {"labels": {"v": "2"}}}}})
    assert stays(lambda: space.sidecars("web"), seconds=2) == []
    space.lab.kubectl("label", "node", "new-0", "disk=ssd")
    space.wait_status("log-shipper", current=2, skipped=0)
    assert space.sidecars("web") == ["shipper"]


def test_a_volume_that_only_an_old_node_reaches_keeps_the_sidecar_out(space: Namespace) -> None:
    name = f"{space.name}-data"
    amount = {"storage": "1Gi"}
    on_old = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["old-0"]}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": amount,
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "local": {"path": "/data"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_old]}]}},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "volumeName": name,
            "resources": {"requests": amount},
        },
    }
    space.lab.kubectl("create", "-f", "-", input=json.dumps(volume))
    space.apply(claim)
    eventually(lambda: space.get("pvc", "data")["status"].get("phase") == "Bound")
    mounted = {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}
    space.apply(deployment("web", pod=mounted))
    space.apply(policy())
    found = space.wait_status("log-shipper", skipped=1)
    assert "1 cannot reach the volume of its claim data" in said(found)["NoFeasibleNode"]
    space.lab.kubectl("delete", "pv", name, "--wait=false")


BARE = {"name": "shipper", "image": "lab.local/busybox:1"}


def requesting(name: str, **requests: str) -> JSON:
    """A Deployment whose own container requests something."""
    made = deployment(name)
    made["spec"]["template"]["spec"]["containers"][0] |= {"resources": {"requests": requests}}
    return made


def scaler(name: str) -> JSON:
    """What scales a Deployment by the utilization of its CPU."""
    target = {"type": "Utilization", "averageUtilization": 80}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "maxReplicas": 3,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    }


def test_a_sidecar_that_an_autoscaler_cannot_count_is_kept_out_until_it_can(
    space: Namespace,
) -> None:
    space.apply(requesting("web", cpu="100m"), scaler("web"))
    space.apply(policy(sidecars=[BARE]))
    found = space.wait_status("log-shipper", skipped=1)
    assert "give the sidecar a request of cpu" in said(found)["WouldBreakAutoscaling"]
    assert space.sidecars("web") == []
    asking = {"resources": {"requests": {"cpu": "100m"}}}
    space.apply(policy(sidecars=[{**BARE, **asking}]))
    space.wait_status("log-shipper", current=1, skipped=0)
    assert space.sidecars("web") == ["shipper"]


def test_an_autoscaler_that_comes_later_is_named_if_it_cannot_count_a_sidecar(
    space: Namespace,
) -> None:
    space.apply(requesting("web", cpu="100m"))
    space.apply(policy(sidecars=[BARE]))
    space.wait_status("log-shipper", current=1)
    space.apply(scaler("web"))
    found = eventually(
        lambda: space.status("log-shipper"), until=lambda now: "StopsAutoscaling" in said(now)
    )
    assert "which sidecar shipper does not request" in said(found)["StopsAutoscaling"]
    assert found["workloads"]["current"] == 1
    space.delete("hpa", "web")
    eventually(lambda: "StopsAutoscaling" not in said(space.status("log-shipper")))


def test_a_workload_that_is_failing_by_itself_is_left_alone_until_it_is_well(
    space: Namespace,
) -> None:
    space.apply(deployment("web", replicas=1, pod={"nodeSelector": {"no": "such"}}))
    time.sleep(32)  # what is younger counts as applied together with its policy
    space.apply(policy())
    found = space.wait_status("log-shipper", pending=1)
    assert "0 available" in said(found)["NotSettled"]
    assert stays(lambda: space.sidecars("web"), seconds=2) == []
    space.lab.kubectl("label", "node", "new-0", "no=such")
    space.wait_status("log-shipper", current=1, pending=0, seconds=60)
    assert space.sidecars("web") == ["shipper"]
    space.lab.kubectl("label", "node", "new-0", "no-")
