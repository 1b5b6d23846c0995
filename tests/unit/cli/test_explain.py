"""`explain` as a person and as a program call it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from sidecarpolicy.cli import main
from tests.support.cluster import cluster_policy, deployment, policy, stateful_set

MESH = cluster_policy("mesh", sidecars=[{"name": "proxy", "image": "envoy"}])
ASKING = {"requests": {"cpu": "10m", "memory": "16Mi"}}


@pytest.fixture
def policies(tmp_path: Path) -> str:
    """Three policies; the last one selects nothing."""
    narrow = policy("narrow", selector={"matchLabels": {"tier": "db"}})
    made = [narrow, policy(), MESH]
    for sidecar in (each["spec"]["sidecars"][0] for each in made):
        sidecar["resources"] = ASKING
    path = tmp_path / "policies.yaml"
    path.write_text(yaml.safe_dump_all(made))
    return str(path)


def explain(*args: str, of: list[Any]) -> Result:
    return CliRunner().invoke(main, ["explain", *args], input=yaml.safe_dump_all(of))


def test_policies_are_told_in_the_order_in_which_they_act(policies: str) -> None:
    migrate = {"initContainers": [{"name": "migrate", "image": "app"}]}
    result = explain("deploy/web", "-p", policies, of=[deployment("web", pod=migrate)])
    assert result.exit_code == 0
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert lines == [
        "Deployment default/web",
        "POLICY                     SELECTS  ADDS                                 WHY NOT",
        "ClusterSidecarPolicy/mesh  yes      container/proxy, nodeTerm/Require",
        "SidecarPolicy/log-shipper  yes      container/shipper, nodeTerm/Require",
        "SidecarPolicy/narrow       no       nothing                              "
        "its selector asks for the Pod label tier=db",
        "Starts: proxy (ClusterSidecarPolicy/mesh) → shipper (SidecarPolicy/log-shipper) → "
        "migrate → the application",
        "",
    ]


def test_what_is_left_to_the_pods_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "policies.yaml"
    path.write_text(yaml.safe_dump_all([MESH, policy(injectAt="Pod")]))
    result = explain("deploy/web", "-p", str(path), of=[deployment("web")])
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert lines[2].endswith("container/proxy, nodeTerm/Require")
    assert lines[3].endswith("container/shipper (in Pods), nodeTerm/Require (in Pods)")
    assert lines[-2] == (
        "Starts: proxy (ClusterSidecarPolicy/mesh) → shipper (SidecarPolicy/log-shipper) → "
        "the application"
    )
    told = json.loads(explain("-p", str(path), "-o", "json", of=[deployment("web")]).stdout)
    assert [each["atPods"] for each in told[0]["policies"]] == [
        [],
        ["container/shipper", "nodeTerm/Require"],
    ]


def test_a_sidecar_that_requests_nothing_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "policies.yaml"
    path.write_text(yaml.safe_dump(policy()))
    result = explain("deploy/web", "-p", str(path), of=[deployment("web")])
    assert "Note: SidecarPolicy/log-shipper: sidecar 'shipper' requests no cpu" in result.stdout
    assert result.exit_code == 0


def test_what_is_in_the_way_is_told_and_makes_the_exit_code_1(policies: str) -> None:
    clash = deployment("web", pod={"initContainers": [{"name": "shipper", "image": "mine"}]})
    result = explain("-p", policies, "-o", "json", of=[clash])
    assert result.exit_code == 1
    (told,) = json.loads(result.stdout)
    assert told["initContainers"] == [
        {"name": "proxy", "addedBy": "ClusterSidecarPolicy/mesh"},
        {"name": "shipper", "addedBy": None},
    ]
    shipper = told["policies"][1]
    assert (shipper["selected"], shipper["reason"], shipper["adds"]) == (True, "NameConflict", [])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        pytest.param(
            {"selector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}},
            "its selector asks for the Pod label a in (b)",
            id="labels",
        ),
        pytest.param(
            {"targets": [{"kind": "Deployment", "name": "api"}]},
            "its targets do not name Deployment web",
            id="targets",
        ),
        pytest.param(
            {"namespaceSelector": {"matchLabels": {"mesh": "on"}}},
            "its namespaceSelector asks for mesh=on",
            id="namespace",
        ),
    ],
)
def test_a_policy_that_does_not_select_says_why(changes: Any, why: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(cluster_policy("mesh", **changes)))
    result = explain("-p", str(path), "-o", "yaml", of=[deployment("web")])
    told = yaml.safe_load(result.stdout)
    assert told["policies"][0]["message"] == why


@pytest.mark.parametrize("name", ["deploy/web", "deployment/web", "Deployments/web", "sts/web"])
def test_a_workload_is_named_as_for_kubectl(name: str, policies: str) -> None:
    result = explain(name, "-p", policies, of=[deployment("web"), stateful_set("web")])
    kind = "StatefulSet" if name == "sts/web" else "Deployment"
    assert result.stdout.splitlines()[0] == f"{kind} default/web"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("web", "is no workload"),
        ("service/web", "is no workload"),
        ("deploy/x", "no workload deploy/x"),
    ],
)
def test_a_workload_that_is_not_there_is_unusable_input(
    name: str, complaint: str, policies: str
) -> None:
    result = explain(name, "-p", policies, of=[deployment("web")])
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_a_universal_sidecar_is_explained_with_all_that_is_added_for_it(tmp_path: Path) -> None:
    shipper = {"name": "shipper", "image": "x", "command": ["run"], "resources": ASKING}
    made = policy(mode="Universal", sidecars=[shipper], nodeRule="None")
    path = tmp_path / "policies.yaml"
    path.write_text(yaml.safe_dump(made))
    result = explain("deploy/web", "-p", str(path), "-o", "json", of=[deployment("web")])
    (found,) = json.loads(result.stdout)
    key = "SidecarPolicy/log-shipper"
    assert found["initContainers"] == [
        {"name": "shipper-prepare", "addedBy": key},
        {"name": "shipper", "addedBy": key},
    ]
    assert found["policies"][0]["adds"] == [
        "container/shipper",
        "container/shipper-prepare",
        "regularContainer/shipper-ordinary",
        "volume/shipper-universal",
    ]
