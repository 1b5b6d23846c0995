"""Every example as a real API server takes it: as it is written, and as the policies make it."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import Lab
from sidecarpolicy.api.models import TargetKind
from sidecarpolicy.cli.manifests import as_json
from sidecarpolicy.core.facts import template_steps
from sidecarpolicy.core.marker import as_pods_are
from tests.support.cluster import JSON, ROOT
from tests.support.waiting import eventually

FOLDERS = sorted(path.parent for path in (ROOT / "examples").glob("*/base"))
VARIANTS = [folder / variant for folder in FOLDERS for variant in ("base", "lab")]
STAND_IN = "sidecarpolicy.dev/stand-in"
LEFT_TO_PODS = "the webhook adds to its Pods"
STRICT = ("--dry-run=server", "--validate=strict", "--warnings-as-errors")


def title(path: Path) -> str:
    return str(path.relative_to(ROOT / "examples"))


def kustomized(lab: Lab, path: Path) -> str:
    return lab.kubectl("kustomize", str(path))


def objects(text: str) -> list[JSON]:
    return list(yaml.safe_load_all(text))


def of_kind(text: str, *kinds: str) -> list[JSON]:
    return [each for each in objects(text) if each["kind"] in kinds]


@dataclass(frozen=True)
class Example:
    """A variant of an example, and a lab that has the namespaces and accounts it names."""

    lab: Lab
    path: Path
    text: str


@pytest.fixture(scope="module", params=VARIANTS, ids=title)
def example(request: pytest.FixtureRequest, installed: Lab) -> Example:
    """An example whose other objects can be tried without making them."""
    text = kustomized(installed, request.param)
    needed = of_kind(text, "Namespace", "ServiceAccount")
    installed.kubectl("apply", "-f", "-", input=as_json(needed))
    (namespace,) = of_kind(text, "Namespace")
    default = ("get", "serviceaccount", "default", "-n", namespace["metadata"]["name"])
    eventually(lambda: installed.kubectl(*default, "-o", "name", "--ignore-not-found"))
    return Example(installed, request.param, text)


@pytest.fixture(scope="module")
def rendered(example: Example, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the example's policies make of it, by `sidecarpolicy render` without a complaint."""
    if not of_kind(example.text, "SidecarPolicy"):
        return example.text
    file = tmp_path_factory.mktemp("example") / "all.yaml"
    file.write_text(example.text)
    argv = [sys.executable, "-m", "sidecarpolicy", "render", "-p", str(file), "-f", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if LEFT_TO_PODS not in line]
    assert (done.returncode, complaints) == (0, [])
    return done.stdout


def test_it_is_accepted_unchanged(example: Example) -> None:
    answer = example.lab.kubectl("apply", *STRICT, "-k", str(example.path))
    assert len(answer.splitlines()) == len(objects(example.text))


def test_what_its_policies_make_of_it_is_accepted(example: Example, rendered: str) -> None:
    answer = example.lab.kubectl("apply", *STRICT, "-f", "-", input=rendered)
    assert len(answer.splitlines()) == len(objects(example.text))


def test_pod_security_admits_its_pods_with_their_sidecars(example: Example, rendered: str) -> None:
    """Admission refuses Pods only; about a Deployment that breaks the rules it warns."""
    (namespace,) = of_kind(example.text, "Namespace")
    assert "pod-security.kubernetes.io/enforce" in namespace["metadata"]["labels"]
    pods = [pod_of(each) for each in of_kind(rendered, *TargetKind)]
    example.lab.kubectl("create", *STRICT, "-f", "-", input=as_json(pods))
    assert any(sidecars(each) for each in pods)


def pod_of(workload: JSON) -> JSON:
    """The Pod that the workload's controller would create."""
    written: Any = workload
    for step in template_steps(workload["kind"]):
        written = written[step]
    template = as_pods_are(written)
    name = {"name": workload["metadata"]["name"], "namespace": workload["metadata"]["namespace"]}
    metadata = {**template["metadata"], **name}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def sidecars(pod: JSON) -> list[JSON]:
    inits = pod["spec"].get("initContainers", [])
    return [each for each in inits if each.get("restartPolicy") == "Always"]


def test_every_sidecar_requests_cpu_and_memory_and_is_pinned(
    example: Example, rendered: str
) -> None:
    found = [each for obj in of_kind(rendered, *TargetKind) for each in sidecars(pod_of(obj))]
    for sidecar in found:
        assert {"cpu", "memory"} <= sidecar["resources"]["requests"].keys()
        name, _, tag = sidecar["image"].rpartition(":")
        assert name
        assert tag not in ("", "latest")


@pytest.mark.parametrize("folder", FOLDERS, ids=title)
def test_the_folder_itself_is_its_base(cluster: Lab, folder: Path) -> None:
    assert kustomized(cluster, folder) == kustomized(cluster, folder / "base")


@pytest.mark.parametrize("folder", FOLDERS, ids=title)
def test_a_stand_in_says_that_it_is_one_and_has_no_vendors_name(cluster: Lab, folder: Path) -> None:
    base = objects(kustomized(cluster, folder / "base"))
    lab = objects(kustomized(cluster, folder / "lab"))
    changed = [each for each in lab if each not in base]
    silent = [each for each in changed if STAND_IN not in each["metadata"].get("annotations", {})]
    assert silent == []
    assert set(images(lab)) == {"lab.local/busybox:1"}


def images(value: Any) -> Iterator[str]:
    """Every image that is named anywhere in there."""
    if isinstance(value, list):
        for each in value:
            yield from images(each)
    elif isinstance(value, dict):
        yield from (found for key, found in value.items() if key == "image")
        yield from images(list(value.values()))
