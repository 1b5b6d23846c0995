"""Jobs that would not survive the restart that mode Universal intends."""

from typing import Any

import pytest

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.admission import admit
from sidecarpolicy.core.case import case_of
from sidecarpolicy.core.decision import decide
from sidecarpolicy.core.facts import PolicyFacts, workload_facts
from sidecarpolicy.core.retries import Retries, retries, too_few_retries
from tests.support.builders import policy, policy_object, sidecar, snapshot, template, wish
from tests.support.reviews import memory, request

JSON = dict[str, Any]
UNIVERSAL: JSON = {"mode": "Universal", "sidecars": [sidecar(command=["ship"])]}


def job(restart_policy: str | None = "OnFailure", **fields: Any) -> JSON:
    own: JSON = {} if restart_policy is None else {"restartPolicy": restart_policy}
    return {"metadata": {"name": "j"}, "spec": {"template": template(**own), **fields}}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({}, Retries(6, 1), id="nothing is set"),
        pytest.param({"backoffLimit": 0}, Retries(0, 1), id="none is allowed"),
        pytest.param({"parallelism": 4}, Retries(6, 4), id="a work queue"),
        pytest.param({"parallelism": 4, "completions": 2}, Retries(6, 2), id="few to complete"),
        pytest.param({"parallelism": 0}, Retries(6, 1), id="none for now"),
    ],
)
def test_what_a_job_survives_is_its_limit_and_its_pods_at_one_time(
    fields: JSON, expected: Retries
) -> None:
    assert retries(job(**fields), kind="Job") == expected
    cron_job = {"spec": {"jobTemplate": job(**fields)}}
    assert retries(cron_job, kind="CronJob") == expected


@pytest.mark.parametrize("restart_policy", ["Never", "Always", None])
def test_restarts_count_only_where_pods_restart_on_failure(restart_policy: str | None) -> None:
    assert retries(job(restart_policy), kind="Job") is None


def test_restarts_in_pods_of_no_job_count_against_nothing() -> None:
    assert retries(job(), kind="Deployment") is None


@pytest.mark.parametrize(
    ("allowed", "fine"),
    [
        pytest.param(Retries(0, 1), False, id="none"),
        pytest.param(Retries(1, 1), False, id="as many as there will be"),
        pytest.param(Retries(2, 1), True, id="one more"),
        pytest.param(Retries(6, 6), False, id="one for each of many Pods"),
        pytest.param(None, True, id="any number"),
    ],
)
def test_the_limit_has_to_be_above_the_restarts_of_all_pods(
    allowed: Retries | None, fine: bool
) -> None:
    found = too_few_retries(wish(**UNIVERSAL), allowed)
    assert (found is None) is fine


def test_a_native_sidecar_is_not_restarted() -> None:
    assert too_few_retries(wish(), Retries(0, 1)) is None


def test_a_job_that_would_fail_is_left_alone_and_told_why() -> None:
    known = memory(policy_object(**UNIVERSAL))
    answer = admit(request(job(backoffLimit=1), kind="Job"), known)
    assert answer.patch == []
    assert Reason.BACKOFF_LIMIT_TOO_LOW in answer.warnings[0]
    assert "set that to 2 or more" in answer.warnings[0]
    assert admit(request(job(backoffLimit=2), kind="Job"), known).patch


def test_the_restarts_of_all_policies_count_and_the_earlier_comes_first() -> None:
    pair = [policy_object(each, **{**UNIVERSAL, **named(each)}) for each in ("a", "b")]
    both = admit(request(job(backoffLimit=3), kind="Job"), memory(*pair))
    assert not any("not applied" in each for each in both.warnings)
    one = admit(request(job(backoffLimit=2), kind="Job"), memory(*pair))
    (left,) = (each for each in one.warnings if "not applied" in each)
    assert "SidecarPolicy/b not applied: BackoffLimitTooLow" in left
    assert "set that to 3 or more" in left


def named(name: str) -> JSON:
    return {"sidecars": [sidecar(name, command=["ship"])]}


@pytest.mark.parametrize("inject_at", ["Auto", "Pod"])
def test_a_cron_job_whose_owner_allows_fewer_retries_loses_what_would_fail_its_jobs(
    inject_at: str,
) -> None:
    asked = policy(injectAt=inject_at, **UNIVERSAL)
    added = changed(cron_job(template(restartPolicy="OnFailure")), asked)
    assert added is not None
    assert changed(cron_job(added, backoffLimit=2), asked) is None
    assert changed(cron_job(added, backoffLimit=1), asked) == template(restartPolicy="OnFailure")


def test_a_revision_that_would_fail_jobs_leaves_them_the_one_that_does_not() -> None:
    added = changed(cron_job(template(restartPolicy="OnFailure")), policy(**UNIVERSAL))
    assert added is not None
    more = policy(mode="Universal", sidecars=[*UNIVERSAL["sidecars"], *named("b")["sidecars"]])
    assert changed(cron_job(added, backoffLimit=2), more) is None


def cron_job(pods: JSON, **fields: Any) -> JSON:
    made = {"template": pods, **fields}
    meta = {"name": "c", "namespace": "shop", "uid": "uid-c", "resourceVersion": "1"}
    return {"metadata": meta, "spec": {"jobTemplate": {"spec": made}}}


def changed(obj: JSON, asked: PolicyFacts) -> JSON | None:
    """The template that the controller makes of a CronJob's; None if it leaves it as it is."""
    facts = workload_facts(obj, kind="CronJob")
    known = snapshot(policies=(asked,), workloads=(facts,))
    change = decide(case_of(facts, known)).change
    return None if change is None else dict(change.template)
