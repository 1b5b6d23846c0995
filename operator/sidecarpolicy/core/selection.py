"""Which policies select which workloads? Label selectors, targets, exclusions, opt-outs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sidecarpolicy.api.models import LabelSelector, Operator, Requirement, SidecarPolicySpec
from sidecarpolicy.api.names import INJECT_ANNOTATION, INJECTED_LABEL, SYSTEM_NAMESPACES


@dataclass(frozen=True)
class Exclusions:
    """Namespaces that are never touched, by any component, whatever a policy says."""

    own_namespace: str
    extra: frozenset[str] = frozenset()

    def covers(self, namespace: str) -> bool:
        """Whether nothing in this namespace may ever be changed."""
        return namespace in SYSTEM_NAMESPACES | self.extra | {self.own_namespace}


def matches(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether labels satisfy a selector, by the rules of metav1.LabelSelector."""
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        _satisfies(requirement, labels) for requirement in selector.match_expressions
    )


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


def selects(spec: SidecarPolicySpec, *, kind: str, name: str, template: Mapping[str, Any]) -> bool:
    """Whether a policy selects a workload of its namespace.

    Our own label does not count: a selector on it would undo its own effect for ever.
    """
    written = (template.get("metadata") or {}).get("labels") or {}
    labels = {key: value for key, value in written.items() if key != INJECTED_LABEL}
    return matches(spec.selector, labels) and any(
        target.kind == kind and target.name in (None, name) for target in spec.targets
    )


def opted_out(metadata: Mapping[str, Any] | None) -> bool:
    """Whether a Pod template or a namespace says no."""
    annotations = (metadata or {}).get("annotations") or {}
    return str(annotations.get(INJECT_ANNOTATION)).lower() == "false"
