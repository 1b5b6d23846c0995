"""Planning beside the event loop: a large namespace takes seconds, and the Lease has to be renewed.

The plan is made of values that never change, so a thread may make it while events come in. What
changed meanwhile, the guards of its patches find out.
"""

import asyncio
from collections import defaultdict

from sidecarpolicy.core.plan import Plan, plan
from sidecarpolicy.core.recall import Recall
from sidecarpolicy.core.snapshot import Snapshot


class Planner:
    """Makes the plans of all namespaces, of each one at a time, and keeps what holds on."""

    def __init__(self) -> None:
        self._recall: defaultdict[str, Recall] = defaultdict(Recall)

    async def plan(self, snapshot: Snapshot) -> Plan:
        """The plan of a namespace, while the event loop goes on."""
        return await asyncio.to_thread(plan, snapshot, self._recall[snapshot.namespace])

    def forget(self, namespace: str) -> None:
        """Drops what was kept of a namespace that is gone."""
        self._recall.pop(namespace, None)
