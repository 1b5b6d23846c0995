"""Rollouts that fail on real kubelets: stopped, taken back where they failed, and resumed.

After the tests of the operator's log, in which a failure shows.
"""

import pytest

from tests.e2e.test_main_job import container
from tests.support.cluster import (
    JSON,
    Namespace,
    conditions,
    deployment,
    policy,
    problems,
    stateful_set,
)
from tests.support.waiting import eventually, stays

pytestmark = pytest.mark.usefixtures("labelled")


def shipper(failing: str = "nowhere", **fields: object) -> JSON:
    """A sidecar that ends at once beside Pods of this name."""
    script = f"case $(hostname) in {failing}*) exit 1;; esac; touch /tmp/up; sleep infinity & wait"
    return {**container("shipper"), "command": ["sh", "-c", script], **fields}


PROBED = {
    "startupProbe": {
        "exec": {"command": ["test", "-f", "/tmp/up"]},
        "periodSeconds": 1,
        "failureThreshold": 60,
    }
}
"""Without it, Pods are ready for a moment beside a sidecar that ends at once."""


def pod() -> JSON:
    return {"containers": [container("web")], "terminationGracePeriodSeconds": 1}


def logs(failing: str, **rollout: object) -> JSON:
    paced = {"maxConcurrent": 2, "progressDeadlineSeconds": 20, **rollout}
    return policy(sidecars=[shipper(failing)], rollout=paced)


def created(shop: Namespace, number: int) -> list[str]:
    """Deployments that have come to rest."""
    names = [f"web-{each:02}" for each in range(number)]
    shop.apply(*(deployment(name, replicas=1, pod=pod()) for name in names))
    eventually(
        lambda: [each["status"].get("availableReplicas") for each in shop.all("deployment")],
        until=lambda found: found == [1] * number,
        seconds=120,
    )
    return names


def generations(shop: Namespace) -> dict[str, int]:
    return {e["metadata"]["name"]: e["metadata"]["generation"] for e in shop.all("deployment")}


def stopped(shop: Namespace) -> JSON:
    """The status once a rollout failed, and those under way have ended."""

    def rests(status: JSON) -> bool:
        counts = status.get("workloads") or {}
        return counts.get("failed") == 1 and counts.get("updating") == 0

    return eventually(lambda: shop.status("log-shipper"), until=rests, seconds=90)


def test_a_sidecar_that_fails_somewhere_is_taken_back_there_and_goes_no_further(
    shop: Namespace,
) -> None:
    names = created(shop, 12)
    before = shop.pods_template("web-01")
    shop.apply(logs("web-01"))
    status = stopped(shop)
    assert status["workloads"]["pending"] > 0
    assert conditions(status)["RolloutComplete"] == ("False", "WorkloadsFailed")
    (failed,) = (each for each in problems(status) if each["reason"] == "RolloutFailed")
    assert failed["name"] == "web-01"
    assert "shipper" in failed["message"]
    assert shop.pods_template("web-01") == before
    current = [name for name in names if shop.sidecars(name)]
    assert len(current) == status["workloads"]["current"]
    reached = {**dict.fromkeys(names, 1), **dict.fromkeys(current, 2), "web-01": 3}
    stays(lambda: generations(shop), seconds=3)
    assert generations(shop) == reached

    shop.patch("scpol", "log-shipper", {"spec": {"sidecars": [shipper()]}})
    shop.wait_status("log-shipper", current=12, seconds=180)
    assert generations(shop) == {name: number + 1 for name, number in reached.items()}


def test_with_pause_the_workload_stays_as_it_failed(shop: Namespace) -> None:
    created(shop, 2)
    rollout = {"maxConcurrent": 1, "progressDeadlineSeconds": 20, "onFailure": "Pause"}
    shop.apply(policy(sidecars=[shipper("web-00", **PROBED)], rollout=rollout))
    status = stopped(shop)
    assert "RolloutFailed" in {each["reason"] for each in problems(status)}
    stays(lambda: generations(shop), seconds=2)
    assert generations(shop) == {"web-00": 2, "web-01": 1}
    shop.patch("scpol", "log-shipper", {"spec": {"sidecars": [shipper()]}})
    shop.wait_status("log-shipper", current=2, seconds=90)


def test_a_stateful_set_comes_back_from_a_sidecar_that_does_not_start(shop: Namespace) -> None:
    shop.apply(stateful_set(replicas=2, pod=pod()))
    ready = ("wait", "--for=jsonpath={.status.readyReplicas}=2", "statefulset/db")
    shop.kubectl(*ready, "--timeout=60s")
    uids = {each["metadata"]["name"]: each["metadata"]["uid"] for each in shop.all("pod")}
    deadline = {"progressDeadlineSeconds": 12}
    shop.apply(policy(sidecars=[shipper("db-1", **PROBED)], rollout=deadline))
    stopped(shop)
    shop.kubectl(*ready, "--timeout=60s")
    now = {each["metadata"]["name"]: each["metadata"]["uid"] for each in shop.all("pod")}
    assert now["db-0"] == uids["db-0"]
    assert now["db-1"] != uids["db-1"]
    assert not [each for each in shop.all("pod") if "initContainers" in each["spec"]]
