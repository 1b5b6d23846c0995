"""Containers that policies adopt: on a real API server that asks our webhook about each Pod."""

import pytest

from tests.support.admission import created, dry_run
from tests.support.adopting import ADOPTED, AS_WRITTEN, adopting, known, shape
from tests.support.cluster import (
    JSON,
    Namespace,
    conditions,
    cron_job,
    deployment,
    problems,
    stateful_set,
)
from tests.support.pods import running
from tests.support.waiting import eventually, stays

MARKER = "sidecarpolicy.dev/rollout"
WEB: JSON = {"name": "web", "image": "lab.local/busybox:1"}
PROXY: JSON = {
    "name": "proxy",
    "image": "lab.local/busybox:1",
    "readinessProbe": {"tcpSocket": {"port": 15001}, "periodSeconds": 1},
    "resources": {"requests": {"cpu": "100m", "memory": "32Mi"}},
}
BOTH: JSON = {"containers": [PROXY, WEB]}


def pod(name: str = "alone", spec: JSON = BOTH) -> JSON:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def shapes(space: Namespace) -> list[tuple[list[str], list[str]]]:
    return [shape(each) for each in running(space)]


def owned(template: JSON) -> JSON:
    """A Pod template without our annotation."""
    metadata = dict(template["metadata"])
    others = {k: v for k, v in metadata.pop("annotations", {}).items() if k != MARKER}
    return {**template, "metadata": {**metadata, **({"annotations": others} if others else {})}}


def test_a_deployments_pods_run_it_as_a_sidecar_and_its_template_is_as_its_owner_wrote_it(
    space: Namespace,
) -> None:
    space.apply(deployment(replicas=2, pod=BOTH))
    eventually(lambda: shapes(space) == [AS_WRITTEN] * 2)
    before = space.pods_template("web")
    known(space, adopting(adopt=[{"container": "proxy", "startupFromReadiness": True}]))
    status = space.wait_status("proxy", matched=1, current=1)
    assert conditions(status)["Ready"] == ("True", "Ready")
    after = space.pods_template("web")
    assert MARKER in after["metadata"]["annotations"]
    assert owned(after) == before
    eventually(lambda: shapes(space) == [ADOPTED] * 2)
    for made in running(space):
        (proxy,) = made["spec"]["initContainers"]
        assert proxy["restartPolicy"] == "Always"
        assert proxy["startupProbe"]["tcpSocket"] == {"port": 15001}
        assert proxy["startupProbe"]["failureThreshold"] == 30
        assert made["spec"]["nodeName"] == "new-0"
    space.delete("scpol", "proxy")
    eventually(lambda: space.pods_template("web") == before, seconds=60)
    eventually(lambda: shapes(space) == [AS_WRITTEN] * 2)
    assert space.revisions("web") == 2


def test_the_status_says_what_all_pods_request_without_and_with_the_policy(
    space: Namespace,
) -> None:
    known(space, adopting())
    created(space, deployment(replicas=2, pod=BOTH))
    same = {"cpu": "200m", "memory": "64Mi"}
    overhead = eventually(lambda: space.status("proxy").get("overhead"), until=bool)
    assert overhead == {"perPod": {}, "total": {}, "requests": {"before": same, "after": same}}


def test_every_kind_of_workload_gets_it_from_the_start(space: Namespace) -> None:
    known(space, adopting())
    daemons = deployment("agent", pod=BOTH)
    del daemons["spec"]["replicas"]
    created(space, stateful_set(replicas=1, pod=BOTH))
    created(space, pod())
    eventually(lambda: shapes(space) == [ADOPTED] * 2)
    created(space, {**daemons, "kind": "DaemonSet"})
    placed = eventually(
        lambda: {each["spec"].get("nodeName", ""): shape(each) for each in of(space, "agent")},
        until=lambda found: "" not in found and len(found) > 1,
    )
    assert (placed["new-0"], placed["old-0"]) == (ADOPTED, AS_WRITTEN)
    space.wait_status("proxy", matched=2, current=2)
    for kind, name in (("statefulset", "db"), ("daemonset", "agent")):
        assert shape(space.get(kind, name)["spec"]["template"]) == AS_WRITTEN


