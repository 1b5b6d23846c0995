"""Which Pods keep their Jobs open, and the policy that keeps later ones from it."""

import json
from typing import Any

import pytest

from sidecarpolicy.api.names import INJECTED_ANNOTATION
from sidecarpolicy.core.facts import Ref
from sidecarpolicy.core.hanging import (
    PATIENCE_SECONDS,
    Hang,
    adopting,
    hang_of,
    hanging_job,
    longest,
    still_open,
)
from tests.support.patients import (
    JSON,
    NOW,
    SERVES,
    ago,
    container,
    over,
    owned_by,
    pod,
    running,
    sidecar,
    waiting,
)

OF_JOB = owned_by("Job", "nightly-1")
LONG = PATIENCE_SECONDS + 1
DONE = container("web", over(0, since=LONG))
SHIPPER = container("shipper", running())


def hangs(*apps: JSON, meta: JSON | None = None, inits: tuple[JSON, ...] = (), **spec: Any) -> bool:
    """Whether a Pod with these containers does; of a Job that never restarts, unless it says so."""
    made = pod(
        *inits,
        apps=apps,
        phase="Running",
        meta=OF_JOB if meta is None else meta,
        **{"restartPolicy": "Never", **spec},
    )
    return hang_of(made, NOW) is not None


def at_work(code: int) -> JSON:
    """A container that ended so, and is started again soon."""
    return container("web", waiting("CrashLoopBackOff", lastState=over(code)["state"]))


@pytest.mark.parametrize(
    ("apps", "policy", "expected"),
    [
        pytest.param((DONE, SHIPPER), "Never", True, id="one ended, one runs on"),
        pytest.param((DONE, SHIPPER), "OnFailure", True, id="the same where failures restart"),
        pytest.param((SHIPPER, DONE), "Never", True, id="whichever stands first"),
        pytest.param(
            (DONE, SHIPPER, container("proxy", running())), "Never", True, id="two run on"
        ),
        pytest.param(
            (container("web", over(1, since=LONG)), SHIPPER),
            "Never",
            True,
            id="one failed for good",
        ),
        pytest.param((at_work(1), SHIPPER), "OnFailure", False, id="one failed and is tried again"),
        pytest.param((DONE, container("two", over(0, since=LONG))), "Never", False, id="all ended"),
        pytest.param((container("web", running()), SHIPPER), "Never", False, id="all run"),
        pytest.param(
            (DONE, SHIPPER, container("late", waiting("ImagePullBackOff"))),
            "Never",
            False,
            id="one is still to run",
        ),
        pytest.param(
            (DONE, SHIPPER, container("new", None)), "Never", False, id="one says nothing"
        ),
        pytest.param(
            (container("web", over(0, since=LONG - 2)), SHIPPER), "Never", False, id="a moment ago"
        ),
        pytest.param(
            (DONE, container("two", over(0, since=1)), SHIPPER),
            "Never",
            False,
            id="the last of those that ended did so a moment ago",
        ),
    ],
)
def test_a_pod_hangs_if_only_running_containers_are_left(
    apps: tuple[JSON, ...], policy: str, expected: bool
) -> None:
    assert hangs(*apps, restartPolicy=policy) is expected


@pytest.mark.parametrize(
    "meta",
    [
        pytest.param({}, id="that nothing owns"),
        pytest.param(owned_by("StatefulSet", "db"), id="of another kind of owner"),
        pytest.param({**OF_JOB, "deletionTimestamp": ago(1)}, id="that is being deleted"),
    ],
)
def test_a_pod_hangs_no_job(meta: JSON) -> None:
    assert not hangs(DONE, SHIPPER, meta=meta)


def test_a_native_sidecar_keeps_no_pod_open() -> None:
    assert not hangs(DONE, inits=(sidecar(SERVES),))


def test_a_hang_says_who_ended_who_runs_and_since_when() -> None:
    made = pod(apps=(DONE, SHIPPER), phase="Running", meta=OF_JOB, restartPolicy="Never")
    assert hang_of(made, NOW) == Hang(
        pod=Ref("Pod", "shop", "web-1"),
        job=Ref("Job", "shop", "nightly-1"),
        ended=("web",),
        running=("shipper",),
        since=NOW - LONG,
    )


def universal(*copies: str) -> JSON:
    """Metadata of a Job's Pod with the ordinary copies of sidecars in mode Universal."""
    parts = {f"regularContainer/{each}": "digest" for each in copies}
    record = {"policies": {"SidecarPolicy/proxy": {"revision": "1", "parts": parts}}, "made": []}
    return {**OF_JOB, "annotations": {INJECTED_ANNOTATION: json.dumps(record)}}


