"""`doctor` on a real API server: read rights are enough, and what they do not cover is said."""

from collections.abc import Iterator

import pytest

from lab import Lab
from tests.support import doctors
from tests.support.cluster import JSON, Namespace
from tests.support.patients import recorded
from tests.support.users import User, admin, grant, person, right

INIT: JSON = {"name": "shipper", "image": "lab.local/busybox:1"}


@pytest.fixture
def space(cluster: Lab) -> Iterator[Namespace]:
    """A namespace; nothing of ours need be installed."""
    cluster.kubectl("create", "namespace", "doctor")
    yield Namespace(cluster, "doctor")
    cluster.kubectl("delete", "namespace", "doctor", "--timeout=60s")


def pod(name: str, init: JSON, **meta: object) -> JSON:
    spec = {
        "initContainers": [init],
        "containers": [{**INIT, "name": "web"}],
        "nodeName": "nowhere",
        "terminationGracePeriodSeconds": 0,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **meta}, "spec": spec}


def doctor(user: User, *arguments: str) -> tuple[int, str, JSON]:
    """What `doctor` says of the namespace."""
    return doctors.doctor(user, *arguments, "-n", "doctor")


def test_whoever_may_only_get_the_pod_learns_what_it_tells(space: Namespace) -> None:
    reader = person(space.lab, "reader")
    space.apply(pod("stripped", INIT, **recorded()))
    code, error, _ = doctor(reader, "pod/stripped")
    assert (code, 'cannot get resource "pods"' in error) == (2, True)
    grant(space, reader, [right("get", "pods")])
    code, error, report = doctor(reader, "pod/stripped")
    assert (code, error) == (1, "")
    assert report["pods"][0]["reason"] == "RestartPolicyStripped"
    node, events = report["unread"]
    assert node.startswith("node nowhere, so it is not known what it does with native sidecars")
    assert events.startswith("events about the Pod: ")
    code, _, report = doctor(reader, "deploy/web")
    assert (code, report) == (2, {})  # to list Pods is another right


def test_a_workload_has_its_own_pods_and_a_pod_that_is_not_there_cannot_be_read(
    space: Namespace,
) -> None:
    space.apply(pod("stripped", INIT, **recorded()))
    code, _, report = doctor(admin(space.lab), "deploy/web")
    assert (code, report["pods"]) == (0, [])
    code, _, report = doctor(admin(space.lab))
    assert (code, [each["name"] for each in report["pods"]]) == (1, ["stripped"])
    space.apply(pod("plain", INIT))
    code, _, report = doctor(admin(space.lab), "pod/plain")
    assert (code, report["pods"][0]["reason"]) == (0, None)
    code, error, _ = doctor(admin(space.lab), "pod/gone")
    assert (code, error) == (2, 'Error: pods "gone" not found (HTTP 404)\n')
