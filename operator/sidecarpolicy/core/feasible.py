"""Where may a Pod run? Decides it from labels, taints and volumes, as the scheduler's filters do.

Only what stays as it is counts: free resources, and taints that Kubernetes puts on nodes
while something is the matter with them, come and go. Source: "Assigning Pods to Nodes" and
"Taints and Tolerations" of the Kubernetes documentation, and the filters of kube-scheduler.
"""

import json
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sidecarpolicy.api.names import CAPABILITY_LABEL
from sidecarpolicy.core.capability import Verdict

RawObject = Mapping[str, Any]

_PASSING: Final = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")
"""Prefixes of taints that say how a node is just now, not what it is for."""


@dataclass(frozen=True)
class Taint:
    """What keeps Pods off a node unless they tolerate it."""

    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return (
            f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"
        )


@dataclass(frozen=True)
class Place:
    """A node as Pods choose it: name, labels, and the taints that last."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...] = ()

    def judged(self, verdict: Verdict) -> "Place":
        """The place as it is as soon as the node has our label."""
        return replace(self, labels={**self.labels, CAPABILITY_LABEL: verdict.label})


def place_of(node: RawObject) -> Place:
    """The place that a raw Node is."""
    meta, spec = node["metadata"], node.get("spec") or {}
    return Place(
        name=meta["name"],
        labels=meta.get("labels") or {},
        taints=tuple(
            Taint(each["key"], each.get("value") or "", each["effect"])
            for each in spec.get("taints") or ()
            if each["effect"] in ("NoSchedule", "NoExecute")
            and not each["key"].startswith(_PASSING)
        ),
    )


@dataclass(frozen=True)
class Pin:
    """A volume that is tied to some nodes: its claim, and the node selector of its volume."""

    claim: str
    selector: RawObject


def hindrance(template: RawObject, pins: Sequence[Pin], places: Iterable[Place]) -> str | None:
    """Why no place suits Pods made from a template, or None if one does.

    Counted as the scheduler does; of each place, the first thing that is in the way.
    """
    hinders = obstacle_at(template, pins)
    counted: Counter[str] = Counter()
    for place in places:
        found = hinders(place)
        if found is None:
            return None
        counted[found] += 1
    total = sum(counted.values())
    reasons = (f"{count} {reason}" for reason, count in counted.most_common())
    return f"of {total} nodes, {', '.join(reasons)}"


def obstacle_at(template: RawObject, pins: Sequence[Pin]) -> Callable[[Place], str | None]:
    """What is in a Pod's way at a place, as a phrase for several nodes, or None."""
    spec = template.get("spec") or {}
    selector: Mapping[str, str] = spec.get("nodeSelector") or {}
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    tolerations = spec.get("tolerations") or ()
    ruled = CAPABILITY_LABEL in selector or CAPABILITY_LABEL in json.dumps(required)

    def at(place: Place) -> str | None:
        if ruled and _kept_off(place, selector, required):
            return "cannot run native sidecars"
        for key, value in selector.items():
            if place.labels.get(key) != value:
                return f"lack the label {key}={value} of its nodeSelector"
        if required is not None and not _any_term(required, place):
            return "do not match its required node affinity"
        for taint in place.taints:
            if not any(_tolerates(each, taint) for each in tolerations):
                return f"have the taint {taint}, which it does not tolerate"
        for pin in pins:
            if not _any_term(pin.selector, place):
                return f"cannot reach the volume of its claim {pin.claim}"
        return None

    return at


def _kept_off(place: Place, selector: Mapping[str, str], required: RawObject | None) -> bool:
    """Whether it is a rule on our label that keeps a Pod off a place: the same place would suit it
    if that said anything else.
    """
    said = place.labels.get(CAPABILITY_LABEL)
    wanted = selector.get(CAPABILITY_LABEL, said)
    if wanted != said:
        return True
    if required is None or _any_term(required, place):
        return False
    return any(_any_term(required, place.judged(verdict)) for verdict in Verdict)


def _any_term(node_selector: RawObject, place: Place) -> bool:
    """Terms are ORed, and one without requirements matches nothing (core/v1 NodeSelector)."""
    return any(_term(each, place) for each in node_selector.get("nodeSelectorTerms") or ())


def _term(term: RawObject, place: Place) -> bool:
    expressions = term.get("matchExpressions") or ()
    fields = term.get("matchFields") or ()
    return bool(expressions or fields) and all(
        (
            *(_requirement(each, place.labels.get(each["key"])) for each in expressions),
            *(_requirement(each, place.name) for each in fields),  # metadata.name is the only one
        )
    )


def _requirement(requirement: RawObject, value: str | None) -> bool:
    """Whether a label's value is as wanted; an unknown operator is no reason to hold things up."""
    satisfied = _OPERATORS.get(requirement["operator"])
    return satisfied is None or satisfied(value, requirement.get("values") or ())


def _number(value: str | None) -> int | None:
    """The number that Gt and Lt compare; a label that is no integer satisfies neither."""
    try:
        return int(value or "")
    except ValueError:
        return None


def _compares(compare: Callable[[int, int], bool]) -> Callable[[str | None, Sequence[str]], bool]:
    def satisfied(value: str | None, values: Sequence[str]) -> bool:
        ours, bound = _number(value), _number(values[0]) if values else None
        return ours is not None and bound is not None and compare(ours, bound)

    return satisfied


_OPERATORS: Final[Mapping[str, Callable[[str | None, Sequence[str]], bool]]] = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, _: value is not None,
    "DoesNotExist": lambda value, _: value is None,
    "Gt": _compares(operator.gt),
    "Lt": _compares(operator.lt),
}


def _tolerates(toleration: RawObject, taint: Taint) -> bool:
    if toleration.get("effect") not in (None, "", taint.effect):
        return False
    key = toleration.get("key") or ""
    match toleration.get("operator") or "Equal":
        case "Exists":
            return key in ("", taint.key)
        case "Equal":
            return key == taint.key and (toleration.get("value") or "") == taint.value
        case _:
            return key == taint.key  # of a later Kubernetes
