"""What we install, held against what the code does."""

import re
from pathlib import Path

import yaml

from sidecarpolicy.api.models import TargetKind
from sidecarpolicy.cluster.resources import WORKLOADS

AUTHORS = Path(__file__).resolve().parents[2] / "deploy" / "base" / "authors.yaml"


def test_the_admission_policy_knows_the_right_to_every_kind_of_target() -> None:
    spec = next(yaml.safe_load_all(AUTHORS.read_text()))["spec"]
    variables = {each["name"]: each["expression"] for each in spec["variables"]}
    listed = re.findall(r"\['(\w+)', '(\w*)', '(\w+)'\]", variables["kinds"])
    assert set(TargetKind) <= {kind for kind, _, _ in listed}
    assert {(each.kind, each.group, each.plural) for each in WORKLOADS.values()} <= set(listed)
    checks = [each for each in spec["validations"] if ".check('patch')" in each["expression"]]
    assert len(listed) <= len(checks)
