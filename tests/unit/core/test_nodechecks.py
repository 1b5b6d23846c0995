"""Checks of nodes: which mixture is a problem."""

import pytest

from sidecarpolicy.api.names import CAPABILITY_LABEL
from sidecarpolicy.core.checkup import MAX_LISTED, State, Unread
from sidecarpolicy.core.facts import NodeFacts, node_facts
from sidecarpolicy.core.nodechecks import node_labels, nodes
from tests.support.nodes import node_object


def node(kubelet: str, label: str | None = None) -> NodeFacts:
    labels = {CAPABILITY_LABEL: label} if label else {}
    return node_facts(node_object(kubelet, name=f"n{kubelet}", labels=labels))


NEW, OLD = node("v1.36.3"), node("v1.27.4")


@pytest.mark.parametrize(
    ("found", "state", "message"),
    [
        pytest.param([], State.FINE, "the cluster has no nodes yet", id="none"),
        pytest.param([NEW], State.FINE, "1 of 1 nodes run native sidecars", id="all capable"),
        pytest.param(
            [NEW, node("v1.27.4", "false")], State.FINE, "1 of 2 nodes run native sidecars",
            id="some that are not, and are labelled so",
        ),
        pytest.param(
            [NEW, OLD], State.PROBLEM,
            "1 of 2 nodes run native sidecars, and no label keeps Pods off the others",
            id="some that are not, and nothing says so",
        ),
        pytest.param(
            [node("v1.27.4", "false")], State.PROBLEM, "0 of 1 nodes run native sidecars",
            id="none capable",
        ),
        pytest.param(
            Unread("cannot list nodes"), State.UNKNOWN, "cannot list nodes", id="unread",
        ),
    ],
)  # fmt: skip
def test_nodes(found: list[NodeFacts] | Unread, state: State, message: str) -> None:
    checked = nodes(found)
    assert (checked.state, checked.message) == (state, message)
    assert bool(checked.next_step) == (state is State.PROBLEM)


@pytest.mark.parametrize(
    ("kubelet", "helps"),
    [("v1.27.4", True), ("v1.28.15", False)],
    ids=["ignores the field", "refuses it"],
)
def test_mode_universal_is_a_way_out_unless_all_nodes_refuse(kubelet: str, helps: bool) -> None:
    assert ("mode: Universal" in nodes([node(kubelet)]).next_step) is helps


def test_the_unfit_are_named_with_their_evidence_up_to_a_number() -> None:
    assert nodes([NEW, OLD]).details == (f"nv1.27.4: {OLD.capability.evidence}",)
    many = nodes([OLD] * (MAX_LISTED + 2)).details
    assert (len(many), many[-1]) == (MAX_LISTED + 1, "and 2 more")


def test_labels_that_say_something_else_are_a_problem_and_named() -> None:
    assert node_labels([]).state is State.FINE
    assert node_labels(Unread("HTTP 403")).state is State.UNKNOWN
    found = node_labels(["n1: labelled 'false', but found 'true'"])
    assert found.state is State.PROBLEM
    assert found.details == ("n1: labelled 'false', but found 'true'",)
