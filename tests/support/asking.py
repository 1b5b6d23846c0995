"""The controller's part that asks kubelets, with nodes that a test puts into its inventory.

An HTTP server stands for the API server, through whose proxy all kubelets are asked.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientSession, TCPConnector

from sidecarpolicy.cluster.connection import Connection
from sidecarpolicy.cluster.kubelets import ThroughApiServer
from sidecarpolicy.controller.gates import Gates
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.controller.judge import Judge
from sidecarpolicy.core.facts import NodeFacts
from sidecarpolicy.core.selection import Exclusions
from tests.support.kubelets import Metrics
from tests.support.nodes import node_object
from tests.support.waiting import soon


@dataclass
class Asking:
    """Nodes, what their kubelets say, and those who ask."""

    kubelets: Metrics
    inventory: Inventory
    gates: Gates

    def see(self, kubelet: str, **fields: Any) -> float:
        """A node is new or changed; for how many seconds its label had better wait."""
        obj = node_object(kubelet, **fields)
        self.inventory.see_node(obj)
        return self.gates.consider(self.node(obj["metadata"]["name"]))

    def node(self, name: str = "n1") -> NodeFacts:
        found = self.inventory.nodes.get(name)
        assert found is not None
        return found

    async def asked(self, count: int, *, seconds: float = 10) -> None:
        """Waits until so many questions were answered, or more, and none is under way."""

        async def answered() -> bool:
            return len(self.kubelets.asked) >= count and self.kubelets.in_flight == 0

        await soon(answered, seconds=seconds)


def ready(since: str = "10:00") -> dict[str, Any]:
    """The status of a node that is Ready."""
    return {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since}]}


@asynccontextmanager
async def asking(kubelets: Metrics, *, recheck: float = 3600) -> AsyncIterator[Asking]:
    """It works while the context is open."""
    judge = Judge()
    inventory = Inventory(Exclusions("ours"), judge)
    async with (
        kubelets.serving(path="/api/v1/nodes/{name}/proxy/metrics") as port,
        ClientSession(connector=TCPConnector(limit=0)) as session,
    ):
        source = ThroughApiServer(Connection(f"http://127.0.0.1:{port}", session, ClientSession))
        made = Asking(kubelets, inventory, Gates(source, inventory, judge, recheck=recheck))

        worker = asyncio.ensure_future(made.gates.run())
        try:
            yield made
        finally:
            worker.cancel()
            await asyncio.wait([worker])
