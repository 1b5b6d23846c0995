"""Stranded Pods: which one keeps a StatefulSet from going back, and which never."""

from typing import Any

import pytest

from sidecarpolicy.core.facts import WorkloadFacts, workload_facts
from sidecarpolicy.core.held import Because, Hold, encode_holds
from sidecarpolicy.core.origin import Stage
from sidecarpolicy.core.stranded import failed_stages, may_be_stranded, stranded
from tests.support.builders import deployment, pods_of, template
from tests.support.plans import KEY, injected

JSON = dict[str, Any]
HELD = "sidecarpolicy.dev/held"


def revision() -> str:
    template_: JSON = pods_of(injected())
    record: str = template_["metadata"]["annotations"]["sidecarpolicy.dev/injected"]
    return record.partition('"revision":"')[2].partition('"')[0]


def stateful(
    *, reason: Because = Because.ROLLOUT_FAILED, ready: int = 1, **spec: Any
) -> WorkloadFacts:
    hold = Hold(KEY, revision(), reason)
    raw = deployment(metadata={"annotations": {HELD: encode_holds([hold])}}, spec=spec)
    raw["status"] = {"observedGeneration": 1, "readyReplicas": ready, "updatedReplicas": 2}
    return workload_facts(raw, kind="StatefulSet")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({}, True, id="that waits for a Pod"),
        pytest.param({"ready": 2}, False, id="whose Pods are all ready"),
        pytest.param({"podManagementPolicy": "Parallel"}, False, id="that waits for none"),
        pytest.param({"reason": Because.FIGHT}, False, id="that nothing failed in"),
    ],
)
def test_a_stateful_set_may_be_stranded_or_not(fields: JSON, expected: bool) -> None:
    assert may_be_stranded(stateful(**fields)) is expected


STAGES = (
    Stage("db-3", 3, 0.0, template()),
    Stage("db-1", 1, 0.0, template(labels={"tier": "a"})),
    Stage("db-2", 2, 0.0, pods_of(injected())),
)


def test_only_former_templates_with_the_held_revision_failed() -> None:
    assert failed_stages(stateful(), STAGES) == {"db-2"}
    again = Stage("db-4", 4, 0.0, pods_of(injected()))
    assert failed_stages(stateful(), (*STAGES, again)) == {"db-2"}
    assert failed_stages(stateful(), STAGES[2:]) == frozenset()


def pod(name: str = "db-0", *, owner: str = "uid-web", ready: str = "False", **meta: Any) -> JSON:
    labels = {"controller-revision-hash": "db-2"}
    reference = {"uid": owner, "controller": True}
    metadata = {"name": name, "labels": labels, "ownerReferences": [reference], **meta}
    return {
        "metadata": metadata,
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        pytest.param(pod(), "db-0", id="of the failed template"),
        pytest.param(pod(labels={"controller-revision-hash": "db-3"}), None, id="of the current"),
        pytest.param(pod(ready="True"), None, id="that is ready"),
        pytest.param(pod(owner="uid-api"), None, id="of another StatefulSet"),
        pytest.param(pod(deletionTimestamp="now"), None, id="that is being deleted"),
        pytest.param(pod(labels=None), None, id="without labels"),
    ],
)
def test_a_pod_is_deleted_or_not(other: JSON, expected: str | None) -> None:
    found = stranded([other], stateful(), failed=frozenset({"db-2"}))
    assert (found["name"] if found is not None else None) == expected


def test_of_several_the_first_in_the_order_of_their_numbers_is_deleted() -> None:
    found = stranded([pod("db-10"), pod("db-9")], stateful(), failed=frozenset({"db-2"}))
    assert found is not None
    assert found["name"] == "db-9"