def of(space: Namespace, app: str) -> list[JSON]:
    return [p for p in running(space) if p["metadata"].get("labels", {}).get("app") == app]


def test_a_cron_jobs_jobs_have_it_in_their_pods(space: Namespace) -> None:
    space.apply(cron_job(pod=BOTH))
    known(space, adopting(targets=[{"kind": "CronJob"}, {"kind": "Pod"}]))
    space.wait_status("proxy", matched=1, current=1)
    space.kubectl("create", "job", "run", "--from=cronjob/nightly")
    eventually(lambda: shapes(space) == [ADOPTED])
    assert shape(space.get("job", "run")["spec"]["template"]) == AS_WRITTEN


@pytest.mark.parametrize("by_server", [False, True], ids=["kubectl apply", "server-side apply"])
def test_a_job_can_be_applied_again_although_its_template_never_changes(
    space: Namespace, by_server: bool
) -> None:
    known(space, adopting())
    made = job("once")
    space.apply(made, server_side=by_server, manager="kustomize-controller")
    before = space.get("job", "once")
    assert shape(before["spec"]["template"]) == AS_WRITTEN
    space.apply(made, server_side=by_server, manager="kustomize-controller")
    assert space.get("job", "once")["spec"] == before["spec"]
    eventually(lambda: shapes(space) == [ADOPTED])


def job(name: str) -> JSON:
    spec = cron_job(name, pod=BOTH)["spec"]["jobTemplate"]["spec"]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def test_jobs_that_are_there_already_stay_unless_their_new_pods_are_wanted(
    space: Namespace,
) -> None:
    suspended = job("older")
    suspended["spec"]["suspend"] = True
    space.apply(suspended)
    known(space, adopting())
    status = space.wait_status("proxy", matched=1, skipped=1)
    assert [each["reason"] for each in problems(status)] == ["ImmutableTemplate"]
    space.patch("scpol", "proxy", {"spec": {"jobs": {"existing": "NewPods"}}})
    owner = {"controller": True, "apiVersion": "batch/v1", "kind": "Job", "name": "older"}
    next_pod = pod("older-x")
    uid = space.get("job", "older")["metadata"]["uid"]
    next_pod["metadata"]["ownerReferences"] = [{**owner, "uid": uid}]
    eventually(lambda: shape(dry_run(space, next_pod)) == ADOPTED)


def test_what_git_applies_again_is_no_fight(space: Namespace) -> None:
    made = deployment(replicas=1, pod=BOTH)
    space.apply(made, server_side=True, manager="kustomize-controller")
    known(space, adopting())
    space.wait_status("proxy", current=1)
    generation = space.get("deployment", "web")["metadata"]["generation"]
    for _ in range(3):
        space.apply(made, server_side=True, manager="kustomize-controller")
    stays(lambda: space.get("deployment", "web")["metadata"]["generation"], seconds=2)
    assert space.get("deployment", "web")["metadata"]["generation"] == generation
    status = space.wait_status("proxy", current=1)
    assert problems(status) == []


def test_a_container_that_git_makes_native_for_good_needs_no_policy_any_more(
    space: Namespace,
) -> None:
    space.apply(deployment(replicas=1, pod=BOTH), server_side=True, manager="kustomize-controller")
    known(space, adopting())
    space.wait_status("proxy", current=1)
    native = {"containers": [WEB], "initContainers": [{**PROXY, "restartPolicy": "Always"}]}
    made = deployment(replicas=1, pod=native)
    space.apply(made, server_side=True, manager="kustomize-controller")
    status = space.wait_status("proxy", matched=1, skipped=1)
    assert [each["reason"] for each in problems(status)] == ["NothingToAdopt"]
    eventually(lambda: MARKER not in space.pods_template("web")["metadata"].get("annotations", {}))
    eventually(lambda: shapes(space) == [ADOPTED])


def test_the_only_container_is_left_alone(space: Namespace) -> None:
    known(space, adopting())
    _, said = created(space, deployment(pod={"containers": [PROXY]}))
    assert "LastContainer" in said
    status = space.wait_status("proxy", matched=1, skipped=1)
    assert [each["reason"] for each in problems(status)] == ["LastContainer"]
