"""Suspects: which webhooks are asked about a Pod, and who is the likeliest to have changed it."""

from typing import Any

import pytest

from sidecarpolicy.core.suspects import Scene, concerned, evaluated, hooks_of, suspects

JSON = dict[str, Any]
SCENE = Scene("shop", {"kubernetes.io/metadata.name": "shop", "team": "a"}, {"app": "web"})
PODS = {
    "operations": ["CREATE"],
    "apiGroups": [""],
    "apiVersions": ["v1"],
    "resources": ["pods"],
}


def configuration(name: str = "stripper", **webhook: Any) -> JSON:
    one = {"name": f"{name}.example.com", "rules": [PODS], **webhook}
    return {"metadata": {"name": name}, "webhooks": [one]}


def asked(*configurations: JSON) -> list[str]:
    hooks = [hook for each in configurations for hook in hooks_of(each)]
    return [each.hook.configuration for each in suspects(hooks, SCENE)]


def rule(**fields: Any) -> JSON:
    return {"rules": [{**PODS, **fields}]}


def expression(text: str) -> JSON:
    return {"matchConditions": [{"name": "x", "expression": text}]}


@pytest.mark.parametrize(
    "webhook",
    [
        pytest.param({}, id="Pods"),
        pytest.param(rule(resources=["*"], apiGroups=["*"], apiVersions=["*"]), id="everything"),
        pytest.param(rule(resources=["*/*"], operations=["*"]), id="subresources, too"),
        pytest.param(rule(scope="Namespaced"), id="what has a namespace"),
        pytest.param({"namespaceSelector": {"matchLabels": {"team": "a"}}}, id="its team"),
        pytest.param(
            {"objectSelector": {"matchExpressions": [{"key": "skip", "operator": "DoesNotExist"}]}},
            id="Pods that are not left out",
        ),
        pytest.param(expression("request.namespace != 'other'"), id="other conditions"),
        pytest.param(expression("object.spec.hostNetwork"), id="conditions that we cannot read"),
        pytest.param({"objectSelector": {"matchLabels": 7}}, id="selectors that we cannot read"),
    ],
)
def test_a_webhook_is_a_suspect_that_is_asked_about(webhook: JSON) -> None:
    assert asked(configuration(**webhook)) == ["stripper"]


@pytest.mark.parametrize(
    "webhook",
    [
        pytest.param({"rules": []}, id="nothing"),
        pytest.param(rule(resources=["deployments"], apiGroups=["apps"]), id="other kinds"),
        pytest.param(rule(resources=["pods/status"]), id="subresources only"),
        pytest.param(rule(operations=["UPDATE", "DELETE"]), id="changes only"),
        pytest.param(rule(scope="Cluster"), id="what has no namespace"),
        pytest.param({"namespaceSelector": {"matchLabels": {"team": "b"}}}, id="other teams"),
        pytest.param({"objectSelector": {"matchLabels": {"app": "db"}}}, id="other Pods"),
        pytest.param(expression("request.namespace == 'other'"), id="by its condition"),
    ],
)
def test_a_webhook_is_no_suspect_that_is_asked_about(webhook: JSON) -> None:
    assert asked(configuration(**webhook)) == []


def test_the_likeliest_suspect_comes_first() -> None:
    unsure = configuration("a-unsure", **expression("object.spec.hostNetwork"))
    elsewhere, plain = configuration("b-fine-elsewhere"), configuration("c-plain")
    notorious = configuration("datadog-webhook")
    cleared = hooks_of(elsewhere)
    hooks = [h for each in (unsure, elsewhere, plain, notorious) for h in hooks_of(each)]
    ranked = suspects(hooks, SCENE, cleared=cleared)
    assert [(each.hook.configuration, each.certain) for each in ranked] == [
        ("datadog-webhook", True),
        ("c-plain", True),
        ("a-unsure", False),
        ("b-fine-elsewhere", True),
    ]


def test_a_webhook_that_changed_since_it_was_cleared_is_cleared_no_more() -> None:
    before = hooks_of(configuration("a", objectSelector={"matchLabels": {"app": "web"}}))
    hooks = [*hooks_of(configuration("a")), *hooks_of(configuration("b"))]
    ranked = suspects(hooks, SCENE, cleared=before)
    assert [each.hook.configuration for each in ranked] == ["a", "b"]


@pytest.mark.parametrize(
    ("condition", "value"),
    [
        ("request.namespace == 'shop'", True),
        ('request.namespace == "other"', False),
        ("request.namespace != 'shop'", False),
        ("request.namespace in ['a', 'shop']", True),
        ("!(request.namespace in ['a', 'shop'])", False),
        ("!(object.metadata.namespace in ['kube-system'])", True),
        ("request.operation == 'CREATE'", True),
        ("request.resource.resource == 'pods'", True),
        ("request.userInfo.username != 'system:node:n1'", None),
        ("request.namespace == 'a' || true", None),
        ("true", None),
        ("", None),
    ],
    ids=str,
)
def test_a_condition_is_evaluated_as_far_as_we_can_tell(condition: str, value: bool | None) -> None:
    assert evaluated(condition, SCENE) is value


def test_a_renewed_ca_is_no_change() -> None:
    old, new = ({"caBundle": each, "url": "https://x"} for each in ("b2xk", "bmV3"))
    assert hooks_of(configuration(clientConfig=old)) == hooks_of(configuration(clientConfig=new))


def test_a_namespace_is_concerned_by_the_webhooks_that_may_see_its_pods() -> None:
    ours = hooks_of(configuration("ours", objectSelector={"matchLabels": {"app": "db"}}))
    others = hooks_of(configuration("others", namespaceSelector={"matchLabels": {"team": "b"}}))
    assert concerned([*ours, *others], SCENE.namespace_labels) == ours
