"""The case: one workload with all that the decision about it needs, and who selects it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sidecarpolicy.api.models import InjectAt
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.carried import revisions_of
from sidecarpolicy.core.facts import PolicyFacts, WorkloadFacts
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.marker import as_pods_are
from sidecarpolicy.core.overhead import Overhead, by_policy
from sidecarpolicy.core.selection import mismatch, opted_out
from sidecarpolicy.core.snapshot import Snapshot


@dataclass(frozen=True)
class Case:
    """One workload with all that the decision about it needs."""

    workload: WorkloadFacts
    template: Mapping[str, Any]
    revisions: Mapping[str, str]
    selected_by: tuple[PolicyFacts, ...]
    refusal: Finding | None
    snapshot: Snapshot
    waits: Mapping[str, Finding | None] = field(default_factory=dict)
    """Keys of policies whose turn it is not, with what there is to say about it."""
    node_rule: bool = True
    """Whether Pods made from the template may still choose their node."""
    of_pod: bool = False
    """Whether the template is a Pod's own, which promises nothing to any other."""

    @cached_property
    def costs(self) -> Mapping[str, Overhead]:
        """What the sidecars that the template has or promises cost a Pod, by policy key."""
        return by_policy(as_pods_are(self.template, claims=self.workload.claims))

    @cached_property
    def selecting(self) -> frozenset[str]:
        """Keys of the policies that select it."""
        return frozenset(each.key for each in self.selected_by)


def case_of(workload: WorkloadFacts, snapshot: Snapshot) -> Case:
    """Looks at a workload as the controller keeps it."""
    return look(workload, json.loads(workload.template), snapshot)


def look(workload: WorkloadFacts, template: Mapping[str, Any], snapshot: Snapshot) -> Case:
    """Looks at a workload with this template before any decision about it."""
    return Case(
        workload=workload,
        template=template,
        revisions=revisions_of(workload.ref.kind, template),
        selected_by=tuple(
            each
            for each in snapshot.policies
            if unselected(each, workload, template, snapshot) is None
        ),
        refusal=_refusal(template, snapshot),
        snapshot=snapshot,
    )


def unselected(
    policy: PolicyFacts, workload: WorkloadFacts, template: Mapping[str, Any], snapshot: Snapshot
) -> str | None:
    """Why a policy does not select a workload of the snapshot, or None if it does."""
    if snapshot.excluded:
        return f"namespace {snapshot.namespace} is excluded from all policies"
    if policy.spec is None:
        return policy.invalid
    return mismatch(
        policy.spec,
        kind=workload.ref.kind,
        name=workload.ref.name,
        template=template,
        namespace_labels=snapshot.namespace_labels,
    )


def _refusal(template: Mapping[str, Any], snapshot: Snapshot) -> Finding | None:
    """Why no policy may be applied to this workload, or None."""
    if opted_out(template.get("metadata")):
        return Finding(Reason.OPTED_OUT, "its Pod template opts out")
    if snapshot.namespace_opted_out:
        return Finding(Reason.OPTED_OUT, "its namespace opts out")
    return None


def leaving(policy: PolicyFacts, case: Case) -> bool:
    """Whether a policy that can be read does not select the workload (any more)."""
    return policy.spec is not None and policy.key not in case.selecting


def opts_out(case: Case) -> bool:
    """Whether the owner wants no sidecars here, whose parts are taken out then."""
    return case.refusal is not None and case.refusal.reason is Reason.OPTED_OUT


def at_pods(policy: PolicyFacts) -> bool:
    """Whether a policy's parts are added to each Pod, and its templates only promise them.

    A template from which a container was taken would be fought over with whoever applies it.
    """
    spec = policy.spec
    return spec is not None and (spec.inject_at is InjectAt.POD or bool(spec.adopt))
