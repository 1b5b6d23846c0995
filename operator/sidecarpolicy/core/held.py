"""Holds: that a policy's revision is to stay out of one workload, kept on that workload.

Two facts leave no trace in a Pod template: that a rollout failed because of a revision, and
that another writer keeps taking it out. They stand in the annotation
`sidecarpolicy.dev/held` of the workload's own metadata, where no Pod rolls for them, and they
outlive the operator. A hold ends with a new revision of its policy, with opting out, and
with the operator's removal. Shape, sorted by policy:

    [{"policy": "SidecarPolicy/log-shipper", "revision": "7f3a9c12", "reason": "Fight",
      "manager": "kustomize-controller"}]

The annotation is input like any other: what this version would not write counts as absent.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sidecarpolicy.api.names import HELD_ANNOTATION


class Because(StrEnum):
    """Why a revision is held."""

    ROLLOUT_FAILED = "RolloutFailed"
    FIGHT = "Fight"


@dataclass(frozen=True, order=True)
class Hold:
    """One policy's revision that stays out; `manager` is who took it out, in a fight."""

    policy: str
    revision: str
    reason: Because
    manager: str = ""


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
        for each in sorted(holds)
    ]
    return json.dumps(entries, separators=(",", ":"))


def _hold(entry: Mapping[str, Any]) -> Hold:
    policy, revision, manager = entry["policy"], entry["revision"], entry.get("manager", "")
    if not all(isinstance(each, str) for each in (policy, revision, manager)):
        raise TypeError
    return Hold(policy, revision, Because(entry["reason"]), manager)
