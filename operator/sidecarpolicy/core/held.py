"""Holds: that a policy's revision is to stay out of one workload, kept on that workload.

Two facts leave no trace in a Pod template: that a rollout failed because of a revision, and
that another writer keeps taking it out. They stand in the annotation
`sidecarpolicy.dev/held` of the workload's own metadata, where no Pod rolls for them, and they
outlive the operator. A hold ends with a new revision of its policy, with opting out, and
with the operator's removal. Shape, sorted by policy:

    [{"policy": "SidecarPolicy/log-shipper", "revision": "7f3a9c12", "reason": "Fight",
      "manager": "kustomize-controller"}]

The annotation is input like any other: what this version would not write counts as absent. It
is written together with the template, in one patch, and only over what it was seen to be.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sidecarpolicy.api.names import HELD_ANNOTATION
from sidecarpolicy.core.jsonpatch import Patch, escape


class Because(StrEnum):
    """Why a revision is held."""

    ROLLOUT_FAILED = "RolloutFailed"
    FIGHT = "Fight"


@dataclass(frozen=True, order=True)
class Hold:
    """One policy's revision that stays out.

    `manager` is who took it out, in a fight; `message` says what was seen when it failed.
    """

    policy: str
    revision: str
    reason: Because
    manager: str = ""
    message: str = ""


@dataclass(frozen=True)
class HoldSite:
    """What stands where holds are written: the annotation's text, if there are annotations."""

    annotations: bool = False
    text: str | None = None


def hold_site(meta: Mapping[str, Any]) -> HoldSite:
    """The place in an object's raw metadata."""
    annotations = meta.get("annotations")
    return HoldSite(bool(annotations), (annotations or {}).get(HELD_ANNOTATION))


def rewritten(site: HoldSite, holds: Iterable[Hold]) -> Patch:
    """The operations that leave exactly these holds in the annotation; none if it has them.

    Each test fails if somebody wrote there meanwhile: metadata has no generation that the
    patch's guard could go by. A test for null is one for a path that is missing.
    """
    holds = tuple(holds)
    text = encode_holds(holds) if holds else None
    if text == site.text:
        return []
    patch: Patch = []
    if not site.annotations:
        patch += [
            {"op": "test", "path": _ANNOTATIONS, "value": None},
            {"op": "add", "path": _ANNOTATIONS, "value": {}},
        ]
    patch.append({"op": "test", "path": _PATH, "value": site.text})
    written = {"op": "add", "path": _PATH, "value": text}
    return [*patch, written if text is not None else {"op": "remove", "path": _PATH}]


_ANNOTATIONS = "/metadata/annotations"
_PATH = f"{_ANNOTATIONS}/{escape(HELD_ANNOTATION)}"


def read_holds(meta: Mapping[str, Any]) -> tuple[Hold, ...]:
    """The holds in an object's raw metadata, at most one for each policy."""
    text = (meta.get("annotations") or {}).get(HELD_ANNOTATION)
    try:
        found = {hold.policy: hold for hold in map(_hold, json.loads(text or "[]"))}
    except (ValueError, TypeError, KeyError, AttributeError):
        return ()
    return tuple(sorted(found.values()))


def encode_holds(holds: Iterable[Hold]) -> str:
    """The annotation's text."""
    entries = [
        {"policy": each.policy, "revision": each.revision, "reason": each.reason.value}
        | ({"manager": each.manager} if each.manager else {})
        | ({"message": each.message} if each.message else {})
        for each in sorted(holds)
    ]
    return json.dumps(entries, separators=(",", ":"))


def _hold(entry: Mapping[str, Any]) -> Hold:
    texts = [entry["policy"], entry["revision"], *(entry.get(each, "") for each in _OPTIONAL)]
    if not all(isinstance(each, str) for each in texts):
        raise TypeError
    policy, revision, manager, message = texts
    return Hold(policy, revision, Because(entry["reason"]), manager, message)


_OPTIONAL = ("manager", "message")
