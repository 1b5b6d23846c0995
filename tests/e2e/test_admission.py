"""Jobs, CI runners' Pods and DaemonSets on real kubelets, by the webhook as its Pods run it."""

import json
from typing import Any

import pytest

from tests.e2e.test_main_job import container, sidecar
from tests.support.cluster import JSON, Namespace, policy
from tests.support.waiting import eventually

EVERY_KIND = [
    {"kind": kind} for kind in ("Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job", "Pod")
]
SERVES = [
    "sh",
    "-c",
    "trap 'exit 0' TERM; mkdir -p /tmp/db; echo ready > /tmp/db/state; "
    "httpd -f -p 1433 -h /tmp/db & wait",
]
DATABASE: JSON = {
    **container("database"),
    "command": SERVES,
    "startupProbe": {"tcpSocket": {"port": 1433}, "periodSeconds": 1, "failureThreshold": 30},
}
TALKS = "wget -q -O - http://127.0.0.1:1433/state | grep ready"


def known(shop: Namespace, made: JSON) -> None:
    """Applies a policy, and waits until the webhook's replicas know it."""
    shop.apply(made)
    probe = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}}
    spec = {"containers": [{"name": "probe", "image": "x"}]}
    text = json.dumps({**probe, "spec": spec})

    def seen(_: Any = None) -> bool:
        """Several times, because either replica may answer."""
        asked = ("-n", shop.name, "create", "--dry-run=server", "-o", "json", "-f", "-")
        answers = (json.loads(shop.lab.kubectl(*asked, input=text)) for _ in range(6))
        return all("initContainers" in each["spec"] for each in answers)

    eventually(seen)


def job(name: str, script: str, **spec: Any) -> JSON:
    pod = {
        "restartPolicy": "Never",
        "containers": [{**container("main"), "command": ["sh", "-c", script]}],
        **spec,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }


def completed(shop: Namespace, name: str) -> bool:
    return bool(shop.get("job", name).get("status", {}).get("succeeded"))


def pod_of(shop: Namespace, name: str) -> JSON:
    (found,) = (
        each
        for each in shop.all("pod")
        if each["metadata"].get("labels", {}).get("job-name") == name
    )
    return found


@pytest.mark.usefixtures("labelled")
def test_a_job_with_a_database_beside_it_completes(shop: Namespace) -> None:
    known(shop, policy(targets=EVERY_KIND, sidecars=[DATABASE]))
    shop.apply(job("tests", TALKS))
    eventually(lambda: completed(shop, "tests"), seconds=60)
    pod = pod_of(shop, "tests")
    assert pod["spec"]["nodeName"] == "new"
    assert [each["name"] for each in pod["spec"]["initContainers"]] == ["database"]


@pytest.mark.usefixtures("labelled")
def test_a_killed_sidecar_of_a_job_that_never_restarts_is_started_again(shop: Namespace) -> None:
    known(shop, policy(targets=EVERY_KIND, sidecars=[DATABASE]))
    waits = f"until [ -f /tmp/go ]; do sleep 0.2; done; until {TALKS}; do sleep 0.2; done"
    shop.apply(job("long", waits))
    eventually(
        lambda: [pod["status"]["phase"] for pod in shop.all("pod")],
        until=lambda phases: phases == ["Running"],
        seconds=60,
    )
    name = pod_of(shop, "long")["metadata"]["name"]
    # The shell that kills may be killed along, which kubectl takes for a failure.
    kill = ("-c", "database", "--", "sh", "-c", "kill -9 -1; kill 1")
    shop.lab.run(["kubectl", "-n", shop.name, "exec", name, *kill], check=False)
    eventually(
        lambda: shop.get("pod", name)["status"]["initContainerStatuses"][0]["restartCount"],
        seconds=30,
    )
    shop.kubectl("exec", name, "-c", "main", "--", "touch", "/tmp/go")
    eventually(lambda: completed(shop, "long"), seconds=60)


@pytest.mark.usefixtures("labelled")
def test_the_pod_that_a_ci_runners_controller_creates_gets_its_database(shop: Namespace) -> None:
    known(shop, policy(targets=EVERY_KIND, sidecars=[DATABASE]))
    runner = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "runner"}}
    shop.apply(runner)
    owner = shop.get("configmap", "runner")
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "runner",
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "ci-run", "ownerReferences": [reference]},
        "spec": job("", TALKS)["spec"]["template"]["spec"],
    }
    shop.apply(pod)
    eventually(lambda: shop.get("pod", "ci-run")["status"]["phase"] == "Succeeded", seconds=60)
    assert shop.get("pod", "ci-run")["spec"]["nodeName"] == "new"


@pytest.mark.usefixtures("labelled")
def test_a_daemon_runs_everywhere_with_its_sidecar_where_that_can_run(shop: Namespace) -> None:
    daemon = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": {
                "metadata": {"labels": {"app": "agent"}},
                "spec": {"containers": [container("main")], "terminationGracePeriodSeconds": 1},
            },
        },
    }
    shop.apply(daemon)
    eventually(lambda: ready_by_node(shop), until=lambda found: len(found) == 3, seconds=60)
    known(shop, policy(targets=EVERY_KIND, sidecars=[sidecar()]))
    eventually(
        lambda: ready_by_node(shop),
        until=lambda found: found == {"new": ["shipper"], "old": [], "oldest": []},
        seconds=90,
    )
    shop.wait_status("log-shipper", matched=1, current=1)


def ready_by_node(shop: Namespace) -> dict[str, list[str]]:
    """Native sidecars of the Pods that run, by node."""
    return {
        pod["spec"]["nodeName"]: [each["name"] for each in pod["spec"].get("initContainers", [])]
        for pod in shop.all("pod")
        if "deletionTimestamp" not in pod["metadata"]
        and all(each["ready"] for each in pod["status"].get("containerStatuses", [{"ready": 0}]))
    }
