"""Workloads of other controllers: what was written once is not written against them."""

from dataclasses import replace
from typing import Any

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.controller.foreign import Foreign
from sidecarpolicy.core.plan import plan
from sidecarpolicy.core.standing import TemplateChange
from tests.support.builders import policy, sidecar, snapshot, workload

OWNER: dict[str, Any] = {"apiVersion": "example.com/v1", "kind": "Shop", "name": "eu"}
OWNED: dict[str, Any] = {"ownerReferences": [{**OWNER, "controller": True}]}


def change(*, generation: int = 1, owned: bool = True, **fields: Any) -> TemplateChange:
    meta = {"generation": generation, **(OWNED if owned else {})}
    made = workload(metadata=meta)
    policies = (policy(injectAt="Pod", **fields),)
    (planned,) = plan(snapshot(policies=policies, workloads=(made,))).changes
    return planned


def test_a_change_that_was_taken_back_is_not_made_again() -> None:
    foreign = Foreign()
    assert foreign.undone(change()) is None
    foreign.made(change())
    found = foreign.undone(change(generation=3))
    assert found is not None
    assert found.reason is Reason.OWNED_BY_CONTROLLER
    assert "Shop.example.com eu" in found.message


def test_a_new_revision_is_tried_again_and_so_is_a_new_workload_of_the_same_name() -> None:
    foreign = Foreign()
    foreign.made(change())
    assert foreign.undone(change(sidecars=[sidecar("agent")])) is None
    other = change()
    again = replace(other, guard=[{**other.guard[0], "value": "another uid"}, *other.guard[1:]])
    assert foreign.undone(again) is None
    foreign.forget(other.ref)
    assert foreign.undone(change()) is None


def test_what_nobody_else_owns_is_written_as_often_as_it_takes() -> None:
    foreign = Foreign()
    foreign.made(change(owned=False))
    assert foreign.undone(change(owned=False, generation=3)) is None
