"""When what is renewed, as a table of situations, and what each step leaves behind."""

import dataclasses
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from sidecarpolicy.webhook.kept import Kept
from sidecarpolicy.webhook.pki import names_of, signed_by
from sidecarpolicy.webhook.renewal import (
    Decision,
    Sighting,
    Situation,
    Step,
    advance,
    decide,
    sight,
)
from tests.support.certificates import DAY, HOST, MINUTE, START, authority, fresh, serving

NAMES = frozenset({HOST})
OLD, NEW = authority(), authority(START + 250 * DAY)
ROTATED = Kept(NEW, serving(OLD, START + 240 * DAY), (OLD.certificate,))
"""A new CA, and a serving certificate that the old one signed ten days before."""


def at(after: timedelta, kept: Kept, **fields: Any) -> Situation:
    return Situation(kept, **{"names": NAMES, "now": START + after, **fields})


def seen(since: timedelta, by: datetime = START + 250 * DAY) -> Sighting:
    return Sighting(NEW.certificate, by + since)


@pytest.mark.parametrize(
    ("situation", "step", "why"),
    [
        pytest.param(at(0 * DAY, Kept()), Step.ROTATE, "no usable CA", id="nothing is kept"),
        pytest.param(at(59 * DAY, fresh()), Step.KEEP, "", id="two thirds of a life are not over"),
        pytest.param(
            at(60 * DAY, fresh()), Step.RENEW, "a third of the serving", id="a third is left"
        ),
        pytest.param(
            at(91 * DAY, fresh()), Step.RENEW, "expired", id="nobody renewed it for 91 days"
        ),
        pytest.param(
            at(0 * DAY, Kept(OLD)), Step.RENEW, "no usable serving", id="a CA and nothing to serve"
        ),
        pytest.param(
            at(0 * DAY, Kept(OLD, serving(NEW))), Step.RENEW, "no trusted CA",
            id="a serving certificate that some unknown CA signed",
        ),
        pytest.param(
            at(0 * DAY, fresh(), names=NAMES | {"10.0.0.1"}), Step.RENEW, "lacks 10.0.0.1",
            id="one more name is wanted",
        ),
        pytest.param(
            at(0 * DAY, fresh(), names=frozenset[str]()), Step.KEEP, "",
            id="fewer names are wanted",
        ),
        pytest.param(
            at(243 * DAY, Kept(OLD, serving(OLD, START + 240 * DAY))), Step.KEEP, "",
            id="two thirds of the CA's year are not over",
        ),
        pytest.param(
            at(244 * DAY, Kept(OLD, serving(OLD, START + 240 * DAY))), Step.ROTATE, "of the CA's",
            id="a third of the CA's year is left",
        ),
        pytest.param(
            at(250 * DAY, ROTATED), Step.KEEP, "may not know",
            id="a new CA that nobody has seen in the configuration",
        ),
        pytest.param(
            at(250 * DAY + 9 * MINUTE, ROTATED, sighting=seen(0 * DAY)), Step.KEEP, "may not know",
            id="a new CA that was seen for nine minutes",
        ),
        pytest.param(
            at(250 * DAY + 10 * MINUTE, ROTATED, sighting=seen(0 * DAY)), Step.RENEW, "every API",
            id="a new CA that was seen for ten minutes",
        ),
        pytest.param(
            at(251 * DAY, ROTATED, sighting=Sighting(OLD.certificate, START)), Step.KEEP,
            "may not know",
            id="the old CA was seen for long, the new one not",
        ),
        pytest.param(
            at(310 * DAY, ROTATED, names=NAMES | {"10.0.0.1"}), Step.KEEP, "may not know",
            id="a renewal is due and a name is missing, but nobody knows the new CA",
        ),
        pytest.param(
            at(331 * DAY, ROTATED), Step.RENEW, "expired",
            id="nobody knows the new CA, but the old serving certificate expired",
        ),
        pytest.param(
            at(364 * DAY, Kept(NEW, serving(NEW, START + 350 * DAY), (OLD.certificate,))),
            Step.KEEP, "", id="a previous CA lives",
        ),
        pytest.param(
            at(365 * DAY, Kept(NEW, serving(NEW, START + 350 * DAY), (OLD.certificate,))),
            Step.PRUNE, "previous CA expired", id="a previous CA expired",
        ),
    ],
)  # fmt: skip
def test_a_situation_asks_for_a_step(situation: Situation, step: Step, why: str) -> None:
    decision = decide(situation)
    assert decision.step is step
    assert why in decision.why


