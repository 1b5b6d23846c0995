"""What Flux itself makes of policies as they were read from a running API server (tests/flux)."""

import subprocess
from pathlib import Path

import pytest

from tests.support.cluster import ROOT
from tests.support.goprograms import go_program
from tests.support.labs import lab_for
from tests.support.writers import FLUX

GITOPS = ROOT / "deploy" / "gitops"
DUMPS = sorted(GITOPS.glob("argocd/resource_customizations/*/SidecarPolicy/testdata/*.yaml"))
BY_KSTATUS = {
    "conflicted": "Failed",
    "deleting": "Terminating",
    "edited": "InProgress",
    "failed": "Failed",
    "fresh": "InProgress",
    "invalid": "Failed",
    "no-capable-nodes": "InProgress",
    "on-next-update": "Current",
    "paused": "Current",
    "ready": "Current",
    "rolling": "InProgress",
}
BY_EXPRESSIONS = BY_KSTATUS | {"deleting": "InProgress", "rolling": "Current"}


@pytest.mark.parametrize(
    ("kustomizations", "expected"),
    [(Path(), BY_KSTATUS), (GITOPS / "flux" / "kustomizations.yaml", BY_EXPRESSIONS)],
    ids=["by wait: true alone", "by the expressions that we ship"],
)
def test_flux_waits_for_a_policy(kustomizations: Path, expected: dict[str, str]) -> None:
    file = "" if kustomizations == Path() else str(kustomizations)
    argv = [str(go_program(lab_for("integration"), FLUX)), "health", file, *map(str, DUMPS)]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    found = dict(line.split(".yaml ") for line in said.splitlines())
    assert found == expected
