"""Facts: compact, immutable extracts of cluster objects, the only input of decisions.

A fact keeps what is decided on, not the whole object, so that ten thousand workloads
fit into memory and a patch needs no GET.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from pydantic import ValidationError

from sidecarpolicy.api.models import ClusterSidecarPolicySpec, Mode, SidecarPolicySpec
from sidecarpolicy.api.names import (
    CAPABILITY_LABEL,
    CLUSTER_KIND,
    EVIDENCE_ANNOTATION,
    GATE_ANNOTATION,
    KIND,
    OVERRIDE_ANNOTATION,
)
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.blocks import ANY_WORKLOAD, EVERYWHERE, refused, said, tried
from sidecarpolicy.core.capability import RULES, Capability, Kubelet, Rules, capability
from sidecarpolicy.core.desired import Desired
from sidecarpolicy.core.featuregate import Reading, recorded
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.held import Hold, HoldSite, hold_site, read_holds
from sidecarpolicy.core.nodestatus import KUBELET_PORT, internal_address, kubelet_port, ready_since
from sidecarpolicy.core.ownership import NodeRuleSite, Writer, last_written, node_rule_site, writer
from sidecarpolicy.core.podtime import MARKED_KINDS, may_promise
from sidecarpolicy.core.progress import Progress, progress
from sidecarpolicy.core.retries import Retries, retries
from sidecarpolicy.core.rollout import RolloutFacts, rollout_facts
from sidecarpolicy.core.selection import opted_out
from sidecarpolicy.core.wishes import remarks, wish_of

RawObject = Mapping[str, Any]
"""A Kubernetes object as the API server sent it."""

CLUSTER: Final = ""
"""The scope of policies that live in no namespace."""


@dataclass(frozen=True, order=True)
class Ref:
    """The identity of a namespaced object for people: kind, namespace and name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True)
class NodeFacts:
    """A Node: what it can do, what that follows from, and what its metadata says of it."""

    name: str
    uid: str
    version: int
    kubelet: Kubelet
    capability: Capability
    reading: Reading | None
    """What was read of this very version of the kubelet, now or before a restart of ours."""
    label: str | None
    evidence: str | None
    record: str | None
    """The annotation that keeps the reading, as it is."""
    system: str = ""
    """The operating system; native sidecars are no matter of it."""
    boot: str = ""
    ready_since: str = ""
    """When the node became Ready, RFC 3339; empty while it is not."""
    address: str = ""
    """Its InternalIP."""
    port: int = KUBELET_PORT
    """Where its kubelet serves."""


@dataclass(frozen=True)
class NamespaceFacts:
    """A namespace: its labels, whether it opted out, and whether it is being deleted."""

    name: str
    uid: str
    version: int
    labels: Mapping[str, str] = field(default_factory=dict)
    opted_out: bool = False
    ending: bool = False


@dataclass(frozen=True)
class PolicyFacts:
    """A policy of either kind; `scope` is its namespace, or CLUSTER.

    `spec` and `desired` are None where it cannot be read; `invalid` says why.
    """

    scope: str
    name: str
    uid: str
    version: int
    generation: int
    spec: SidecarPolicySpec | None
    desired: Desired | None
    invalid: str = ""
    remarks: tuple[Finding, ...] = ()
    """What is to say about the policy itself, and keeps nothing from working."""
    deleting: bool = False
    created: str = ""
    server_known: bool = False
    """Whether its status says what the API server does with the field, if it depends on that."""
    status: RawObject = field(default_factory=dict, compare=False)

    @cached_property
    def key(self) -> str:
        """How records name the policy: its kind and name. Sorts cluster policies first."""
        return policy_key(self.scope, self.name)

    def block(self, namespace: str) -> Finding | None:
        """Why its status says that nothing may be changed in a namespace, or None."""
        return self._blocks.get(namespace) or self._blocks.get(EVERYWHERE)

    def refused(self, ref: Ref) -> Finding | None:
        """Why its status says that the API server would not take it in this workload, or None."""
        return self._refused.get((ref.kind, ref.namespace, ref.name))

    def leaves_alone(self, ref: Ref) -> bool:
        """Whether its status forbids to touch this workload, or names too many to tell."""
        return self.refused(ref) is not None or ANY_WORKLOAD in self._refused

    @cached_property
    def _refused(self) -> Mapping[tuple[str, str, str], Finding]:
        return refused(self.status)

    @property
    def universal(self) -> bool:
        """Whether it is of mode Universal."""
        return self.spec is not None and self.spec.mode is Mode.UNIVERSAL

    @cached_property
    def _blocks(self) -> Mapping[str, Finding]:
        """An API server that drops the field is no block for mode Universal, also where the
        status is of the time before its spec was changed to that.
        """
        passed = Reason.API_SERVER_DROPS_FIELD if self.universal else None
        return {at: each for at, each in said(self.status).items() if each.reason is not passed}

    @property
    def kind(self) -> str:
        """SidecarPolicy or ClusterSidecarPolicy."""
        return KIND if self.scope else CLUSTER_KIND

    def __str__(self) -> str:
        return policy_title(self.scope, self.key)


