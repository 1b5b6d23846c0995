"""Deployments whose rollouts failed, before and after what failed was taken out."""

from typing import Any

from sidecarpolicy.core.facts import PolicyFacts, WorkloadFacts, workload_facts
from sidecarpolicy.core.held import Hold, read_holds
from sidecarpolicy.core.plan import Plan, plan
from sidecarpolicy.core.snapshot import Snapshot
from tests.support.builders import deployment, snapshot, workload
from tests.support.plans import KEY, STOPPED, WEB, brought, stored

JSON = dict[str, Any]
PAUSE: JSON = {"rollout": {"onFailure": "Pause"}}
ONE_OF_TWO: JSON = {"observedGeneration": 2, "updatedReplicas": 1}
OTHER = "SidecarPolicy/tracer"


def progressing(since: float, *, reason: str = "ReplicaSetUpdated") -> JSON:
    """A Deployment's status that got further last `since` seconds after 1970 began."""
    minutes, seconds = divmod(int(since), 60)
    at = f"1970-01-01T00:{minutes:02}:{seconds:02}Z"
    return {"conditions": [{"type": "Progressing", "reason": reason, "lastUpdateTime": at}]}


def revision_of(one: PolicyFacts) -> str:
    assert one.desired is not None
    return one.desired.revision


def patched(decided: Plan, **status: Any) -> JSON:
    """A Deployment after a plan's only patch."""
    (change,) = decided.changes
    raw: JSON = stored(deployment(status=status), change.patch)
    raw["metadata"]["generation"] += 1
    return raw


def injected(*policies: PolicyFacts, **status: Any) -> JSON:
    """A Deployment with the parts of policies, its rollout as the status says."""
    decided = plan(snapshot(policies=policies, workloads=(workload(),)))
    return patched(decided, **{**ONE_OF_TWO, **status})


def facts(raw: JSON) -> WorkloadFacts:
    return workload_facts(raw, kind="Deployment")


def seen(*policies: PolicyFacts, raw: JSON, **fields: Any) -> Snapshot:
    return snapshot(policies=policies, workloads=(facts(raw),), **fields)


def failing(*policies: PolicyFacts, by: str = KEY, **fields: Any) -> Snapshot:
    """A Deployment whose rollout, with policies' current revisions, its controller gave up."""
    raw = injected(*policies, conditions=STOPPED)
    return seen(*policies, raw=raw, origins=brought(WEB, by=by), **fields)


def reverted(*policies: PolicyFacts) -> JSON:
    """A Deployment after what its failed rollout brought was taken out, and it came to rest."""
    start = failing(*policies)
    (change,) = plan(start).changes
    raw: JSON = stored(injected(*policies, conditions=STOPPED), change.patch)
    raw["metadata"]["generation"] += 1
    settled = {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    return {**raw, "status": settled}


def holds(raw: JSON) -> tuple[Hold, ...]:
    return read_holds(raw["metadata"])
