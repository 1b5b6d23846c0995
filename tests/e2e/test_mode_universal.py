"""Mode Universal on real kubelets of four versions: which copy serves, whatever happens to it.

All workloads start at once, because waiting is what takes the time; each test looks at its own.
"""

import json
import os
from collections.abc import Iterator
from functools import partial

import pytest

from lab import Lab
from tests.e2e.conftest import node_labels
from tests.e2e.test_main_job import container
from tests.support.admission import dry_run
from tests.support.cluster import JSON, Namespace
from tests.support.pods import ends_of, keep, moment, release
from tests.support.runtime import Runtime
from tests.support.universal import (
    MIDDLE,
    NATIVE,
    SERVING,
    complete,
    job,
    overlapping,
    ready_pod,
    restarts,
    runs,
    served,
    serving,
    universal,
    web,
)
from tests.support.waiting import eventually, stays

NODES = tuple(SERVING)
BOTH_WAYS = ("new", "oldest")
STARTS = int(os.environ.get("SIDECARPOLICY_UNIVERSAL_STARTS", "18"))
"""Pods of the test that counts who serves, 200 in `make soak`."""
RESTARTS = ("Never", "OnFailure")
GRACE = 30
"""Seconds; nothing here may wait for their end."""

DEPLOYMENTS = {
    **dict.fromkeys([f"calm-{node}" for node in NODES], container("web")),
    **dict.fromkeys([f"evicted-{node}" for node in NODES], container("web", slow_end=2)),
    **dict.fromkeys([f"sandbox-{node}" for node in BOTH_WAYS], container("web")),
}
JOBS = [
    *(
        job(f"{restart.lower()}-{node}", node, "sleep 1", restart=restart)
        for node in NODES
        for restart in RESTARTS
    ),
    job("done-oldest", "oldest", "touch /state/done"),
    job("waits-old", "old", "true"),
]


@pytest.fixture(scope="module")
def space(operator: Lab) -> Iterator[Namespace]:
    """A namespace with everything in it, and a kubelet 1.31.0 besides the others."""
    operator.add_node(MIDDLE, wait=False)
    found = Namespace(operator, "universal")
    try:
        operator.kubectl("create", "namespace", found.name)
        found.apply(universal())
        operator.wait_nodes()
        eventually(lambda: node_labels(operator).get(MIDDLE.name) == "true")
        eventually(lambda: known(found))
        found.apply(*_deployments(), *JOBS)
        yield found
    finally:
        operator.kubectl("delete", "namespace", found.name, "--wait=false", "--ignore-not-found")
        operator.remove_node(MIDDLE.name)


def _deployments() -> Iterator[JSON]:
    for name, each in DEPLOYMENTS.items():
        purpose, _, node = name.partition("-")
        yield web(purpose, node, each)


def known(space: Namespace) -> bool:
    """Whether both replicas of the webhook know the policy, however they are asked in turn."""
    answers = (dry_run(space, job("probe", "new", "true")) for _ in range(6))
    return all("initContainers" in each["spec"]["template"]["spec"] for each in answers)


@pytest.mark.parametrize("node", NODES)
def test_one_copy_serves_the_native_one_where_the_node_runs_it(space: Namespace, node: str) -> None:
    pod = ready_pod(space, f"calm-{node}")
    assert pod["spec"]["nodeName"] == node
    assert serving(space, pod) == {SERVING[node]}
    again = int(node in NATIVE)  # its first run tells whether there is a second
    assert restarts(pod) == {
        "shipper-prepare": 0,
        "shipper": again,
        "web": 0,
        "shipper-ordinary": 0,
    }
    found = eventually(
        lambda: runs(space, pod["metadata"]["name"]),
        until=lambda seen: bool(seen) and all(run.last > run.begun for run in seen),
    )
    assert len(found) == 1


def test_no_pod_goes_where_the_kubelet_refuses_it(space: Namespace) -> None:
    def waits() -> str:
        (pod,) = (p for p in space.all("pod") if p["metadata"]["labels"]["app"] == "waits-old")
        found = {each["type"]: each for each in pod["status"].get("conditions", ())}
        return str(found.get("PodScheduled", {}).get("reason"))

    eventually(waits, until=lambda reason: reason == "Unschedulable")
    assert {pod["spec"].get("nodeName") for pod in space.all("pod")} <= {*NODES, None}
    rejected = [p for p in space.all("pod") if p["status"].get("phase") == "Failed"]
    assert rejected == []


@pytest.mark.parametrize("node", NODES)
def test_an_application_that_is_killed_comes_back_beside_the_same_sidecar(
    space: Namespace, node: str
) -> None:
    pod = ready_pod(space, f"calm-{node}")
    before = restarts(pod)
    Runtime(space.lab, node).kill_container(pod, "web")
    wanted = {**before, "web": before["web"] + 1}
    name = pod["metadata"]["name"]
    eventually(lambda: restarts(space.get("pod", name)), until=lambda now: now == wanted)
    ready_pod(space, f"calm-{node}")
    assert len(runs(space, name)) == 1


