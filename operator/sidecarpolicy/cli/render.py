"""`render` and `strip`: what the controller would do to manifests, without a cluster.

Both go through the same plan as the controller does, so they cannot disagree with it.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sidecarpolicy.api.models import TargetKind
from sidecarpolicy.api.names import API_VERSION, KIND
from sidecarpolicy.cli.manifests import JSON, Manifest, UnusableInputError
from sidecarpolicy.core.capability import NodeTally
from sidecarpolicy.core.facts import (
    PolicyFacts,
    WorkloadFacts,
    policy_facts,
    template_steps,
    workload_facts,
)
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.plan import Plan, Snapshot, plan
from sidecarpolicy.core.record import Record, read_record
from sidecarpolicy.core.selection import opted_out

NAMESPACE = "default"
"""Of an object that names none, as for kubectl."""


@dataclass(frozen=True)
class Rendered:
    """All objects in their order, as they would be, and what is to say about them."""

    objects: tuple[JSON, ...]
    warnings: tuple[str, ...]


def render(policies: Sequence[Manifest], manifests: Sequence[Manifest]) -> Rendered:
    """The manifests with the sidecars of the policies that select them."""
    wanted = [_policy(each) for each in policies if each.obj["kind"] == KIND]
    if not wanted:
        raise UnusableInputError(f"no {KIND} among the policies")
    objects, warnings = [], []
    for manifest in manifests:
        obj, findings = _rendered(manifest, wanted, _opted_out(manifest, manifests))
        objects.append(obj)
        warnings += [f"{manifest.where}: {_title(manifest.obj)}: {each}" for each in findings]
    return Rendered(tuple(objects), tuple(warnings))


def strip(manifests: Sequence[Manifest]) -> Rendered:
    """The manifests without anything that policies added."""
    objects, warnings = [], []
    for manifest in manifests:
        workload = _workload(manifest)
        obj = manifest.obj
        if workload is not None:
            record = read_record(_template(obj))
            if isinstance(record, Finding):
                warnings.append(f"{manifest.where}: {_title(obj)}: {record.message}")
            elif record.policies:
                obj, leftovers = _stripped(obj, workload, record)
                warnings += [f"{manifest.where}: {_title(obj)}: {each}" for each in leftovers]
        objects.append(obj)
    return Rendered(tuple(objects), tuple(warnings))


def _stripped(obj: JSON, workload: WorkloadFacts, record: Record) -> tuple[JSON, list[str]]:
    gone = frozenset(record.policies)
    decided = plan(Snapshot(workload.ref.namespace, workloads=(workload,), gone=gone))
    leftovers = [each.message for change in decided.changes for each in change.leftovers]
    return _changed(obj, decided), leftovers


def _rendered(
    manifest: Manifest, policies: Sequence[PolicyFacts], opted_out_namespace: bool
) -> tuple[JSON, list[str]]:
    workload = _workload(manifest)
    if workload is None:
        return manifest.obj, []
    namespace = workload.ref.namespace
    snapshot = Snapshot(
        namespace,
        policies=tuple(each for each in policies if each.namespace == namespace),
        workloads=(workload,),
        nodes=NodeTally(),  # what a cluster's nodes can do is not known here
        namespace_opted_out=opted_out_namespace,
    )
    decided = plan(snapshot)
    return _changed(manifest.obj, decided), list(_findings(decided))


def _changed(obj: JSON, decided: Plan) -> JSON:
    for change in decided.changes:
        result = copy.deepcopy(obj)
        owner: Any = result
        *steps, last = template_steps(obj["kind"])
        for step in steps:
            owner = owner[step]
        owner[last] = change.template
        return result
    return obj


def _findings(decided: Plan) -> Iterator[str]:
    for key, standings in decided.standings.items():
        for standing in standings:
            if standing.finding is not None:
                yield f"{key}: {standing.finding.reason}: {standing.finding.message}"


def _policy(manifest: Manifest) -> PolicyFacts:
    if manifest.obj.get("apiVersion") != API_VERSION:
        raise UnusableInputError(f"{manifest.where}: apiVersion must be {API_VERSION}")
    policy = policy_facts(_named(manifest.obj))
    if policy.invalid:
        raise UnusableInputError(f"{manifest.where}: {KIND} {policy.name}: {policy.invalid}")
    return policy


def _workload(manifest: Manifest) -> WorkloadFacts | None:
    kind = manifest.obj["kind"]
    if kind not in set(TargetKind):
        return None
    try:
        return workload_facts(_named(manifest.obj), kind=kind)
    except (KeyError, TypeError, AttributeError) as error:
        raise UnusableInputError(
            f"{manifest.where}: {_title(manifest.obj)} has no usable Pod template: {error!r}"
        ) from error


def _named(obj: JSON) -> JSON:
    """With the metadata that only the API server gives, and a namespace."""
    given = {"namespace": NAMESPACE, "uid": "", "resourceVersion": "", "generation": 0}
    return {**obj, "metadata": {**given, **obj["metadata"]}}


def _template(obj: JSON) -> JSON:
    template: Any = obj
    for step in template_steps(obj["kind"]):
        template = template[step]
    found: JSON = template
    return found


def _opted_out(manifest: Manifest, manifests: Sequence[Manifest]) -> bool:
    """Whether the manifests hold the object's namespace, and that opts out."""
    namespace = manifest.obj["metadata"].get("namespace", NAMESPACE)
    return any(
        each.obj["kind"] == "Namespace"
        and each.obj["metadata"]["name"] == namespace
        and opted_out(each.obj["metadata"])
        for each in manifests
    )


def _title(obj: JSON) -> str:
    return f"{obj['kind']} {obj['metadata']['name']}"
