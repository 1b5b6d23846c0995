"""Versions, selectors, ownership: the small pure parts as tables."""

from typing import Any

import pytest

from sidecarpolicy.api.models import LabelSelector
from sidecarpolicy.core.facts import version
from sidecarpolicy.core.ownership import NodeRuleSite, node_rule_site
from sidecarpolicy.core.selection import Exclusions, matches, opted_out
from sidecarpolicy.core.semantic import covers


@pytest.mark.parametrize(
    ("live", "wanted", "covered"),
    [
        pytest.param({"a": 1, "b": 2}, {"a": 1}, True, id="more keys"),
        pytest.param({"a": 1}, {"a": 1, "b": 2}, False, id="a missing key"),
        pytest.param({}, {"env": [], "tty": False, "workingDir": ""}, True, id="dropped empties"),
        pytest.param({}, {"foo": None, "bar": {"x": None}}, True, id="dropped nulls"),
        pytest.param({"args": ["a", "b"]}, {"args": ["a"]}, False, id="plain lists are equal"),
        pytest.param(
            {"env": [{"name": "X"}, {"name": "A", "value": "1"}]},
            {"env": [{"name": "A", "value": "1"}]},
            True,
            id="more items",
        ),
        pytest.param(
            {"limits": {"cpu": "1", "memory": "1Gi"}},
            {"limits": {"cpu": "1000m"}},
            True,
            id="canonical quantities",
        ),
        pytest.param({"limits": {"cpu": "2"}}, {"limits": {"cpu": "1"}}, False, id="other amount"),
        pytest.param(
            {"requests": {"cpu": "1m", "memory": "357878149940m"}},
            {"requests": {"cpu": "100u", "memory": "0.3333Gi"}},
            True,
            id="requests that the API server rounds up",
        ),
        pytest.param(
            {"requests": {"cpu": "1m"}}, {"requests": {"cpu": "1100u"}}, False, id="rounded apart"
        ),
        pytest.param({"sizeLimit": "1Gi"}, {"sizeLimit": "1024Mi"}, True, id="size limit"),
        pytest.param({"sizeLimit": "x"}, {"sizeLimit": "y"}, False, id="no quantities"),
    ],
)
def test_a_live_part_covers_a_wanted_one(live: Any, wanted: Any, covered: bool) -> None:
    assert covers(live, wanted) is covered


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "db"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "db"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["x"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
        ({"matchLabels": {"app": "web"},
          "matchExpressions": [{"key": "tier", "operator": "Exists"}]}, False),
    ],
)  # fmt: skip
def test_a_selector_follows_the_rules_of_kubernetes(selector: Any, selected: bool) -> None:
    assert matches(LabelSelector.model_validate(selector), {"app": "web"}) is selected


def test_system_namespaces_and_the_own_one_are_always_excluded() -> None:
    exclusions = Exclusions("ours", frozenset({"istio-system"}))
    covered = [
        name for name in ("kube-system", "ours", "istio-system", "shop") if exclusions.covers(name)
    ]
    assert covered == ["kube-system", "ours", "istio-system"]


@pytest.mark.parametrize(("value", "out"), [("false", True), ("False", True), ("true", False)])
def test_an_annotation_opts_out(value: str, out: bool) -> None:
    assert opted_out({"annotations": {"sidecarpolicy.dev/inject": value}}) is out


def owner(manager: str, operation: str, *path: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for step in reversed(path):
        fields = {f"f:{step}": fields}
    return {"manager": manager, "operation": operation, "fieldsV1": fields}


POD = ("spec", "template", "spec")
REQUIRED = (*POD, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
PREFERRED = (*POD, "affinity", "nodeAffinity", "preferredDuringSchedulingIgnoredDuringExecution")
SELECTOR = (*POD, "nodeSelector")


@pytest.mark.parametrize(
    ("managers", "site"),
    [
        pytest.param([], NodeRuleSite.AFFINITY, id="nobody"),
        pytest.param(
            [owner("kubectl-edit", "Update", *REQUIRED)], NodeRuleSite.AFFINITY, id="a person"
        ),
        pytest.param(
            [owner("flux", "Apply", *REQUIRED)], NodeRuleSite.NODE_SELECTOR, id="any Apply"
        ),
        pytest.param(
            [owner("argocd-controller", "Update", *REQUIRED)], NodeRuleSite.NODE_SELECTOR,
            id="Argo CD without server-side apply",
        ),
        pytest.param(
            [owner("flux", "Apply", *PREFERRED)], NodeRuleSite.AFFINITY,
            id="preferred terms, which are another field",
        ),
        pytest.param(
            [owner("flux", "Apply", *REQUIRED), owner("flux", "Apply", *SELECTOR)],
            NodeRuleSite.NOWHERE,
            id="both atomic fields",
        ),
        pytest.param(
            [owner("sidecarpolicy-operator", "Apply", *REQUIRED)], NodeRuleSite.AFFINITY,
            id="we ourselves",
        ),
    ],
)  # fmt: skip
def test_the_rule_goes_where_no_gitops_tool_writes_when_the_affinity_is_owned_by(
    managers: list[dict[str, Any]], site: NodeRuleSite
) -> None:
    assert node_rule_site(managers, ("spec", "template")) is site


def test_a_resource_version_that_is_no_number_is_never_older() -> None:
    assert version({"resourceVersion": "abc"}) == 0
