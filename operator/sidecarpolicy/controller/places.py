"""Places: all nodes as Pods choose them, and a short memory of who was asked about them."""

import json
from collections.abc import Sequence
from typing import Any

from sidecarpolicy.core.capability import Verdict
from sidecarpolicy.core.facts import RawObject
from sidecarpolicy.core.feasible import Pin, Place, hindrance, obstacle_at, place_of

_REMEMBERED = 1000
_IGNORING = frozenset({Verdict.IGNORES, Verdict.UNKNOWN})
_CHOOSING = ("nodeSelector", "affinity", "tolerations")


class Places:
    """Answers are kept until a node changes: most workloads choose nodes in the same few ways."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._answers: dict[str, str | None] = {}
        self._ignored: dict[str, bool] = {}

    def see(self, obj: RawObject, verdict: Verdict) -> None:
        """Takes in a raw Node."""
        place = place_of(obj)
        if self._places.get(place.name) != place:
            self._places[place.name] = place
            self._forget_answers()
        self.judge(place.name, verdict)

    def judge(self, name: str, verdict: Verdict) -> None:
        """Takes in what became known of a node."""
        if self._verdicts.get(name) is not verdict:
            self._verdicts[name] = verdict
            self._forget_answers()

    def forget(self, name: str) -> None:
        """Drops a node."""
        if self._places.pop(name, None) is not None:
            self._forget_answers()

    def _forget_answers(self) -> None:
        self._answers.clear()
        self._ignored.clear()

    def may_be_ignored(self, template: RawObject) -> bool:
        """Whether Pods made from a template may come to a node that ignores native sidecars, or of
        which nobody knows.
        """
        asked = _asked(template, ())
        if asked not in self._ignored:
            if len(self._ignored) >= _REMEMBERED:
                self._ignored.clear()
            hinders = obstacle_at(template, ())
            self._ignored[asked] = any(
                hinders(place.judged(self._verdicts[name])) is None
                for name, place in self._places.items()
                if self._verdicts[name] in _IGNORING
            )
        return self._ignored[asked]

    def hindrance(self, template: RawObject, pins: Sequence[Pin]) -> str | None:
        """Why Pods made from a template could run nowhere; None without any node, too."""
        if not self._places:
            return None
        asked = _asked(template, pins)
        if asked not in self._answers:
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            judged = (each.judged(self._verdicts[name]) for name, each in self._places.items())
            self._answers[asked] = hindrance(template, pins, judged)
        return self._answers[asked]


def _asked(template: RawObject, pins: Sequence[Pin]) -> str:
    spec: Any = template.get("spec") or {}
    chosen = [spec.get(field) for field in _CHOOSING]
    return json.dumps([chosen, [(pin.claim, pin.selector) for pin in pins]], sort_keys=True)
