"""What is said of Jobs that a sidecar in mode Universal may keep open."""

from typing import Any

import pytest

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.controller.openjobs import OpenJobs
from sidecarpolicy.core.facts import Ref, policy_facts, workload_facts
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.selection import Exclusions
from sidecarpolicy.core.standing import Standing, State
from tests.support.builders import policy_object, sidecar, template
from tests.support.nodes import node_object

JSON = dict[str, Any]
NIGHTLY = Ref("CronJob", "shop", "nightly")
NATIVE_ONLY = {"nodeSelector": {"sidecarpolicy.dev/native-sidecars": "true"}}
ELSEWHERE = {"nodeSelector": {"zone": "far"}}
DROPS = {
    "type": "ClusterCapable",
    "status": "False",
    "reason": "ApiServerDropsField",
    "message": "dropped",
}


def cron_job(**pod: Any) -> JSON:
    job = {"spec": {"template": template(restartPolicy="Never", **pod)}}
    meta = {"name": NIGHTLY.name, "namespace": "shop", "uid": "u", "resourceVersion": "1"}
    return {"metadata": meta, "spec": {"schedule": "0 0 * * *", "jobTemplate": job}}


def told(
    *kubelets: str,
    mode: str = "Universal",
    conditions: tuple[JSON, ...] = (),
    standing: Standing | None = None,
    **pod: Any,
) -> Reason | None:
    inventory = Inventory(Exclusions("ours"))
    for number, version in enumerate(kubelets):
        inventory.see_node(node_object(version, name=f"n{number}"))
    inventory.see_workload(workload_facts(cron_job(**pod), kind="CronJob"))
    made = policy_object(mode=mode, sidecars=[sidecar(command=["run"])])
    policy = policy_facts({**made, "status": {"conditions": list(conditions)}})
    (found,) = OpenJobs(inventory).told(policy, [standing or Standing(NIGHTLY, State.CURRENT)])
    return found.finding.reason if found.finding is not None else None


@pytest.mark.parametrize(
    ("kubelets", "fields"),
    [
        pytest.param(("v1.36.3", "v1.26.15"), {}, id="a node ignores the field"),
        pytest.param(("v1.36.3", "odd"), {}, id="nobody knows of a node"),
        pytest.param(("v1.36.3",), {"conditions": (DROPS,)}, id="the API server drops it"),
    ],
)
def test_a_job_may_stay_open_where(kubelets: tuple[str, ...], fields: JSON) -> None:
    assert told(*kubelets, **fields) is Reason.JOB_STAYS_OPEN


@pytest.mark.parametrize(
    ("kubelets", "fields"),
    [
        pytest.param(("v1.36.3", "v1.28.15"), {}, id="all nodes run or refuse native sidecars"),
        pytest.param(("v1.36.3", "v1.26.15"), {"mode": "Native"}, id="the policy is native"),
        pytest.param(("v1.36.3", "v1.26.15"), NATIVE_ONLY, id="the Job itself asks for those"),
        pytest.param(("v1.36.3", "v1.26.15"), ELSEWHERE, id="it goes to no such node"),
        pytest.param(
            ("v1.26.15",), {"standing": Standing(NIGHTLY, State.PENDING)}, id="it has no sidecar"
        ),
    ],
)
def test_nothing_is_said_where(kubelets: tuple[str, ...], fields: JSON) -> None:
    assert told(*kubelets, **fields) is None


def test_what_else_is_to_say_comes_first() -> None:
    worse = Standing(NIGHTLY, State.CURRENT, Finding(Reason.STOPS_AUTOSCALING, "no"))
    assert told("v1.26.15", standing=worse) is Reason.STOPS_AUTOSCALING
