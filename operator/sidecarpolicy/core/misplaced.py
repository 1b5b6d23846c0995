"""Why a Pod with native sidecars cannot run where it is: the fact that diagnosis starts from.

A node can lose its capability while Pods run on it (a downgrade, a gate that is switched
off). Those stay as they are; their successors on that node would not start.
"""

from typing import Final

from sidecarpolicy.core.capability import Verdict
from sidecarpolicy.core.facts import NodeFacts
from sidecarpolicy.core.finding import Finding

_FATES: Final = {
    Verdict.IGNORES: "runs native sidecars as ordinary init containers, so the Pod stays in Init",
    Verdict.REJECTS: "refuses Pods with native sidecars",
    Verdict.UNKNOWN: "is not known to run native sidecars",
}


def misplaced(node: NodeFacts) -> Finding | None:
    """What becomes of a Pod with native sidecars on this node; None where it runs."""
    found = node.capability
    if found.capable:
        return None
    return Finding(found.reason, f"node {node.name} {_FATES[found.verdict]} ({found.evidence})")
