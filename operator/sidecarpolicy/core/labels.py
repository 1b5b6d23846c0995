"""What we keep on a Node, label, evidence and reading: what to write, if anything."""

from typing import Any

from sidecarpolicy.api.names import CAPABILITY_LABEL, EVIDENCE_ANNOTATION, GATE_ANNOTATION
from sidecarpolicy.core.facts import NodeFacts


def node_patch(node: NodeFacts) -> dict[str, Any] | None:
    """A merge patch that brings all of it up to date; None if it is.

    Guarded by the uid: a node that was re-created under its name is judged anew.
    """
    label, evidence = node.capability.verdict.label, node.capability.evidence
    record = node.reading.text() if node.reading else None
    if (node.label, node.evidence, node.record) == (label, evidence, record):
        return None
    annotations: dict[str, str | None] = {EVIDENCE_ANNOTATION: evidence}
    if node.record != record:
        annotations[GATE_ANNOTATION] = record
    return {
        "metadata": {
            "uid": node.uid,
            "labels": {CAPABILITY_LABEL: label},
            "annotations": annotations,
        }
    }
