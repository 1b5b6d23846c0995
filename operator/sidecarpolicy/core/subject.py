"""Subjects: what an object at admission is for policies: its kind, its name and its template.

A Pod stands for itself only where nobody else owns its template. A DaemonSet's Pod stands
for its DaemonSet, because there each node decides; a Job's Pod for its Job, which may be
older than a policy (see the product's table "Which Pods").
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sidecarpolicy.api.models import TargetKind
from sidecarpolicy.core.facts import controlling_owner, pointer, template_steps

RawObject = Mapping[str, Any]

TEMPLATE_KINDS = frozenset({"Deployment", "StatefulSet", "CronJob"})
"""Kinds whose template can change later; the controller patches them too."""

_REVIEWED = frozenset(TargetKind)
_DEBUGGERS = "kubectl-debug"


@dataclass(frozen=True)
class Subject:
    """What policies are asked about.

    `template` stands at `path` in the object (a JSON pointer); `node` is where a Pod is
    bound to run, if that is known already.
    """

    kind: str
    name: str
    template: Mapping[str, Any]
    path: str
    node: str | None = None


def subject_of(obj: RawObject, *, kind: str, name: str) -> Subject | None:
    """The subject of an object at admission; None if no policy can be meant.

    `name` is empty for an object that has only a generateName yet. Other kinds come here
    only if somebody registered the webhook for them, such as for subresources.
    """
    if kind not in _REVIEWED:
        return None
    if kind == TargetKind.POD:
        return _pod(obj, name)
    template: Any = obj
    for step in template_steps(kind):
        template = template[step]
    return Subject(kind, name, template, pointer(template_steps(kind)))


def _pod(pod: RawObject, name: str) -> Subject | None:
    meta = pod["metadata"]
    found = _whose(meta, name)
    if found is None or _left_alone(meta):
        return None
    return Subject(*found, pod, "", node_of(pod))


def node_of(pod: RawObject) -> str | None:
    """The node where a Pod is bound to run, or None while it may still choose."""
    spec = pod["spec"]
    return spec.get("nodeName") or _pinned(spec)


def _whose(meta: RawObject, name: str) -> tuple[str, str] | None:
    """(kind, name) that the policies' targets have to name; None where the owner's template,
    not the Pod, is what a policy changes.
    """
    owner = controlling_owner(meta)
    if owner is None:
        return TargetKind.POD, name
    kind, owner_name = owner
    labels = meta.get("labels") or {}
    if kind == TargetKind.DAEMON_SET:
        return TargetKind.DAEMON_SET, owner_name
    if kind == TargetKind.JOB:
        return TargetKind.JOB, owner_name
    templated = kind == "ReplicaSet" and "pod-template-hash" in labels
    return None if templated or kind == TargetKind.STATEFUL_SET else (TargetKind.POD, name)


def _left_alone(meta: RawObject) -> bool:
    """Mirror Pods stand for static ones of a kubelet; node debuggers are gone in a minute."""
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    return (
        "kubernetes.io/config.mirror" in annotations
        or labels.get("app.kubernetes.io/managed-by") == _DEBUGGERS
    )


def _pinned(spec: RawObject) -> str | None:
    """The node that a DaemonSet's Pod is meant for: the daemon controller pins every term of its
    required affinity, which are ORed, to that name.
    """
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    nodes = {_only_node(term) for term in required.get("nodeSelectorTerms") or ()}
    return nodes.pop() if len(nodes) == 1 else None


def _only_node(term: RawObject) -> str | None:
    """The one node that a term can match, or None if there may be others."""
    for field in term.get("matchFields") or ():
        values: list[str] = field.get("values") or []
        only = field.get("operator") == "In" and len(values) == 1
        if field.get("key") == "metadata.name" and only:
            return values[0]
    return None