@pytest.mark.parametrize(
    ("apps", "told", "adopted"),
    [
        pytest.param([SHIPPER], "shipper", None, id="the copy alone"),
        pytest.param(
            [SHIPPER, container("proxy", running())],
            "proxy",
            [{"container": "proxy"}],
            id="beside a classic sidecar",
        ),
    ],
)
def test_no_policy_adopts_the_ordinary_copy_of_a_universal_sidecar(
    apps: list[JSON], told: str, adopted: list[JSON] | None
) -> None:
    made = pod(
        apps=(DONE, *apps), phase="Running", meta=universal("shipper"), restartPolicy="Never"
    )
    seen = hang_of(made, NOW)
    assert seen is not None
    found = hanging_job(seen, job())
    assert found.diagnosis.container == told
    assert ("docs/universal.md" in found.diagnosis.next_step) is (adopted is None)
    assert (found.policy and found.policy["spec"]["adopt"]) == adopted


def hang(name: str = "nightly-1", *, pod_name: str = "p", since: float = NOW) -> Hang:
    job = Ref("Job", "shop", name)
    return Hang(Ref("Pod", "shop", pod_name), job, ("web",), ("shipper",), since)


def test_of_each_job_the_pod_that_hangs_for_the_longest_is_told_and_the_others_are_counted() -> (
    None
):
    found = longest([hang(pod_name="b", since=2), hang("other", since=3), hang(since=1)])
    assert [(e.job.name, e.pod.name, e.since, e.pods) for e in found] == [
        ("nightly-1", "p", 1, 2),
        ("other", "p", 3, 1),
    ]


def job(labels: JSON | None = None, *, status: JSON | None = None, **meta: Any) -> JSON:
    return {
        "metadata": {"name": "nightly-1", "namespace": "shop", **meta},
        "spec": {"template": {"metadata": {"labels": labels or {}}}},
        "status": status or {},
    }


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(job(), True, id="one that runs"),
        pytest.param(
            job(status={"conditions": [{"type": "Failed", "status": "True"}]}), False, id="failed"
        ),
        pytest.param(job(deletionTimestamp=ago(1)), False, id="being deleted"),
        pytest.param({**job(), "spec": {"suspend": True}}, False, id="suspended"),
    ],
)
def test_only_an_open_job_hangs(raw: JSON, expected: bool) -> None:
    assert still_open(raw) is expected


BY_CONTROLLER = {
    "controller-uid": "u",
    "job-name": "nightly-1",
    "batch.kubernetes.io/controller-uid": "u",
    "batch.kubernetes.io/job-name": "nightly-1",
}
CRON_JOB = owned_by("CronJob", "nightly")


def spec_for(raw: JSON | None) -> Any:
    policy = hanging_job(hang(), raw).policy
    assert policy is not None
    return policy["spec"]


@pytest.mark.parametrize(
    ("raw", "selector", "target"),
    [
        pytest.param(
            job({"app": "tests", **BY_CONTROLLER}, **CRON_JOB),
            {"matchLabels": {"app": "tests"}},
            {"kind": "CronJob"},
            id="by the labels that the user gave it",
        ),
        pytest.param(
            job({"app": "tests", **BY_CONTROLLER}),
            {"matchLabels": {"app": "tests"}},
            {"kind": "Job"},
            id="Jobs without a CronJob",
        ),
        pytest.param(
            job({"app.kubernetes.io/name": "tests", "helm.sh/chart": "tests-1.2.3",
                 "app.kubernetes.io/version": "1.2.3", "sidecarpolicy.dev/injected": "true"}),
            {"matchLabels": {"app.kubernetes.io/name": "tests"}},
            {"kind": "Job"},
            id="not by what changes with each release",
        ),
        pytest.param(
            job(BY_CONTROLLER, **CRON_JOB),
            {},
            {"kind": "CronJob", "name": "nightly"},
            id="by the CronJob's name where there are no labels",
        ),
        pytest.param(
            job(BY_CONTROLLER), {}, {"kind": "Job", "name": "nightly-1"}, id="by the Job's name"
        ),
        pytest.param(
            None, {}, {"kind": "Job", "name": "nightly-1"}, id="the Job could not be read"
        ),
        pytest.param(
            job({"app": "tests"}, **owned_by("Workflow", "ci")),
            {"matchLabels": {"app": "tests"}},
            {"kind": "Job"},
            id="another controller's Job",
        ),
    ],
)  # fmt: skip
def test_the_policy_selects_later_jobs_like_this_one(
    raw: JSON | None, selector: JSON, target: JSON
) -> None:
    spec = spec_for(raw)
    assert (spec["selector"], spec["targets"]) == (selector, [target])


def test_the_policy_adopts_all_that_runs_on_and_is_named_after_what_makes_the_jobs() -> None:
    job = Ref("Job", "shop", "nightly-1")
    policy = adopting(job, ("CronJob", "nightly"), {}, containers=["a", "b"])
    assert policy["metadata"] == {"name": "adopt-nightly", "namespace": "shop"}
    assert policy["spec"]["adopt"] == [{"container": "a"}, {"container": "b"}]


def test_it_says_whose_job_hangs_because_of_what() -> None:
    found = hanging_job(hang(), job(**CRON_JOB))
    assert (found.owner, found.diagnosis.reason) == ("CronJob nightly", "JobKeptOpen")
    assert found.diagnosis.message == (
        "the Job stays open, because of its Pod's containers web ended and shipper did not"
    )
    assert "shipper is native" in found.diagnosis.next_step
    assert hanging_job(hang(), None).owner == ""
