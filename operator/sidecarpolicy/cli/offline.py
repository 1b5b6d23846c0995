"""What the controller would know if these manifests were the cluster: snapshots without one."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sidecarpolicy.api.models import ClusterSidecarPolicySpec, TargetKind
from sidecarpolicy.api.names import (
    API_VERSION,
    CLUSTER_KIND,
    KIND,
    NAMESPACE_NAME_LABEL,
    SYSTEM_NAMESPACE,
)
from sidecarpolicy.cli.manifests import JSON, Manifest, UnusableInputError
from sidecarpolicy.core.capability import NodeTally
from sidecarpolicy.core.facts import (
    CLUSTER,
    NamespaceFacts,
    PolicyFacts,
    WorkloadFacts,
    namespace_facts,
    policy_facts,
    template_steps,
    workload_facts,
)
from sidecarpolicy.core.selection import Exclusions, matches
from sidecarpolicy.core.snapshot import Snapshot
from sidecarpolicy.core.subject import TEMPLATE_KINDS, subject_of

NAMESPACE = "default"
"""Of an object that names none, as for kubectl."""

_RENDERED = TEMPLATE_KINDS | {TargetKind.JOB, TargetKind.POD}
"""Not DaemonSet: its template stays as it is, its Pods get sidecars by their nodes."""

_EXCLUSIONS = Exclusions(own_namespace=SYSTEM_NAMESPACE)


def title(obj: JSON) -> str:
    """Kind and name, for messages."""
    return f"{obj['kind']} {obj['metadata']['name']}"


def policies(manifests: Sequence[Manifest]) -> tuple[PolicyFacts, ...]:
    """The policies among the manifests, of both kinds, in the order in which they act."""
    found = [_policy(each) for each in manifests if each.obj["kind"] in (KIND, CLUSTER_KIND)]
    if not found:
        raise UnusableInputError(f"no {KIND} or {CLUSTER_KIND} among the policies")
    return tuple(sorted(found, key=lambda each: each.key))


def _policy(manifest: Manifest) -> PolicyFacts:
    if manifest.obj.get("apiVersion") != API_VERSION:
        raise UnusableInputError(f"{manifest.where}: apiVersion must be {API_VERSION}")
    scope = CLUSTER if manifest.obj["kind"] == CLUSTER_KIND else NAMESPACE
    with understood(manifest):
        policy = policy_facts(_complete(manifest.obj, scope))
    if policy.invalid:
        raise UnusableInputError(f"{manifest.where}: {title(manifest.obj)}: {policy.invalid}")
    return policy


def workload(manifest: Manifest) -> WorkloadFacts | None:
    """The workload in a manifest; None for any other kind of object."""
    kind, obj = manifest.obj["kind"], _complete(manifest.obj, NAMESPACE)
    if kind not in _RENDERED:
        return None
    try:
        subject = subject_of(obj, kind=kind, name=obj["metadata"]["name"])
        owned = subject is None or subject.kind != kind
        if owned:
            return None
        # The template as it is written: a Pod is its own, and would show what we completed.
        written = json.dumps(template_of(manifest.obj), separators=(",", ":")).encode()
        return replace(workload_facts(obj, kind=kind), template=written)
    except (KeyError, TypeError, AttributeError) as error:
        raise UnusableInputError(
            f"{manifest.where}: {title(manifest.obj)} has no usable Pod template: {error!r}"
        ) from error


@contextmanager
def understood(manifest: Manifest) -> Iterator[None]:
    """Whatever cannot be decided about is unusable input, named with its file and line."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise UnusableInputError(
            f"{manifest.where}: {title(manifest.obj)} cannot be understood: {error!r}"
        ) from error


def template_of(obj: JSON) -> JSON:
    """The Pod template of a workload."""
    template: Any = obj
    for step in template_steps(obj["kind"]):
        template = template[step]
    found: JSON = template
    return found


def snapshot(
    subject: WorkloadFacts, wanted: Sequence[PolicyFacts], manifests: Sequence[Manifest]
) -> Snapshot:
    """One workload under the policies that could concern it.

    What a cluster's nodes can do is not known here; no nodes hold nothing back.
    """
    name = subject.ref.namespace
    namespace = _namespace(name, manifests)
    return Snapshot(
        name,
        policies=tuple(each for each in wanted if each.scope in (CLUSTER, name)),
        workloads=(subject,),
        nodes=NodeTally(),
        excluded=_EXCLUSIONS.covers(name),
        namespace_opted_out=namespace.opted_out,
        namespace_labels={NAMESPACE_NAME_LABEL: name, **namespace.labels},
        creating=subject.ref.kind not in TEMPLATE_KINDS,  # nothing else can be changed later
        editing=True,  # who applies a manifest is its owner
    )


def doubts(
    subject: WorkloadFacts, wanted: Sequence[PolicyFacts], manifests: Sequence[Manifest]
) -> Iterator[str]:
    """What cannot be decided, because the namespace is not among the manifests."""
    name = subject.ref.namespace
    if _namespace(name, manifests) != NamespaceFacts(name, "", 0):
        return
    for policy in wanted:
        if isinstance(policy.spec, ClusterSidecarPolicySpec) and not matches(
            policy.spec.namespace_selector, {NAMESPACE_NAME_LABEL: name}
        ):
            yield (
                f"{policy.key}: namespace {name} is not among the manifests, so its labels are not "
                "known; add its manifest"
            )


def _namespace(name: str, manifests: Sequence[Manifest]) -> NamespaceFacts:
    """The namespace as the manifests have it, or one that says nothing."""
    for each in manifests:
        if (each.obj["kind"], each.obj["metadata"]["name"]) == ("Namespace", name):
            return namespace_facts(_complete(each.obj, CLUSTER))
    return NamespaceFacts(name, "", 0)


def _complete(obj: JSON, scope: str) -> JSON:
    """With the metadata that only the API server gives, and a namespace where it needs one."""
    given = {"uid": "", "resourceVersion": "", "generation": 0}
    meta = {**given, **obj["metadata"]}
    if scope == CLUSTER:
        meta.pop("namespace", None)
    else:
        meta.setdefault("namespace", scope)
    return {**obj, "metadata": meta}
