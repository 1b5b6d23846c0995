"""Open Jobs: those that a sidecar of mode Universal may keep from completing, as any ordinary one.

Where nodes run native sidecars, a Job completes with its application. Said of what works, after it
was planned: whether a Pod may come to a node that ignores the field changes nothing that is done.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from sidecarpolicy.api.models import TargetKind
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.core.facts import PolicyFacts, Ref
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.marker import as_pods_are
from sidecarpolicy.core.standing import Standing, State

_JOBS: Final = frozenset({TargetKind.JOB, TargetKind.CRON_JOB})
_WORKING: Final = frozenset({State.CURRENT, State.UPDATING})
_UNTIL: Final = (
    "and it does not complete before that ends by itself, as on a done-file (docs/universal.md)"
)
_ON_NODES: Final = Finding(
    Reason.JOB_STAYS_OPEN,
    f"on nodes that ignore the field, its sidecar runs as an ordinary container, {_UNTIL}; or keep "
    "it on nodes labelled sidecarpolicy.dev/native-sidecars=true",
)
_EVERYWHERE: Final = Finding(
    Reason.JOB_STAYS_OPEN,
    f"the API server drops the field, so its sidecar runs as an ordinary container, {_UNTIL}",
)


class OpenJobs:
    """Looks where the Pods of Jobs may run."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    def told(self, policy: PolicyFacts, standings: Iterable[Standing]) -> tuple[Standing, ...]:
        """The standings under a policy, with what there is to say of Jobs that have its parts."""
        return tuple(self._told(policy, each) for each in standings)

    def _told(self, policy: PolicyFacts, standing: Standing) -> Standing:
        works = standing.state in _WORKING and standing.finding is None and not standing.leaving
        if not policy.universal or standing.ref.kind not in _JOBS or not works:
            return standing
        return replace(standing, finding=self._finding(policy, standing.ref))

    def _finding(self, policy: PolicyFacts, ref: Ref) -> Finding | None:
        if policy.desired is not None and policy.desired.field_dropped:
            return _EVERYWHERE
        workload = self._inventory.workload(ref)
        if workload is None or not self._inventory.nodes_tally.ignoring:
            return None
        pods = as_pods_are(json.loads(workload.template), claims=workload.claims)
        return _ON_NODES if self._inventory.places.may_be_ignored(pods) else None
