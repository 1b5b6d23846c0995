"""Where a Pod is bound to run before the scheduler has seen it."""

from typing import Any

import pytest

from sidecarpolicy.core.subject import node_of

JSON = dict[str, Any]


def name(operator: str, *nodes: str) -> JSON:
    return {"matchFields": [{"key": "metadata.name", "operator": operator, "values": [*nodes]}]}


ZONE = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["eu"]}]}


def required(*terms: JSON) -> JSON:
    chosen = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [*terms]}}
    return {"affinity": {"nodeAffinity": chosen}}


@pytest.mark.parametrize(
    ("spec", "node"),
    [
        pytest.param({"nodeName": "n1"}, "n1", id="it names"),
        pytest.param(required(name("In", "n1")), "n1", id="its affinity names"),
        pytest.param(required({**ZONE, **name("In", "n1")}), "n1", id="its affinity names, too"),
        pytest.param(required(name("In", "n1"), name("In", "n1")), "n1", id="every term names"),
        pytest.param(required(name("NotIn", "n1")), None, id="its affinity excludes"),
        pytest.param(required(name("In", "n1", "n2")), None, id="is one of two"),
        pytest.param(required(name("In", "n1"), name("In", "n2")), None, id="not all terms name"),
        pytest.param(required(name("In", "n1"), ZONE), None, id="only one of its terms names"),
        pytest.param(required(), None, id="no term names"),
        pytest.param({}, None, id="nothing names"),
    ],
)  # fmt: skip
def test_a_pod_is_bound_to_the_node_that(spec: JSON, node: str | None) -> None:
    assert node_of({"spec": spec}) == node
