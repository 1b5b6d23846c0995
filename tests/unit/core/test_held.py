"""What is held is read back as it was written, and nothing else is taken for it."""

import pytest

from sidecarpolicy.api.names import HELD_ANNOTATION
from sidecarpolicy.core.held import Because, Hold, encode_holds, read_holds

FOUGHT = Hold("SidecarPolicy/logs", "7f3a9c12", Because.FIGHT, "kustomize-controller")
FAILED = Hold("ClusterSidecarPolicy/mesh", "00ff00ff", Because.ROLLOUT_FAILED)


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
