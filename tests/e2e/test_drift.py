"""A kubelet that an administrator replaces in place by an older one, under Pods that run."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab, Node
from tests.e2e.conftest import node_labels
from tests.e2e.test_main_job import container, sidecar
from tests.e2e.test_node_metrics import RIGHTS, controller, no_operator
from tests.support.cluster import Namespace, deployment, policy
from tests.support.waiting import eventually

DRIFTS = "drifts"


@pytest.fixture
def drifting(kubelets: Lab, tmp_path: Path) -> Iterator[Namespace]:
    """A namespace of a cluster with a node more, which is capable at first."""
    space = Namespace(kubelets, "drifting")
    with no_operator(kubelets):
        kubelets.kubectl("apply", *(f"--filename={each}" for each in RIGHTS))
        kubelets.kubectl("create", "namespace", space.name)
        try:
            kubelets.add_node(Node(DRIFTS, "1.36.3"))
            with controller(kubelets, tmp_path):
                yield space
        finally:
            kubelets.kubectl("delete", "namespace", space.name, "--wait=false")
            kubelets.remove_node(DRIFTS)


def test_an_older_kubelet_in_the_place_of_a_newer_one_shows_on_node_status_and_pod(
    drifting: Namespace,
) -> None:
    pod = {
        "containers": [container("web")],
        "nodeSelector": {"kubernetes.io/hostname": DRIFTS},
        "terminationGracePeriodSeconds": 1,
    }
    drifting.apply(policy(sidecars=[sidecar()]), deployment(replicas=1, pod=pod))
    drifting.wait_status("log-shipper", current=1, seconds=90)

    def told() -> tuple[str | None, set[str], int]:
        status = drifting.status("log-shipper")
        reasons = {each["reason"] for each in status["problems"] if each["name"] == "web"}
        return node_labels(drifting.lab)[DRIFTS], reasons, status["nodes"]["capable"]

    capable = told()[2]
    assert told() == ("true", set(), capable)
    drifting.lab.restart_kubelet(DRIFTS, kubelet="1.26.15")
    lost = ("false", {"NodeIgnoresSidecars"}, capable - 1)
    eventually(told, until=lambda found: found == lost, seconds=20)
    events = json.loads(drifting.kubectl("get", "events", "-o", "json"))["items"]
    about = {(e["involvedObject"]["kind"], e["reason"]) for e in events}
    assert ("Deployment", "NodeIgnoresSidecars") in about
    drifting.lab.restart_kubelet(DRIFTS, kubelet="1.36.3")
    eventually(told, until=lambda found: found[::2] == ("true", capable), seconds=30)
