"""Asks kubelets whether their feature gate is on: only where that decides, and rarely.

A kubelet is asked once for each version and each boot, again when its node was not Ready in
between, and again after a long while: one that is restarted quickly with another gate shows
no sign of it. What never answers is asked ever more rarely. A few workers take the nodes
from a queue, so that no number of nodes makes more requests at one time than there are workers.
"""

import asyncio
import itertools
import logging
import random
import time
from dataclasses import dataclass, field

from sidecarpolicy.cluster.kubelets import Answer, Source, Target
from sidecarpolicy.controller.backoff import Backoff
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.controller.judge import Judge
from sidecarpolicy.core.capability import gate_decides
from sidecarpolicy.core.facts import NodeFacts
from sidecarpolicy.core.featuregate import Reading
from sidecarpolicy.process.life import first_to_end

log = logging.getLogger(__name__)

IN_FLIGHT = 16
PATIENCE = 30.0
"""Seconds for which a new label waits for a kubelet's first answer, where many are asked."""

FIRST_RETRY = 5.0
LAST_RETRY = 900.0
"""Seconds: 5,000 nodes that never answer are about seven requests a second."""

_FIRST_LANE, _LATER_LANE = 0, 1
"""Who has never been asked comes before who was."""


@dataclass(eq=False)
class _Asked:
    """How it stands with one kubelet, of one version and one boot."""

    life: tuple[str, str, str]
    since: float
    ready_since: str
    ended: bool = False
    """Whether a first attempt ended, well or not."""
    answered: bool = False
    queued: bool = False
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)


class Gates:
    """The readings of all nodes. Lives in one event loop."""

    def __init__(
        self, source: Source, inventory: Inventory, judge: Judge, *, recheck: float
    ) -> None:
        """`recheck` is after how many seconds, at most, a kubelet that answered is asked again."""
        self._source = source
        self._inventory = inventory
        self._judge = judge
        self._recheck = recheck
        self._asked: dict[str, _Asked] = {}
        self._queue: asyncio.PriorityQueue[tuple[int, int, str]] = asyncio.PriorityQueue()
        self._turns = itertools.count()
        self._backoff = Backoff(first=FIRST_RETRY, last=LAST_RETRY)

    async def run(self) -> None:
        """Works for ever."""
        await first_to_end(*(self._work() for _ in range(IN_FLIGHT)))

    def consider(self, node: NodeFacts) -> float:
        """Sees to it that a changed node is asked if it has to be.

        Returns for how many seconds an answer is worth waiting for before the node is called
        capable; 0 for not at all.
        """
        if not gate_decides(node.kubelet, self._judge.rules):
            self._forget(node.name)
            return 0.0
        life = (node.uid, node.kubelet.version, node.boot)
        asked = self._asked.get(node.name)
        if asked is None or asked.life != life:
            asked = self._begin(node, life)
        elif node.ready_since not in ("", asked.ready_since):
            self._ready_again(node, asked)
        known = asked.ended or node.reading is not None
        return 0.0 if known else max(0.0, asked.since + PATIENCE - time.monotonic())

    def _begin(self, node: NodeFacts, life: tuple[str, str, str]) -> _Asked:
        self._stop(node.name)
        asked = _Asked(life, since=time.monotonic(), ready_since=node.ready_since)
        self._asked[node.name] = asked
        if node.reading is not None and node.reading.boot == node.boot:
            # Read before this process was started: nothing says that it changed.
            asked.answered = True
            self._later(node.name, asked, self._recheck * random.random())
        else:
            self._now(node.name, asked)
        return asked

    def _ready_again(self, node: NodeFacts, asked: _Asked) -> None:
        """A node that becomes Ready for the first time was asked at its start, maybe in vain."""
        first, asked.ready_since = not asked.ready_since, node.ready_since
        if not (first and asked.answered):
            self._backoff.succeeded(node.name)
            self._now(node.name, asked)

    def _now(self, name: str, asked: _Asked) -> None:
        if asked.timer is not None:
            asked.timer.cancel()
            asked.timer = None
        if not asked.queued:
            asked.queued = True
            lane = _LATER_LANE if asked.ended or asked.answered else _FIRST_LANE
            self._queue.put_nowait((lane, next(self._turns), name))

    def _later(self, name: str, asked: _Asked, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        asked.timer = loop.call_later(seconds, self._now, name, asked)

    async def _work(self) -> None:
        while True:
            _, _, name = await self._queue.get()
            node, asked = self._inventory.nodes.get(name), self._asked.get(name)
            if node is None:
                self._forget(name)
            elif asked is not None and asked.queued:
                asked.queued = False
                answer = await self._read(node)
                if self._asked.get(name) is asked:
                    self._take_in(node, asked, answer)

    async def _read(self, node: NodeFacts) -> Answer:
        try:
            return await self._source.read(Target(node.name, node.address, node.port))
        except Exception as error:  # what one kubelet sends must not keep others from being asked
            log.exception("Node %s: internal error", node.name)
            return Answer(problem=f"internal error ({type(error).__name__})")

    def _take_in(self, node: NodeFacts, asked: _Asked, answer: Answer) -> None:
        if answer.gate is not None:
            self._judge.hear(node, Reading(node.kubelet.version, node.boot, answer.gate))
            self._backoff.succeeded(node.name)
            asked.answered = True
            wait = self._recheck * random.uniform(0.5, 1.0)
        else:
            self._judge.hear(node, None, answer.problem)
            wait = self._backoff.failed(node.name, now=time.monotonic())
            log.log(
                logging.DEBUG if asked.ended else logging.WARNING,
                "Node %s: feature gate not read, next try in %.0f s: %s",
                node.name,
                wait,
                answer.problem,
            )
        asked.ended = True
        if not asked.queued:
            self._later(node.name, asked, wait)
        self._inventory.judge_again(node.name)
        self._inventory.dirty_nodes.mark(node.name)  # its label may wait for this

    def _stop(self, name: str) -> None:
        asked = self._asked.pop(name, None)
        if asked is not None and asked.timer is not None:
            asked.timer.cancel()
        self._backoff.succeeded(name)

    def _forget(self, name: str) -> None:
        self._stop(name)
        self._judge.forget(name)
