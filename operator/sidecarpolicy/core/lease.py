"""Who may lead? Decides from a Lease and from when it was seen to change, at a given time.

The rules are those of client-go's `tools/leaderelection`: the times in a Lease are other
machines' clocks and are written for people only. What counts is for how long a record has
not changed, by our own monotonic clock. Who leads stops before that can be long enough.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final


@dataclass(frozen=True)
class Terms:
    """How long things may take, in seconds; client-go's defaults."""

    duration: float = 15.0
    """For how long a record must not have changed before another may lead."""
    renew_deadline: float = 10.0
    """After how long without a renewal the leader writes nothing any more, and ends."""
    retry: float = 2.0
    """How often the leader renews."""
    look: float = 1.0
    """How often others look whether it still does; how soon they know that it gave up."""

    def __post_init__(self) -> None:
        if not self.duration > self.renew_deadline > self.retry > 0 < self.look:
            raise ValueError("a leader must stop before another may begin, and renew before that")


TERMS: Final = Terms()


@dataclass(frozen=True)
class Lease:
    """A Lease as the API server has it; `version` is its resource version, whatever changed."""

    record: Mapping[str, Any] = field(default_factory=dict)
    version: str = field(default="", compare=False)

    @property
    def holder(self) -> str:
        """Who leads, or did; empty after an orderly end."""
        return str(self.record.get("holderIdentity") or "")

    @property
    def seconds(self) -> float | None:
        """For how long its holder wants to be waited for; None where that makes no sense."""
        found = self.record.get("leaseDurationSeconds")
        return float(found) if isinstance(found, int) and found > 0 else None

    @property
    def transitions(self) -> int:
        """How often another holder took over."""
        found = self.record.get("leaseTransitions")
        return found if isinstance(found, int) else 0


NONE: Final = Lease()
"""No Lease, which nobody holds."""


def lease_of(obj: Mapping[str, Any]) -> Lease:
    """What matters of a raw Lease."""
    return Lease(obj.get("spec") or {}, str(obj["metadata"]["resourceVersion"]))


@dataclass(frozen=True)
class Sighting:
    """A Lease whose record has been the same at every look since a time."""

    lease: Lease
    since: float

    def free_in(self, me: str, *, terms: Terms, now: float) -> float:
        """For how many seconds more it is another's; 0 or less if it may be taken."""
        if self.lease.holder in ("", me):
            return 0.0
        return self.since + (self.lease.seconds or terms.duration) - now


def sight(last: Sighting | None, lease: Lease, *, now: float) -> Sighting:
    """The sighting after one more look."""
    if last is None or last.lease != lease:
        return Sighting(lease, now)
    return replace(last, lease=lease)


def taken(lease: Lease, me: str, *, terms: Terms, wall: str) -> dict[str, Any]:
    """The record by which we lead from now on; `wall` is the time of day, for people."""
    record = {"holderIdentity": me, "leaseDurationSeconds": round(terms.duration)}
    if lease.holder == me:
        return {**record, "renewTime": wall}
    transitions = lease.transitions + (1 if lease.record else 0)
    return {**record, "renewTime": wall, "acquireTime": wall, "leaseTransitions": transitions}


def released(wall: str) -> dict[str, Any]:
    """The record by which nobody leads."""
    return {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": wall}
