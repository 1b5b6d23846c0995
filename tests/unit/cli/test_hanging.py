"""How Jobs that hang are told: for people with a policy to copy, for programs as an object."""

import json
import textwrap
from dataclasses import replace

import yaml

from sidecarpolicy.cli import doctor_view
from sidecarpolicy.cli.doctor import Report
from sidecarpolicy.cli.hanging import Hanging
from sidecarpolicy.core.checkup import Unread
from sidecarpolicy.core.facts import Ref
from sidecarpolicy.core.hanging import Hang, HangingJob, hanging_job
from tests.support.patients import JSON, NOW


def hanging(number: int = 1, *, cron_job: bool = True, pods: int = 1) -> HangingJob:
    name = f"nightly-{number}"
    reference = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "controller": True}
    owners = [reference] if cron_job else []
    labels = {"metadata": {"labels": {"app": "tests"}}}
    raw: JSON = {"metadata": {"ownerReferences": owners}, "spec": {"template": labels}}
    pod, job = Ref("Pod", "shop", f"{name}-x"), Ref("Job", "shop", name)
    return hanging_job(Hang(pod, job, ("web",), ("shipper",), NOW, pods=pods), raw)


def report(*jobs: HangingJob, more: int = 0) -> Report:
    return Report((), hanging=Hanging(jobs, more))


def test_a_job_is_told_with_what_keeps_it_open_and_a_policy_to_apply() -> None:
    told = list(doctor_view.lines(report(hanging(pods=3))))
    found = hanging().diagnosis
    assert told[:5] == [
        "Job shop/nightly-1 of CronJob nightly: JobKeptOpen",
        f"  What:  {found.message}.",
        f"  Next:  {found.next_step}.",
        "  Since: 2027-01-15T08:00:00Z, Pod nightly-1-x and 2 more of its Pods",
        "  Policy:",
    ]
    printed = yaml.safe_load(textwrap.dedent("\n".join(told[5:-1])))
    assert printed == hanging().policy


def test_a_policy_that_helps_several_jobs_is_printed_once() -> None:
    told = list(doctor_view.lines(report(hanging(1), hanging(2), hanging(3, cron_job=False))))
    assert [line for line in told if "Policy:" in line] == [
        "  Policy:",
        "  Policy: that for Job shop/nightly-1",
        "  Policy:",
    ]


def test_a_job_without_anything_to_adopt_is_told_without_a_policy() -> None:
    hang = hanging().hang
    found = hanging_job(replace(hang, copies=frozenset(hang.running)), None)
    assert not any("Policy" in line for line in doctor_view.lines(report(found)))
    assert doctor_view.as_data(report(found))["jobs"][0]["policy"] is None


def test_jobs_that_nobody_looked_at_are_counted() -> None:
    assert "And 7 more that do not hang for as long" in doctor_view.lines(report(hanging(), more=7))
    assert report(hanging(), more=7).hanging.counted == "8 Jobs"
    assert report(hanging()).hanging.counted == "1 Job"


def test_programs_get_the_policy_as_an_object() -> None:
    data = json.loads(json.dumps(doctor_view.as_data(report(hanging(), more=2))))
    (found,) = data["jobs"]
    assert data["moreJobs"] == 2
    assert (found["name"], found["owner"], found["pod"]) == (
        "nightly-1",
        "CronJob nightly",
        "nightly-1-x",
    )
    assert (found["ended"], found["running"]) == (["web"], ["shipper"])
    assert (found["since"], found["reason"]) == ("2027-01-15T08:00:00Z", "JobKeptOpen")
    assert found["policy"]["spec"]["adopt"] == [{"container": "shipper"}]


def test_a_job_that_hangs_is_something_wrong_and_what_could_not_be_read_is_not() -> None:
    assert not report(hanging()).healthy
    assert report().healthy
    unread = Report((), hanging=Hanging(unread=Unread("no")))
    assert unread.healthy
    assert doctor_view.as_data(unread)["jobs"] is None
