"""Who may lead, by what is seen of a Lease and our own clock alone."""

from typing import Any

import pytest

from sidecarpolicy.core.lease import (
    NONE,
    TERMS,
    Lease,
    Sighting,
    Terms,
    lease_of,
    released,
    sight,
    taken,
)

JSON = dict[str, Any]
WALL = "2026-01-01T00:00:00.000000Z"


def lease(holder: str, *, version: str = "1", **record: Any) -> Lease:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, **record}
    return lease_of({"metadata": {"resourceVersion": version}, "spec": spec})


@pytest.mark.parametrize(
    ("seen", "seconds"),
    [
        pytest.param(NONE, 0, id="one that does not exist is free"),
        pytest.param(lease(""), 0, id="one that was given back is free"),
        pytest.param(lease("me"), 0, id="our own from before a restart is ours"),
        pytest.param(lease("you"), 15, id="another's is waited for as long as it says"),
        pytest.param(lease("you", leaseDurationSeconds=40), 40, id="also if it says longer"),
        pytest.param(lease("you", leaseDurationSeconds=0), 15, id="or as we would, if it says 0"),
        pytest.param(
            lease("you", renewTime="1999-01-01T00:00:00.000000Z"),
            15,
            id="times of other clocks do not count",
        ),
    ],
)
def test_how_long_a_lease_that_was_just_seen_is_anothers(seen: Lease, seconds: float) -> None:
    assert Sighting(seen, since=100.0).free_in("me", terms=TERMS, now=100.0) == seconds


def test_the_wait_begins_anew_with_each_change_of_the_record() -> None:
    first = sight(None, lease("you", renewTime="a"), now=100.0)
    second = sight(first, lease("you", renewTime="b"), now=110.0)
    assert second.free_in("me", terms=TERMS, now=114.0) == 11.0


def test_what_does_not_change_the_record_keeps_nobody_waiting() -> None:
    first = sight(None, lease("you", version="1"), now=100.0)
    labelled = sight(first, lease("you", version="2"), now=110.0)
    assert labelled.free_in("me", terms=TERMS, now=115.0) == 0.0
    assert labelled.lease.version == "2"  # by which it can be written


def test_who_takes_over_counts_it_and_who_renews_does_not() -> None:
    taking = {"acquireTime": WALL, "renewTime": WALL, "leaseDurationSeconds": 15}
    made = {**taking, "holderIdentity": "me"}
    assert taken(NONE, "me", terms=TERMS, wall=WALL) == {**made, "leaseTransitions": 0}
    for before in (lease("you", leaseTransitions=4), lease("", leaseTransitions=4)):
        assert taken(before, "me", terms=TERMS, wall=WALL) == {**made, "leaseTransitions": 5}
    renewed = taken(lease("me", leaseTransitions=4), "me", terms=TERMS, wall=WALL)
    assert "leaseTransitions" not in renewed
    assert "acquireTime" not in renewed


def test_what_is_given_back_is_free() -> None:
    seen = lease("me")
    free = lease_of(
        {"metadata": {"resourceVersion": "2"}, "spec": {**seen.record, **released(WALL)}}
    )
    assert Sighting(free, since=1.0).free_in("you", terms=TERMS, now=1.0) == 0.0


@pytest.mark.parametrize(
    "wrong",
    [{"renew_deadline": 15.0}, {"retry": 10.0}, {"retry": 0.0}, {"look": 0.0}],
    ids=str,
)
def test_terms_under_which_two_could_lead_are_refused(wrong: JSON) -> None:
    with pytest.raises(ValueError, match="must stop before another may begin"):
        Terms(**wrong)
