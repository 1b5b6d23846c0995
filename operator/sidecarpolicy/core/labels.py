"""The label and the evidence on a Node: what to write, if anything."""

from typing import Any

from sidecarpolicy.api.names import CAPABILITY_LABEL, EVIDENCE_ANNOTATION
from sidecarpolicy.core.facts import NodeFacts


def node_patch(node: NodeFacts) -> dict[str, Any] | None:
    """A merge patch that brings label and evidence up to date; None if they are.

    Guarded by the uid: a node that was re-created under its name is judged anew.
    """
    wanted = (node.capability.verdict.value, node.capability.evidence)
    if (node.label, node.evidence) == wanted:
        return None
    return {
        "metadata": {
            "uid": node.uid,
            "labels": {CAPABILITY_LABEL: wanted[0]},
            "annotations": {EVIDENCE_ANNOTATION: wanted[1]},
        }
    }
