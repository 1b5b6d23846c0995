"""How the controller judges nodes: what it read for itself, and what a node kept."""

from sidecarpolicy.controller.judge import Judge
from sidecarpolicy.core.capability import Rules, Strategy, Verdict
from sidecarpolicy.core.facts import NodeFacts
from sidecarpolicy.core.featuregate import Gate, Reading
from tests.support.nodes import node_object

RECORD = "sidecarpolicy.dev/feature-gate"


def reading(gate: Gate, *, kubelet: str = "v1.31.0") -> Reading:
    return Reading(kubelet, "boot-1", gate)


def node(judge: Judge, kubelet: str = "v1.31.0", *, kept: Gate | None = None) -> NodeFacts:
    annotations = {RECORD: reading(kept).text()} if kept else {}
    return judge.facts(node_object(kubelet, annotations=annotations))


def test_what_a_node_kept_counts_until_it_was_read_anew() -> None:
    judge = Judge()
    kept = node(judge, kept=Gate.OFF)
    assert kept.capability.verdict is Verdict.REJECTS
    judge.hear(kept, reading(Gate.ON))
    assert node(judge, kept=Gate.OFF).capability.verdict is Verdict.CAPABLE


def test_a_failure_leaves_what_was_read_before() -> None:
    judge = Judge()
    judge.hear(node(judge), reading(Gate.OFF))
    judge.hear(node(judge), None, "no answer within 5 s")
    found = node(judge).capability
    assert found.verdict is Verdict.REJECTS
    assert "no answer" not in found.evidence


def test_a_failure_shows_in_the_evidence_where_nothing_was_read() -> None:
    judge = Judge()
    judge.hear(node(judge), None, "no answer within 5 s")
    found = node(judge).capability
    assert found.verdict is Verdict.CAPABLE
    assert found.evidence.endswith("could not be read: no answer within 5 s")


def test_nothing_that_one_version_said_counts_for_another() -> None:
    judge = Judge()
    judge.hear(node(judge), reading(Gate.OFF))
    upgraded = node(judge, "v1.32.0")
    assert upgraded.reading is None
    assert upgraded.capability.verdict is Verdict.CAPABLE
    judge.hear(node(judge), None, "no answer")
    assert node(judge, "v1.32.0").capability.evidence.endswith("was not read")


def test_nothing_that_a_node_said_counts_for_its_successor() -> None:
    judge = Judge()
    judge.hear(node(judge), reading(Gate.OFF))
    successor = judge.facts(node_object("v1.31.0", uid="another"))
    assert successor.capability.verdict is Verdict.CAPABLE


def test_where_no_metrics_are_read_what_a_node_kept_neither_counts_nor_stays() -> None:
    judge = Judge(Rules(frozenset({Strategy.VERSION})))
    found = node(judge, kept=Gate.OFF)
    assert found.capability.verdict is Verdict.CAPABLE
    assert (found.reading, found.record is not None) == (None, True)


def test_what_is_forgotten_counts_no_more() -> None:
    judge = Judge()
    judge.hear(node(judge), reading(Gate.OFF))
    judge.forget("n1")
    assert node(judge).capability.verdict is Verdict.CAPABLE
