"""`doctor` on whole clusters: without the operator and with it, and for people who may do little.

A lab of its own, because what it finds in a cluster depends on all that other tests leave there.
The tests without the operator come first.
"""

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lab import Lab
from tests.support import stripper
from tests.support.admission import CONFIGURATION, SYSTEM, own_rights
from tests.support.audit import writes
from tests.support.cluster import JSON, ROOT, Namespace, policy
from tests.support.doctors import doctor, printed, said, states
from tests.support.labs import lab_for
from tests.support.patients import recorded
from tests.support.processes import Controller
from tests.support.users import User, admin, dismiss, grant, grant_everywhere, person, right
from tests.support.waiting import eventually

SEES = ("list", "nodes"), ("list", "pods"), ("list", "events")
"""What people need to see nodes and Pods, and nothing else."""

ENDPOINTS: JSON = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {
        "name": "by-hand",  # the Pods that kwok plays have no addresses
        "labels": {"kubernetes.io/service-name": "sidecarpolicy-webhook"},
    },
    "addressType": "IPv4",
    "endpoints": [
        {"addresses": ["10.1.2.3"], "conditions": {"ready": True}},
        {"addresses": ["10.1.2.4"], "conditions": {"ready": False}},
    ],
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A cluster with one capable node, and nothing else."""
    made = lab_for("doctor")
    made.down()
    made.up()
    made.add_fake_nodes(1, kubelet="1.36.3", prefix="new")
    yield made
    made.down()


@pytest.fixture
def shop(lab: Lab) -> Iterator[Namespace]:
    """A namespace."""
    lab.kubectl("create", "namespace", "shop")
    yield Namespace(lab, "shop")
    lab.kubectl("delete", "namespace", "shop", "--timeout=60s")


@pytest.fixture(scope="module")
def operator(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """All that we install. kwok plays the Pods; a controller beside the cluster does the work."""
    objects = list(yaml.safe_load_all(lab.kubectl("kustomize", str(ROOT))))
    kinds = [each for each in objects if each["kind"] in ("Namespace", "CustomResourceDefinition")]
    lab.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(kinds))
    lab.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    lab.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(objects))
    place = tmp_path_factory.mktemp("doctor")
    own = own_rights(lab, "controller", place)
    with Controller(lab, place / "controller.log", kubeconfig=own) as controller:
        controller.start("--log-format", "json")
        lab.kubectl("-n", SYSTEM, "rollout", "status", "deployment", "--timeout=60s")
        yield controller


def test_a_cluster_in_order_without_the_operator_is_fine_and_nothing_is_written(lab: Lab) -> None:
    before = len(writes(lab))
    code, error, report = doctor(admin(lab))
    assert (code, error) == (0, "")
    assert states(report) == dict.fromkeys(
        [
            "api-server", "nodes", "node-labels", "dry-run", "mutating-webhooks", "operator",
            "policies", "pods", "jobs",
        ],
        "fine",
    )  # fmt: skip
    assert said(report, "operator")["message"] == "not installed"
    assert (report["pods"], report["refused"], report["unread"]) == ([], [], [])
    assert len(writes(lab)) == before
    code, _, output = printed(admin(lab), "-n", "default")
    assert (code, output.splitlines()[-1]) == (0, "Nothing is wrong")
    assert "✓ Nodes               1 of 1 nodes run native sidecars" in output


def test_where_nobody_answers_or_knows_who_asks_it_ends_with_2(lab: Lab, tmp_path: Path) -> None:
    somebody = User(lab, "somebody", tmp_path / "config")
    config = json.loads(lab.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "of nobody"}
    somebody.kubeconfig.write_text(json.dumps(config))
    code, error, report = doctor(somebody)
    assert (code, report) == (2, {})
    assert error.startswith("Error: the API server does not know you: ")
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    somebody.kubeconfig.write_text(json.dumps(config))
    code, error, report = doctor(somebody)
    assert (code, report) == (2, {})
    assert error.startswith("Error: the API server does not answer: ")


def test_whoever_may_do_next_to_nothing_is_told_so_and_nothing_is_a_problem(lab: Lab) -> None:
    code, error, report = doctor(person(lab, "nobody"))
    assert (code, error) == (0, "")
    assert states(report) == {
        "api-server": "fine",
        "nodes": "unknown",
        "node-labels": "unknown",
        "dry-run": "unknown",
        "mutating-webhooks": "unknown",
        "operator": "fine",  # which groups of kinds are served, everybody may know
        "policies": "fine",
        "pods": "unknown",
        "jobs": "unknown",
    }
    assert said(report, "dry-run")["message"].startswith("not tried in namespace default: pods is")
    assert report["pods"] is None


def test_whoever_may_only_read_gets_all_but_what_takes_more(lab: Lab) -> None:
    reader = person(lab, "reader")
    grant_everywhere(reader, [right(*each) for each in SEES])
    code, _, report = doctor(reader)
    dismiss(reader)
    unknown = {check for check, state in states(report).items() if state != "fine"}
    assert (code, unknown) == (0, {"dry-run", "mutating-webhooks"})


def test_a_node_that_is_not_capable_and_a_pod_that_is_stuck_are_problems(shop: Namespace) -> None:
    shop.lab.add_fake_nodes(1, kubelet="1.28.15", prefix="old")
    container = {"name": "web", "image": "lab.local/busybox:1"}
    spec = {
        "initContainers": [{**container, "name": "shipper"}],
        "containers": [container],
        "nodeName": "nowhere",
        "terminationGracePeriodSeconds": 0,
    }
    meta = {"name": "web", **recorded()}
    shop.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    code, _, report = doctor(admin(shop.lab))
    code_elsewhere, _, elsewhere = doctor(admin(shop.lab), "-n", "default")
    _, _, output = printed(admin(shop.lab), "-n", "shop")
    shop.lab.kubectl("delete", "node", "old-0")
    nodes = said(report, "nodes")
    assert (code, nodes["state"], len(nodes["details"])) == (1, "problem", 1)
    assert nodes["details"][0].startswith("old-0: kubelet v1.28.15: ")
    assert said(report, "pods")["state"] == "problem"
    assert (code_elsewhere, said(elsewhere, "pods")["state"]) == (1, "fine")
    assert "    Pod shop/web: RestartPolicyStripped" in output.splitlines()


def test_a_webhook_that_strips_is_found_and_named(shop: Namespace, tmp_path: Path) -> None:
    with stripper.registered(shop, tmp_path):
        code, _, report = doctor(admin(shop.lab), "-n", shop.name)
        _, _, elsewhere = doctor(admin(shop.lab), "-n", "default")
    lost, webhooks = said(report, "dry-run"), said(report, "mutating-webhooks")
    assert (code, lost["state"], lost["reason"]) == (1, "problem", "RestartPolicyStripped")
    assert (webhooks["state"], webhooks["reason"]) == ("problem", "StrippedByWebhook")
    named = "MutatingWebhookConfiguration stripper (webhook stripper.example.com)"
    assert webhooks["details"] == [named]
    assert said(elsewhere, "dry-run")["state"] == "fine"


def test_an_operator_is_looked_at_part_by_part(lab: Lab, operator: Controller) -> None:
    code, _, report = doctor(admin(lab))
    registration = said(report, "webhook-registration")
    assert (code, registration["reason"]) == (1, "WebhookNotRegistered")  # nobody filled it in
    assert "no caBundle in workloads.sidecarpolicy.dev" in registration["message"]
    assert said(report, "webhook-endpoints")["state"] == "problem"
    trust = [
        {"op": "add", "path": f"/webhooks/{each}/clientConfig/caBundle", "value": _bundle(lab)}
        for each in (0, 1)
    ]
    lab.kubectl("patch", CONFIGURATION, "--type=json", "-p", json.dumps(trust))
    Namespace(lab, SYSTEM).apply(ENDPOINTS)
    _, _, report = eventually(lambda: doctor(admin(lab)), until=lambda found: found[0] == 0)
    assert set(states(report).values()) == {"fine"}
    expected = {
        "controller": "1 of 1 Pods are available",
        "controller-rights": "its ServiceAccount has every right that it needs",
        "webhook": "2 of 2 Pods are available",
        "webhook-registration": "registered with a caBundle, failurePolicy Ignore",
        "webhook-endpoints": "its Service has 1 ready endpoint",
    }
    assert {check: said(report, check)["message"] for check in expected} == expected


def _bundle(lab: Lab) -> str:
    """Some certificate of an authority: nobody answers here anyway."""
    config = json.loads(lab.kubeconfig.read_text())
    file = Path(config["clusters"][0]["cluster"]["certificate-authority"])
    return b64encode(file.read_bytes()).decode()


def test_rights_that_were_taken_away_and_a_process_that_does_not_run_are_named(
    lab: Lab, operator: Controller
) -> None:
    role = json.loads(lab.kubectl("get", "clusterrole", "sidecarpolicy-webhook", "-o", "json"))
    nothing = json.dumps({"rules": []})
    lab.kubectl("patch", "clusterrole", "sidecarpolicy-webhook", "--type=merge", "-p", nothing)
    lab.kubectl("-n", SYSTEM, "scale", "deployment", "sidecarpolicy-webhook", "--replicas=0")
    try:
        wrong = {"webhook-rights", "webhook"}
        _, _, report = eventually(
            lambda: doctor(admin(lab)),
            until=lambda found: wrong <= {c for c, s in states(found[2]).items() if s == "problem"},
        )
    finally:
        rules = json.dumps({"rules": role["rules"]})
        lab.kubectl("patch", "clusterrole", "sidecarpolicy-webhook", "--type=merge", "-p", rules)
        lab.kubectl("-n", SYSTEM, "scale", "deployment", "sidecarpolicy-webhook", "--replicas=2")
    lacked = said(report, "webhook-rights")
    assert lacked["message"] == "its ServiceAccount lacks 8 rights that it needs"
    assert "watch sidecarpolicies.sidecarpolicy.dev" in lacked["details"]
    assert said(report, "webhook")["message"] == "it is scaled to 0"
    assert said(report, "controller-rights")["state"] == "fine"


def test_a_reader_is_told_that_rights_were_not_asked_about(lab: Lab, operator: Controller) -> None:
    reader = person(lab, "reader")
    grant_everywhere(reader, [right("list", "deployments.apps")])
    code, _, report = doctor(reader)
    dismiss(reader)
    rights = said(report, "controller-rights")
    assert (said(report, "crds")["state"], rights["state"]) == ("fine", "unknown")
    assert rights["message"].startswith("not asked, which takes create on subjectaccessreviews: ")
    assert code == 0


def test_a_policy_that_does_not_work_is_told_with_its_reason(
    shop: Namespace, operator: Controller
) -> None:
    shop.apply(policy("logs", sidecars=[{"name": "logs", "image": "x", "ports": [{}]}]))
    _, _, report = eventually(
        lambda: doctor(admin(shop.lab), "-n", shop.name),
        until=lambda found: states(found[2]).get("policies") == "problem",
    )
    told = said(report, "policies")
    assert (told["about"], told["reason"]) == ("SidecarPolicy shop/logs", "Invalid")
    assert told["message"].startswith("Accepted is False: ")
    _, _, elsewhere = doctor(admin(shop.lab), "-n", "default")
    assert said(elsewhere, "policies")["state"] == "fine"
    reader = person(shop.lab, "shop-reader")
    grant(shop, reader, [right("list", "sidecarpolicies.sidecarpolicy.dev")])
    _, _, report = doctor(reader, "-n", shop.name)
    found = [each for each in report["checks"] if each["check"] == "policies"]
    assert [each["state"] for each in found] == ["problem", "unknown"]
    assert found[1]["message"].startswith("could not read clustersidecarpolicies: ")
