"""Daemons: is it worth while to roll a DaemonSet? Only if a Pod of it is on a node that can run
what it would get.
"""

from collections.abc import Sequence

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.resources import PODS
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.core.desired import Desired
from sidecarpolicy.core.facts import RawObject, Ref, controlling_owner
from sidecarpolicy.core.finding import Finding

AGAIN_SECONDS = 60.0
"""When to look again: a kubelet that was upgraded keeps its Pods, and nothing tells."""


class Daemons:
    """Looks where the Pods of DaemonSets run."""

    def __init__(self, api: Api, inventory: Inventory) -> None:
        self._api = api
        self._inventory = inventory

    async def idle(self, ref: Ref, wishes: Sequence[Desired]) -> Finding | None:
        """Why rolling the DaemonSet for these policies' parts would change nothing, or None."""

        def keep(pod: RawObject) -> str | None:
            ours = controlling_owner(pod["metadata"]) == (ref.kind, ref.name)
            return pod["spec"].get("nodeName") if ours else None

        listed = await self._api.list_all(PODS, namespace=ref.namespace, keep=keep)
        if not listed.done:
            return Finding(Reason.API_UNAVAILABLE, f"cannot list its Pods: {listed.message}")
        nodes = [self._inventory.nodes.get(name) for name in set(listed.items) if name]
        verdicts = {each.capability.verdict for each in nodes if each is not None}
        if any(wish.runs_on(verdict) for verdict in verdicts for wish in wishes):
            return None
        return Finding(
            Reason.NO_CAPABLE_NODES,
            "none of its Pods is on a node that can run them; Pods on nodes that join will have "
            "sidecars",
        )
