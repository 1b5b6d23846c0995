"""Explanations: which policies select one workload, what each adds, in which order, why not.

Drawn from the plan itself and the record that it would write, so an explanation cannot
say anything else than what happens.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sidecarpolicy.core.case import unselected
from sidecarpolicy.core.desired import names
from sidecarpolicy.core.facts import PolicyFacts, Ref, WorkloadFacts
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.former import PREFIX
from sidecarpolicy.core.plan import Plan, plan
from sidecarpolicy.core.podtime import fulfilled, promised_parts
from sidecarpolicy.core.record import Record, read_record
from sidecarpolicy.core.snapshot import Snapshot


@dataclass(frozen=True)
class Effect:
    """One policy's effect on a workload.

    `unselected` says why it does not select it, `finding` what is in its way; `adds` are
    the part keys that are or will be in its Pods because of it.
    """

    policy: str
    selected: bool
    unselected: str = ""
    finding: Finding | None = None
    adds: tuple[str, ...] = ()
    at_pods: tuple[str, ...] = ()
    """Those of them that the webhook adds to each Pod, and that are not in the template."""
    remarks: tuple[Finding, ...] = ()
    """What is worth knowing of the policy, and stands in nobody's way."""


@dataclass(frozen=True)
class Explanation:
    """All policies' effects in the order in which they act, and the start order that results.

    `init_containers` are (name, policy key) pairs, the key empty for the workload's own.
    """

    ref: Ref
    effects: tuple[Effect, ...]
    init_containers: tuple[tuple[str, str], ...]


def explain(workload: WorkloadFacts, snapshot: Snapshot) -> Explanation:
    """Explains a workload, which is the only one of the snapshot."""
    decided = plan(snapshot)
    before = json.loads(workload.template)
    written = next((change.template for change in decided.changes), before)
    template = fulfilled(written).template
    record = read_record(template)
    parts = _parts(record) if isinstance(record, Record) else {}
    promised = promised_parts(written)
    return Explanation(
        ref=workload.ref,
        effects=tuple(
            _effect(
                policy,
                unselected(policy, workload, before, snapshot),
                decided,
                adds=parts.get(policy.key, ()),
                at_pods=promised.get(policy.key, ()),
            )
            for policy in snapshot.policies
        ),
        init_containers=tuple(_start_order(template, parts)),
    )


def _effect(
    policy: PolicyFacts,
    why_not: str | None,
    decided: Plan,
    *,
    adds: tuple[str, ...],
    at_pods: tuple[str, ...],
) -> Effect:
    findings = (each.finding for each in decided.standings[policy.key])
    return Effect(
        policy=policy.key,
        selected=why_not is None,
        unselected=why_not or "",
        finding=next(findings, None),
        adds=adds,
        at_pods=at_pods,
        remarks=policy.remarks if why_not is None else (),
    )


def _parts(record: Record) -> Mapping[str, tuple[str, ...]]:
    return {key: tuple(each.parts) for key, each in record.policies.items()}


def _start_order(
    template: Mapping[str, Any], parts: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[str, str]]:
    """Init containers in the order in which the kubelet starts them, with who added each."""
    added = {part: key for key, each in parts.items() for part in each}
    present = template["spec"].get("initContainers") or ()
    for name in names(present):
        yield name, added.get(f"container/{name}") or added.get(f"{PREFIX}{name}", "")
