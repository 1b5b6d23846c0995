"""Plans as tests read them, and workloads as they are after one."""

from collections.abc import Sequence
from typing import Any

import jsonpatch
from jsonpointer import JsonPointer

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.facts import (
    PolicyFacts,
    Ref,
    WorkloadFacts,
    policy_facts,
    workload_facts,
)
from sidecarpolicy.core.origin import Origin
from sidecarpolicy.core.plan import Plan, plan
from sidecarpolicy.core.standing import (
    State,
)
from tests.support.builders import (
    deployment,
    policy,
    policy_object,
    snapshot,
    workload,
)

KEY = "SidecarPolicy/log-shipper"
WEB = Ref("Deployment", "shop", "web")


def states(decided: Plan, key: str = KEY) -> dict[str, tuple[State, Reason | None]]:
    return {
        each.ref.name: (each.state, each.finding.reason if each.finding else None)
        for each in decided.standings[key]
    }


def stored(raw: Any, patch: Sequence[Any]) -> Any:
    """The object after a JSON patch, applied as the API server does, to which a test for null is
    one for what is missing; RFC 6902 leaves that open.
    """
    for each in patch:
        if each["op"] == "test" and each["value"] is None:
            assert JsonPointer(each["path"]).resolve(raw, None) is None
        else:
            raw = jsonpatch.apply_patch(raw, [each])
    return raw


def after(decided: Plan, **changes: Any) -> WorkloadFacts:
    """The workload as the API server would return it: patched, its generation raised."""
    (change,) = decided.changes
    raw = deployment(**changes)
    patched: Any = stored(raw, change.patch)
    patched["metadata"]["generation"] += 1
    return workload_facts(patched, kind="Deployment")


def injected(**fields: Any) -> WorkloadFacts:
    start = snapshot(policies=(policy(**fields),), workloads=(workload(),))
    return after(plan(start), status={"observedGeneration": 2})


def cluster_policy(**fields: Any) -> PolicyFacts:
    """Selects namespaces labelled mesh=on."""
    made = policy_object("mesh", namespaceSelector={"matchLabels": {"mesh": "on"}}, **fields)
    del made["metadata"]["namespace"]
    return policy_facts(made)


MESH = "ClusterSidecarPolicy/mesh"
ON = {"mesh": "on"}


def many(number: int, **changes: Any) -> tuple[WorkloadFacts, ...]:
    return tuple(workload(f"web-{each:02}", **changes) for each in range(number))


def changed(decided: Plan) -> list[str]:
    return [change.ref.name for change in decided.changes]


def rolled(facts: WorkloadFacts, *, of: Plan, **status: Any) -> WorkloadFacts:
    """A workload as it is after the plan's patch, its own rollout as the status says."""
    (change,) = (each for each in of.changes if each.ref == facts.ref)
    raw = deployment(facts.ref.name, status={"observedGeneration": 2, **status})
    patched: Any = stored(raw, change.patch)
    patched["metadata"]["generation"] += 1
    return workload_facts(patched, kind="Deployment")


STOPPED = [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]


def brought(*refs: Ref, by: str = KEY, **fields: Any) -> dict[Ref, Origin]:
    """Origins of rollouts that a policy's revision began, long ago."""
    return {ref: Origin(1.0, frozenset({by}), **fields) for ref in refs}
