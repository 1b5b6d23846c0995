"""A mixed cluster of real kubelets, with the operator installed as users install it."""

import json
from collections.abc import Iterator
from uuid import uuid4

import pytest

from lab import Lab, Node
from tests.support.admission import trusted
from tests.support.cluster import ROOT, Namespace
from tests.support.hanging import HANGING, leave_hanging
from tests.support.labs import lab_for
from tests.support.waiting import eventually

IMAGE = "lab.local/sidecarpolicy:test"
SYSTEM = "sidecarpolicy-system"
NODES = (Node("new", "1.36.3"), Node("old", "1.28.15"), Node("oldest", "1.26.15"))


@pytest.fixture(scope="session")
def kubelets() -> Iterator[Lab]:
    """Kubelets 1.36.3, 1.28.15 and 1.26.15 under one control plane."""
    lab = lab_for("e2e")
    lab.down()
    lab.up()
    for node in NODES:
        lab.add_node(node, wait=False)
    lab.wait_nodes()
    leave_hanging(lab)
    yield lab
    lab.down()


@pytest.fixture(scope="session")
def hanging(kubelets: Lab) -> Namespace:
    """A Job that hangs from the start, so that the minute for that is over when a test asks."""
    return Namespace(kubelets, HANGING)


@pytest.fixture(scope="session")
def operator(kubelets: Lab) -> Lab:
    """The operator, running as a Pod from the image that the Dockerfile makes."""
    build_args = {"PYTHON_IMAGE": "lab.local/python:3.11"}
    kubelets.import_image(kubelets.build_image(ROOT, IMAGE, build_args), "new")
    install(kubelets)
    return kubelets


def install(lab: Lab) -> None:
    """Installs the operator from its image, and waits until both its processes serve."""
    lab.kubectl("apply", "-f", "-", input=kustomized(lab, IMAGE))
    for name in ("controller", "webhook"):
        rollout = ("rollout", "status", f"deployment/sidecarpolicy-{name}", "--timeout=120s")
        lab.kubectl("-n", SYSTEM, *rollout)
    eventually(lambda: trusted(lab))


def kustomized(lab: Lab, image: str) -> str:
    """What `kubectl apply -k .` would apply, with an image that the lab has on one node."""
    name, _, tag = image.rpartition(":")
    rendered = lab.kubectl("kustomize", str(ROOT))
    released = "ghcr.io/sidecarpolicy/sidecarpolicy:0.1.0"
    assert rendered.count(released) == 2  # controller and webhook
    pinned = "nodeSelector:\n        kubernetes.io/hostname: new"
    assert rendered.count("      nodeSelector:\n        kubernetes.io/os") == 2
    return rendered.replace(released, f"{name}:{tag}").replace("nodeSelector:", pinned)


@pytest.fixture
def shop(operator: Lab) -> Iterator[Namespace]:
    """A namespace of the test's own."""
    name = f"shop-{uuid4().hex[:6]}"
    operator.kubectl("create", "namespace", name)
    yield Namespace(operator, name)
    operator.kubectl("delete", "namespace", name, "--wait=false")


def operator_log(lab: Lab) -> str:
    return lab.kubectl("-n", SYSTEM, "logs", "deploy/sidecarpolicy-controller")


def node_labels(lab: Lab) -> dict[str, str | None]:
    nodes = json.loads(lab.kubectl("get", "nodes", "-o", "json"))["items"]
    key = "sidecarpolicy.dev/native-sidecars"
    return {each["metadata"]["name"]: each["metadata"]["labels"].get(key) for each in nodes}


@pytest.fixture
def labelled(operator: Lab) -> Lab:
    """The cluster once the operator has judged all its nodes."""
    eventually(lambda: node_labels(operator), until=lambda labels: None not in labels.values())
    return operator
