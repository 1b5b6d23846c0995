"""Strays: Pods that the webhook did not see. Looked for in lists, a few times a minute.

Only where a policy is about Pods themselves, and there only Pods without our label; and
where templates promise something that is for the webhook to add, of which the label says
nothing. No watch, no memory for the thousands that are as they should be.
"""

import asyncio
import logging
from collections import defaultdict
from dataclasses import replace
from functools import partial

from sidecarpolicy.api.models import TargetKind
from sidecarpolicy.api.names import INJECTED_LABEL
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.resources import PODS
from sidecarpolicy.controller.events import Recorder
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.core.facts import CLUSTER, PolicyFacts, RawObject, Ref
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.missed import missed_by
from sidecarpolicy.core.promises import MISSED_PARTS, broken_promises
from sidecarpolicy.core.snapshot import Snapshot

log = logging.getLogger(__name__)

EVERY_SECONDS = 15.0
_RUNNING = "status.phase!=Succeeded,status.phase!=Failed"
_Stray = tuple[Ref, str, list[tuple[PolicyFacts, Finding]]]
"""A Pod, its uid, and what it lacks of which policies."""
_ABOUT_PODS = frozenset({TargetKind.POD, TargetKind.DAEMON_SET})


class Strays:
    """Finds Pods that miss their sidecars, tells of them once, and keeps count."""

    def __init__(self, api: Api, inventory: Inventory, recorder: Recorder) -> None:
        self._api = api
        self._inventory = inventory
        self._recorder = recorder

    async def run(self) -> None:
        """Looks for ever."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self._look()

    async def _look(self) -> None:
        found: defaultdict[tuple[str, str], dict[Ref, Finding]] = defaultdict(dict)
        snapshots: dict[str, Snapshot] = {}
        for scope, labels in self._lists():
            listed = await self._api.list_all(
                PODS,
                namespace=scope or None,
                labels=labels,
                fields=_RUNNING,
                keep=partial(self._judged, snapshots),
            )
            if not listed.done:
                log.warning("cannot look for Pods that miss their sidecars: %s", listed.message)
                return
            for ref, uid, lacking in filter(None, listed.items):
                for policy, finding in lacking:
                    found[policy.scope, policy.key][ref] = finding
                    told = Finding(finding.reason, f"{policy}: {finding.message}")
                    await self._recorder.tell(ref, uid, told)
        self._inventory.see_strays(found)

    def _lists(self) -> list[tuple[str, str]]:
        """(namespace, label selector) of the lists that show all strays."""
        promising = self._inventory.promising()
        rest = (scope for scope in self._scopes() if scope not in promising)
        return [(scope, "") for scope in promising] + [
            (scope, f"!{INJECTED_LABEL}") for scope in rest
        ]

    def _scopes(self) -> frozenset[str]:
        """Namespaces in which a policy is about Pods; CLUSTER, for all, if a cluster policy is."""
        scopes = frozenset(
            scope
            for scope, name in self._inventory.policy_names()
            if self._about_pods(self._inventory.policy(scope, name))
        )
        return frozenset({CLUSTER}) if CLUSTER in scopes else scopes

    def _about_pods(self, policy: PolicyFacts | None) -> bool:
        spec = policy.spec if policy is not None else None
        return spec is not None and any(each.kind in _ABOUT_PODS for each in spec.targets)

    def _judged(self, snapshots: dict[str, Snapshot], pod: RawObject) -> _Stray | None:
        """The Pod, and the policies whose sidecars it misses; None where there are none."""
        meta, namespace = pod["metadata"], pod["metadata"]["namespace"]
        if not self._inventory.knows(namespace):
            return None
        if namespace not in snapshots:
            whole = self._inventory.snapshot(namespace, gone=frozenset())
            snapshots[namespace] = replace(whole, workloads=())
        snapshot = snapshots[namespace]
        node = self._inventory.nodes.get(pod["spec"].get("nodeName") or "")
        verdict = node.capability.verdict if node is not None else None
        lacking = dict.fromkeys(missed_by(pod, snapshot, verdict=verdict), MISSED_PARTS)
        lacking |= broken_promises(pod, snapshot, verdict=verdict)
        policies = [(each, lacking[each.key]) for each in snapshot.policies if each.key in lacking]
        return (Ref("Pod", namespace, meta["name"]), meta["uid"], policies) if lacking else None
