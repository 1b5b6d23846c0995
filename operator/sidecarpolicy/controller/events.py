"""Events: what happened to an object, told once, where its owner looks (`kubectl describe`)."""

import logging
from datetime import UTC, datetime

from sidecarpolicy.api.names import FIELD_MANAGER
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.outcome import Result
from sidecarpolicy.cluster.resources import API_VERSIONS, EVENTS
from sidecarpolicy.core.facts import Ref
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.semantic import fingerprint

log = logging.getLogger(__name__)

_REMEMBERED = 10_000


class Recorder:
    """Posts Events. The name says what an Event is about, so another process of ours, before
    or after a restart, cannot tell the same a second time.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._told: dict[str, None] = {}

    async def tell(self, ref: Ref, uid: str, finding: Finding) -> None:
        """Posts a warning about an object, unless that was done already."""
        name = f"{ref.name[:200]}.{fingerprint([uid, finding.reason, finding.message], length=16)}"
        if name in self._told:
            return
        answer = await self._api.create(EVENTS, _event(name, ref, uid, finding), ref.namespace)
        if answer.done or answer.result is Result.CONFLICT:
            self._told[name] = None
        elif answer.result is not Result.GONE:
            log.warning("Event on %s not written: %s", ref, answer.message)
        while len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]


def _event(name: str, ref: Ref, uid: str, finding: Finding) -> dict[str, object]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    about = {"kind": ref.kind, "namespace": ref.namespace, "name": ref.name, "uid": uid}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": ref.namespace},
        "involvedObject": {"apiVersion": API_VERSIONS[ref.kind], **about},
        "type": "Warning",
        "reason": finding.reason.value,
        "message": finding.message[:1024],
        "source": {"component": FIELD_MANAGER},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
