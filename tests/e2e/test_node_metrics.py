"""What kubelets themselves say of their feature gate, and that it is true.

Two kubelets 1.31 differ in nothing but the gate. The controller runs beside the cluster, with the
rights that we ship, and no other runs meanwhile.
"""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from lab import Lab, Node
from tests.e2e.conftest import node_labels
from tests.support.admission import SYSTEM, own_rights
from tests.support.authors import BASE
from tests.support.cluster import CRDS, ROOT
from tests.support.processes import Controller
from tests.support.waiting import eventually

JSON = dict[str, Any]
GATE_OFF = "--feature-gates=SidecarContainers=false"
COMPONENTS = ROOT / "deploy" / "components"
RIGHTS = (
    CRDS,
    BASE / "namespace.yaml",
    BASE / "rbac.yaml",
    COMPONENTS / "node-metrics" / "rbac.yaml",
    COMPONENTS / "node-metrics-proxy" / "rbac.yaml",
)
ACCOUNT = "sidecarpolicy-node-metrics"
BY_VERSION = {"new": "true", "old": "rejects", "oldest": "false", "plain": "true", "gated": "true"}
BY_GATE = BY_VERSION | {"gated": "rejects"}
SAYS = "its metrics say that feature gate SidecarContainers is"


@pytest.fixture(scope="module")
def gates(kubelets: Lab) -> Iterator[Lab]:
    """The mixed cluster with two kubelets 1.31 more, one of them with the gate off."""
    with no_operator(kubelets):
        kubelets.add_node(Node("plain", "1.31.0"), wait=False)
        kubelets.add_node(Node("gated", "1.31.0", flags=(GATE_OFF,)), wait=False)
        kubelets.kubectl("apply", *(f"--filename={each}" for each in RIGHTS))
        kubelets.wait_nodes()
        yield kubelets
        for name in ("plain", "gated"):
            kubelets.remove_node(name)


@contextmanager
def no_operator(lab: Lab) -> Iterator[None]:
    """Another controller would label the same nodes by its own flags."""
    deployment = ("deployment", "sidecarpolicy-controller", "-n", SYSTEM)
    found = lab.kubectl("get", *deployment, "--ignore-not-found", "-o", "name")
    if found:
        lab.kubectl("scale", *deployment, "--replicas=0")
        gone = ("pod", "-n", SYSTEM, "-l", "app.kubernetes.io/component=controller")
        lab.kubectl("wait", "--for=delete", *gone, "--timeout=60s")
    yield
    if found:
        lab.kubectl("scale", *deployment, "--replicas=1")


@contextmanager
def controller(lab: Lab, place: Path, *flags: str) -> Iterator[None]:
    rights = own_rights(lab, "controller", place)
    with Controller(lab, place / "controller.log", kubeconfig=rights) as process:
        process.start("--log-format", "json", *flags)
        yield


def shows(lab: Lab, name: str, wanted: str) -> None:
    """Waits until this is the evidence on a node."""

    def evidence() -> str:
        node: JSON = json.loads(lab.kubectl("get", "node", name, "-o", "json"))
        return str(node["metadata"].get("annotations", {}).get("sidecarpolicy.dev/evidence"))

    eventually(evidence, until=lambda found: found == wanted)


def labelled(lab: Lab, wanted: dict[str, str]) -> None:
    eventually(lambda: node_labels(lab), until=lambda found: found == wanted, seconds=30)


