"""Fights: which of our writes counts as undone, and when we give in."""

from typing import Any

import pytest

from sidecarpolicy.api.names import FIELD_MANAGER
from sidecarpolicy.core.facts import WorkloadFacts
from sidecarpolicy.core.fights import WINDOW, Bout, over, wanted_again, written
from tests.support.builders import pods_of, workload
from tests.support.plans import injected

REVISION = "7f3a9c12"


def web(generation: int = 1, **meta: Any) -> WorkloadFacts:
    return workload(metadata={"generation": generation, **meta})


def played(*undone: float) -> Bout:
    """A bout in which each of our writes was undone, seen at these times, and not written since."""
    bout = wanted_again(None, web(), revision=REVISION, now=0)
    for number, moment in enumerate(undone, 1):
        bout = written(bout, generation=2 * number, now=moment)
        bout = wanted_again(bout, web(2 * number + 1), revision=REVISION, now=moment)
    return bout


@pytest.mark.parametrize(
    ("undone", "lost"),
    [
        pytest.param((), False, id="the first write is no fight"),
        pytest.param((1, 2), False, id="twice is none yet"),
        pytest.param((1, 2, 3), True, id="three times is one"),
        pytest.param((1, 2, WINDOW + 1.5), False, id="not if the first is long ago"),
        pytest.param((1, 2, WINDOW + 0.5), True, id="three times just within the window"),
        pytest.param((1, WINDOW, 2 * WINDOW, 3 * WINDOW), False, id="rarely, for ever"),
    ],
)
def test_a_fight_is_lost_once_three_writes_were_undone_within_ten_minutes(
    undone: tuple[float, ...], lost: bool
) -> None:
    assert played(*undone).lost is lost


def test_what_is_wanted_again_without_having_been_undone_counts_nothing() -> None:
    """A write that failed, or one whose own event is still to come."""
    bout = written(wanted_again(None, web(), revision=REVISION, now=0), generation=2, now=0)
    for generation in (1, 2):
        for _ in range(5):
            bout = wanted_again(bout, web(generation), revision=REVISION, now=1)
    assert bout.undone == ()


def test_one_undone_write_counts_once_however_often_it_is_looked_at() -> None:
    bout = played(1)
    for _ in range(5):
        bout = wanted_again(bout, web(9), revision=REVISION, now=2)
    assert bout.undone == (1,)


@pytest.mark.parametrize(
    ("uid", "revision"), [("uid-web", "newer"), ("another", REVISION)], ids=["revision", "workload"]
)
def test_another_starts_anew(uid: str, revision: str) -> None:
    again = wanted_again(played(1, 2, 3), web(uid=uid), revision=revision, now=4)
    assert (again.undone, again.lost) == ((), False)


def test_a_hold_that_was_taken_away_comes_back_within_the_window_and_not_after_it() -> None:
    bout = played(1, 2, 3)
    assert wanted_again(bout, web(7), revision=REVISION, now=WINDOW).lost
    assert not wanted_again(bout, web(7), revision=REVISION, now=WINDOW + 3).lost


def managed(ours: str, theirs: str, *, fields: Any = None) -> list[dict[str, Any]]:
    template = {"f:spec": {"f:template": {"f:spec": {}}}} if fields is None else fields
    return [
        {"manager": FIELD_MANAGER, "time": ours, "fieldsV1": {"f:metadata": {}}},
        {"manager": "deployer", "time": theirs, "fieldsV1": template},
    ]


EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-01T00:00:05Z"


@pytest.mark.parametrize(
    ("entries", "counted"),
    [
        pytest.param(managed(EARLY, LATE), 1, id="somebody wrote the template after us"),
        pytest.param(managed(LATE, EARLY), 0, id="somebody wrote it before us"),
        pytest.param(managed(EARLY, LATE)[1:], 0, id="we never wrote here"),
        pytest.param(
            managed(EARLY, LATE, fields={"f:status": {}}), 0, id="somebody wrote something else"
        ),
    ],
)
def test_without_a_memory_a_template_without_our_record_counts_if(
    entries: list[dict[str, Any]], counted: int
) -> None:
    bout = wanted_again(None, web(managedFields=entries), revision=REVISION, now=1)
    assert len(bout.undone) == counted


def test_without_a_memory_a_template_with_a_record_counts_nothing() -> None:
    there = workload(pods=pods_of(injected()), metadata={"managedFields": managed(EARLY, LATE)})
    assert wanted_again(None, there, revision=REVISION, now=1).undone == ()


def test_a_bout_is_over_when_nothing_happened_for_a_window() -> None:
    bout = written(played(1), generation=5, now=2)
    assert not over(bout, WINDOW + 1)
    assert over(bout, WINDOW + 2)
