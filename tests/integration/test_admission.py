"""The webhook beside the controller, registered with a real API server as we ship it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.request import urlopen

import pytest

from lab import LabError
from tests.support.admission import (
    CONFIGURATION,
    SYSTEM,
    created,
    dry_run,
    every,
    job,
    known,
    names,
    pod,
)
from tests.support.audit import Trail
from tests.support.cluster import (
    Namespace,
    cron_job,
    deployment,
    problems,
    stateful_set,
)
from tests.support.processes import WEBHOOK_HEALTH, Controller, Webhook
from tests.support.waiting import eventually, stays

JSON = dict[str, Any]


def test_what_is_created_under_a_policy_has_its_sidecar_from_the_start(space: Namespace) -> None:
    known(space, every())
    for made, kind in ((deployment(), "deployment"), (stateful_set(), "statefulset")):
        obj, said = created(space, made)
        assert names(obj["spec"]["template"]["spec"]) == ["shipper"], kind
        assert "Warning: sidecarpolicy: SidecarPolicy/log-shipper added its sidecars" in said
    obj, _ = created(space, cron_job())
    assert names(obj["spec"]["jobTemplate"]["spec"]["template"]["spec"]) == ["shipper"]
    for made in (job(), pod()):
        obj, _ = created(space, made)
        spec = obj["spec"] if made["kind"] == "Pod" else obj["spec"]["template"]["spec"]
        assert names(spec) == ["shipper"]
        assert spec["initContainers"][0]["restartPolicy"] == "Always"
    space.wait_status("log-shipper", matched=4, current=4)
    stays(lambda: space.get("deployment", "web")["metadata"]["generation"], seconds=2)
    assert space.get("deployment", "web")["metadata"]["generation"] == 1
    assert space.revisions("web") == 1


def test_an_owners_change_and_a_new_revision_are_one_rollout(
    space: Namespace, processes: tuple[Controller, Webhook]
) -> None:
    known(space, every())
    created(space, deployment())
    processes[0].stop()
    newer = [{"name": "agent", "image": "lab.local/busybox:1"}]
    known_again = every(sidecars=newer)
    space.apply(known_again)
    eventually(lambda: names(dry_run(space, pod("probe"))["spec"]) == ["agent"])
    space.kubectl("set", "image", "deployment/web", "web=lab.local/busybox:2")
    assert space.sidecars("web") == ["agent"]
    processes[0].start("--log-format", "json")
    space.wait_status("log-shipper", current=1)
    assert space.revisions("web") == 2


@pytest.mark.parametrize("how", ["replace", "apply", "server-side apply", "scale"])
def test_the_sidecar_survives_without_a_rollout(space: Namespace, how: str) -> None:
    known(space, every())
    if how == "server-side apply":
        space.apply(deployment(), server_side=True, manager="kustomize-controller")
    else:
        space.apply(deployment())
    before = space.pods_template("web")
    if how == "replace":
        text = json.dumps({**deployment(), "metadata": {"name": "web", "namespace": space.name}})
        space.lab.kubectl("replace", "-f", "-", input=text)
    elif how == "apply":
        space.apply(deployment())
    elif how == "server-side apply":
        space.apply(deployment(), server_side=True, manager="kustomize-controller")
    else:
        space.kubectl("scale", "deployment/web", "--replicas=2")
        space.kubectl("scale", "deployment/web", "--replicas=0")
    assert space.pods_template("web") == before
    assert names(before["spec"]) == ["shipper"]
    eventually(lambda: space.revisions("web") == 1)


def test_what_git_adds_under_the_name_of_a_volume_of_ours_is_gits(space: Namespace) -> None:
    """Server-side apply merges volumes by name, and a volume with two sources is none."""
    known(space, every(volumes=[{"name": "logs", "emptyDir": {}}]))
    space.apply(deployment(), server_side=True, manager="kustomize-controller")
    mine = {"name": "logs", "configMap": {"name": "logs", "defaultMode": 420}}
    git = deployment(pod={"volumes": [mine]})
    space.apply(git, server_side=True, manager="kustomize-controller")
    assert space.pods_template("web")["spec"]["volumes"] == [mine]
    status = space.wait_status("log-shipper", conflicted=1)
    assert [each["reason"] for each in problems(status)] == ["PartChanged"]


def test_undoing_a_change_across_the_injection_rolls_once_and_keeps_the_sidecar(
    space: Namespace,
) -> None:
    space.apply(deployment())
    eventually(lambda: space.revisions("web") == 1)
    known(space, every())
    space.wait_status("log-shipper", current=1)
    space.kubectl("set", "image", "deployment/web", "web=lab.local/busybox:2")
    eventually(lambda: space.revisions("web") == 3)
    space.kubectl("rollout", "undo", "deployment/web", "--to-revision=1")
    template = space.pods_template("web")
    assert names(template["spec"]) == ["shipper"]
    assert template["spec"]["containers"][0]["image"] == "lab.local/busybox:1"
    space.wait_status("log-shipper", current=1)
    assert space.revisions("web") == 3  # the second one, injected, with the first image, again


def test_what_the_controller_takes_out_is_not_put_back(space: Namespace) -> None:
    known(space, every())
    created(space, deployment())
    space.wait_status("log-shipper", current=1)
    nothing = {"matchLabels": {"app": "none"}}
    space.patch("scpol", "log-shipper", {"spec": {"selector": nothing}})
    eventually(lambda: space.sidecars("web") == [])
    stays(lambda: space.get("deployment", "web")["metadata"]["generation"], seconds=2)
    assert space.pods_template("web")["spec"].get("affinity") is None


def test_running_daemons_are_made_anew_where_a_capable_node_runs_one(space: Namespace) -> None:
    daemon = {**deployment("agent"), "kind": "DaemonSet"}
    daemon["spec"] = {key: daemon["spec"][key] for key in ("selector", "template")}
    space.apply(daemon)
    eventually(lambda: len([p for p in space.all("pod") if p["spec"].get("nodeName")]) == 2)
    known(space, every())
    space.wait_status("log-shipper", current=1)

    def by_node(pods: list[JSON]) -> dict[str, list[str]]:
        return {each["spec"].get("nodeName", ""): names(each["spec"]) for each in pods}

    eventually(
        lambda: space.all("pod"),
        until=lambda pods: by_node(pods) == {"new-0": ["shipper"], "old-0": []},
    )
    assert names(space.get("daemonset", "agent")["spec"]["template"]["spec"]) == []
    space.lab.add_fake_nodes(1, kubelet="1.35.0", prefix="late")
    try:
        eventually(lambda: by_node(space.all("pod")).get("late-0") == ["shipper"])
    finally:
        space.lab.kubectl("delete", "node", "late-0")


def test_without_the_webhook_everything_is_created_and_the_status_says_what_missed(
    space: Namespace, processes: tuple[Controller, Webhook]
) -> None:
    known(space, every())
    processes[1].kill()
    born = space.get("scpol", "log-shipper")["metadata"]["creationTimestamp"]
    eventually(lambda: datetime.now(UTC) > datetime.fromisoformat(born) + timedelta(seconds=1))
    created(space, deployment())
    created(space, job())
    created(space, pod())
    status = space.wait_status("log-shipper", matched=2, current=1, skipped=1)
    assert {each["reason"] for each in problems(status)} == {"MissedAdmission"}
    assert space.sidecars("web") == ["shipper"]
    eventually(lambda: space.status("log-shipper")["pods"], until=lambda seen: seen["missed"] == 2)
    told = [each for each in space.all("event") if each["reason"] == "MissedAdmission"]
    about = [each["involvedObject"] for each in told]
    assert sorted((each["kind"], each["name"]) for each in about) == [
        ("Job", "run"),
        ("Pod", "alone"),
    ]
    assert "MissedAdmission" in space.kubectl("describe", "pod", "alone")
    space.delete("pod", "alone")
    eventually(lambda: space.status("log-shipper")["pods"], until=lambda seen: seen["missed"] == 1)


def test_jobs_older_than_the_policy_keep_their_template(space: Namespace) -> None:
    space.apply(job())
    eventually(lambda: space.get("job", "run"))
    known(space, every())
    status = space.wait_status("log-shipper", matched=1, skipped=1)
    assert [each["reason"] for each in problems(status)] == ["ImmutableTemplate"]


def test_the_next_pods_of_an_existing_job_get_their_sidecar_where_the_policy_says_so(
    space: Namespace,
) -> None:
    space.apply(job())
    known(space, every(jobs={"existing": "NewPods"}))
    space.patch("job", "run", {"spec": {"suspend": False}})
    eventually(
        lambda: [names(each["spec"]) for each in space.all("pod")],
        until=lambda found: found == [["shipper"]],
    )
    assert names(space.get("job", "run")["spec"]["template"]["spec"]) == []


def test_nothing_is_asked_of_the_api_server_for_a_review(
    space: Namespace, processes: tuple[Controller, Webhook]
) -> None:
    known(space, every())
    assert processes[1].running()
    trail = Trail.from_now(space.lab)
    for number in range(20):
        dry_run(space, pod(f"p{number}"))
    webhook = f"system:serviceaccount:{SYSTEM}:sidecarpolicy-webhook"
    ours = [each for each in trail.news(webhook) if each["user"]["username"] == webhook]
    assert [each["verb"] for each in ours if each["verb"] != "watch"] == []


def test_prometheus_can_see_what_was_asked_and_how_it_went(
    space: Namespace, processes: tuple[Controller, Webhook]
) -> None:
    known(space, every())
    dry_run(space, pod("measured"))
    with space.lab.entered(), urlopen(f"http://127.0.0.1:{WEBHOOK_HEALTH}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    values = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    seen = {name: float(value) for name, _, value in values}
    name = 'sidecarpolicy_webhook_reviews_total{kind="Pod",operation="CREATE",result="patched"}'
    assert seen[name] >= 2
    assert seen["sidecarpolicy_webhook_memory_age_seconds"] < 120
    assert processes[1].running()


def test_a_large_object_is_admitted_with_its_sidecar(space: Namespace) -> None:
    known(space, every())
    made = deployment()
    blob = {"name": "BLOB", "value": "x" * (1400 << 10)}  # etcd takes 1.5 MiB
    made["spec"]["template"]["spec"]["containers"][0]["env"] = [blob]
    obj, _ = created(space, made)
    assert names(obj["spec"]["template"]["spec"]) == ["shipper"]
    image = {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "x:2"}
    space.kubectl("patch", "deployment", "web", "--type=json", "-p", json.dumps([image]))
    assert space.sidecars("web") == ["shipper"]


def test_the_operators_own_requests_do_not_come_back_to_it(space: Namespace) -> None:
    """The match conditions are compiled and hold; a broken one would fail open, unseen."""
    text = space.lab.kubectl("get", CONFIGURATION, "-o", "json")
    conditions = [each.get("matchConditions", []) for each in json.loads(text)["webhooks"]]
    assert [len(each) for each in conditions] == [2, 1]
    broken = {"op": "replace", "path": "/webhooks/0/matchConditions/0/expression", "value": "x"}
    patch = ("--type=json", "-p", json.dumps([broken]), "--dry-run=server")
    with pytest.raises(LabError, match="compil"):
        space.lab.kubectl("patch", CONFIGURATION, *patch)
