"""Our kustomize components: what each adds to the installation, and that all else stays."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import Lab
from tests.support.cluster import ROOT

JSON = dict[str, Any]
COMPONENTS = ROOT / "deploy" / "components"


@pytest.mark.parametrize(
    ("component", "kinds", "flag"),
    [
        (
            "node-metrics",
            ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount"],
            "--node-metrics=kubelet",
        ),
        (
            "node-metrics-proxy",
            ["ClusterRole", "ClusterRoleBinding"],
            "--node-metrics=apiserver-proxy",
        ),
    ],
)
def test_a_component_adds_its_rights_and_a_flag_of_the_controller(
    component: str, kinds: list[str], flag: str, cluster: Lab, tmp_path: Path
) -> None:
    plain = objects(cluster.kubectl("kustomize", str(ROOT)))
    made = objects(kustomized(cluster, tmp_path, component))
    prefix = f"sidecarpolicy-{component}"
    new = [each for each in made if each["metadata"]["name"].startswith(prefix)]
    assert sorted(each["kind"] for each in new) == kinds
    (controller,) = (each for each in made if each not in plain and each not in new)
    args(controller).remove(flag)
    assert [each for each in made if each not in new] == plain


def test_the_component_for_argo_cd_adds_to_its_settings(cluster: Lab, tmp_path: Path) -> None:
    component = ROOT / "deploy" / "gitops" / "argocd"
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "argocd-cm"},
        "data": {"url": "https://argocd.example.com"},
    }
    (tmp_path / "settings.yaml").write_text(json.dumps(settings))
    made = {
        "resources": ["settings.yaml"],
        "components": [os.path.relpath(component, tmp_path)],
    }
    (tmp_path / "kustomization.yaml").write_text(json.dumps(made))
    (merged,) = objects(cluster.kubectl("kustomize", str(tmp_path)))
    assert merged["data"].pop("url") == "https://argocd.example.com"
    assert merged["data"] == yaml.safe_load((component / "argocd-cm.yaml").read_text())["data"]


def args(deployment: JSON) -> list[str]:
    found: list[str] = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    return found


def objects(text: str) -> list[JSON]:
    return list(yaml.safe_load_all(text))


def kustomized(lab: Lab, place: Path, component: str) -> str:
    """Our installation with one of our components, as a user writes it."""
    made = {
        "resources": [os.path.relpath(ROOT, place)],
        "components": [os.path.relpath(COMPONENTS / component, place)],
    }
    (place / "kustomization.yaml").write_text(json.dumps(made))
    return lab.kubectl("kustomize", str(place))


def test_two_controllers_are_two_pods_apart_of_which_one_may_be_evicted(
    cluster: Lab, tmp_path: Path
) -> None:
    plain = objects(cluster.kubectl("kustomize", str(ROOT)))
    made = objects(kustomized(cluster, tmp_path, "ha"))
    new = {each["kind"]: each for each in made if each not in plain}
    budget, controller = new.pop("PodDisruptionBudget"), new.pop("Deployment")
    assert not new
    assert budget["spec"]["selector"] == controller["spec"]["selector"]
    assert controller["spec"].pop("replicas") == 2
    pod = controller["spec"]["template"]["spec"]
    spread = pod.pop("topologySpreadConstraints")
    assert {each["topologyKey"] for each in spread} == {
        "kubernetes.io/hostname", "topology.kubernetes.io/zone",
    }  # fmt: skip
    assert all(each["labelSelector"] == controller["spec"]["selector"] for each in spread)
    (before,) = (e for e in plain if e["kind"] == "Deployment" and e not in made)
    assert before["spec"].pop("replicas") == 1
    assert controller == before


def test_prometheus_finds_the_ports_on_which_both_processes_answer(
    cluster: Lab, tmp_path: Path
) -> None:
    plain = objects(cluster.kubectl("kustomize", str(ROOT)))
    made = objects(kustomized(cluster, tmp_path, "prometheus"))
    new = [each for each in made if each not in plain]
    assert [each for each in made if each not in new] == plain
    kinds = sorted(each["kind"] for each in new)
    assert kinds == ["PrometheusRule", "Service", "Service", "ServiceMonitor", "ServiceMonitor"]
    monitors = [each for each in new if each["kind"] == "ServiceMonitor"]
    for monitor in monitors:
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        (service,) = (e for e in made if e["kind"] == "Service" and wanted <= labels_of(e))
        (port,) = service["spec"]["ports"]
        assert [port["name"]] == [each["port"] for each in monitor["spec"]["endpoints"]]
        chosen = service["spec"]["selector"].items()
        (deployment,) = (
            each
            for each in plain
            if each["kind"] == "Deployment" and chosen <= labels_of(each["spec"]["template"])
        )
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        assert ports[port["targetPort"]] == port["port"]


def labels_of(obj: JSON) -> set[tuple[str, str]]:
    return set(obj["metadata"]["labels"].items())
