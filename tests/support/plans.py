"""Plans as tests read them, and workloads as they are after one."""

from typing import Any

import jsonpatch

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.facts import (
    PolicyFacts,
    Ref,
    WorkloadFacts,
    policy_facts,
    workload_facts,
)
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


def after(decided: Plan, **changes: Any) -> WorkloadFacts:
    """The workload as the API server would return it: patched, its generation raised."""
    (change,) = decided.changes
    raw = deployment(**changes)
    patched: Any = jsonpatch.apply_patch(raw, change.patch)
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
    patched: Any = jsonpatch.apply_patch(raw, change.patch)
    patched["metadata"]["generation"] += 1
    return workload_facts(patched, kind="Deployment")


STOPPED = [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]
