"""Checks of nodes: do they run native sidecars, and are Pods kept off those that do not?"""

from collections.abc import Sequence
from typing import Final

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.capability import Verdict
from sidecarpolicy.core.checkup import Check, Checked, Unread, fine, problem, shortened, unknown
from sidecarpolicy.core.facts import NodeFacts

_UPGRADE: Final = (
    "Upgrade their kubelets to 1.29 or later, with their feature gate SidecarContainers on"
)


def nodes(found: Sequence[NodeFacts] | Unread) -> Checked:
    """How many nodes are capable.

    A node that is not is a problem only where its label does not say so: by that label, the
    policies' node rules keep Pods off it. A mixed cluster is no fault in itself.
    """
    if isinstance(found, Unread):
        return unknown(Check.NODES, found.why)
    if not found:
        return fine(Check.NODES, "the cluster has no nodes yet")
    unfit = [each for each in found if not each.capability.capable]
    capable = f"{len(found) - len(unfit)} of {len(found)} nodes run native sidecars"
    why = shortened([f"{each.name}: {each.capability.evidence}" for each in unfit])
    if len(unfit) == len(found):
        reason = Reason.NO_CAPABLE_NODES
        rejects = all(each.capability.verdict is Verdict.REJECTS for each in found)
        step = _UPGRADE if rejects else f"{_UPGRADE}, or use policies with mode: Universal"
        return problem(Check.NODES, capable, next_step=step, reason=reason, details=why)
    if any(each.label is None for each in unfit):
        return problem(
            Check.NODES,
            f"{capable}, and no label keeps Pods off the others",
            next_step=f"{_UPGRADE}, or install the operator, whose node rule keeps Pods off them",
            details=why,
        )
    return fine(Check.NODES, capable, details=why)


def node_labels(differences: Sequence[str] | Unread) -> Checked:
    """Whether labels and overrides of nodes say what is found."""
    if isinstance(differences, Unread):
        return unknown(Check.NODE_LABELS, differences.why)
    if not differences:
        return fine(Check.NODE_LABELS, "no label says anything else than what is found")
    return problem(
        Check.NODE_LABELS,
        "labels or annotations of nodes say something else than what is found",
        next_step="See whether the controller runs, and whether it judges by other "
        "--capability-strategies than this command",
        details=shortened(differences),
    )
