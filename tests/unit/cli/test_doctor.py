"""`doctor` without a cluster: what it is asked about, and how it reports."""

import json

import pytest
from click.testing import CliRunner

from sidecarpolicy.cli import main
from sidecarpolicy.cli.doctor import Examination, Report, Target, target
from sidecarpolicy.cli.doctor_view import as_data, lines
from sidecarpolicy.cli.manifests import UnusableInputError
from sidecarpolicy.core.diagnosis import Case, diagnose
from sidecarpolicy.core.podfacts import concerns_us, pod_facts
from sidecarpolicy.core.refused import refusal_of
from tests.support.patients import (
    JSON,
    NOW,
    SERVES,
    ago,
    container,
    init,
    node,
    pod,
    recorded,
    running,
    sidecar,
    waiting,
)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("", Target("shop")),
        ("pod/web-1", Target("shop", "Pod", "web-1")),
        ("PO/web-1", Target("shop", "Pod", "web-1")),
        ("deploy/web", Target("shop", "Deployment", "web")),
        ("statefulsets/db", Target("shop", "StatefulSet", "db")),
        ("job/nightly", Target("shop", "Job", "nightly")),
    ],
)
def test_what_is_asked_about(asked: str, expected: Target) -> None:
    assert target(asked, "shop") == expected


@pytest.mark.parametrize("asked", ["web-1", "pod/", "svc/web", "/web"])
def test_what_is_not_understood(asked: str) -> None:
    with pytest.raises(UnusableInputError, match="pod/NAME"):
        target(asked, "shop")


def test_one_pod_is_in_one_namespace() -> None:
    with pytest.raises(UnusableInputError, match="-n instead of -A"):
        target("pod/web-1", "")
    assert target("", "") == Target("")


def examined(raw: JSON, *events: str) -> Examination:
    facts, known = pod_facts(raw), node()
    found = diagnose(Case(facts, NOW, known))
    return Examination(facts, known, found, concerns_us(raw), events)


RUNS = pod(sidecar(SERVES), apps=(container("web", running()),), phase="Running")
NO_IMAGE = pod(sidecar(waiting("ErrImagePull", "no such host")), meta=recorded())


def test_a_pod_in_order_is_shown_with_its_containers() -> None:
    assert list(lines(Report((examined(RUNS),)))) == [
        "Pod shop/web-1: nothing wrong with its native sidecars",
        "  Node:  n1 (kubelet v1.36.3: native sidecars are GA since 1.33)",
        "  Native sidecar shipper: running",
        "  Container web: running",
    ]


def test_a_pod_in_trouble_is_shown_with_what_to_do_and_what_kubernetes_said() -> None:
    report = Report((examined(NO_IMAGE, "Failed: no such host"),), unread=("node n1: forbidden",))
    assert list(lines(report)) == [
        "Pod shop/web-1: ImagePullFailing",
        "  What:  image shipper:1 of sidecar shipper cannot be pulled.",
        "  Next:  Check its name and tag, whether the node reaches the registry, and the Pod's "
        "imagePullSecrets.",
        "  Seen:  no such host",
        "  Node:  n1 (kubelet v1.36.3: native sidecars are GA since 1.33)",
        "  Native sidecar shipper: waiting: ErrImagePull",
        "  Container web: waiting: PodInitializing",
        "  Event: Failed: no such host",
        "Could not read node n1: forbidden",
    ]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (pod(init(running(1))), "has no native sidecars"),
        (pod(sidecar(running())), "nothing wrong so far; it is starting"),
    ],
    ids=["without sidecars", "that starts"],
)
def test_a_pod_is_told_from_one_that_runs_if_it_is_one(raw: JSON, expected: str) -> None:
    assert next(lines(Report((examined(raw),)))) == f"Pod shop/web-1: {expected}"


def test_of_many_pods_only_those_in_trouble_are_shown() -> None:
    shown = list(lines(Report((examined(RUNS), examined(NO_IMAGE), examined(RUNS)))))
    assert shown[0] == "Pod shop/web-1: ImagePullFailing"
    assert shown[-1] == "3 Pods with native sidecars; something is wrong with 1"
    assert len(shown) == 5


def test_programs_get_every_pod_and_owners_without_pods() -> None:
    event = {
        "metadata": {},
        "reason": "FailedCreate",
        "message": "may not be set for init containers without restartPolicy=Always",
        "involvedObject": {"kind": "Job", "namespace": "shop", "name": "nightly", "uid": "u"},
        "lastTimestamp": ago(1),
    }
    refusal = refusal_of(event)
    assert refusal is not None
    report = Report((examined(RUNS), examined(NO_IMAGE)), (refusal,))
    data = json.loads(json.dumps(as_data(report)))
    assert [each["reason"] for each in data["pods"]] == [None, "ImagePullFailing"]
    assert data["pods"][0]["sidecars"] == [{"name": "shipper", "running": True}]
    assert data["pods"][1]["policies"] == ["SidecarPolicy/log-shipper"]
    (refused,) = data["refused"]
    assert (refused["name"], refused["reason"]) == ("nightly", "RestartPolicyStripped")
    assert not report.healthy


def test_without_a_cluster_it_ends_with_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    for arguments in (["pod/web-1"], ["pod/web-1", "-n", "shop"], ["foo"]):
        answer = CliRunner().invoke(main, ["doctor", *arguments])
        assert answer.exit_code == 2, answer.output
        assert answer.output.startswith("Error: ")
