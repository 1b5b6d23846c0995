"""When are keys and certificates renewed? Decides from what is kept, at a given time.

The order of a change of CA is what keeps every review working: first every API server
learns to trust the new CA, then it signs what is served, and the old one is trusted until
it expires. Nothing is concluded about other replicas: whatever certificate one still
serves, its CA is trusted for as long as that certificate is valid.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from cryptography.x509 import Certificate

from sidecarpolicy.webhook.kept import Kept
from sidecarpolicy.webhook.pki import issue, names_of, new_authority, signed_by


class Step(StrEnum):
    """What is done next."""

    KEEP = "keep"
    ROTATE = "rotate"
    """A new CA becomes known. It signs no certificate yet if there is one to go on with."""
    RENEW = "renew"
    """A new serving certificate, signed by the current CA."""
    PRUNE = "prune"
    """CAs that expired are no longer trusted."""


@dataclass(frozen=True)
class Decision:
    """A step and the sentence that justifies it."""

    step: Step
    why: str


@dataclass(frozen=True)
class Lifetimes:
    """How long things last; each is renewed when a third of its life is left."""

    authority: timedelta = timedelta(days=365)
    serving: timedelta = timedelta(days=90)
    soak: timedelta = timedelta(minutes=10)
    """How long a new CA is seen in the configuration before it signs. An API server that has
    not heard of the configuration for so long is no longer a working one."""


@dataclass(frozen=True)
class Sighting:
    """A CA that the configuration has been seen to trust at every look since a time."""

    authority: Certificate
    since: datetime


def sight(last: Sighting | None, trusted: Certificate | None, *, now: datetime) -> Sighting | None:
    """The sighting after one more look, which found this CA trusted, or none."""
    if trusted is None:
        return None
    return last if last and last.authority == trusted else Sighting(trusted, now)


@dataclass(frozen=True)
class Situation:
    """All that a decision depends on."""

    kept: Kept
    names: frozenset[str]
    """DNS names and IPs that are to be served."""
    now: datetime
    sighting: Sighting | None = None
    lifetimes: Lifetimes = Lifetimes()

    def due(self, certificate: Certificate) -> bool:
        """Whether a third of its life is left, or less."""
        start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return end - self.now <= (end - start) / 3

    def expired(self, certificate: Certificate) -> bool:
        """Whether nobody accepts it any more."""
        return certificate.not_valid_after_utc <= self.now

    @property
    def soaked(self) -> bool:
        """Whether every API server must know the current CA by now."""
        authority, seen = self.kept.authority, self.sighting
        if authority is None or seen is None or seen.authority != authority.certificate:
            return False
        return self.now - seen.since >= self.lifetimes.soak


def decide(situation: Situation) -> Decision:
    """The next step; the first check that has an opinion decides."""
    opinions = (check(situation) for check in _CHECKS)
    return next(filter(None, opinions), Decision(Step.KEEP, "all is as it should be"))


def advance(situation: Situation) -> tuple[Kept, tuple[Decision, ...]]:
    """Takes all steps that are due; what is to be kept then, and what was done."""
    done: list[Decision] = []
    while (decision := decide(situation)).step is not Step.KEEP:
        if decision in done:
            raise AssertionError(f"a step does not settle what asked for it: {decision}")
        done.append(decision)
        situation = replace(situation, kept=_STEPS[decision.step](situation))
    return situation.kept, tuple(done)


def _authority_is_missing(situation: Situation) -> Decision | None:
    if situation.kept.authority is None:
        return Decision(Step.ROTATE, "there is no usable CA")
    return None


def _authority_is_due(situation: Situation) -> Decision | None:
    authority = situation.kept.authority
    if authority and situation.due(authority.certificate):
        return Decision(Step.ROTATE, "a third of the CA's life is left")
    return None


def _serving_is_missing(situation: Situation) -> Decision | None:
    if situation.kept.serving is None:
        return Decision(Step.RENEW, "there is no usable serving certificate")
    return None


def _serving_is_useless(situation: Situation) -> Decision | None:
    serving = situation.kept.serving
    if serving and situation.expired(serving.certificate):
        return Decision(Step.RENEW, "the serving certificate expired")
    if serving and not any(
        signed_by(serving.certificate, each) and not situation.expired(each)
        for each in situation.kept.trusted
    ):
        return Decision(Step.RENEW, "no trusted CA signed the serving certificate")
    return None


def _authority_is_too_new(situation: Situation) -> Decision | None:
    if _served_by_the_authority(situation.kept) or situation.soaked:
        return None
    return Decision(Step.KEEP, "an API server may not know the new CA yet")


def _authority_is_known(situation: Situation) -> Decision | None:
    if _served_by_the_authority(situation.kept):
        return None
    return Decision(Step.RENEW, "every API server knows the new CA")


def _serving_lacks_names(situation: Situation) -> Decision | None:
    serving = situation.kept.serving
    missing = situation.names - names_of(serving.certificate) if serving else frozenset()
    if missing:
        return Decision(Step.RENEW, f"the serving certificate lacks {', '.join(sorted(missing))}")
    return None


def _serving_is_due(situation: Situation) -> Decision | None:
    serving = situation.kept.serving
    if serving and situation.due(serving.certificate):
        return Decision(Step.RENEW, "a third of the serving certificate's life is left")
    return None


def _a_previous_authority_expired(situation: Situation) -> Decision | None:
    if any(situation.expired(each) for each in situation.kept.previous):
        return Decision(Step.PRUNE, "a previous CA expired")
    return None


_CHECKS: Final[tuple[Callable[[Situation], Decision | None], ...]] = (
    _authority_is_missing,
    _authority_is_due,
    # From here on there is a CA that can sign. What nobody accepts is replaced at once …
    _serving_is_missing,
    _serving_is_useless,
    # … and what somebody accepts only when everybody accepts the new one.
    _authority_is_too_new,
    _authority_is_known,
    _serving_lacks_names,
    _serving_is_due,
    _a_previous_authority_expired,
)


def _served_by_the_authority(kept: Kept) -> bool:
    return (
        kept.authority is not None
        and kept.serving is not None
        and signed_by(kept.serving.certificate, kept.authority.certificate)
    )


def _rotate(situation: Situation) -> Kept:
    authority = new_authority(now=situation.now, life=situation.lifetimes.authority)
    previous = tuple(each for each in situation.kept.trusted if not situation.expired(each))
    return replace(situation.kept, authority=authority, previous=previous)


def _renew(situation: Situation) -> Kept:
    kept, names = situation.kept, situation.names
    assert kept.authority is not None  # the first check sees to it
    if kept.serving and not situation.due(kept.serving.certificate):
        # Replicas of two versions may want different names: none takes away another's.
        names |= names_of(kept.serving.certificate)
    life = situation.lifetimes.serving
    return replace(kept, serving=issue(kept.authority, names, now=situation.now, life=life))


def _prune(situation: Situation) -> Kept:
    previous = tuple(each for each in situation.kept.previous if not situation.expired(each))
    return replace(situation.kept, previous=previous)


_STEPS: Final[dict[Step, Callable[[Situation], Kept]]] = {
    Step.ROTATE: _rotate,
    Step.RENEW: _renew,
    Step.PRUNE: _prune,
}