@dataclass(frozen=True)
class WorkloadFacts:
    """A workload: its identity, its Pod template as JSON text, and its rollout.

    There are thousands. Nothing is cached on them, which would give each a dictionary of its own.
    """

    ref: Ref
    uid: str
    version: int
    generation: int
    template: bytes
    site: NodeRuleSite
    owner: str | None
    rollout: RolloutFacts
    claims: frozenset[str] = frozenset()
    """Names of volumeClaimTemplates, which silently replace volumes of the same name."""
    created: str = ""
    """When, RFC 3339 in UTC, so that it sorts as text."""
    written: str = ""
    """When we wrote to it last, in the same form; empty if we never did, or nobody says."""
    writer: Writer = field(default_factory=Writer)
    """Who besides us wrote its Pod template last."""
    holds: tuple[Hold, ...] = ()
    """Which revisions stay out of it."""
    hold_site: HoldSite = field(default_factory=HoldSite)
    """Where that stands."""
    progress: Progress = field(default_factory=Progress)
    over: bool = False
    """Whether a Job has ended."""
    retries: Retries | None = None

    @property
    def promising(self) -> bool:
        """Whether its Pods may need something that only the webhook gives them."""
        return self.ref.kind in MARKED_KINDS and may_promise(self.template)

    @property
    def template_path(self) -> str:
        """Where the Pod template stands in the object, as a JSON pointer."""
        return pointer(template_steps(self.ref.kind))


def template_steps(kind: str) -> tuple[str, ...]:
    """The way from a workload to its Pod template; a Pod is its own."""
    return _STEPS.get(kind, ("spec", "template"))


_STEPS: Final[Mapping[str, tuple[str, ...]]] = {
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "Pod": (),
}


def pointer(steps: Iterable[str]) -> str:
    """A JSON pointer (RFC 6901); none of our steps needs escaping."""
    return "".join(f"/{step}" for step in steps)


def version(meta: RawObject) -> int:
    """An object's resourceVersion as a number: a larger one is newer (KEP-5504).

    An API server that does not use numbers gives 0, which is never older.
    """
    text = str(meta.get("resourceVersion", ""))
    return int(text) if text.isdecimal() else 0


def policy_key(scope: str, name: str) -> str:
    """How records name a policy; one with a namespace is of the workload's own."""
    return f"{KIND if scope else CLUSTER_KIND}/{name}"


def policy_scope(key: str, namespace: str) -> str:
    """Where a policy lives that a record in this namespace names."""
    return CLUSTER if key.startswith(f"{CLUSTER_KIND}/") else namespace


def policy_title(scope: str, key: str) -> str:
    """A policy's kind, namespace and name for people."""
    kind, _, name = key.partition("/")
    return f"{kind} {scope}/{name}" if scope else f"{kind} {name}"


def node_facts(obj: RawObject, rules: Rules = RULES) -> NodeFacts:
    """Facts of a raw Node, judged by these rules. A reading of another version is none."""
    meta, status = obj["metadata"], obj.get("status") or {}
    info, annotations = status.get("nodeInfo") or {}, meta.get("annotations") or {}
    record = annotations.get(GATE_ANNOTATION)
    reading, version_text = recorded(record), str(info.get("kubeletVersion", ""))
    if reading is not None and reading.kubelet != version_text:
        reading = None
    kubelet = Kubelet(
        version_text,
        override=annotations.get(OVERRIDE_ANNOTATION),
        gate=reading.gate if reading else None,
    )
    return NodeFacts(
        name=meta["name"],
        uid=meta["uid"],
        version=version(meta),
        kubelet=kubelet,
        capability=capability(kubelet, rules),
        reading=reading,
        label=(meta.get("labels") or {}).get(CAPABILITY_LABEL),
        evidence=annotations.get(EVIDENCE_ANNOTATION),
        record=record,
        system=str(info.get("operatingSystem", "")),
        boot=str(info.get("bootID", "")),
        ready_since=ready_since(status),
        address=internal_address(status),
        port=kubelet_port(status),
    )


