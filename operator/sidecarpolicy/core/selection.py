"""Which policies select which workloads? Label selectors, targets, exclusions, opt-outs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sidecarpolicy.api.models import (
    ClusterSidecarPolicySpec,
    LabelSelector,
    Operator,
    Requirement,
    SidecarPolicySpec,
)
from sidecarpolicy.api.names import INJECT_ANNOTATION, INJECTED_LABEL, SYSTEM_NAMESPACES


@dataclass(frozen=True)
class Exclusions:
    """Namespaces that are never touched, by any component, whatever a policy says."""

    own_namespace: str
    extra: frozenset[str] = frozenset()

    def covers(self, namespace: str) -> bool:
        """Whether nothing in this namespace may ever be changed."""
        return namespace in SYSTEM_NAMESPACES | self.extra | {self.own_namespace}


def unmet(selector: LabelSelector, labels: Mapping[str, str]) -> str | None:
    """What labels lack to satisfy a selector (metav1.LabelSelector), as `kubectl -l` writes it."""
    for key, value in selector.match_labels.items():
        if labels.get(key) != value:
            return f"{key}={value}"
    failing = (each for each in selector.match_expressions if not _satisfies(each, labels))
    return next(map(_text, failing), None)


def matches(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether labels satisfy a selector."""
    return unmet(selector, labels) is None


def _satisfies(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case Operator.IN:
            return value in requirement.values
        case Operator.NOT_IN:
            return value not in requirement.values
        case Operator.EXISTS:
            return value is not None
        case Operator.DOES_NOT_EXIST:
            return value is None


def _text(requirement: Requirement) -> str:
    key, values = requirement.key, ",".join(requirement.values)
    match requirement.operator:
        case Operator.IN:
            return f"{key} in ({values})"
        case Operator.NOT_IN:
            return f"{key} notin ({values})"
        case Operator.EXISTS:
            return key
        case Operator.DOES_NOT_EXIST:
            return f"!{key}"


def mismatch(
    spec: SidecarPolicySpec,
    *,
    kind: str,
    name: str,
    template: Mapping[str, Any],
    namespace_labels: Mapping[str, str],
) -> str | None:
    """Why a policy of the workload's namespace, or of the cluster, does not select it, or None.

    Our own label does not count: a selector on it would undo its own effect for ever.
    """
    if isinstance(spec, ClusterSidecarPolicySpec):
        lacking = unmet(spec.namespace_selector, namespace_labels)
        if lacking is not None:
            return f"its namespaceSelector asks for {lacking}"
    if not any(target.kind == kind and target.name in (None, name) for target in spec.targets):
        return f"its targets do not name {kind} {name}"
    written = (template.get("metadata") or {}).get("labels") or {}
    labels = {key: value for key, value in written.items() if key != INJECTED_LABEL}
    lacking = unmet(spec.selector, labels)
    return None if lacking is None else f"its selector asks for the Pod label {lacking}"


def opted_out(metadata: Mapping[str, Any] | None) -> bool:
    """Whether a Pod template or a namespace says no."""
    annotations = (metadata or {}).get("annotations") or {}
    return str(annotations.get(INJECT_ANNOTATION)).lower() == "false"
