"""What we ship for GitOps tools, on policies as they were read from a running API server."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.argocd import health
from tests.support.cluster import CRDS, ROOT

JSON = dict[str, Any]
ARGOCD = ROOT / "deploy" / "gitops" / "argocd"
SCRIPTS = sorted(ARGOCD.glob("resource_customizations/*/*/health.lua"))
CASES = [
    (script, case)
    for script in SCRIPTS
    for case in yaml.safe_load((script.parent / "health_test.yaml").read_text())["tests"]
]


@pytest.mark.parametrize(
    ("script", "case"),
    CASES,
    ids=[f"{script.parent.name} {Path(case['inputPath']).stem}" for script, case in CASES],
)
def test_argo_cd_takes_the_health_of_a_policy_that_is(script: Path, case: JSON) -> None:
    obj = yaml.safe_load((script.parent / case["inputPath"]).read_text())
    assert health(script.read_text(), obj) == case["healthStatus"]


def test_every_dump_of_a_policy_is_a_case() -> None:
    dumps = {each for script in SCRIPTS for each in script.parent.glob("testdata/*.yaml")}
    named = {script.parent / case["inputPath"] for script, case in CASES}
    assert named == dumps


def test_every_kind_of_ours_has_the_one_script_in_both_forms() -> None:
    data = yaml.safe_load((ARGOCD / "argocd-cm.yaml").read_text())["data"]
    crds = (yaml.safe_load(each.read_text()) for each in CRDS.glob("*.yaml"))
    kinds = sorted((each["spec"]["group"], each["spec"]["names"]["kind"]) for each in crds)
    assert sorted((each.parent.parent.name, each.parent.name) for each in SCRIPTS) == kinds
    (script,) = {each.read_text() for each in SCRIPTS}
    assert data == {f"resource.customizations.health.{g}_{kind}": script for g, kind in kinds}
