"""Which mutating webhooks could have changed a Pod? Matched and ranked as suspects.

The API server names the culprit in audit annotations only. So every webhook that is asked about
such a Pod is a suspect; what is known of it puts the likely ones first. The rules are those of
admissionregistration.k8s.io/v1: rules, namespaceSelector, objectSelector, matchConditions.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from sidecarpolicy.api.models import LabelSelector
from sidecarpolicy.core.selection import matches

RawObject = Mapping[str, Any]
Labels = Mapping[str, str]

_NOTORIOUS: Final = (
    "pod-identity", "datadog", "kops", "kube-secrets-init", "berglas",
)  # fmt: skip
"""Parts of names of webhooks whose old versions are known to drop fields that they do not know."""


@dataclass(frozen=True)
class Hook:
    """One webhook of a MutatingWebhookConfiguration that is asked about new Pods.

    A selector is None where we cannot read it; then anything may match.
    """

    configuration: str
    name: str
    namespaces: LabelSelector | None
    objects: LabelSelector | None
    conditions: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"MutatingWebhookConfiguration {self.configuration} (webhook {self.name})"


@dataclass(frozen=True)
class Scene:
    """A Pod that is created: in which namespace, and with which labels."""

    namespace: str
    namespace_labels: Labels
    pod_labels: Labels


@dataclass(frozen=True)
class Suspect:
    """A webhook that is asked about the Pod; `certain` if that is sure."""

    hook: Hook
    certain: bool


def hooks_of(configuration: RawObject) -> tuple[Hook, ...]:
    """The webhooks of a raw MutatingWebhookConfiguration that are asked about new Pods."""
    return tuple(
        Hook(
            configuration=configuration["metadata"]["name"],
            name=str(each.get("name", "")),
            namespaces=_selector(each.get("namespaceSelector")),
            objects=_selector(each.get("objectSelector")),
            conditions=tuple(c["expression"] for c in each.get("matchConditions") or ()),
        )
        for each in configuration.get("webhooks") or ()
        if any(about_new_pods(rule) for rule in each.get("rules") or ())
    )


def _selector(raw: RawObject | None) -> LabelSelector | None:
    try:
        return LabelSelector.model_validate(raw or {})
    except ValidationError:
        return None


def about_new_pods(rule: RawObject) -> bool:
    """Whether a webhook with this rule is asked when a Pod is created."""
    return (
        _lists(rule, "operations", "CREATE")
        and _lists(rule, "apiGroups", "")
        and _lists(rule, "apiVersions", "v1")
        and rule.get("scope", "*") in ("*", "Namespaced")
        and any(each in _PODS for each in rule.get("resources") or ())
    )


_PODS: Final = frozenset({"pods", "pods/*", "*", "*/*"})


def _lists(rule: RawObject, key: str, value: str) -> bool:
    return any(each in ("*", value) for each in rule.get(key) or ())


def concerned(hooks: Iterable[Hook], namespace_labels: Labels) -> tuple[Hook, ...]:
    """The webhooks that may be asked about Pods of a namespace."""
    return tuple(each for each in hooks if _may(each.namespaces, namespace_labels) is not False)


def suspects(
    hooks: Iterable[Hook], scene: Scene, *, cleared: Collection[Hook] = ()
) -> tuple[Suspect, ...]:
    """The webhooks that may be asked about the Pod, the likeliest first.

    `cleared` were asked about a sidecar elsewhere and left it as it was: that proves nothing
    about this Pod, but they come last.
    """
    found = (Suspect(hook, sure) for hook in hooks if (sure := _asked(hook, scene)) is not None)
    return tuple(sorted(found, key=lambda each: _rank(each, cleared)))


def _rank(suspect: Suspect, cleared: Collection[Hook]) -> tuple[bool, bool, bool, str, str]:
    hook = suspect.hook
    title = f"{hook.configuration} {hook.name}".lower()
    notorious = any(name in title for name in _NOTORIOUS)
    return hook in cleared, not notorious, not suspect.certain, hook.configuration, hook.name


def _asked(hook: Hook, scene: Scene) -> bool | None:
    """Whether the webhook is surely asked; None if it surely is not."""
    said = [
        _may(hook.namespaces, scene.namespace_labels),
        _may(hook.objects, scene.pod_labels),
        *(evaluated(each, scene) for each in hook.conditions),
    ]
    return None if False in said else None not in said


def _may(selector: LabelSelector | None, labels: Labels) -> bool | None:
    return None if selector is None else matches(selector, labels)


_COMPARISON: Final = re.compile(
    r"(?P<negated>!)?\(?\s*(?P<field>[\w.]+)\s*(?P<how>==|!=|in)\s*"
    r"(?P<values>'[^']*'|\"[^\"]*\"|\[[^][]*\])\s*\)?"
)
_QUOTED: Final = re.compile(r"'([^']*)'|\"([^\"]*)\"")


def evaluated(condition: str, scene: Scene) -> bool | None:
    """A CEL expression as far as we can tell: comparisons of what is known about the request.

    None where only the API server knows, as with who creates the Pod.
    """
    known = {
        "request.namespace": scene.namespace,
        "object.metadata.namespace": scene.namespace,
        "request.operation": "CREATE",
        "request.kind.kind": "Pod",
        "request.resource.resource": "pods",
    }
    found = _COMPARISON.fullmatch(condition.strip())
    if found is None or found["field"] not in known:
        return None
    equal = known[found["field"]] in set(_texts(found["values"]))
    return equal is not (bool(found["negated"]) ^ (found["how"] == "!="))


def _texts(values: str) -> Iterator[str]:
    yield from (single or double for single, double in _QUOTED.findall(values))
