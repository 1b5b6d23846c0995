"""The rights that the operator's two processes need: what deploy/base grants them, as data.

A unit test holds the lists against those files. Not here: what only some installations need, such
as the webhook's own Secret, which it does not have with cert-manager.
"""

from dataclasses import dataclass
from typing import Any, Final

from sidecarpolicy.api.names import CLUSTER_PLURAL, GROUP, PLURAL


@dataclass(frozen=True, order=True)
class Right:
    """A verb on a kind of object in all namespaces, or on a path that is no resource."""

    verb: str
    group: str = ""
    resource: str = ""
    """Plural, with its subresource as in `deployments/status`."""
    path: str = ""
    name: str = ""
    """Of the one object that it is about; empty for all."""

    def __str__(self) -> str:
        dotted = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {self.path or dotted}{self.name and '/' + self.name}"


def review(right: Right, account: str) -> dict[str, Any]:
    """The SubjectAccessReview that asks whether an account, `NAMESPACE:NAME`, has the right."""
    groups = ("system:serviceaccounts", "system:authenticated")
    who = {
        "user": f"system:serviceaccount:{account}",
        "groups": [*groups, f"system:serviceaccounts:{account.partition(':')[0]}"],
    }
    plural, _, subresource = right.resource.partition("/")
    kind = {"group": right.group, "resource": plural, "subresource": subresource}
    asked: dict[str, Any] = (
        {"nonResourceAttributes": {"path": right.path, "verb": right.verb}}
        if right.path
        else {"resourceAttributes": {"verb": right.verb, **kind, **_named(right)}}
    )
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {**who, **asked},
    }


def _named(right: Right) -> dict[str, str]:
    return {"name": right.name} if right.name else {}


def _rights(*rows: tuple[str, str, str]) -> tuple[Right, ...]:
    """Rows of a group, its resources and the verbs on each."""
    return tuple(
        Right(verb, group, resource)
        for group, resources, verbs in rows
        for resource in resources.split()
        for verb in verbs.split()
    )


CONTROLLER: Final = (
    *_rights(
        (GROUP, f"{PLURAL} {CLUSTER_PLURAL}", "get list watch"),
        (GROUP, f"{PLURAL}/status {CLUSTER_PLURAL}/status", "patch"),
        ("", "nodes", "list watch patch"),
        ("", "namespaces", "list watch"),
        ("apps", "deployments statefulsets daemonsets", "list watch patch"),
        ("apps", "replicasets controllerrevisions", "list"),
        ("batch", "cronjobs", "list watch patch"),
        ("batch", "jobs", "list watch"),
        ("", "pods", "list watch create delete"),
        ("", "persistentvolumeclaims", "list"),
        ("", "persistentvolumes", "get"),
        ("autoscaling", "horizontalpodautoscalers", "list"),
        ("autoscaling", "horizontalpodautoscalers", "watch"),
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "list watch"),
        ("", "events", "create get list watch patch"),
    ),
    Right("get", path="/metrics"),
    *(
        Right("get", "apiextensions.k8s.io", "customresourcedefinitions", name=f"{plural}.{GROUP}")
        for plural in (PLURAL, CLUSTER_PLURAL)
    ),
)
WEBHOOK: Final = _rights(
    (GROUP, f"{PLURAL} {CLUSTER_PLURAL}", "list watch"),
    ("", "namespaces nodes", "list watch"),
)
