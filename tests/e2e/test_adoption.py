"""Adopted containers on real kubelets, by controller and webhook as installed."""

from typing import Any

import pytest

from tests.e2e.test_admission import completed, job, pod_of
from tests.e2e.test_main_job import container
from tests.support.adopting import ADOPTED, AS_WRITTEN, adopting, known, shape
from tests.support.cluster import JSON, Namespace, deployment
from tests.support.pods import ends_of, keep, moment, release, running, starts_of
from tests.support.waiting import eventually

SLOW_START = 3
UP = {"exec": {"command": ["test", "-f", "/tmp/up"]}, "periodSeconds": 1}
PROXY: JSON = {**container("proxy", slow_start=SLOW_START), "readinessProbe": UP}
WAITING = [{"container": "proxy", "startupFromReadiness": True}]
REPLICAS = 2
"""Of the webhook."""


def report(name: str = "report", **spec: Any) -> JSON:
    """A Job that is done at once, but for its classic sidecar."""
    made = job(name, "true", **spec)
    pod = made["spec"]["template"]["spec"]
    web = {**pod["containers"][0], "name": "web"}
    pod |= {"containers": [PROXY, web], "terminationGracePeriodSeconds": 5}
    made["spec"]["backoffLimit"] = 3
    return made


def shapes(space: Namespace) -> list[tuple[list[str], list[str]]]:
    return [shape(each) for each in running(space)]


@pytest.mark.usefixtures("labelled")
def test_an_adopted_container_starts_first_and_ends_last_until_its_policy_leaves(
    shop: Namespace,
) -> None:
    pod = {"containers": [PROXY, container("web", slow_end=2)], "terminationGracePeriodSeconds": 10}
    shop.apply(deployment(replicas=1, pod=pod))
    eventually(lambda: shapes(shop) == [AS_WRITTEN], seconds=60)
    before = shop.pods_template("web")
    known(shop, adopting(adopt=WAITING), replicas=REPLICAS)
    status = shop.wait_status("proxy", current=1, seconds=90)
    assert shop.pods_template("web")["spec"] == before["spec"]
    (made,) = eventually(lambda: running(shop), until=lambda found: len(found) == 1)
    assert shape(made) == ADOPTED
    assert made["spec"]["nodeName"] == "new"
    started = starts_of(made)
    assert started["web"] - started["proxy"] >= SLOW_START - 1
    counted = {"total": 1, "running": 1, "stuck": 0, "missed": 0}
    status = eventually(lambda: shop.status("proxy"), until=lambda seen: seen["pods"] == counted)
    assert status["problems"] == []
    name = made["metadata"]["name"]
    keep(shop, name)
    shop.patch("scpol", "proxy", {"spec": {"selector": {"matchLabels": {"app": "none"}}}})
    eventually(lambda: shop.pods_template("web") == before)
    ended = eventually(lambda: ends_of(shop, name), until=lambda found: len(found) == 2, seconds=60)
    release(shop, name)
    assert moment(ended["proxy"]["finishedAt"]) >= moment(ended["web"]["finishedAt"])
    eventually(lambda: shapes(shop) == [AS_WRITTEN], seconds=60)
    assert shop.revisions("web") == 2


@pytest.mark.usefixtures("labelled")
def test_a_job_that_its_sidecar_kept_open_completes_and_so_does_the_next(shop: Namespace) -> None:
    shop.apply(report("older"))
    eventually(lambda: hangs(shop, "older"), seconds=60)
    known(shop, adopting(adopt=WAITING, jobs={"existing": "NewPods"}), replicas=REPLICAS)
    shop.apply(report("newer"))
    eventually(lambda: completed(shop, "newer"), seconds=60)
    done = pod_of(shop, "newer")
    started = starts_of(done)
    assert started["web"] - started["proxy"] >= SLOW_START - 1
    assert shape(shop.get("job", "newer")["spec"]["template"]) == AS_WRITTEN
    assert not completed(shop, "older")
    shop.delete("pod", pod_of(shop, "older")["metadata"]["name"])
    eventually(lambda: completed(shop, "older"), seconds=60)


def hangs(shop: Namespace, name: str) -> bool:
    """Whether a Job's work is done, and its proxy goes on."""
    made = [p for p in shop.all("pod") if p["metadata"]["labels"].get("job-name") == name]
    states = {
        each["name"]: set(each["state"])
        for pod in made
        for each in pod["status"].get("containerStatuses", [])
    }
    return states == {"proxy": {"running"}, "web": {"terminated"}}


@pytest.mark.usefixtures("labelled")
def test_a_cron_jobs_job_completes_beside_what_its_pod_adopted(shop: Namespace) -> None:
    nightly: JSON = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "nightly"},
        "spec": {
            "schedule": "0 3 * * *",
            "suspend": True,
            "jobTemplate": {"spec": report()["spec"]},
        },
    }
    shop.apply(nightly, adopting(targets=[{"kind": "CronJob"}], adopt=WAITING))
    shop.wait_status("proxy", current=1)
    shop.kubectl("create", "job", "run", "--from=cronjob/nightly")
    eventually(lambda: completed(shop, "run"), seconds=60)
    assert shape(pod_of(shop, "run")) == ADOPTED
    assert shape(shop.get("cronjob", "nightly")["spec"]["jobTemplate"]["spec"]["template"]) == (
        AS_WRITTEN
    )