@pytest.mark.parametrize("node", NODES)
def test_a_sidecar_that_is_killed_comes_back_as_the_same_copy(space: Namespace, node: str) -> None:
    pod = ready_pod(space, f"calm-{node}")
    name, copy, before = pod["metadata"]["name"], SERVING[node], restarts(pod)
    count = len(runs(space, name))
    Runtime(space.lab, node).kill_container(pod, copy)
    wanted = {**before, copy: before[copy] + 1}
    eventually(
        lambda: restarts(space.get("pod", name)), until=lambda now: now == wanted, seconds=40
    )
    ready_pod(space, f"calm-{node}")
    found = eventually(lambda: runs(space, name), until=lambda seen: len(seen) == count + 1)
    assert overlapping(found) == []
    assert serving(space, pod) == {copy}


@pytest.mark.parametrize("node", BOTH_WAYS)
def test_a_new_sandbox_starts_the_protocol_anew_and_one_copy_serves(
    space: Namespace, node: str
) -> None:
    pod = ready_pod(space, f"sandbox-{node}")
    name, before = pod["metadata"]["name"], restarts(pod)
    assert len(runs(space, name)) == 1
    Runtime(space.lab, node).kill_sandbox(pod)

    def prepared() -> bool:
        return restarts(space.get("pod", name))["shipper-prepare"] > before["shipper-prepare"]

    eventually(prepared, seconds=60)
    pod = ready_pod(space, f"sandbox-{node}")
    assert pod["metadata"]["name"] == name
    found = eventually(lambda: runs(space, name), until=lambda seen: len(seen) == 2)
    assert overlapping(found) == []
    stays(lambda: len(runs(space, name)), seconds=3)
    assert serving(space, pod) == {SERVING[node]}


@pytest.mark.parametrize("node", NODES)
def test_an_evicted_pod_ends_in_order_and_long_before_its_grace_period_is_over(
    space: Namespace, node: str
) -> None:
    pod = ready_pod(space, f"evicted-{node}")
    name = pod["metadata"]["name"]
    keep(space, name)
    evict(space, name)
    ended = eventually(
        lambda: ends_of(space, name),
        until=lambda found: {"web", SERVING[node]} <= found.keys() and len(found) == 4,
        seconds=GRACE,
    )
    release(space, name)
    told = {each: float(ended[each]["message"]) for each in ("web", SERVING[node])}
    finished = {each: moment(end["finishedAt"]) for each, end in ended.items()}
    if node in NATIVE:
        assert told[SERVING[node]] >= finished["web"]
    else:
        assert abs(told[SERVING[node]] - told["web"]) <= 1
    assert max(finished[each] for each in ("web", "shipper-ordinary", SERVING[node])) < (
        told["web"] + GRACE / 2
    )
    assert ready_pod(space, f"evicted-{node}")["metadata"]["name"] != name


def evict(space: Namespace, pod: str) -> None:
    """By the Eviction API, as a drain does."""
    meta = {"name": pod, "namespace": space.name}
    wanted = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta}
    path = f"/api/v1/namespaces/{space.name}/pods/{pod}/eviction"
    space.lab.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(wanted))


@pytest.mark.parametrize("restart", RESTARTS)
@pytest.mark.parametrize("node", NATIVE)
def test_a_job_completes_on_a_node_that_runs_native_sidecars(
    space: Namespace, node: str, restart: str
) -> None:
    eventually(lambda: complete(space, f"{restart.lower()}-{node}"), seconds=60)


@pytest.mark.parametrize("restart", RESTARTS)
def test_on_an_older_node_the_ordinary_copy_keeps_a_job_open(
    space: Namespace, restart: str
) -> None:
    name = f"{restart.lower()}-oldest"

    def ended() -> set[str]:
        (pod,) = (p for p in space.all("pod") if p["metadata"]["labels"]["app"] == name)
        states = pod["status"].get("containerStatuses", ())
        return {each["name"] for each in states if "terminated" in each["state"]}

    eventually(ended, until=lambda found: found == {"app"}, seconds=60)
    stays(lambda: (ended(), complete(space, name)), seconds=3)


def test_there_a_job_completes_if_the_sidecar_ends_by_itself_when_the_work_is_done(
    space: Namespace,
) -> None:
    eventually(lambda: complete(space, "done-oldest"), seconds=60)
    (pod,) = (p for p in space.all("pod") if p["metadata"]["labels"]["app"] == "done-oldest")
    assert served(pod) == {"shipper-ordinary": ["served\n"]}


def test_of_many_starts_in_each_exactly_one_copy_serves(space: Namespace) -> None:
    made = [
        job(f"many-{restart.lower()}-{node}", node, ending(node), restart=restart,
            pods=-(-STARTS // (len(NODES) * len(RESTARTS))))
        for node in NODES
        for restart in RESTARTS
    ]  # fmt: skip
    space.apply(*made)
    names = {each["metadata"]["name"] for each in made}
    for name in sorted(names):
        eventually(partial(complete, space, name), seconds=60 + 6 * STARTS)
    pods = [pod for pod in space.all("pod") if pod["metadata"]["labels"]["app"] in names]
    assert len(pods) >= STARTS
    wrong = {
        pod["metadata"]["name"]: served(pod)
        for pod in pods
        if {name: len(said) for name, said in served(pod).items()}
        != {SERVING[pod["spec"]["nodeName"]]: 1}
        or ["two\n"] in served(pod).values()
    }
    assert wrong == {}


def ending(node: str) -> str:
    """What lets a Pod end there after a moment in which another copy could have come."""
    return "sleep 1" if node in NATIVE else "sleep 1; touch /state/done"