def pod(name: str, node: str) -> JSON:
    """A Pod with a native sidecar, bound to a node."""
    image = {"image": "lab.local/busybox:1", "imagePullPolicy": "IfNotPresent"}
    sidecar = {**image, "name": "sidecar", "command": ["sleep", "60"], "restartPolicy": "Always"}
    app = {**image, "name": "app", "command": ["true"]}
    spec = {
        "nodeName": node,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "initContainers": [sidecar],
        "containers": [app],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def meets(lab: Lab, name: str, wanted: str) -> None:
    """Waits until the Pod is in this phase, for this reason if there is one."""

    def fate() -> str:
        status: JSON = json.loads(lab.kubectl("get", "pod", name, "-o", "json"))["status"]
        return " ".join(filter(None, (status["phase"], status.get("reason"))))

    eventually(fate, until=lambda found: found == wanted, seconds=60)


def test_by_version_alone_a_switched_off_gate_goes_unseen_and_the_evidence_says_so(
    gates: Lab, tmp_path: Path
) -> None:
    with controller(gates, tmp_path):
        labelled(gates, BY_VERSION)
        said = "on by default since 1.29; its feature gate was not read"
        shows(gates, "gated", f"kubelet v1.31.0: native sidecars are {said}")


@pytest.mark.parametrize("source", ["kubelet", "apiserver-proxy"])
def test_by_its_metrics_the_kubelet_whose_gate_is_off_is_found_out(
    source: str, gates: Lab, tmp_path: Path
) -> None:
    with controller(gates, tmp_path, "--node-metrics", source):
        labelled(gates, BY_GATE)
        for name, said in (
            ("gated", f"kubelet v1.31.0: {SAYS} off"),
            ("plain", f"kubelet v1.31.0: {SAYS} on"),
            ("old", f"kubelet v1.28.15: {SAYS} off"),
            ("new", "kubelet v1.36.3: native sidecars are GA since 1.33"),
        ):
            shows(gates, name, said)
    with controller(gates, tmp_path):  # leaves no reading to the next test
        labelled(gates, BY_VERSION)


def test_what_the_metrics_say_is_what_becomes_of_pods(gates: Lab) -> None:
    for name in ("plain", "gated", "old"):
        gates.kubectl("create", "-f", "-", input=json.dumps(pod(f"probe-{name}", name)))
    refused = "Failed InitContainerRestartPolicyForbidden"
    for name, wanted in (("plain", "Succeeded"), ("gated", refused), ("old", refused)):
        meets(gates, f"probe-{name}", wanted)
    gates.kubectl("delete", "pod", "probe-plain", "probe-gated", "probe-old", "--wait=false")


def status_of(lab: Lab, token: str | None) -> int:
    """What a kubelet answers who asks for its metrics with this token."""
    nodes = json.loads(lab.kubectl("get", "node", "gated", "-o", "json"))["status"]["addresses"]
    address = next(each["address"] for each in nodes if each["type"] == "InternalIP")
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    trusted = ssl.create_default_context(cafile=str(lab.layout.pki / "ca.crt"))
    asked = Request(f"https://{address}:10250/metrics", headers=headers)
    try:
        with lab.entered(), urlopen(asked, context=trusted, timeout=10) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def test_a_kubelet_lets_only_those_read_its_metrics_who_may(gates: Lab) -> None:
    def token(account: str) -> str:
        return gates.kubectl("create", "token", account, "-n", SYSTEM).strip()

    answers = {
        "nobody": status_of(gates, None),
        "a token that is none": status_of(gates, "abc"),
        "the controller": status_of(gates, token("sidecarpolicy-controller")),
        "the account for metrics": status_of(gates, token(ACCOUNT)),
    }
    assert answers == {
        "nobody": 401,
        "a token that is none": 401,
        # It may get nodes/proxy here, which kubelets ask about for other paths than /metrics.
        "the controller": 403,
        "the account for metrics": 200,
    }


def test_a_kubelet_that_is_restarted_with_another_gate_is_found_out(
    gates: Lab, tmp_path: Path
) -> None:
    flags = ("--node-metrics", "kubelet", "--node-metrics-recheck", "5")
    with controller(gates, tmp_path, *flags):
        labelled(gates, BY_GATE)
        gates.restart_kubelet("gated")
        gates.restart_kubelet("plain", GATE_OFF)
        labelled(gates, BY_GATE | {"gated": "true", "plain": "rejects"})
