from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecarpolicy.api.models import Model, SidecarPolicySpec
from sidecarpolicy.api.schema import KINDS, Kind, crd, crd_yaml
from sidecarpolicy.api.statusmodels import SidecarPolicyStatus

Json = dict[str, Any]

CRDS = Path(__file__).resolve().parents[3] / "crds"
NAMESPACED, CLUSTER = KINDS
MINIMAL_SPEC: Json = {"selector": {}, "sidecars": [{"name": "shipper", "image": "fluent-bit:3.2"}]}


def version() -> Json:
    (only,) = crd(CLUSTER)["spec"]["versions"]
    assert isinstance(only, dict)
    return only


def nodes(node: Json, path: str) -> Iterator[tuple[str, Json]]:
    """The node and all below it, each with its path."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key, step in (("items", "[]"), ("additionalProperties", "{}")):
        if key in node:
            yield from nodes(node[key], path + step)


def schema_of(*steps: str) -> Json:
    node = version()["schema"]["openAPIV3Schema"]
    for step in steps:
        node = node["properties"][step]
    assert isinstance(node, dict)
    return node


def paths_where(broken: Any, *below: str) -> list[str]:
    return [path for path, node in nodes(schema_of(*below), ".".join(below)) if broken(node)]


def set_fields(model: Model) -> Json:
    """What the model holds, without the null and empty fields that a user leaves out."""
    dumped = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {name: value for name, value in dumped.items() if value not in ([], {})}


def defaults(node: Json) -> Json:
    return {
        name: child["default"] for name, child in node["properties"].items() if "default" in child
    }


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_stored_crd_is_what_the_models_say(kind: Kind) -> None:
    file = CRDS / f"{kind.crd_name}.yaml"
    assert file.read_text() == crd_yaml(kind), (
        f"{file.name} and the models disagree: run `make crds` and commit the result"
    )
    assert yaml.safe_load(crd_yaml(kind)) == crd(kind)


def test_the_two_kinds_differ_in_their_namespace_selector_only() -> None:
    def spec(kind: Kind) -> Json:
        (only,) = crd(kind)["spec"]["versions"]
        node = only["schema"]["openAPIV3Schema"]["properties"]["spec"]
        return {key: value for key, value in node.items() if key != "description"}

    ours, theirs = spec(CLUSTER), spec(NAMESPACED)
    selector = ours["properties"].pop("namespaceSelector")
    ours["required"].remove("namespaceSelector")
    assert ours == theirs
    assert selector | {"description": ""} == theirs["properties"]["selector"] | {"description": ""}


@pytest.mark.parametrize("keyword", ["title", "anyOf", "oneOf", "allOf", "$ref", "nullable"])
def test_the_schema_is_structural_without(keyword: str) -> None:
    assert paths_where(lambda node: keyword in node) == []


def test_every_node_has_a_type() -> None:
    typed = {"type", "x-kubernetes-int-or-string"}

    assert paths_where(lambda node: not typed & node.keys()) == []


def test_every_string_of_the_spec_is_bounded() -> None:
    def unbounded(node: Json) -> bool:
        return node.get("type") == "string" and not {"maxLength", "enum"} & node.keys()

    assert paths_where(unbounded, "spec") == []


def test_every_list_of_the_spec_is_bounded() -> None:
    def unbounded(node: Json) -> bool:
        return node.get("type") == "array" and "maxItems" not in node

    assert paths_where(unbounded, "spec") == []


def test_every_map_of_the_spec_is_bounded() -> None:
    def unbounded(node: Json) -> bool:
        return "additionalProperties" in node and "maxProperties" not in node

    assert paths_where(unbounded, "spec") == []


def test_every_list_says_how_appliers_share_it() -> None:
    def unsaid(node: Json) -> bool:
        return node.get("type") == "array" and "x-kubernetes-list-type" not in node

    assert paths_where(unsaid) == []


@pytest.mark.parametrize("part", ["spec", "status"])
def test_every_field_is_described(part: str) -> None:
    undescribed = paths_where(lambda node: "description" not in node, part)

    assert [path for path in undescribed if not path.endswith(("[]", "{}"))] == []


def test_no_list_item_has_defaults_that_argo_cd_would_take_for_drift() -> None:
    in_items = [
        path
        for path, node in nodes(schema_of("spec"), "spec")
        if "[]" in path and "default" in node
    ]

    assert in_items == []


def test_no_field_name_is_a_boolean_to_a_yaml_1_1_reader() -> None:
    names = [name for _, node in nodes(schema_of(), "") for name in node.get("properties", {})]

    assert [yaml.safe_load(name) for name in names] == names


def test_every_rule_carries_a_message_for_when_its_expression_fails() -> None:
    rules = [
        rule
        for _, node in nodes(schema_of(), "")
        for rule in node.get("x-kubernetes-validations", [])
    ]

    assert len(rules) > 9
    assert all(sorted(rule) == ["message", "messageExpression", "rule"] for rule in rules)


def test_a_minimal_spec_gets_the_same_defaults_from_the_schema_and_the_model() -> None:
    from_model = set_fields(SidecarPolicySpec.model_validate(MINIMAL_SPEC))

    assert MINIMAL_SPEC | defaults(schema_of("spec")) == from_model | {"selector": {}}


def test_a_fresh_status_is_the_same_in_the_schema_and_the_model() -> None:
    status = schema_of("status")

    assert status["default"] == {"observedGeneration": -1}
    assert status["default"] == defaults(status) == set_fields(SidecarPolicyStatus())


def test_the_columns_stand_in_the_promised_order() -> None:
    columns = [
        (column["name"], column.get("priority", 0))
        for column in version()["additionalPrinterColumns"]
    ]

    assert columns == [
        ("Ready", 0),
        ("Mode", 0),
        ("Nodes", 0),
        ("Matched", 0),
        ("Current", 0),
        ("Pending", 0),
        ("Failed", 0),
        ("Age", 0),
        ("Reason", 1),
        ("Message", 1),
    ]


def test_a_full_spec_parses_and_fields_newer_than_the_models_do_no_harm() -> None:
    container = {
        "name": "shipper",
        "image": "fluent-bit:3.2",
        "restartPolicy": "Always",
        "futureField": {"deep": [1, {"y": None}]},
    }
    volume = {"name": "logs", "emptyDir": {"futureField": True}}
    spec = {
        "selector": {
            "matchLabels": {"logs": "shipped"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["web", "api"], "futureField": 1},
                {"key": "legacy", "operator": "DoesNotExist"},
            ],
        },
        "targets": [{"kind": "Deployment"}, {"kind": "Deployment", "name": "web"}],
        "mode": "Native",
        "sidecars": [container],
        "volumes": [volume],
        "imagePullSecrets": [{"name": "regcred"}],
        "nodeRule": "Avoid",
        "paused": True,
        "futureField": {"any": "thing"},
    }

    parsed = SidecarPolicySpec.model_validate(spec)

    assert parsed.sidecars == (container,)
    assert parsed.volumes == (volume,)
    assert [need.key for need in parsed.selector.match_expressions] == ["tier", "legacy"]
    assert [target.name for target in parsed.targets] == [None, "web"]
    assert "futureField" not in parsed.model_dump(by_alias=True)
