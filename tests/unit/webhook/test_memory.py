"""What the webhook knows of nodes: the same as the controller, without asking anybody."""

import pytest

from sidecarpolicy.controller.judge import Judge
from sidecarpolicy.core.capability import Rules, Strategy, Verdict
from sidecarpolicy.core.facts import NodeFacts
from sidecarpolicy.core.featuregate import Gate, Reading
from sidecarpolicy.core.labels import node_patch
from sidecarpolicy.core.selection import Exclusions
from sidecarpolicy.webhook.memory import Memory
from tests.support.nodes import node_object

ALL = Rules(frozenset(Strategy))


def memory(rules: Rules = ALL) -> Memory:
    return Memory(Exclusions("ours"), rules)


def labelled(node: NodeFacts, kubelet: str) -> dict[str, object]:
    """The Node as it is once the controller has written what it found."""
    patch = node_patch(node)
    assert patch is not None
    return node_object(kubelet, **patch["metadata"])


@pytest.mark.parametrize("gate", list(Gate))
@pytest.mark.parametrize("kubelet", ["v1.28.15", "v1.31.0"])
def test_what_the_controller_read_of_a_kubelet_counts_here_too(kubelet: str, gate: Gate) -> None:
    judge, held = Judge(), memory()
    node = judge.facts(node_object(kubelet))
    judge.hear(node, Reading(kubelet, "boot-1", gate))
    judged = judge.again(node)
    held.nodes.store(held.nodes.facts(labelled(judged, kubelet)))
    assert held.verdict("n1") is judged.capability.verdict
    assert held.nodes.held["n1"].capability == judged.capability


def test_where_metrics_are_switched_off_nothing_that_was_read_counts() -> None:
    held = memory(Rules(frozenset({Strategy.VERSION})))
    record = {"sidecarpolicy.dev/feature-gate": Reading("v1.31.0", "boot-1", Gate.OFF).text()}
    held.nodes.store(held.nodes.facts(node_object("v1.31.0", annotations=record)))
    assert held.verdict("n1") is Verdict.CAPABLE


def test_nodes_are_judged_anew_when_the_api_server_is_another() -> None:
    held = memory()
    held.nodes.replace([held.nodes.facts(node_object("nonsense"))])
    capable = []
    for version in ("v1.31.9", "v1.32.0", "v1.31.9"):
        held.judge_by(version)
        tally = held.snapshot("shop", creating=True, labels={}).nodes
        capable.append((held.verdict("n1") is Verdict.CAPABLE, tally.capable, tally.total))
    assert capable == [(False, 0, 1), (True, 1, 1), (False, 0, 1)]
    held.nodes.store(held.nodes.facts(node_object("nonsense", name="n2")))
    assert held.verdict("n2") is Verdict.UNKNOWN
    assert held.verdict("n3") is None
