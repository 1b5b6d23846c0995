"""Events: what happened to an object, told once, where its owner looks (`kubectl describe`)."""

import logging
from datetime import UTC, datetime
from typing import Any

from sidecarpolicy.api.names import FIELD_MANAGER
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.outcome import Result
from sidecarpolicy.cluster.resources import API_VERSIONS, EVENTS
from sidecarpolicy.core.facts import Ref
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.semantic import fingerprint

log = logging.getLogger(__name__)

_REMEMBERED = 10_000
_NOTHING_TO_DO = frozenset({Result.CONFLICT, Result.GONE})
_ENDING = "because it is being terminated"
"""How the API server refuses anything new in a namespace that is being deleted."""


class Recorder:
    """Posts Events. The name says what an Event is about, so another process of ours, before
    or after a restart, cannot tell the same a second time.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._told: dict[str, None] = {}

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
        """Posts a warning about an object, unless that was done already; whether it is told now.

        `api_version` is for objects of kinds that are not ours to name. Of one `topic`, only
        the first message is told; otherwise every message is a topic of its own.
        """
        digest = _digest(topic or (uid, finding.reason, finding.message))
        if digest in self._told:
            return True
        event = _event(f"{ref.name[:200]}.{digest}", ref, uid, finding)
        if api_version:
            event["involvedObject"]["apiVersion"] = api_version
        answer = await self._api.create(EVENTS, event, ref.namespace)
        if not (answer.done or answer.result in _NOTHING_TO_DO or _ENDING in answer.message):
            log.warning("Event on %s not written: %s", ref, answer.message)
            return False
        self._told[digest] = None
        while len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]
        return True


def _digest(topic: tuple[str, ...]) -> str:
    return fingerprint([*topic], length=16)


def _event(name: str, ref: Ref, uid: str, finding: Finding) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    about = {"kind": ref.kind, "namespace": ref.namespace, "name": ref.name, "uid": uid}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": ref.namespace},
        "involvedObject": {"apiVersion": API_VERSIONS.get(ref.kind, ""), **about},
        "type": "Warning",
        "reason": finding.reason.value,
        "message": finding.message[:1024],
        "source": {"component": FIELD_MANAGER},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
