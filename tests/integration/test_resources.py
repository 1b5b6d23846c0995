"""Our numbers against Kubernetes' own: kubectl, the API server's QoS class, and the scheduler.

Each shape of Pod gets a node that has just what we say it requests, and for each resource
another node that has the smallest amount less of it. The nodes are objects without kubelets.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
import yaml

from lab import Lab
from sidecarpolicy.core.qos import qos_class
from sidecarpolicy.core.quantity import Quantity
from sidecarpolicy.core.resources import canonical, pod_resources, positive, subtract
from tests.support.waiting import eventually

JSON = dict[str, Any]

OVERHEAD = {"cpu": "250m", "memory": "120Mi"}
GPU = "example.com/gpu"
SMALLEST = {"cpu": "0.001", "memory": "1", "ephemeral-storage": "1", GPU: "1"}


def container(name: str, *, limits: JSON | None = None, **requests: str) -> JSON:
    resources = {"requests": requests, "limits": limits or {}}
    return {"name": name, "image": "lab.local/busybox:1", "resources": resources}


def native(name: str, *, limits: JSON | None = None, **requests: str) -> JSON:
    return {**container(name, limits=limits, **requests), "restartPolicy": "Always"}


APP = container("app", cpu="250m", memory="128Mi")
BARE = container("app")
BOTH = {"cpu": "2", "memory": "1Gi"}
EQUAL = container("app", limits=BOTH)
MIGRATE = container("migrate", cpu="1500m", memory="1Gi")
SHIPPER = native("shipper", cpu="50m", memory="64Mi")
PROXY = native("proxy", cpu="0.1", memory="0.1Gi", limits={"cpu": "1", "memory": "200M"})

SHAPES: Mapping[str, JSON] = {
    "plain": {"containers": [APP, container("second", cpu="1", memory="100M")]},
    "sidecar": {"containers": [APP], "initContainers": [SHIPPER]},
    "sidecar-before-a-big-init-container": {
        "containers": [APP],
        "initContainers": [SHIPPER, MIGRATE],
    },
    "sidecar-after-a-big-init-container": {
        "containers": [APP],
        "initContainers": [MIGRATE, SHIPPER],
    },
    "sidecars-around-init-containers": {
        "containers": [APP],
        "initContainers": [SHIPPER, container("one", cpu="1"), PROXY, MIGRATE, native("last")],
    },
    "limits-only": {
        "containers": [container("app", limits={"memory": "1Gi"})],
        "initContainers": [native("shipper", limits={"cpu": "200m", "memory": "64Mi"})],
    },
    "runtime-class": {"containers": [EQUAL], "initContainers": [PROXY], "overhead": OVERHEAD},
    "resources-of-every-name": {
        "containers": [container("app", limits={GPU: "2"}, **{"ephemeral-storage": "1Gi"})],
        "initContainers": [native("s", limits={GPU: "1"}, **{"ephemeral-storage": "1.5Gi"})],
    },
    "pod-level-requests": {
        "containers": [APP],
        "initContainers": [SHIPPER],
        "resources": {"requests": {"cpu": "1"}, "limits": BOTH},
    },
    "pod-level-limits": {"containers": [BARE], "resources": {"limits": BOTH}},
    "pod-level-limits-and-a-sidecar-that-requests": {
        "containers": [BARE],
        "initContainers": [SHIPPER],
        "resources": {"limits": BOTH},
    },
    "pod-level-resources-that-are-empty": {"containers": [EQUAL], "resources": {}},
    "guaranteed": {
        "containers": [EQUAL],
        "initContainers": [native("shipper", limits={"cpu": "50m", "memory": "64Mi"})],
    },
    "guaranteed-no-more": {"containers": [EQUAL], "initContainers": [SHIPPER]},
    "best-effort": {"containers": [BARE], "initContainers": [native("shipper")]},
}


def ours(shape: str) -> dict[str, Quantity]:
    """What we say that a Pod requests of what a node can lack."""
    return dict(positive(pod_resources({"spec": SHAPES[shape]}).requests))


def one_less(resource: str) -> Mapping[str, Quantity]:
    return {resource: Quantity(Decimal(SMALLEST[resource]))}


@dataclass(frozen=True)
class Trial:
    """A Pod, and a node of the same name that only this Pod may go to."""

    name: str
    spec: JSON
    allocatable: Mapping[str, Quantity]

    def node(self) -> JSON:
        amounts = {"pods": "110", **canonical(self.allocatable)}
        labels = {"kubernetes.io/hostname": self.name, "trial": "true"}
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": labels},
            "status": {"capacity": amounts, "allocatable": amounts},
        }

    def pod(self, namespace: str) -> JSON:
        placed = {
            "nodeSelector": {"kubernetes.io/hostname": self.name},
            "tolerations": [{"operator": "Exists"}],  # no kubelet makes the node ready
            "terminationGracePeriodSeconds": 0,
            **({"runtimeClassName": namespace} if "overhead" in self.spec else {}),
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name, "namespace": namespace},
            "spec": {**self.spec, **placed},
        }


def trials() -> Iterator[Trial]:
    for shape, spec in SHAPES.items():
        exact = ours(shape)
        yield Trial(shape, spec, exact)
        for resource in exact:
            yield Trial(short_of(resource, shape), spec, subtract(exact, one_less(resource)))


def short_of(resource: str, shape: str) -> str:
    return f"{shape}-short-of-{resource.rpartition('/')[2]}"


@dataclass(frozen=True)
class Seen:
    """What Kubernetes made of the trials: Pods by name, and kubectl's words on each node."""

    pods: Mapping[str, JSON]
    described: Mapping[str, str]

    def allocated(self, node: str) -> dict[str, tuple[str, str]]:
        """Requests and limits by resource, as `kubectl describe node` sums them up."""
        table = self.described[node].partition("Allocated resources:")[2]
        lines = re.findall(r"^  ([a-z]\S*) +(\S+)(?: \(\S+%\))? +(\S+)", table, re.MULTILINE)
        return {name: (requests, limits) for name, requests, limits in lines}

    def line(self, pod: str) -> list[str]:
        """cpu requests and limits, memory requests and limits in the Pod's own line."""
        found = re.search(rf"^  \S+ +{pod} +(.*)$", self.described[pod], re.MULTILINE)
        assert found is not None, self.described[pod]
        return re.findall(r"(\S+) \(\S+%\)", found[1])

    def verdict(self, pod: str) -> str:
        """The scheduler's: the node that it chose, or why it found none."""
        seen = self.pods[pod]
        conditions = seen["status"].get("conditions", [])
        said = [each.get("message", "") for each in conditions if each["type"] == "PodScheduled"]
        return str(seen["spec"].get("nodeName") or " ".join(said))


