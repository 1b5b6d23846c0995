"""What templates leave to their Pods: on a real API server that asks our webhook about each."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.admission import CONFIGURATION, created, every, known, names
from tests.support.cluster import (
    Namespace,
    conditions,
    cron_job,
    deployment,
    policy,
    problems,
    stateful_set,
)
from tests.support.processes import Controller, Webhook
from tests.support.waiting import eventually, stays

JSON = dict[str, Any]
MARKER = "sidecarpolicy.dev/rollout"
NEWER = [{"name": "agent", "image": "lab.local/busybox:1"}]


def at_pods(name: str = "log-shipper", **spec: Any) -> JSON:
    return every(name, injectAt="Pod", **spec)


def markers(template: JSON) -> dict[str, JSON]:
    """What a template promises, by policy."""
    text = template["metadata"].get("annotations", {}).get(MARKER, "{}")
    found: dict[str, JSON] = json.loads(text)
    return found


def of(space: Namespace, app: str) -> list[JSON]:
    """Pods of a workload that are there to stay."""
    pods = (p for p in space.all("pod") if p["metadata"].get("labels", {}).get("app") == app)
    return [each for each in pods if "deletionTimestamp" not in each["metadata"]]


def sidecars(space: Namespace, app: str) -> list[list[str]]:
    return [names(each["spec"]) for each in of(space, app)]


def test_a_deployment_rolls_once_for_its_policy_once_for_a_revision_and_once_back(
    space: Namespace,
) -> None:
    space.apply(deployment(replicas=2))
    eventually(lambda: space.revisions("web") == 1)
    before = space.pods_template("web")
    known(space, at_pods())
    status = space.wait_status("log-shipper", matched=1, current=1)
    assert conditions(status)["Ready"] == ("True", "Ready")
    template = space.pods_template("web")
    assert template["spec"] == before["spec"]
    assert list(markers(template)) == ["SidecarPolicy/log-shipper"]
    eventually(lambda: sidecars(space, "web") == [["shipper"], ["shipper"]])
    for pod in of(space, "web"):
        assert pod["spec"]["initContainers"][0]["restartPolicy"] == "Always"
        assert pod["spec"]["nodeName"] == "new-0"
        assert pod["metadata"]["labels"]["sidecarpolicy.dev/injected"] == "true"
    assert space.revisions("web") == 2
    space.patch("scpol", "log-shipper", {"spec": {"sidecars": NEWER}})
    eventually(lambda: sidecars(space, "web") == [["agent"], ["agent"]])
    space.wait_status("log-shipper", matched=1, current=1)
    assert space.revisions("web") == 3
    space.delete("scpol", "log-shipper")
    eventually(lambda: space.pods_template("web") == before, seconds=60)
    eventually(lambda: sidecars(space, "web") == [[], []])
    assert space.revisions("web") == 3  # the first one again


def test_what_is_created_under_a_policy_promises_its_sidecar_from_the_start(
    space: Namespace,
) -> None:
    known(space, at_pods())
    _, said = created(space, deployment(replicas=1))
    assert "Warning: sidecarpolicy: SidecarPolicy/log-shipper added its sidecars" in said
    created(space, stateful_set(replicas=1))
    eventually(lambda: sidecars(space, "web") + sidecars(space, "db") == [["shipper"]] * 2)
    space.wait_status("log-shipper", matched=2, current=2)
    stays(lambda: space.get("deployment", "web")["metadata"]["generation"], seconds=2)
    assert space.get("deployment", "web")["metadata"]["generation"] == 1
    assert space.revisions("web") == 1
    assert space.sidecars("web") == []


def test_pods_of_a_cron_jobs_jobs_get_what_the_cron_job_promised(space: Namespace) -> None:
    space.apply(cron_job())
    targets = [{"kind": "CronJob"}, {"kind": "Pod"}]
    known(space, policy(targets=targets, injectAt="Pod"))
    space.wait_status("log-shipper", matched=1, current=1)
    space.kubectl("create", "job", "run", "--from=cronjob/nightly")
    eventually(
        lambda: [names(each["spec"]) for each in space.all("pod")],
        until=lambda found: found == [["shipper"]],
    )
    assert names(space.get("job", "run")["spec"]["template"]["spec"]) == []


def test_an_undone_rollout_promises_the_current_revision(space: Namespace) -> None:
    known(space, at_pods())
    created(space, deployment(replicas=1))
    space.patch("scpol", "log-shipper", {"spec": {"sidecars": NEWER}})
    eventually(lambda: sidecars(space, "web") == [["agent"]])
    space.kubectl("set", "image", "deployment/web", "web=lab.local/busybox:2")
    eventually(lambda: space.revisions("web") == 3)
    space.kubectl("rollout", "undo", "deployment/web", "--to-revision=1")
    template = space.pods_template("web")
    (marker,) = markers(template).values()
    assert [each["name"] for each in marker["spec"]["sidecars"]] == ["agent"]
    assert template["spec"]["containers"][0]["image"] == "lab.local/busybox:1"
    eventually(lambda: sidecars(space, "web") == [["agent"]])
    space.wait_status("log-shipper", matched=1, current=1)
    assert space.revisions("web") == 3  # the second one: the first image, the current sidecar


def test_while_a_policy_is_paused_pods_get_what_their_template_promises(space: Namespace) -> None:
    known(space, at_pods())
    created(space, deployment(replicas=1))
    eventually(lambda: sidecars(space, "web") == [["shipper"]])
    space.patch("scpol", "log-shipper", {"spec": {"paused": True, "sidecars": NEWER}})
    status = space.wait_status("log-shipper", matched=1, pending=1)
    assert [each["reason"] for each in problems(status)] == ["Paused"]
    space.kubectl("scale", "deployment/web", "--replicas=2")
    eventually(lambda: sidecars(space, "web") == [["shipper"], ["shipper"]])
    space.patch("scpol", "log-shipper", {"spec": {"paused": False}})
    eventually(lambda: sidecars(space, "web") == [["agent"], ["agent"]])


def test_a_policy_may_go_from_the_template_to_the_pods_and_back_with_one_rollout_each(
    space: Namespace,
) -> None:
    known(space, every())
    created(space, deployment(replicas=1))
    space.wait_status("log-shipper", matched=1, current=1)
    with_parts = space.pods_template("web")
    space.patch("scpol", "log-shipper", {"spec": {"injectAt": "Pod"}})
    eventually(lambda: list(markers(space.pods_template("web"))), seconds=10)
    space.wait_status("log-shipper", matched=1, current=1)
    assert space.sidecars("web") == []
    assert sidecars(space, "web") == [["shipper"]]
    assert space.revisions("web") == 2
    space.patch("scpol", "log-shipper", {"spec": {"injectAt": "Auto"}})
    eventually(lambda: space.pods_template("web") == with_parts, seconds=10)
    space.wait_status("log-shipper", matched=1, current=1)
    assert space.revisions("web") == 2


def test_policies_of_both_ways_share_a_pod_and_leave_one_by_one(space: Namespace) -> None:
    space.apply(deployment(replicas=1))
    before = space.pods_template("web")
    known(space, at_pods("logs", sidecars=NEWER))
    known(space, every("mesh"))
    for name in ("logs", "mesh"):
        space.wait_status(name, matched=1, current=1)
    assert space.sidecars("web") == ["shipper"]
    eventually(lambda: sidecars(space, "web") == [["agent", "shipper"]])
    elsewhere = {"spec": {"selector": {"matchLabels": {"app": "none"}}}}
    space.patch("scpol", "mesh", elsewhere)
    eventually(lambda: sidecars(space, "web") == [["agent"]])
    space.patch("scpol", "logs", elsewhere)
    eventually(lambda: sidecars(space, "web") == [[]])
    assert space.pods_template("web") == before


@pytest.mark.parametrize("how", ["replace", "apply", "server-side apply"])
def test_the_promise_survives_without_a_rollout(space: Namespace, how: str) -> None:
    known(space, at_pods())
    by_server = how == "server-side apply"
    manager = "kustomize-controller" if by_server else ""
    space.apply(deployment(), server_side=by_server, manager=manager)
    before = space.pods_template("web")
    if how == "replace":
        text = json.dumps({**deployment(), "metadata": {"name": "web", "namespace": space.name}})
        space.lab.kubectl("replace", "-f", "-", input=text)
    else:
        space.apply(deployment(), server_side=by_server, manager=manager)
    assert space.pods_template("web") == before
    assert list(markers(before)) == ["SidecarPolicy/log-shipper"]
    eventually(lambda: space.revisions("web") == 1)


def test_a_pod_that_the_webhook_missed_is_found_and_named(
    space: Namespace, processes: tuple[Controller, Webhook]
) -> None:
    known(space, at_pods())
    created(space, deployment(replicas=1))
    eventually(lambda: sidecars(space, "web") == [["shipper"]])
    space.wait_status("log-shipper", matched=1, current=1)
    processes[1].kill()
    space.kubectl("scale", "deployment/web", "--replicas=2")
    status = eventually(
        lambda: space.status("log-shipper"), until=lambda seen: seen["pods"]["missed"] == 1
    )
    (missed,) = problems(status)
    assert (missed["kind"], missed["reason"]) == ("Pod", "MissedAdmission")
    assert status["workloads"]["current"] == 1
    assert "MissedAdmission" in space.kubectl("describe", "pod", missed["name"])
    processes[1].start("--log-format", "json")
    space.delete("pod", missed["name"])
    eventually(lambda: sidecars(space, "web") == [["shipper"], ["shipper"]])
    eventually(lambda: space.status("log-shipper")["pods"]["missed"] == 0)


def test_what_no_pod_could_be_created_with_is_not_promised(space: Namespace) -> None:
    space.apply(deployment(pod={"os": {"name": "windows"}}))
    user = {"runAsUser": 1000}
    sidecar = {"name": "shipper", "image": "lab.local/busybox:1", "securityContext": user}
    space.apply(policy(injectAt="Pod", sidecars=[sidecar]))
    status = space.wait_status("log-shipper", pending=1)
    (problem,) = eventually(lambda: problems(space.status("log-shipper")))
    assert (problem["reason"], status["workloads"]["current"]) == ("Refused", 0)
    assert "cannot be set for a windows pod" in problem["message"]
    assert markers(space.pods_template("web")) == {}


def test_nothing_is_left_to_a_webhook_that_is_not_registered(
    space: Namespace, processes: tuple[Controller, Webhook]
) -> None:
    owned = gitops(deployment("owned"))
    space.apply(owned, server_side=True, manager="kustomize-controller")
    space.apply(deployment())
    with unregistered(space, processes[0]):
        space.apply(policy(injectAt="Pod"), policy("auto", sidecars=NEWER))
        status = space.wait_status("log-shipper", pending=2)
        assert conditions(status)["Ready"] == ("False", "WebhookNotRegistered")
        status = space.wait_status("auto", current=1, skipped=1)
        assert [each["reason"] for each in problems(status)] == ["NodeRuleOwnedByGitOps"]
        assert markers(space.pods_template("web")) == {}
    space.wait_status("log-shipper", current=2)
    space.wait_status("auto", current=2)
    with unregistered(space, processes[0]):
        eventually(lambda: reasons(space, "log-shipper") == {"WebhookNotRegistered"})
        eventually(lambda: reasons(space, "auto") == {"WebhookNotRegistered"})
        space.wait_status("log-shipper", current=2)
        space.wait_status("auto", current=2)


def reasons(space: Namespace, name: str) -> set[str]:
    return {each["reason"] for each in problems(space.status(name))}


@contextmanager
def unregistered(space: Namespace, controller: Controller) -> Iterator[None]:
    """The API server does not know the webhook while this lasts; the controller sees it at once."""
    found = json.loads(space.lab.kubectl("get", CONFIGURATION, "-o", "json"))
    found["metadata"] = {"name": found["metadata"]["name"]}
    controller.stop()
    space.lab.kubectl("delete", CONFIGURATION)
    controller.start("--log-format", "json")
    try:
        yield
    finally:
        controller.stop()
        space.lab.kubectl("create", "-f", "-", input=json.dumps(found))
        controller.start("--log-format", "json")


def gitops(made: JSON) -> JSON:
    """With a node affinity and a nodeSelector of its own, so that Git owns both."""
    expression = {"key": "kubernetes.io/hostname", "operator": "Exists"}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    pod = made["spec"]["template"]["spec"]
    pod |= {"affinity": affinity, "nodeSelector": {"kubernetes.io/os": "linux"}}
    return made


def test_a_rule_that_git_leaves_no_place_for_is_written_into_the_pods(
    space: Namespace, processes: tuple[Controller, Webhook]
) -> None:
    made = gitops(deployment(replicas=1))
    space.apply(made, server_side=True, manager="kustomize-controller")
    affinity = space.pods_template("web")["spec"]["affinity"]
    known(space, every())
    space.wait_status("log-shipper", matched=1, current=1)
    assert space.sidecars("web") == ["shipper"]
    assert space.pods_template("web")["spec"]["affinity"] == affinity
    (pod,) = eventually(lambda: of(space, "web"), until=lambda found: len(found) == 1)
    required = pod["spec"]["affinity"]["nodeAffinity"]
    (term,) = required["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [each["key"] for each in term["matchExpressions"]] == [
        "kubernetes.io/hostname", "sidecarpolicy.dev/native-sidecars",
    ]  # fmt: skip
    generation = space.get("deployment", "web")["metadata"]["generation"]
    space.apply(made, server_side=True, manager="kustomize-controller")
    assert space.get("deployment", "web")["metadata"]["generation"] == generation
    processes[1].kill()
    space.lab.kubectl("cordon", "new-0")
    try:
        space.kubectl("scale", "deployment/web", "--replicas=2")
        status = eventually(
            lambda: space.status("log-shipper"), until=lambda seen: seen["pods"]["missed"] == 1
        )
    finally:
        space.lab.kubectl("uncordon", "new-0")
    (missed,) = problems(status)
    assert missed["reason"] == "MissedAdmission"
    assert "node old-0" in missed["message"]


def test_a_workload_of_another_controller_can_leave_sidecars_to_its_pods(
    space: Namespace, processes: tuple[Controller, Webhook]
) -> None:
    space.kubectl("create", "configmap", "owner")
    uid = space.get("configmap", "owner")["metadata"]["uid"]
    made = deployment(replicas=1)
    made["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid, "controller": True}
    ]
    space.apply(made)
    known(space, every())
    (problem,) = problems(space.wait_status("log-shipper", skipped=1))
    assert problem["reason"] == "OwnedByController"
    assert "ConfigMap owner" in problem["message"]
    assert "injectAt: Pod" in problem["message"]
    space.patch("scpol", "log-shipper", {"spec": {"injectAt": "Pod"}})
    space.wait_status("log-shipper", current=1)
    eventually(lambda: sidecars(space, "web") == [["shipper"]])
    text = json.dumps({**made, "metadata": {**made["metadata"], "namespace": space.name}})
    before = space.pods_template("web")
    space.lab.kubectl("replace", "-f", "-", input=text)  # as its owner does
    assert space.pods_template("web") == before
    assert space.revisions("web") == 2
    processes[1].kill()
    space.lab.kubectl("replace", "-f", "-", input=text)
    (problem,) = problems(space.wait_status("log-shipper", skipped=1))
    assert "ConfigMap owner took" in problem["message"]
    assert stays(lambda: markers(space.pods_template("web")), seconds=3) == {}
