"""Who owns the fields that a node rule needs? Reads managedFields of a workload.

`requiredDuringSchedulingIgnoredDuringExecution` and `nodeSelector` are atomic: a
GitOps tool that set one of them reverts any addition, or reports the workload out
of sync for ever. So our rule goes where no such tool writes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sidecarpolicy.api.names import FIELD_MANAGER

GITOPS_MANAGERS = frozenset(
    {
        "argocd-controller",
        "argocd-application-controller",
        "kustomize-controller",
        "helm-controller",
    }
)

_REQUIRED_TERMS = ("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
_NODE_SELECTOR = ("nodeSelector",)


class NodeRuleSite(StrEnum):
    """Where a node rule can stand."""

    AFFINITY = "affinity"
    NODE_SELECTOR = "nodeSelector"
    NOWHERE = "nowhere"
    POD = "pod"
    """Nowhere in the template; the webhook writes it into each Pod."""
    NODE_SELECTOR_OR_POD = "nodeSelectorOrPod"
    """In the nodeSelector, if the rule can be said there; else the webhook writes it."""

    @property
    def with_webhook(self) -> "NodeRuleSite":
        """The same where a webhook sees every Pod at its creation."""
        return _WITH_WEBHOOK.get(self, self)


_WITH_WEBHOOK = {
    NodeRuleSite.NODE_SELECTOR: NodeRuleSite.NODE_SELECTOR_OR_POD,
    NodeRuleSite.NOWHERE: NodeRuleSite.POD,
}


def node_rule_site(
    managed_fields: Iterable[Mapping[str, Any]], template: Sequence[str]
) -> NodeRuleSite:
    """Where a node rule can be written so that no GitOps tool takes it back.

    `template` is the way to the Pod template in the object.
    """
    owned = [entry.get("fieldsV1") or {} for entry in managed_fields if _is_gitops(entry)]
    if not any(_owns(fields, (*template, "spec", *_REQUIRED_TERMS)) for fields in owned):
        return NodeRuleSite.AFFINITY
    if not any(_owns(fields, (*template, "spec", *_NODE_SELECTOR)) for fields in owned):
        return NodeRuleSite.NODE_SELECTOR
    return NodeRuleSite.NOWHERE


def last_written(managed_fields: Iterable[Mapping[str, Any]]) -> str:
    """When we wrote to the object last, RFC 3339 in UTC; empty if that is not known."""
    ours = (each for each in managed_fields if each.get("manager") == FIELD_MANAGER)
    return max((str(each.get("time") or "") for each in ours), default="")


@dataclass(frozen=True)
class Writer:
    """A field manager, and when it wrote, RFC 3339 in UTC; empty where that is nobody."""

    manager: str = ""
    at: str = ""


def writer(managed_fields: Iterable[Mapping[str, Any]], template: Sequence[str]) -> Writer:
    """Who besides us wrote something of the Pod template last."""
    others = (each for each in managed_fields if each.get("manager") != FIELD_MANAGER)
    wrote = (each for each in others if _owns(each.get("fieldsV1") or {}, tuple(template)))
    found = (Writer(str(e.get("manager") or ""), str(e.get("time") or "")) for e in wrote)
    return max(found, key=lambda each: each.at, default=Writer())


def _is_gitops(entry: Mapping[str, Any]) -> bool:
    manager = entry.get("manager")
    return manager != FIELD_MANAGER and (
        entry.get("operation") == "Apply" or manager in GITOPS_MANAGERS
    )


def _owns(fields: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    for step in path:
        if f"f:{step}" not in fields:
            return False
        fields = fields[f"f:{step}"] or {}
    return True
