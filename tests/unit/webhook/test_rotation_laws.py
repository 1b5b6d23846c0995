"""The law of rotation: whatever replicas and API servers are late by, every handshake verifies."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

from cryptography.x509 import Certificate
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sidecarpolicy.webhook.kept import Kept
from sidecarpolicy.webhook.pki import Pair, signed_by
from sidecarpolicy.webhook.renewal import Lifetimes, Sighting, Situation, advance, sight
from tests.support.certificates import DAY, HOST, MINUTE, START

SOAK = Lifetimes().soak
REPLICAS = 3


@dataclass
class Replica:
    """One process: what it serves, and what it remembers."""

    serving: Pair
    sighting: Sighting | None = None


@dataclass
class World:
    """The Secret, every caBundle there was with its time, and the replicas."""

    now: datetime
    kept: Kept
    bundles: list[tuple[datetime, tuple[Certificate, ...]]]
    replicas: list[Replica] = field(default_factory=list)
    authorities: set[Certificate] = field(default_factory=set)

    @classmethod
    def new(cls) -> "World":
        kept, _ = advance(Situation(Kept(), frozenset({HOST}), START))
        assert kept.serving
        replicas = [Replica(kept.serving) for _ in range(REPLICAS)]
        return cls(START + DAY, kept, [(START, kept.trusted)], replicas)

    def look(self, replica: Replica, *, publishes: bool) -> None:
        """What Certificates does in one look; the write of the configuration may fail."""
        assert self.kept.authority
        trusted = self.kept.authority.certificate
        known = trusted if trusted in self.bundles[-1][1] else None
        replica.sighting = sight(replica.sighting, known, now=self.now)
        names = frozenset({HOST})
        self.kept, _ = advance(Situation(self.kept, names, self.now, replica.sighting))
        if publishes and self.kept.trusted != self.bundles[-1][1]:
            self.bundles.append((self.now, self.kept.trusted))
        assert self.kept.serving
        replica.serving = self.kept.serving
        self.authorities.update(self.kept.trusted)

    def known_to_a_late_server(self, late: timedelta) -> tuple[Certificate, ...]:
        return [bundle for since, bundle in self.bundles if since <= self.now - late][-1]


@cache
def verifies(serving: Certificate, trusted: tuple[Certificate, ...]) -> bool:
    """For as long as the certificate is valid, because none outlives its CA."""
    return any(signed_by(serving, each) for each in trusted)


PAUSES = st.one_of(st.timedeltas(MINUTE, 12 * MINUTE), st.timedeltas(timedelta(hours=1), 15 * DAY))
MOVES = st.tuples(PAUSES, st.integers(0, REPLICAS - 1), st.integers(0, 9))


# Without shrinking: that takes minutes here, and a history that fails can be read as it is.
@settings(phases=[Phase.generate])
@given(moves=st.lists(MOVES, min_size=40, max_size=80), late=st.timedeltas(0 * DAY, SOAK))
def test_every_replica_is_trusted_by_every_api_server_at_all_times(
    moves: list[tuple[timedelta, int, int]], late: timedelta
) -> None:
    world = World.new()
    for pause, index, luck in moves:
        world.now += pause
        world.look(world.replicas[index], publishes=luck > 0)
        for serving in (each.serving.certificate for each in world.replicas):
            # A replica that could not look for so long that its certificate expired is lost.
            if serving.not_valid_after_utc > world.now:
                known = world.known_to_a_late_server(late)
                assert verifies(serving, known)


def test_the_law_speaks_of_several_cas() -> None:
    world = World.new()
    for _ in range(300):
        for pause in (5 * DAY, MINUTE, 11 * MINUTE):
            world.now += pause
            world.look(world.replicas[0], publishes=True)
    assert len(world.authorities) == 7
    assert len(world.kept.trusted) <= 2
