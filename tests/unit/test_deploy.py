"""What we install, held against what the code does."""

import re
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from sidecarpolicy.api.models import TargetKind
from sidecarpolicy.cluster.resources import WORKLOADS
from sidecarpolicy.controller.metrics import Metrics, Sources
from sidecarpolicy.webhook.metrics import Metrics as WebhookMetrics

ROOT = Path(__file__).resolve().parents[2]
AUTHORS = ROOT / "deploy" / "base" / "authors.yaml"
RULES = ROOT / "deploy" / "components" / "prometheus" / "rules.yaml"
METRIC = re.compile(r"sidecarpolicy_(?:controller|webhook)_\w+")


def test_the_admission_policy_knows_the_right_to_every_kind_of_target() -> None:
    spec = next(yaml.safe_load_all(AUTHORS.read_text()))["spec"]
    variables = {each["name"]: each["expression"] for each in spec["variables"]}
    listed = re.findall(r"\['(\w+)', '(\w*)', '(\w+)'\]", variables["kinds"])
    assert set(TargetKind) <= {kind for kind, _, _ in listed}
    assert {(each.kind, each.group, each.plural) for each in WORKLOADS.values()} <= set(listed)
    checks = [each for each in spec["validations"] if ".check('patch')" in each["expression"]]
    assert len(listed) <= len(checks)


def test_alerts_are_about_metrics_that_exist_and_all_of_these_are_described() -> None:
    sources = Sources(
        leads=lambda: True, heard=lambda: 0.0, workloads=dict, nodes=dict, queues=dict, reasons=dict
    )
    texts = (Metrics(sources).text(), WebhookMetrics(lambda: 0.0).text())
    families = {
        each.name + ("_total" if each.type == "counter" else "")
        for text in texts
        for each in text_string_to_metric_families(text.decode())
        if not each.name.endswith("_created")  # when counting began, which the library adds
    }
    described = set(METRIC.findall((ROOT / "docs" / "metrics.md").read_text()))
    assert families == described
    (rule,) = yaml.safe_load_all(RULES.read_text())
    alerts = [each for group in rule["spec"]["groups"] for each in group["rules"]]
    used = {name for each in alerts for name in METRIC.findall(each["expr"])}
    assert {name.removesuffix("_bucket") for name in used} <= families
    text = (ROOT / "docs" / "metrics.md").read_text()
    assert {each["alert"] for each in alerts} == set(
        re.findall(r"^\| `(\w+)` \|", text, re.M)
    ) - families
