"""`sidecarpolicy uninstall` on a real API server of its own: afterwards nothing of ours is left."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from lab import Lab
from tests.support.audit import writes
from tests.support.cluster import (
    CRDS,
    JSON,
    ROOT,
    Namespace,
    cron_job,
    deployment,
    policy,
    stateful_set,
)
from tests.support.processes import Controller
from tests.support.removal import everything, of_the_operator, traces, uninstall, uninstalling
from tests.support.users import admin, grant_everywhere, person, right
from tests.support.waiting import eventually

KINDS = (("deployment", "web"), ("statefulset", "db"), ("cronjob", "nightly"), ("daemonset", "log"))
AT_ONCE = ("--yes", "--max-concurrent", "100%")
RECORD: JSON = {
    "policies": {"SidecarPolicy/log-shipper": {"revision": "1", "parts": {"container/shipper": ""}}}
}


@pytest.fixture
def shop(spare: Lab) -> Iterator[Namespace]:
    """A namespace in a cluster where the operator is installed."""
    spare.kubectl("apply", "-k", str(ROOT))
    spare.kubectl("wait", "--for=condition=Established", "-f", str(CRDS), "--timeout=30s")
    name = f"shop-{uuid4().hex[:6]}"
    spare.kubectl("create", "namespace", name)
    yield Namespace(spare, name)
    spare.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def controller(spare: Lab, tmp_path: Path) -> Iterator[Controller]:
    """A controller beside the cluster, because kwok only plays the Pod of the one that is in it."""
    with Controller(spare, tmp_path / "controller.log") as process:
        yield process


def daemon_set(name: str) -> JSON:
    made = deployment(name)
    spec = {key: value for key, value in made["spec"].items() if key != "replicas"}
    return {**made, "kind": "DaemonSet", "spec": spec}


def job(name: str) -> JSON:
    """A Job as the webhook leaves it, which has not begun."""
    made = deployment(name, template={"annotations": annotated(), "labels": injected()})
    template = made["spec"]["template"]
    template["spec"] |= {
        "restartPolicy": "Never",
        "nodeSelector": {"sidecarpolicy.dev/native-sidecars": "true"},
        "initContainers": [{"name": "shipper", "image": "b:1", "restartPolicy": "Always"}],
    }
    spec = {"suspend": True, "template": template}
    return {**made, "apiVersion": "batch/v1", "kind": "Job", "spec": spec}


def annotated() -> JSON:
    return {"sidecarpolicy.dev/injected": json.dumps({**RECORD, "made": []})}


def injected() -> JSON:
    return {"sidecarpolicy.dev/injected": "true"}


def templates(shop: Namespace) -> dict[str, JSON]:
    """The Pod templates of all four."""
    found = {name: shop.get(kind, name)["spec"] for kind, name in KINDS}
    nightly = found.pop("nightly")["jobTemplate"]["spec"]["template"]
    return {"nightly": nightly, **{name: spec["template"] for name, spec in found.items()}}


def injected_shop(shop: Namespace, controller: Controller) -> dict[str, JSON]:
    """Workloads of all kinds with sidecars, and their templates before."""
    shop.apply(
        deployment(replicas=1), stateful_set(replicas=1), cron_job(), daemon_set("log"), job("once")
    )
    before = templates(shop)
    rollout = {"maxConcurrent": 4}
    shop.apply(policy(volumes=[{"name": "buffer", "emptyDir": {}}], rollout=rollout))
    controller.start()
    shop.wait_status("log-shipper", current=4)
    return before


def test_everything_of_ours_goes_and_what_users_wrote_stays(
    shop: Namespace, controller: Controller
) -> None:
    before = injected_shop(shop, controller)
    held = '[{"policy":"SidecarPolicy/x","revision":"1","reason":"Fight","manager":"m"}]'
    shop.kubectl("annotate", "deployment", "web", f"sidecarpolicy.dev/held={held}")
    shop.kubectl("annotate", "node", "new-0", "sidecarpolicy.dev/native-sidecars-override=true")
    controller.stop()
    image = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "own:2"}]
    shop.patch("deployment", "web", image)
    before["web"]["spec"]["containers"][0]["image"] = "own:2"

    done = uninstall(admin(shop.lab), *AT_ONCE, "-o", "json")

    assert (done.returncode, json.loads(done.stdout)["finished"]) == (0, True), done.stderr
    left = everything(shop.lab)
    assert traces(left) == []
    assert of_the_operator(left) == []
    assert templates(shop) == before
    steps = json.loads(done.stdout)["steps"]
    said = {(e["kind"], e["name"]): e["message"] for e in steps if e["state"] == "stays"}
    assert said == {
        ("Job", "once"): "it keeps its sidecars until it ends; Pods that it is yet to create will "
        "wait for a node label that is gone",
        ("Node", "new-0"): "its annotation sidecarpolicy.dev/native-sidecars-override is not the "
        "operator's to remove",
    }


def test_a_controller_that_still_runs_somewhere_is_found_out(
    shop: Namespace, controller: Controller
) -> None:
    before = injected_shop(shop, controller)
    done = uninstall(admin(shop.lab), *AT_ONCE)
    assert (done.returncode, templates(shop)) == (1, before), done.stdout
    again = [line for line in done.stdout.splitlines() if "it was written again" in line]
    assert [line.split()[:3] for line in again] == [["failed", "Node", "new-0"]]
    controller.stop()
    assert uninstall(admin(shop.lab), *AT_ONCE).returncode == 0
    assert traces(everything(shop.lab)) == []


def test_a_dry_run_tells_every_step_and_writes_nothing(
    shop: Namespace, controller: Controller
) -> None:
    injected_shop(shop, controller)
    controller.stop()
    before = len(writes(shop.lab))
    done = uninstall(admin(shop.lab), "--dry-run", "-o", "json")
    assert (done.returncode, len(writes(shop.lab))) == (0, before)
    steps = [e for e in json.loads(done.stdout)["steps"] if e["state"] == "planned"]
    told = [(e["action"], e["kind"], e["name"]) for e in steps]
    assert told[0] == ("delete", "MutatingWebhookConfiguration", "sidecarpolicy")
    assert [each for each in told if each[0] == "strip"] == [
        ("strip", "CronJob", "nightly"),
        ("strip", "DaemonSet", "log"),
        ("strip", "Deployment", "web"),
        ("strip", "StatefulSet", "db"),
    ]
    assert ("clean", "Node", "new-0") in told
    assert told[-1][:2] == ("delete", "CustomResourceDefinition")
    assert uninstall(admin(shop.lab), *AT_ONCE).returncode == 0


def test_killed_in_the_middle_it_goes_on_where_it_was(
    shop: Namespace, controller: Controller
) -> None:
    names = [f"web-{number}" for number in range(6)]
    shop.apply(*(deployment(name, replicas=1) for name in names))
    before = {name: shop.pods_template(name) for name in names}
    shop.apply(policy(rollout={"maxConcurrent": 6}))
    controller.start()
    shop.wait_status("log-shipper", current=6)
    controller.stop()
    process = uninstalling(admin(shop.lab), "--yes", "--max-concurrent", "1")
    try:
        eventually(lambda: sum(not shop.sidecars(name) for name in names), seconds=60)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    assert any(shop.sidecars(name) for name in names)
    assert uninstall(admin(shop.lab), *AT_ONCE).returncode == 0
    assert {name: shop.pods_template(name) for name in names} == before
    assert traces(everything(shop.lab)) == []


def test_without_operator_and_crds_it_still_frees_workloads(
    shop: Namespace, controller: Controller
) -> None:
    before = injected_shop(shop, controller)
    controller.stop()
    shop.lab.kubectl("delete", "-k", str(ROOT), "--timeout=60s")
    assert templates(shop) != before
    assert uninstall(admin(shop.lab), *AT_ONCE).returncode == 0
    assert (templates(shop), traces(everything(shop.lab))) == (before, [])
    nothing = uninstall(admin(shop.lab), "--yes")
    assert (nothing.returncode, nothing.stdout.splitlines()[-1]) == (0, "Nothing to take back")


def test_what_lacks_a_right_is_named_before_anything_changes(spare: Lab) -> None:
    bob = person(spare, "bob")
    kinds = ("deployments.apps", "statefulsets.apps", "daemonsets.apps", "nodes")
    grant_everywhere(bob, [right("list", each) for each in kinds])
    before = len(writes(spare))
    done = uninstall(bob, "--yes")
    assert (done.returncode, done.stdout, len(writes(spare))) == (2, "", before)
    assert "delete mutatingwebhookconfigurations.admissionregistration.k8s.io" in done.stderr
    assert "patch nodes" in done.stderr
    assert "list nodes" not in done.stderr


def test_a_record_that_nobody_can_read_stops_it_before_nodes_lose_their_labels(
    shop: Namespace, controller: Controller
) -> None:
    injected_shop(shop, controller)
    controller.stop()
    broken = {"sidecarpolicy.dev/injected": "{"}
    shop.apply(deployment("broken", template={"annotations": broken}))
    done = uninstall(admin(shop.lab), *AT_ONCE)
    assert done.returncode == 1
    assert f"Deployment {shop.name}/broken" in done.stdout
    node = shop.lab.kubectl("get", "node", "new-0", "-o", "jsonpath={.metadata.labels}")
    assert '"sidecarpolicy.dev/native-sidecars":"true"' in node
    shop.delete("deployment", "broken")
    assert uninstall(admin(shop.lab), *AT_ONCE).returncode == 0
