"""Where Pods may run: the table of the scheduler's filters that last."""

from typing import Any

import pytest

from sidecarpolicy.core.capability import Verdict
from sidecarpolicy.core.feasible import Pin, Place, hindrance, place_of
from tests.support.builders import template

JSON = dict[str, Any]
RULE = {"key": "sidecarpolicy.dev/native-sidecars", "operator": "In", "values": ["true"]}


def node(name: str = "n1", verdict: Verdict = Verdict.CAPABLE, **fields: Any) -> Place:
    labels = fields.get("labels", {})
    taints = fields.get("taints", [])
    raw = {"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}}
    return place_of(raw).judged(verdict)


def required(*terms: JSON) -> JSON:
    field = "requiredDuringSchedulingIgnoredDuringExecution"
    return {"nodeAffinity": {field: {"nodeSelectorTerms": list(terms)}}}


def expressions(*wanted: tuple[str, ...]) -> JSON:
    made = [
        {"key": key, "operator": operator, "values": values} for key, operator, *values in wanted
    ]
    return {"matchExpressions": made}


def taint(key: str = "dedicated", value: str = "ml", effect: str = "NoSchedule") -> JSON:
    return {"key": key, "value": value, "effect": effect}


NAMED = {"key": "metadata.name", "operator": "In", "values": ["n1"]}
PASSING = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unschedulable"]
ZONE: JSON = {"labels": {"zone": "a", "cores": "8"}}


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        pytest.param({}, {}, id="a Pod without wishes"),
        pytest.param({"nodeSelector": {"zone": "a"}}, ZONE, id="its nodeSelector matches"),
        pytest.param({"affinity": required(expressions(("zone", "In", "b", "a")))}, ZONE, id="In"),
        pytest.param(
            {"affinity": required(expressions(("disk", "NotIn", "hdd")))}, ZONE, id="NotIn"
        ),
        pytest.param({"affinity": required(expressions(("zone", "Exists")))}, ZONE, id="Exists"),
        pytest.param({"affinity": required(expressions(("x", "DoesNotExist")))}, ZONE, id="absent"),
        pytest.param({"affinity": required(expressions(("cores", "Gt", "7")))}, ZONE, id="Gt"),
        pytest.param({"affinity": required(expressions(("cores", "Lt", "9")))}, ZONE, id="Lt"),
        pytest.param(
            {
                "affinity": required(
                    expressions(("zone", "In", "b")), expressions(("zone", "In", "a"))
                )
            },
            ZONE,
            id="the second of two terms matches",
        ),
        pytest.param(
            {"affinity": required({"matchFields": [NAMED]})},
            {},
            id="the node by its name",
        ),
        pytest.param({"affinity": {"nodeAffinity": {}}}, {}, id="preferences only"),
        pytest.param(
            {"tolerations": [{"key": "dedicated", "operator": "Equal", "value": "ml"}]},
            {"taints": [taint()]},
            id="a taint is tolerated by its value",
        ),
        pytest.param(
            {"tolerations": [{"operator": "Exists"}]},
            {"taints": [taint(), taint("gpu", "", "NoExecute")]},
            id="everything is tolerated",
        ),
        pytest.param(
            {}, {"taints": [taint(effect="PreferNoSchedule")]}, id="a taint that only advises"
        ),
        pytest.param(
            {},
            {"taints": [taint(key, "") for key in PASSING]},
            id="a node that is not ready, or cordoned, for now",
        ),
        pytest.param(
            {"affinity": required(expressions(("zone", "Near", "a")))},
            ZONE,
            id="an operator of a later Kubernetes",
        ),
    ],
)
def test_suits(spec: JSON, fields: JSON) -> None:
    assert hindrance(template(**spec), (), [node(**fields)]) is None


@pytest.mark.parametrize(
    ("spec", "fields", "said"),
    [
        pytest.param(
            {"nodeSelector": {"zone": "b"}},
            ZONE,
            "lack the label zone=b of its nodeSelector",
            id="its nodeSelector wants another zone",
        ),
        pytest.param(
            {"affinity": required(expressions(("zone", "In", "a"), ("cores", "Gt", "8")))},
            ZONE,
            "do not match its required node affinity",
            id="one of two ANDed expressions fails",
        ),
        pytest.param(
            {"affinity": required({})},
            ZONE,
            "do not match its required node affinity",
            id="an empty term matches nothing",
        ),
        pytest.param(
            {"affinity": required(expressions(("zone", "Gt", "3")))},
            ZONE,
            "do not match its required node affinity",
            id="a word is not greater than a number",
        ),
        pytest.param(
            {},
            {"taints": [taint()]},
            "have the taint dedicated=ml:NoSchedule, which it does not tolerate",
            id="a taint",
        ),
        pytest.param(
            {"tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}]},
            {"taints": [taint(value="")]},
            "have the taint dedicated:NoSchedule, which it does not tolerate",
            id="another effect is tolerated",
        ),
        pytest.param(
            {"affinity": required({"matchExpressions": [RULE]})},
            {"verdict": Verdict.REJECTS},
            "cannot run native sidecars",
            id="the node rejects native sidecars",
        ),
    ],
)
def test_does_not_suit(spec: JSON, fields: JSON, said: str) -> None:
    assert hindrance(template(**spec), (), [node(**fields)]) == f"of 1 nodes, 1 {said}"


def test_our_rule_goes_by_the_verdict_and_not_by_a_label_that_lags_behind() -> None:
    late: JSON = {"labels": {"sidecarpolicy.dev/native-sidecars": "false"}}
    made = template(affinity=required({"matchExpressions": [RULE]}))
    assert hindrance(made, (), [node(**late)]) is None


def test_a_volume_ties_its_pod_to_the_nodes_that_reach_it() -> None:
    pin = Pin("data", {"nodeSelectorTerms": [expressions(("zone", "In", "b"))]})
    places = [node("n1", **ZONE), node("n2", labels={"zone": "b"}, taints=[taint()])]
    assert hindrance(template(), [pin], places) == (
        "of 2 nodes, 1 cannot reach the volume of its claim data, "
        "1 have the taint dedicated=ml:NoSchedule, which it does not tolerate"
    )
    assert hindrance(template(), [pin], [*places, node("n3", labels={"zone": "b"})]) is None