@pytest.mark.parametrize(
    ("situation", "steps"),
    [
        pytest.param(at(0 * DAY, Kept()), [Step.ROTATE, Step.RENEW], id="from nothing"),
        pytest.param(
            at(400 * DAY, fresh()), [Step.ROTATE, Step.RENEW], id="all expired during a long sleep"
        ),
        pytest.param(
            at(244 * DAY, Kept(OLD, serving(OLD, START + 240 * DAY))), [Step.ROTATE],
            id="a change of CA goes no further in one look",
        ),
        pytest.param(
            at(244 * DAY, Kept(OLD, serving(OLD, START + 240 * DAY)),
               sighting=Sighting(OLD.certificate, START)), [Step.ROTATE],
            id="that the old CA is known says nothing about the new one",
        ),
        pytest.param(
            at(366 * DAY, Kept(NEW, serving(NEW, START + 250 * DAY), (OLD.certificate,))),
            [Step.RENEW, Step.PRUNE], id="two things at once",
        ),
    ],
)  # fmt: skip
def test_all_steps_that_are_due_are_one_write(situation: Situation, steps: list[Step]) -> None:
    kept, done = advance(situation)
    assert [each.step for each in done] == steps
    after = dataclasses.replace(situation, kept=kept)
    assert decide(after).step is Step.KEEP


def test_from_nothing_there_is_a_ca_and_what_it_signed() -> None:
    kept, _ = advance(at(0 * DAY, Kept(), names=frozenset({HOST, "::1"})))
    assert kept.authority
    assert kept.serving
    assert signed_by(kept.serving.certificate, kept.authority.certificate)
    assert names_of(kept.serving.certificate) == {HOST, "::1"}
    assert kept.previous == ()


def test_a_change_of_ca_trusts_both_and_serves_as_before() -> None:
    before = Kept(OLD, serving(OLD, START + 240 * DAY))
    kept, _ = advance(at(250 * DAY, before))
    assert kept.authority not in (OLD, None)
    assert kept.serving == before.serving
    assert kept.previous == (OLD.certificate,)


def test_only_cas_that_expired_are_dropped() -> None:
    middle = authority(START + 100 * DAY)
    previous = (middle.certificate, OLD.certificate)
    before = Kept(NEW, serving(NEW, START + 350 * DAY), previous)
    kept, _ = advance(at(366 * DAY, before))
    assert kept.previous == (middle.certificate,)


def test_a_ca_without_its_key_is_replaced_and_still_trusted() -> None:
    before = Kept(None, serving(OLD), (OLD.certificate,))
    kept, done = advance(at(1 * DAY, before))
    assert [each.step for each in done] == [Step.ROTATE]
    assert kept.serving == before.serving
    assert kept.previous == (OLD.certificate,)


def test_a_serving_certificate_never_outlives_its_ca() -> None:
    late = serving(OLD, START + 300 * DAY)
    assert late.certificate.not_valid_after_utc == OLD.certificate.not_valid_after_utc


@pytest.mark.parametrize(
    ("after", "names"),
    [
        pytest.param(1 * DAY, {HOST, "a.test", "b.test"}, id="kept while another may want them"),
        pytest.param(60 * DAY, {HOST, "b.test"}, id="dropped with the regular renewal"),
    ],
)
def test_names_that_nobody_asks_for_any_more_are(after: timedelta, names: set[str]) -> None:
    before = Kept(OLD, serving(OLD, names=(HOST, "a.test")))
    kept, _ = advance(at(after, before, names=frozenset({HOST, "b.test"})))
    assert kept.serving
    assert names_of(kept.serving.certificate) == names


def test_a_sighting_lasts_while_the_same_ca_is_seen() -> None:
    first = sight(None, OLD.certificate, now=START)
    assert first == Sighting(OLD.certificate, START)
    assert sight(first, OLD.certificate, now=START + DAY) == first


@pytest.mark.parametrize(
    ("trusted", "after"),
    [
        pytest.param(None, lambda: None, id="the CA is not trusted, or nobody could look"),
        pytest.param(
            NEW.certificate, lambda: Sighting(NEW.certificate, START + DAY), id="another CA is"
        ),
    ],
)
def test_a_sighting_ends_when(trusted: Any, after: Callable[[], Sighting | None]) -> None:
    assert sight(Sighting(OLD.certificate, START), trusted, now=START + DAY) == after()


def test_a_decision_to_keep_says_so() -> None:
    assert decide(at(0 * DAY, fresh())) == Decision(Step.KEEP, "all is as it should be")
