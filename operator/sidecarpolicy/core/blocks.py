"""Blocks: in which namespaces a policy may change nothing, and how its status says so.

Decided in core.blame from what the API server said, written into the policy's status by the
controller, and read from there by the webhook, so that both obey the same.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.finding import Finding

MAX_BLOCKED: Final = 100
"""Namespaces that a status lists; a policy with more of them counts as blocked everywhere."""
EVERYWHERE: Final = "*"
MAX_PROBLEMS: Final = 20
"""Problems that a status lists."""
ANY_WORKLOAD: Final = ("", "", "")


@dataclass(frozen=True)
class Block:
    """One namespace in which a policy may change nothing."""

    namespace: str
    finding: Finding


@dataclass(frozen=True)
class Preflight:
    """What dry runs said of one policy: in how many namespaces it was tried, and what blocks it.

    `blocks` are the first MAX_BLOCKED by name, `reasons` counts all of them; `warnings` are
    what is to say besides.
    """

    tried: int = 0
    blocks: tuple[Block, ...] = ()
    reasons: Counter[Reason] = field(default_factory=Counter)
    warnings: tuple[Block, ...] = ()
    dropped: Finding | None = None
    """That the API server drops the field, said of a policy in mode Universal: it goes on with
    the variant for that, so it blocks nothing.
    """

    def everywhere(self, reason: Reason) -> Finding | None:
        """Why the policy works in no namespace at all; a gate that is off is everybody's."""
        number = self.reasons[reason]
        if not number or (number < self.tried and reason is not Reason.API_SERVER_DROPS_FIELD):
            return None
        found = (each.finding for each in self.blocks if each.finding.reason is reason)
        return next(found, Finding(reason, "see blockedNamespaces"))

    @property
    def worst(self) -> Finding | None:
        """Why objects that are created now do not get their sidecars, in some namespace."""
        if not self.blocks:
            return None
        first = self.blocks[0]
        total = self.reasons.total()
        where = f"in {total} of {self.tried} namespaces, first in {first.namespace}: "
        message = first.finding.message if self.tried == 1 else f"{where}{first.finding.message}"
        return Finding(first.finding.reason, message)


def preflight(
    namespace: str,
    *,
    block: Finding | None,
    warning: Finding | None = None,
    dropped: Finding | None = None,
) -> Preflight:
    """What was said in one namespace."""
    return Preflight(
        tried=1,
        blocks=(Block(namespace, block),) if block is not None else (),
        reasons=Counter([block.reason] if block is not None else ()),
        warnings=(Block(namespace, warning),) if warning is not None else (),
        dropped=dropped,
    )


def merged(all_of: Iterable[Preflight]) -> Preflight:
    """What was said in all namespaces."""
    tried, reasons = 0, Counter[Reason]()
    blocks: list[Block] = []
    warnings: list[Block] = []
    dropped: Finding | None = None
    for each in all_of:
        tried += each.tried
        reasons.update(each.reasons)
        blocks += each.blocks
        warnings += each.warnings
        dropped = dropped or each.dropped
    return Preflight(tried, _first(blocks), reasons, _first(warnings), dropped)


def _first(blocks: Iterable[Block]) -> tuple[Block, ...]:
    return tuple(heapq.nsmallest(MAX_BLOCKED, blocks, key=lambda each: each.namespace))


def listed(preflight: Preflight) -> list[dict[str, str]]:
    """The status' list of blocked namespaces."""
    return [
        {
            "namespace": each.namespace,
            "reason": each.finding.reason.value,
            "message": each.finding.message,
        }
        for each in preflight.blocks
        if each.namespace
    ]


def said(status: Mapping[str, Any]) -> Mapping[str, Finding]:
    """What a status says: findings by namespace, and by EVERYWHERE."""
    return dict(_said(status))


def _said(status: Mapping[str, Any]) -> Iterator[tuple[str, Finding]]:
    namespaces: Sequence[Mapping[str, str]] = status.get("blockedNamespaces") or ()
    for each in namespaces:
        yield each["namespace"], _told(each)
    if len(namespaces) >= MAX_BLOCKED:
        yield EVERYWHERE, _told(namespaces[0])
    for condition in status.get("conditions") or ():
        about = condition.get("type"), condition.get("reason")
        if condition.get("status") == "False" and about in _EVERYWHERE:
            yield EVERYWHERE, _told(condition)


def field_dropped(status: Mapping[str, Any]) -> Finding | None:
    """That the API server drops `restartPolicy` of init containers, by a status; or None."""
    found = _cluster_capable(status)
    about = found.get("status"), found.get("reason")
    return _told(found) if about == ("False", Reason.API_SERVER_DROPS_FIELD) else None


def tried(status: Mapping[str, Any]) -> bool:
    """Whether the controller has said, in a status, what the cluster can do."""
    return bool(_cluster_capable(status))


def _cluster_capable(status: Mapping[str, Any]) -> Mapping[str, Any]:
    conditions = status.get("conditions") or ()
    return next((each for each in conditions if each.get("type") == "ClusterCapable"), {})


def refused(status: Mapping[str, Any]) -> Mapping[tuple[str, str, str], Finding]:
    """Why workloads must be left alone, by a status; keys are kind, namespace and name.

    The key ANY_WORKLOAD is there if a status is so full of refusals that it cannot name them all.
    """
    found = {
        (each["kind"], each.get("namespace", ""), each["name"]): _told(each)
        for each in status.get("problems") or ()
        if each["reason"] in LEFT_ALONE
    }
    refusals = [each for each in found.values() if each.reason is Reason.REFUSED]
    return found if len(refusals) < MAX_PROBLEMS else {**found, ANY_WORKLOAD: refusals[0]}


def halted(status: Mapping[str, Any]) -> Finding | None:
    """That a rollout was stopped because too many workloads failed, by a status."""
    for each in status.get("conditions") or ():
        told = each.get("type"), each.get("status"), each.get("reason")
        if told == ("Stalled", "True", Reason.ROLLOUT_STOPPED):
            return _told(each)
    return None


def _told(entry: Mapping[str, Any]) -> Finding:
    """A reason that a newer version wrote blocks as well."""
    return Finding(_REASONS.get(entry["reason"], Reason.REFUSED), entry["message"])


HARM: Final = frozenset({Reason.NO_FEASIBLE_NODE, Reason.WOULD_BREAK_AUTOSCALING})
"""Why a workload goes on without sidecars until somebody mends something."""

LEFT_ALONE: Final = HARM | {Reason.REFUSED}
"""Reasons of problems that the webhook obeys, too: a status lists them before all others."""

_REASONS: Final[Mapping[str, Reason]] = {each.value: each for each in Reason}


_EVERYWHERE: Final = frozenset(
    {
        ("Accepted", Reason.INVALID.value),
        ("ClusterCapable", Reason.API_SERVER_DROPS_FIELD.value),
        ("ClusterCapable", Reason.STRIPPED_BY_WEBHOOK.value),
    }
)
"""Conditions that are about all namespaces."""
