"""Events: what happened to an object, told once, where its owner looks (`kubectl describe`)."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Any, Final

from sidecarpolicy.api.names import FIELD_MANAGER
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.outcome import Outcome, Result
from sidecarpolicy.cluster.resources import API_VERSIONS, EVENTS
from sidecarpolicy.core.facts import Ref
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.semantic import fingerprint

log = logging.getLogger(__name__)

_REMEMBERED = 10_000
_MAX_MESSAGE = 1024
_NOTHING_TO_DO = frozenset({Result.CONFLICT, Result.GONE})
_ENDING = "because it is being terminated"
"""How the API server refuses anything new in a namespace that is being deleted."""

OF_THE_CLUSTER: Final = "default"
"""Where Events about objects without a namespace live, by Kubernetes' convention."""


class Kind(StrEnum):
    """An Event's type."""

    NORMAL = "Normal"
    WARNING = "Warning"


class Told(Enum):
    """Whether an Event is told: now, by this process or another before, or not at all."""

    NOW = "now"
    BEFORE = "before"
    NOT = "not"


@dataclass(frozen=True)
class Occurrence:
    """What may happen to an object time and again; of equal `topic` is the same."""

    ref: Ref
    uid: str
    kind: Kind
    topic: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the Event that counts it."""
        return _name(self.ref, _digest(self.topic))


class Recorder:
    """Posts Events. The name says what an Event is about, so another process of ours, before
    or after a restart, cannot tell the same a second time. Where a namespace is being deleted,
    nobody is told anything.
    """

    def __init__(self, api: Api, ends: Callable[[str], bool] = lambda _: False) -> None:
        """`ends` says whether a namespace is being deleted, as far as is known."""
        self._api = api
        self._ends = ends
        self._told: dict[str, None] = {}
        self._counts: dict[str, int] = {}

    def has_told(self, *topic: str) -> bool:
        """Whether this process told of a topic."""
        return _digest(topic) in self._told

    async def tell(
        self,
        ref: Ref,
        uid: str,
        finding: Finding,
        *,
        api_version: str = "",
        topic: tuple[str, ...] = (),
    ) -> bool:
        """Warns of something, as `post` does; whether it is told now."""
        told = await self.post(ref, uid, finding, api_version=api_version, topic=topic)
        return told is not Told.NOT

    async def post(
        self,
        ref: Ref,
        uid: str,
        finding: Finding,
        *,
        kind: Kind = Kind.WARNING,
        api_version: str = "",
        topic: tuple[str, ...] = (),
    ) -> Told:
        """Posts an Event about an object, unless that was done already.

        `api_version` is for objects of kinds that are not ours to name. Of one `topic`, only
        the first message is told; otherwise every message is a topic of its own.
        """
        digest = _digest(topic or (uid, finding.reason, finding.message))
        if digest in self._told or self._ends(_place(ref)):
            return Told.BEFORE
        event = _event(_name(ref, digest), ref, uid, finding, kind=kind)
        if api_version:
            event["involvedObject"]["apiVersion"] = api_version
        answer = await self._api.create(EVENTS, event, _place(ref))
        if not _settled(answer):
            log.warning("Event on %s not written: %s", ref, answer.message)
            return Told.NOT
        _remember(self._told, digest, None)
        return Told.NOW if answer.done else Told.BEFORE

    async def count(self, about: Occurrence, number: int, words: Callable[[int], Finding]) -> None:
        """Counts what happened `number` times more, in one Event; `words` say it of the total.

        Best effort, as all Events are: one that cannot be written is logged and left out.
        """
        if self._ends(_place(about.ref)):
            return
        known = self._counts.get(about.name, 0)
        answer = await self._recount(about, known, number, words)
        if answer.result is Result.CONFLICT:  # it is there already, of a process before us
            known = await self._counted(about)
            answer = await self._recount(about, known, number, words)
        elif answer.result is Result.GONE:  # it expired
            known = 0
            answer = await self._recount(about, known, number, words)
        if answer.done:
            _remember(self._counts, about.name, known + number)
        elif not _settled(answer):
            log.warning("Event on %s not written: %s", about.ref, answer.message)

    async def _recount(
        self, about: Occurrence, known: int, number: int, words: Callable[[int], Finding]
    ) -> Outcome:
        """Creates the Event, or brings one up to date that counts `known`."""
        finding = words(known + number)
        event = _event(
            about.name, about.ref, about.uid, finding, kind=about.kind, count=known + number
        )
        if not known:
            return await self._api.create(EVENTS, event, _place(about.ref))
        news = {key: event[key] for key in ("count", "message", "lastTimestamp")}
        return await self._api.patch_merge(
            EVENTS, news, name=about.name, namespace=_place(about.ref)
        )

    async def _counted(self, about: Occurrence) -> int:
        """What an Event that is there counts."""
        found = await self._api.get(EVENTS, name=about.name, namespace=_place(about.ref))
        return int(found.body.get("count") or 0) if found.done else 0


def _remember(known: dict[str, Any], key: str, value: Any) -> None:
    known[key] = value
    while len(known) > _REMEMBERED:
        del known[next(iter(known))]


def _settled(answer: Outcome) -> bool:
    """Whether there is nothing to try again."""
    return answer.done or answer.result in _NOTHING_TO_DO or _ENDING in answer.message


def _digest(topic: tuple[str, ...]) -> str:
    return fingerprint([*topic], length=16)


def _name(ref: Ref, digest: str) -> str:
    return f"{ref.name[:200]}.{digest}"


def _place(ref: Ref) -> str:
    return ref.namespace or OF_THE_CLUSTER


def _event(
    name: str, ref: Ref, uid: str, finding: Finding, *, kind: Kind, count: int = 1
) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    place = {"namespace": ref.namespace} if ref.namespace else {}
    about = {"kind": ref.kind, **place, "name": ref.name, "uid": uid}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": _place(ref)},
        "involvedObject": {"apiVersion": API_VERSIONS.get(ref.kind, ""), **about},
        "type": kind.value,
        "reason": finding.reason.value,
        "message": finding.message[:_MAX_MESSAGE],
        "source": {"component": FIELD_MANAGER},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": count,
    }