@pytest.fixture(scope="module")
def seen(cluster: Lab) -> Iterator[Seen]:
    """All trials, once the scheduler has decided on each Pod."""
    namespace, all_trials = f"sizes-{uuid4().hex[:6]}", list(trials())
    runtime = {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": namespace},
        "handler": "heavy",
        "overhead": {"podFixed": OVERHEAD},
    }
    cluster.kubectl("create", "namespace", namespace)
    cluster.kubectl("-n", namespace, "wait", "--for=create", "serviceaccount/default")
    create(cluster, runtime, *(each.node() for each in all_trials))
    create(cluster, *(each.pod(namespace) for each in all_trials))
    yield eventually(lambda: look(cluster, namespace), until=decided)
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")
    cluster.kubectl("delete", "nodes", "-l", "trial=true", "--wait=false")
    cluster.kubectl("delete", "runtimeclass", namespace)


def create(cluster: Lab, *objects: JSON) -> None:
    cluster.kubectl("create", "-f", "-", input=yaml.safe_dump_all(objects))


def look(cluster: Lab, namespace: str) -> Seen:
    pods = json.loads(cluster.kubectl("-n", namespace, "get", "pods", "-o", "json"))["items"]
    text = cluster.kubectl("describe", "nodes", "-l", "trial=true")
    nodes = re.split(r"^Name: +(\S+)$", text, flags=re.MULTILINE)[1:]
    return Seen(
        pods={each["metadata"]["name"]: each for each in pods},
        described=dict(zip(nodes[::2], nodes[1::2], strict=True)),
    )


def decided(seen: Seen) -> bool:
    """A Pod that was tried before its node was known is tried again."""
    verdicts = [seen.verdict(pod) for pod in seen.pods]
    return all(each in seen.pods or "Insufficient" in each for each in verdicts)


@pytest.mark.parametrize("shape", SHAPES)
def test_kubectl_prints_the_same_requests_and_limits(seen: Seen, shape: str) -> None:
    pod = pod_resources({"spec": SHAPES[shape]})
    requests, limits = canonical(pod.requests), canonical(pod.limits)
    columns = [each.get(name, "0") for name in ("cpu", "memory") for each in (requests, limits)]
    assert seen.line(shape) == columns
    allocated = seen.allocated(shape)
    assert allocated == {
        name: (requests.get(name, "0"), limits.get(name, "0")) for name in allocated
    }
    assert allocated.keys() >= requests.keys() | limits.keys()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_api_server_gives_the_same_qos_class(seen: Seen, shape: str) -> None:
    expected = seen.pods[shape]["status"]["qosClass"]
    assert qos_class(pod_resources({"spec": SHAPES[shape]})) == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_the_api_servers_defaults_change_no_number(seen: Seen, shape: str) -> None:
    written, stored = pod_resources({"spec": SHAPES[shape]}), pod_resources(seen.pods[shape])
    assert (written.requests, written.limits) == (stored.requests, stored.limits)
    assert qos_class(written) == qos_class(stored)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_node_with_just_that_much_takes_the_pod(seen: Seen, shape: str) -> None:
    assert seen.verdict(shape) == shape


@pytest.mark.parametrize(
    ("shape", "resource"), [(shape, each) for shape in SHAPES for each in ours(shape)]
)
def test_a_node_with_the_smallest_amount_less_does_not(
    seen: Seen, shape: str, resource: str
) -> None:
    assert f"1 Insufficient {resource}" in seen.verdict(short_of(resource, shape))
