"""Harm: what a change of a template would do that nobody wants, asked right before it is made.

Could its Pods run on any node, and would an autoscaler still know what they use? What
cannot be read is no reason to hold anything up.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sidecarpolicy.api.models import NodeRule, TargetKind
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.resources import CLAIMS, VOLUMES
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.core.autoscaling import stopped
from sidecarpolicy.core.facts import PolicyFacts, RawObject, WorkloadFacts
from sidecarpolicy.core.feasible import Pin
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.marker import as_pods_are
from sidecarpolicy.core.snapshot import Snapshot
from sidecarpolicy.core.standing import TemplateChange
from sidecarpolicy.core.volumes import bound_volume, claims_of_pods, reachable_from, shared_claims

_MAX_VOLUMES = 10_000
_ASKED = (TargetKind.DEPLOYMENT, TargetKind.STATEFUL_SET, TargetKind.CRON_JOB)


@dataclass(frozen=True)
class _Prospect:
    """A workload as it is and as it would be; `before` and `after` are its Pods' templates."""

    workload: WorkloadFacts
    adding: tuple[PolicyFacts, ...]
    before: RawObject
    after: RawObject


class Harm:
    """Foresees it."""

    def __init__(self, api: Api, inventory: Inventory) -> None:
        self._api = api
        self._inventory = inventory
        self._selectors: dict[str, RawObject | None] = {}

    async def of(self, change: TemplateChange, snapshot: Snapshot) -> Mapping[str, Finding]:
        """What harm a change would do, by the keys of the policies that would do it."""
        adding = tuple(
            each
            for each in snapshot.policies
            if each.spec is not None and each.key in change.policies - change.taken_out
        )
        workload = self._inventory.workload(change.ref)
        if not adding or workload is None or change.ref.kind not in _ASKED:
            return {}
        prospect = _Prospect(
            workload,
            adding,
            before=as_pods_are(json.loads(workload.template), claims=workload.claims),
            after=as_pods_are(change.template, claims=workload.claims),
        )
        return {**await self._nowhere(prospect), **self._unscaled(prospect)}

    async def _nowhere(self, prospect: _Prospect) -> Mapping[str, Finding]:
        """Policies whose node rule would leave the Pods no node."""
        ruling = [each.key for each in prospect.adding if _rules(each)]
        if not ruling:
            return {}
        places = self._inventory.places
        for pins in await self._pins(prospect.workload, prospect.after):
            found = places.hindrance(prospect.after, pins)
            if found is not None and places.hindrance(prospect.before, pins) is None:
                message = (
                    f"with the node rule its Pods could run nowhere: {found}; upgrade or add a "
                    "node that they can use, or set nodeRule: Avoid or None"
                )
                return dict.fromkeys(ruling, Finding(Reason.NO_FEASIBLE_NODE, message))
        return {}

    async def _pins(self, workload: WorkloadFacts, template: RawObject) -> list[tuple[Pin, ...]]:
        """What ties its Pods to nodes; of Pods that differ, what ties each."""
        if not workload.claims and not shared_claims(template):
            return [()]
        listed = await self._api.list_all(
            CLAIMS, namespace=workload.ref.namespace, keep=bound_volume
        )
        present = dict(filter(None, listed.items)) if listed.done else {}
        sets = [sorted(claims) for claims in claims_of_pods(workload, template, present)]
        return [tuple(await self._pinned(claims, present)) for claims in sets] or [()]

    async def _pinned(self, claims: Iterable[str], present: Mapping[str, str]) -> list[Pin]:
        selectors = [(claim, await self._selector(present[claim])) for claim in claims]
        return [Pin(claim, selector) for claim, selector in selectors if selector is not None]

    async def _selector(self, volume: str) -> RawObject | None:
        """From where a volume is reached, which does not change while it is bound."""
        if volume not in self._selectors:
            answer = await self._api.get(VOLUMES, name=volume)
            if not answer.done:
                return None
            if len(self._selectors) >= _MAX_VOLUMES:
                self._selectors.clear()
            self._selectors[volume] = reachable_from(answer.body)
        return self._selectors[volume]

    def _unscaled(self, prospect: _Prospect) -> Mapping[str, Finding]:
        """Policies with a sidecar that an autoscaler cannot count."""
        ref = prospect.workload.ref
        known = self._inventory.scalers.of(ref.namespace)
        found = stopped(known, ref, before=prospect.before, after=prospect.after)
        if found is None:
            return {}
        finding = Finding(Reason.WOULD_BREAK_AUTOSCALING, found.message)
        names = ((e.key, e.desired.running) for e in prospect.adding if e.desired)
        return {key: finding for key, own in names if found.container in own}


def _rules(policy: PolicyFacts) -> bool:
    """Whether Pods with its parts run on some of the present nodes only."""
    wish = policy.desired
    return wish is not None and wish.node_rule is NodeRule.REQUIRE and not wish.field_dropped
