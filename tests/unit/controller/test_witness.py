"""Witnesses: by what time a policy is known to have been there."""

from dataclasses import replace

from sidecarpolicy.controller.witness import Witnesses
from tests.support.builders import policy

KEY = "SidecarPolicy/log-shipper"
ALIVE = replace(policy(), created="2026-01-02T00:00:00Z")
EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z"


def test_a_policy_that_was_seen_is_its_own_witness_also_when_it_is_gone() -> None:
    witnesses = Witnesses()
    witnesses.note("shop", {KEY: LATE}, [ALIVE])
    witnesses.note("shop", {KEY: LATE}, [])
    assert witnesses.latest(KEY, ["shop"]) == ALIVE.created


def test_of_one_that_nobody_saw_its_records_tell() -> None:
    witnesses = Witnesses()
    witnesses.note("shop", {KEY: EARLY}, [])
    assert witnesses.latest(KEY, ["shop", "none"]) == EARLY


def test_what_is_written_after_it_was_missed_is_no_witness() -> None:
    witnesses = Witnesses()
    witnesses.note("shop", {KEY: EARLY}, [])
    witnesses.note("shop", {KEY: LATE}, [])
    assert witnesses.latest(KEY, ["shop"]) == EARLY


def test_one_namespace_is_enough() -> None:
    witnesses = Witnesses()
    witnesses.note("a", {KEY: EARLY}, [])
    witnesses.note("b", {KEY: LATE}, [])
    assert witnesses.latest(KEY, ["a", "b"]) == LATE


def test_with_the_last_record_it_is_forgotten() -> None:
    witnesses = Witnesses()
    witnesses.note("shop", {KEY: LATE}, [ALIVE])
    witnesses.note("shop", {}, [])
    assert witnesses.latest(KEY, ["shop"]) == ""
