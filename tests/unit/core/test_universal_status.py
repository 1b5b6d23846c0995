"""The status of a policy in mode Universal: it works in clusters that run no native sidecars."""

from typing import Any

import pytest

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.blame import without_field
from sidecarpolicy.core.blocks import field_dropped, merged, preflight
from sidecarpolicy.core.capability import NodeTally
from sidecarpolicy.core.facts import PolicyFacts, policy_facts
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.policychecks import policies
from sidecarpolicy.core.status import policy_status
from sidecarpolicy.core.summary import Summary
from tests.support.builders import policy, policy_object, sidecar

JSON = dict[str, Any]
UNIVERSAL: JSON = {"mode": "Universal", "sidecars": [sidecar(command=["ship"])]}
DROPPED = without_field()
NO = Finding(Reason.REFUSED, "no, because")


def status(
    *,
    nodes: NodeTally = NodeTally(1, 3, 1),  # noqa: B008
    dropped: Finding | None = None,
    block: Finding | None = None,
    of: PolicyFacts | None = None,
) -> JSON:
    found = merged(preflight(each, block=block, dropped=dropped) for each in ("bank", "shop"))
    summary = Summary(preflight=found)
    return policy_status(of or policy(**UNIVERSAL), summary, nodes=nodes, excluded=False, now="now")


def conditions(found: JSON) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in found["conditions"]}


def said(found: JSON, type_: str) -> str:
    (message,) = (each["message"] for each in found["conditions"] if each["type"] == type_)
    return str(message)


def test_it_says_what_all_nodes_do() -> None:
    found = status()
    assert found["nodes"] == {"capable": 1, "total": 3}
    assert said(found, "ClusterCapable") == said(found, "Ready")
    assert said(found, "ClusterCapable") == (
        "1 of 3 nodes run native sidecars, 1 run them as ordinary containers, 1 refuse such Pods"
    )


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        pytest.param(NodeTally(0, 2), ("True", "Capable"), id="nodes that ignore the field"),
        pytest.param(NodeTally(0, 2, 2), ("False", "NoCapableNodes"), id="nodes that refuse it"),
        pytest.param(NodeTally(0, 2, 1), ("True", "Capable"), id="both"),
    ],
)
def test_a_cluster_is_capable_of_it_with(nodes: NodeTally, expected: tuple[str, str]) -> None:
    assert conditions(status(nodes=nodes))["ClusterCapable"] == expected


def test_where_the_api_server_drops_the_field_it_works_and_says_so() -> None:
    found = status(dropped=DROPPED, nodes=NodeTally(0, 2, 2))
    assert conditions(found) == {
        "Ready": ("True", "Ready"),
        "Accepted": ("True", "Accepted"),
        "ClusterCapable": ("False", "ApiServerDropsField"),
        "RolloutComplete": ("True", "Complete"),
    }
    assert "keep Jobs from completing" in said(found, "Ready")
    assert found["blockedNamespaces"] == []
    assert field_dropped(found) == DROPPED


def test_what_blocks_the_variant_for_that_is_said_as_ever() -> None:
    found = status(dropped=DROPPED, block=NO)
    assert conditions(found)["Ready"] == ("False", "Refused")
    assert conditions(found)["ClusterCapable"] == ("False", "ApiServerDropsField")
    assert {each["reason"] for each in found["blockedNamespaces"]} == {"Refused"}


@pytest.mark.parametrize(
    ("mode", "blocked"), [("Native", True), ("Universal", False)], ids=["native", "universal"]
)
def test_the_field_is_what_only_native_sidecars_cannot_do_without(mode: str, blocked: bool) -> None:
    obj = policy_object(**{**UNIVERSAL, "mode": mode}) | {"status": status(dropped=DROPPED)}
    facts = policy_facts(obj)
    assert facts.desired is not None
    assert facts.desired.field_dropped is not blocked
    assert (facts.block("shop") is not None) is blocked


def test_doctor_finds_no_fault_with_it() -> None:
    obj = policy_object(**UNIVERSAL) | {"kind": "SidecarPolicy"}
    fine = policies([{**obj, "status": status(dropped=DROPPED)}], 0.0)
    ill = policies([{**obj, "status": status(dropped=DROPPED, block=NO)}], 0.0)
    assert [each.state for each in fine] == ["fine"]
    assert [each.state for each in ill] == ["problem"]
