"""`render` and `strip`: what the controller would do to manifests, without a cluster.

Both go through the same plan as the controller does, so they cannot disagree with it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.cli import offline
from sidecarpolicy.cli.manifests import JSON, Manifest
from sidecarpolicy.core.facts import WorkloadFacts, template_steps
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.marker import as_pods_are, read_markers
from sidecarpolicy.core.overhead import by_policy
from sidecarpolicy.core.plan import Plan, plan
from sidecarpolicy.core.podtime import promised_parts
from sidecarpolicy.core.record import read_record
from sidecarpolicy.core.snapshot import Snapshot


@dataclass(frozen=True)
class Rendered:
    """All objects in their order, as they would be, and what is to say about them."""

    objects: tuple[JSON, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What is worth knowing, and stands in nobody's way."""


def render(policies: Sequence[Manifest], manifests: Sequence[Manifest]) -> Rendered:
    """The manifests with the sidecars of the policies that select them."""
    wanted = offline.policies(policies)
    objects, warnings = [], []
    notes = [f"{each}: {remark.message}" for each in wanted for remark in each.remarks]
    for manifest in manifests:
        obj = manifest.obj
        workload = offline.workload(manifest)
        if workload is not None:
            with offline.understood(manifest):
                decided = plan(offline.snapshot(workload, wanted, manifests))
                obj = _changed(obj, decided)
                found = [*_findings(decided), *offline.doubts(workload, wanted, manifests)]
            about = f"{manifest.where}: {offline.title(obj)}"
            notes += [f"{about}: {each}" for each in (*_promised(obj), *_costs(obj))]
            warnings += [f"{about}: {each}" for each in found]
        objects.append(obj)
    return Rendered(tuple(objects), tuple(warnings), tuple(notes))


def _promised(obj: JSON) -> Iterator[str]:
    """What is not in the template, because the webhook adds it to each Pod at its creation."""
    template = offline.template_of(obj)
    for key, parts in promised_parts(template).items():
        if parts:
            yield f"{key}: the webhook adds to its Pods: {', '.join(parts)}"


def _costs(obj: JSON) -> Iterator[str]:
    """What injected sidecars change beside what they add: the Pod's QoS class, for one."""
    for key, cost in by_policy(as_pods_are(offline.template_of(obj))).items():
        for finding in cost.findings:
            if finding.reason is not Reason.NO_RESOURCE_REQUEST:
                yield f"{key}: {finding.reason}: {finding.message}"


def strip(manifests: Sequence[Manifest]) -> Rendered:
    """The manifests without anything that policies added."""
    objects, warnings = [], []
    for manifest in manifests:
        obj, workload = manifest.obj, offline.workload(manifest)
        if workload is not None:
            with offline.understood(manifest):
                obj, found = _stripped(obj, workload)
            warnings += [f"{manifest.where}: {offline.title(obj)}: {each}" for each in found]
        objects.append(obj)
    return Rendered(tuple(objects), tuple(warnings))


def _stripped(obj: JSON, workload: WorkloadFacts) -> tuple[JSON, list[str]]:
    template = offline.template_of(obj)
    record = read_record(template)
    if isinstance(record, Finding):
        return obj, [record.message]
    gone = frozenset((*record.policies, *read_markers(template)))
    return _without(obj, workload, gone) if gone else (obj, [])


def _without(obj: JSON, workload: WorkloadFacts, gone: frozenset[str]) -> tuple[JSON, list[str]]:
    # A manifest is yet to be created: what cannot be changed in a cluster can be changed here.
    here = Snapshot(workload.ref.namespace, workloads=(workload,), gone=gone, creating=True)
    decided = plan(here)
    return _changed(obj, decided), list(_findings(decided))


def _changed(obj: JSON, decided: Plan) -> JSON:
    for change in decided.changes:
        return _with_template(obj, template_steps(obj["kind"]), change.template)
    return obj


def _with_template(obj: JSON, steps: Sequence[str], template: Any) -> JSON:
    """The object with another Pod template at the end of these steps."""
    if not steps:
        return dict(template)
    return {**obj, steps[0]: _with_template(obj[steps[0]], steps[1:], template)}


def _findings(decided: Plan) -> Iterator[str]:
    """What stands in policies' way, then what has to stay although it is wanted no more."""
    for key, standings in decided.standings.items():
        for standing in standings:
            if standing.finding is not None:
                yield _shown(key, standing.finding)
    for change in decided.changes:
        for key, leftovers in change.leftovers.items():
            yield from (_shown(key, each) for each in leftovers)


def _shown(key: str, finding: Finding) -> str:
    return f"{key}: {finding.reason}: {finding.message}"
