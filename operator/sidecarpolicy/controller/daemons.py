"""Daemons: is it worth while to roll a DaemonSet? Only if a capable node runs a Pod of it."""

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.resources import PODS
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.core.facts import RawObject, Ref, controlling_owner
from sidecarpolicy.core.finding import Finding

AGAIN_SECONDS = 60.0
"""When to look again: a kubelet that was upgraded keeps its Pods, and nothing tells."""


class Daemons:
    """Looks where the Pods of DaemonSets run."""

    def __init__(self, api: Api, inventory: Inventory) -> None:
        self._api = api
        self._inventory = inventory

    async def idle(self, ref: Ref) -> Finding | None:
        """Why rolling the DaemonSet would change nothing, or None."""

        def keep(pod: RawObject) -> str | None:
            ours = controlling_owner(pod["metadata"]) == (ref.kind, ref.name)
            return pod["spec"].get("nodeName") if ours else None

        listed = await self._api.list_all(PODS, namespace=ref.namespace, keep=keep)
        if not listed.done:
            return Finding(Reason.API_UNAVAILABLE, f"cannot list its Pods: {listed.message}")
        nodes = (self._inventory.nodes.get(name) for name in set(listed.items) if name)
        if any(node is not None and node.capability.capable for node in nodes):
            return None
        return Finding(
            Reason.NO_CAPABLE_NODES,
            "none of its Pods runs on a capable node; Pods on nodes that join will have sidecars",
        )