def namespace_facts(obj: RawObject) -> NamespaceFacts:
    """Facts of a raw Namespace."""
    meta = obj["metadata"]
    return NamespaceFacts(
        name=meta["name"],
        uid=meta["uid"],
        version=version(meta),
        labels=meta.get("labels") or {},
        opted_out=opted_out(meta),
        ending="deletionTimestamp" in meta,
    )


def policy_facts(obj: RawObject) -> PolicyFacts:
    """Facts of a raw policy of either kind, also of one that this program cannot read."""
    meta = obj["metadata"]
    scope = meta.get("namespace", CLUSTER)
    model = SidecarPolicySpec if scope else ClusterSidecarPolicySpec
    spec, invalid, status = None, "", obj.get("status") or {}
    try:
        spec = model.model_validate(obj.get("spec"))
    except ValidationError as error:
        first = error.errors()[0]
        invalid = f"spec.{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return PolicyFacts(
        scope=scope,
        name=meta["name"],
        uid=meta["uid"],
        version=version(meta),
        generation=meta.get("generation", 0),
        spec=spec,
        desired=wish_of(policy_key(scope, meta["name"]), spec, status) if spec else None,
        invalid=invalid,
        remarks=remarks(spec) if spec else (),
        deleting="deletionTimestamp" in meta,
        created=meta.get("creationTimestamp") or "",
        server_known=spec is None or spec.mode is not Mode.UNIVERSAL or tried(status),
        status=status,
    )


def workload_facts(obj: RawObject, *, kind: str) -> WorkloadFacts:
    """Facts of a raw workload (list items carry no kind of their own)."""
    meta, steps = obj["metadata"], template_steps(kind)
    template: Any = obj
    for step in steps:
        template = template[step]
    return WorkloadFacts(
        ref=Ref(kind, meta["namespace"], meta["name"]),
        uid=meta["uid"],
        version=version(meta),
        generation=meta.get("generation", 0),
        template=json.dumps(template, separators=(",", ":")).encode(),
        site=node_rule_site(meta.get("managedFields") or (), steps),
        owner=_foreign_owner(meta),
        rollout=rollout_facts(obj, kind=kind),
        claims=_claims(obj),
        created=meta.get("creationTimestamp") or "",
        written=last_written(meta.get("managedFields") or ()),
        writer=writer(meta.get("managedFields") or (), steps),
        holds=read_holds(meta),
        hold_site=hold_site(meta),
        progress=progress(obj, kind=kind),
        over=kind == "Job" and has_ended(obj),
        retries=retries(obj, kind=kind),
    )


def bare_facts(obj: RawObject, ref: Ref, *, pod: bool) -> WorkloadFacts:
    """Facts of an object at admission, which has no identity yet; without its template.

    A Pod's owner is none that would undo our changes: nobody applies a Pod again.
    """
    meta = obj["metadata"]
    return WorkloadFacts(
        ref=ref,
        uid="",
        version=0,
        generation=0,
        template=b"",
        site=node_rule_site(meta.get("managedFields") or (), template_steps(ref.kind)),
        owner=None if pod else _foreign_owner(meta),
        rollout=RolloutFacts(finished=True),
        claims=_claims(obj),
        holds=read_holds(meta),
        hold_site=hold_site(meta),
        retries=None if pod else retries(obj, kind=ref.kind),
    )


def has_ended(job: RawObject) -> bool:
    """Whether a raw Job is complete, or has failed."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any((e["type"], e["status"]) in _ENDS for e in conditions)


_ENDS: Final = (("Complete", "True"), ("Failed", "True"))


def controlling_owner(meta: RawObject) -> tuple[str, str] | None:
    """(kind, name) of the controller that an object belongs to.

    A kind that is not Kubernetes' own comes as kubectl writes it, with its group:
    "StatefulSet.apps.kruise.io" is no StatefulSet.
    """
    owners = (each for each in meta.get("ownerReferences") or () if each.get("controller"))
    return next(((_qualified(each), each["name"]) for each in owners), None)


def _qualified(reference: RawObject) -> str:
    group = str(reference.get("apiVersion", "")).rpartition("/")[0]
    kind: str = reference["kind"]
    return kind if group in ("", "apps", "batch") else f"{kind}.{group}"


def _foreign_owner(meta: RawObject) -> str | None:
    """A controller that would undo our changes; a CronJob leaves its Jobs alone."""
    owner = controlling_owner(meta)
    return None if owner is None or owner[0] == "CronJob" else " ".join(owner)


def _claims(obj: RawObject) -> frozenset[str]:
    """Names of a StatefulSet's volumeClaimTemplates."""
    claims = obj["spec"].get("volumeClaimTemplates") or ()
    return frozenset(each["metadata"]["name"] for each in claims)
