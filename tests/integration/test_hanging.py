"""`doctor` on Jobs that hang, on a real API server: what it asks for, what that takes, and what
becomes of the policy that it prints.

The Job controller makes the Pods; in place of a kubelet the tests say how their containers are.
"""

import json
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import yaml

from lab import Lab
from tests.support.cluster import JSON, Namespace, deployment
from tests.support.doctors import doctor, printed, said
from tests.support.users import User, admin, grant, person, right
from tests.support.waiting import eventually

IMAGE = "lab.local/busybox:1"
LABELS = {"app": "nightly"}


@pytest.fixture
def shop(installed: Lab) -> Iterator[Namespace]:
    """A namespace of the test's own, with a CronJob that starts nothing by itself."""
    name = f"shop-{uuid4().hex[:6]}"
    installed.kubectl("create", "namespace", name)
    space = Namespace(installed, name)
    space.apply(cron_job("nightly", LABELS))
    yield space
    installed.kubectl("delete", "namespace", name, "--wait=false")


def cron_job(name: str, labels: JSON) -> JSON:
    containers = [{"name": each, "image": IMAGE} for each in ("tests", "database")]
    spec = {"containers": containers, "restartPolicy": "Never", "nodeName": "nowhere"}
    template = {"metadata": {"labels": labels}, "spec": spec}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name},
        "spec": {
            "schedule": "0 3 * * *",
            "suspend": True,
            "jobTemplate": {"spec": {"template": template}},
        },
    }


def hang(space: Namespace, job: str, *, cron_job: str = "nightly", phase: str = "Running") -> str:
    """Starts a Job and has one of its containers end; the name of its Pod."""
    space.kubectl("create", "job", job, f"--from=cronjob/{cron_job}")
    (pod,) = eventually(
        lambda: space.kubectl("get", "pods", "-l", f"job-name={job}", "-o", "name").split()
    )
    begun, ended = (_ago(seconds) for seconds in (700, 600))
    states = {
        "tests": {"terminated": {"exitCode": 0, "startedAt": begun, "finishedAt": ended}},
        "database": {"running": {"startedAt": begun}},
    }
    statuses = [
        {"name": name, "image": IMAGE, "imageID": "", "ready": False, "restartCount": 0,
         "state": state}
        for name, state in states.items()
    ]  # fmt: skip
    patch = json.dumps({"status": {"phase": phase, "containerStatuses": statuses}})
    space.kubectl("patch", pod, "--subresource=status", "--type=merge", "-p", patch)
    return pod.removeprefix("pod/")


def _ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def hanging(user: User, space: Namespace, *arguments: str) -> tuple[int, list[JSON]]:
    """Exit code and the Jobs of the report."""
    code, _, report = doctor(user, *arguments, "-n", space.name)
    return code, report["jobs"]


def test_a_job_that_hangs_is_found_with_its_cron_job_and_a_policy_that_the_server_takes(
    shop: Namespace,
) -> None:
    pod = hang(shop, "first")
    hang(shop, "second", phase="Succeeded")  # its Pod is over: the server does not even send it
    shop.kubectl("create", "job", "third", "--from=cronjob/nightly")  # its Pod has not started
    code, (found,) = hanging(admin(shop.lab), shop, "job/first")
    assert (code, found["owner"], found["pod"]) == (1, "CronJob nightly", pod)
    assert (found["ended"], found["running"]) == (["tests"], ["database"])
    assert hanging(admin(shop.lab), shop, f"pod/{pod}") == (1, [found])
    assert hanging(admin(shop.lab), shop, "job/second") == (0, [])
    code, _, report = doctor(admin(shop.lab), "-n", shop.name)
    assert (code, report["jobs"], report["moreJobs"]) == (1, [found], 0)
    told = said(report, "jobs")
    assert (told["state"], told["reason"], said(report, "pods")["state"]) == (
        "problem",
        "JobKeptOpen",
        "fine",
    )
    text = json.dumps(found["policy"])
    shop.lab.kubectl("create", "--dry-run=server", "-f", "-", input=text)
    assert found["policy"]["spec"]["selector"] == {"matchLabels": LABELS}


def test_the_policy_as_printed_can_be_applied(shop: Namespace) -> None:
    shop.apply(cron_job("unlabelled", {}))
    hang(shop, "first", cron_job="unlabelled")
    code, error, output = printed(admin(shop.lab), "job/first", "-n", shop.name)
    assert (code, error) == (1, "")
    lines = output.splitlines()
    text = textwrap.dedent("\n".join(e for e in lines if e.startswith("    ")))
    assert lines[0] == f"Job {shop.name}/first of CronJob unlabelled: JobKeptOpen"
    shop.lab.kubectl("apply", "-f", "-", input=text)
    stored = shop.get("scpol", "adopt-unlabelled")["spec"]
    assert stored["targets"] == [{"kind": "CronJob", "name": "unlabelled"}]
    assert stored["adopt"] == [{"container": "database"}]
    assert yaml.safe_load(text)["spec"]["selector"] == {}


def test_to_list_pods_is_enough_and_what_it_does_not_tell_is_said(shop: Namespace) -> None:
    hang(shop, "first")
    reader = person(shop.lab, "job-reader")
    assert doctor(reader, "job/first", "-n", shop.name)[0] == 2
    grant(shop, reader, [right("list", "pods"), right("get", "pods")])
    code, _, report = doctor(reader, "job/first", "-n", shop.name)
    (found,) = report["jobs"]
    assert (code, found["owner"]) == (1, None)
    assert found["policy"]["spec"]["targets"] == [{"kind": "Job", "name": "first"}]
    unread = f"Job {shop.name}/first, so it is not known whether a CronJob made it"
    assert any(each.startswith(unread) for each in report["unread"])
    grant(shop, reader, [right("list", "pods"), right("get", "jobs.batch")])
    _, (found,) = hanging(reader, shop, "job/first")
    assert found["owner"] == "CronJob nightly"


def test_a_pod_that_its_job_left_behind_is_nobodys_and_other_workloads_have_no_jobs(
    shop: Namespace,
) -> None:
    pod = hang(shop, "first")
    shop.kubectl("delete", "job", "first", "--cascade=orphan")
    assert hanging(admin(shop.lab), shop, f"pod/{pod}") == (0, [])
    shop.apply(deployment())
    assert hanging(admin(shop.lab), shop, "deploy/web") == (0, [])


def test_many_jobs_that_hang_are_counted_and_few_are_read(shop: Namespace) -> None:
    for number in range(22):
        hang(shop, f"job-{number}")
    _, _, report = doctor(admin(shop.lab), "-n", shop.name)
    assert (len(report["jobs"]), report["moreJobs"]) == (20, 2)
    assert said(report, "jobs")["message"].startswith("22 Jobs stay open")
