"""The herald: tells owners and authors, as Events, what passes over namespaces brought.

A workload gets an Event for each thing that happens to it; its policy one for each reason and
revision, which counts the workloads and names the latest, so that `kubectl describe` shows a
rollout of thousands in a few lines. An Event's name is what it is about: what another process of
ours told before a restart is not told again, nor counted.

    Reconciler → core.news → Herald → Recorder

Never waited for by the passes: an Event that cannot be written is tried again beside them.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping

from sidecarpolicy.controller.dirty import DirtySet
from sidecarpolicy.controller.events import Kind, Occurrence, Recorder, Told
from sidecarpolicy.core.facts import Ref
from sidecarpolicy.core.news import Chronicle, News, chronicle, news
from sidecarpolicy.core.plan import Plan
from sidecarpolicy.core.snapshot import Snapshot
from sidecarpolicy.core.standing import Attempt

_SETTLE = 0.2
_AGAIN_SECONDS = 30.0
_IN_FLIGHT = 8

_Topic = tuple[str, ...]


class Herald:
    """Remembers what was so, finds what is new, and tells it once."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._chronicles: dict[str, Chronicle] = {}
        self._lasting: dict[str, frozenset[_Topic]] = {}
        self._untold: dict[_Topic, News] = {}
        self._marked: DirtySet[_Topic] = DirtySet(settle=_SETTLE)
        self._slots = asyncio.Semaphore(_IN_FLIGHT)

    def remember(self, snapshot: Snapshot, decided: Plan) -> None:
        """Takes in what templates carried before this process began, which is no news."""
        self._chronicles[snapshot.namespace] = chronicle(snapshot, decided)

    def forget(self, namespace: str) -> None:
        """Drops a namespace that is gone."""
        self._chronicles.pop(namespace, None)
        self._lasting.pop(namespace, None)

    def note(self, snapshot: Snapshot, decided: Plan, attempts: Mapping[Ref, Attempt]) -> None:
        """Takes in what a pass came to, and has what is new be told."""
        space = snapshot.namespace
        now = chronicle(snapshot, decided)
        earlier, self._chronicles[space] = self._chronicles.get(space, {}), now
        found = news(snapshot, decided, attempts, before=earlier, after=now)
        before = self._lasting.get(space, frozenset())
        self._lasting[space] = frozenset(each.topic for each in found if each.lasting)
        for each in found:
            if each.topic not in before:
                self._untold[each.topic] = each
                self._marked.mark(each.topic)

    async def run(self) -> None:
        """Tells for ever."""
        while True:
            topics = await self._marked.take()
            found = [each for topic, each in self._untold.items() if topic in topics]
            told = await asyncio.gather(*(self._tell(each) for each in found))
            await self._sum_up(each for each, now in zip(found, told, strict=True) if now)

    async def _tell(self, each: News) -> bool:
        """Tells the workload's owner; whether that is news to them."""
        kind = Kind.NORMAL if each.normal else Kind.WARNING
        async with self._slots:
            told = await self._recorder.post(
                each.ref, each.uid, each.finding, kind=kind, topic=each.topic
            )
        if told is Told.NOT:
            self._marked.mark_later(each.topic, _AGAIN_SECONDS)
        else:
            del self._untold[each.topic]
        return told is Told.NOW

    async def _sum_up(self, found: Iterable[News]) -> None:
        """Tells the policies' authors, in one Event for each reason and revision."""
        groups: defaultdict[_Topic, list[News]] = defaultdict(list)
        for each in found:
            if each.author is not None:
                groups[each.author.uid, each.reason, each.author.revision].append(each)
        for topic, group in groups.items():
            latest = group[-1]
            if latest.author is not None:
                kind = Kind.NORMAL if latest.normal else Kind.WARNING
                about = Occurrence(latest.author.ref, latest.author.uid, kind, topic)
                await self._recorder.count(about, len(group), latest.summed_up)
