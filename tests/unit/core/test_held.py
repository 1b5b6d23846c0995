"""What is held is read back as it was written, and nothing else is taken for it."""

from typing import Any

import pytest
from jsonpatch import JsonPatchTestFailed

from sidecarpolicy.api.names import HELD_ANNOTATION
from sidecarpolicy.core.held import (
    Because,
    Hold,
    encode_holds,
    hold_site,
    read_holds,
    rewritten,
)
from tests.support.plans import stored

FOUGHT = Hold("SidecarPolicy/logs", "7f3a9c12", Because.FIGHT, "kustomize-controller")
FAILED = Hold("ClusterSidecarPolicy/mesh", "00ff00ff", Because.ROLLOUT_FAILED, message="0 of 2")


def test_holds_survive_the_way_through_the_annotation() -> None:
    text = encode_holds([FOUGHT, FAILED])
    assert read_holds({"annotations": {HELD_ANNOTATION: text}}) == (FAILED, FOUGHT)


def test_an_object_without_annotations_holds_nothing() -> None:
    assert read_holds({}) == ()
    assert read_holds({"annotations": None}) == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yes",
        "7",
        "{}",
        '["Fight"]',
        '[{"policy": "SidecarPolicy/logs", "revision": "7f3a9c12"}]',
        '[{"policy": "SidecarPolicy/logs", "revision": 7, "reason": "Fight"}]',
        '[{"policy": "SidecarPolicy/logs", "revision": "7f3a9c12", "reason": "Whim"}]',
    ],
)
def test_what_this_version_would_not_write_holds_nothing(text: str) -> None:
    assert read_holds({"annotations": {HELD_ANNOTATION: text}}) == ()


HELD = {"annotations": {HELD_ANNOTATION: encode_holds([FAILED])}}


@pytest.mark.parametrize(
    ("meta", "holds", "annotations"),
    [
        pytest.param({}, [FAILED], [FAILED], id="on an object without annotations"),
        pytest.param({"annotations": {"a": "b"}}, [FAILED], [FAILED], id="beside another"),
        pytest.param(HELD, [FAILED, FOUGHT], [FAILED, FOUGHT], id="where one is"),
        pytest.param(HELD, [], [], id="taken away with the last"),
        pytest.param({"annotations": {HELD_ANNOTATION: "x"}}, [], [], id="that nobody can read"),
    ],
)
def test_holds_are_written(meta: Any, holds: list[Hold], annotations: list[Hold]) -> None:
    patch = rewritten(hold_site(meta), holds)
    after = stored({"metadata": meta}, patch)["metadata"]
    assert read_holds(after) == tuple(sorted(annotations))
    others = {key: text for key, text in after["annotations"].items() if key != HELD_ANNOTATION}
    assert others == ({"a": "b"} if "a" in meta.get("annotations", {}) else {})
    assert (HELD_ANNOTATION in after["annotations"]) == bool(annotations)


def test_nothing_is_written_where_nothing_changes() -> None:
    assert rewritten(hold_site(HELD), [FAILED]) == []
    assert rewritten(hold_site({}), []) == []


@pytest.mark.parametrize("seen", [{}, HELD], ids=["nothing", "one"])
def test_what_somebody_wrote_meanwhile_is_not_written_over_where_was(seen: Any) -> None:
    patch = rewritten(hold_site(seen), [FOUGHT])
    now = {"metadata": {"annotations": {HELD_ANNOTATION: "[]"}}}
    with pytest.raises((AssertionError, JsonPatchTestFailed)):
        stored(now, patch)
