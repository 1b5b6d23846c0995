"""The inquiry: which Pods are tried, and what the answers come to."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.facts import PolicyFacts, Ref, WorkloadFacts, workload_facts
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.inquiry import Trial, Verdict, inquire, samples
from sidecarpolicy.core.marker import with_markers
from sidecarpolicy.core.ownership import NodeRuleSite
from sidecarpolicy.core.reading import Answer, Reading
from sidecarpolicy.core.standing import Standing, State
from tests.support.builders import deployment, policy, sidecar, template, wish, workload

JSON = dict[str, Any]
Server = Callable[[Trial], Reading]
FINE = Reading(Answer.PRESERVED)


def no(answer: Answer) -> Reading:
    return Reading(answer, "no, because")


def asked(
    server: Server, *workloads: WorkloadFacts, of: PolicyFacts | None = None
) -> tuple[Verdict, list[str]]:
    """The verdict, and what was tried: names of Pods, with a + where they had the sidecars."""
    inquiry, tried = inquire(of or policy(), workloads), list[str]()
    try:
        trial = next(inquiry)
        while True:
            tried.append(trial.pod["metadata"]["name"] + ("+" if trial.sidecars else ""))
            trial = inquiry.send(server(trial))
    except StopIteration as end:
        verdict: Verdict = end.value
        return verdict, tried


def refusing(answer: Answer, *names: str) -> Server:
    """Does not take the sidecars in these Pods."""
    pods = {f"{name}-probe" for name in names}
    return lambda trial: (
        no(answer) if trial.sidecars and trial.pod["metadata"]["name"] in pods else FINE
    )


NEUTRAL = "sidecarpolicy-probe"


def test_one_dry_run_is_enough_where_all_is_well() -> None:
    verdict, tried = asked(lambda _: FINE, workload("web"), workload("api"))
    assert (verdict.answer, tried) == (Answer.PRESERVED, ["web-probe+"])
    assert verdict.labels["app"] == "web"
    assert verdict.labels["sidecarpolicy.dev/injected"] == "true"


@pytest.mark.parametrize("answer", [Answer.LOST, Answer.INCONCLUSIVE])
def test_a_loss_or_no_answer_is_an_answer_for_the_namespace(answer: Answer) -> None:
    verdict, tried = asked(lambda _: no(answer), workload("web"), workload("api"))
    assert (verdict.answer, tried) == (answer, ["web-probe+"])


def test_where_nothing_is_selected_a_pod_of_no_workload_is_tried() -> None:
    assert asked(lambda _: FINE)[1] == [f"{NEUTRAL}-probe+"]


@pytest.mark.parametrize("answer", [Answer.INVALID, Answer.REFUSED])
def test_what_does_not_fit_one_workload_is_tried_on_another(answer: Answer) -> None:
    verdict, tried = asked(refusing(answer, "web"), workload("web"), workload("api"))
    assert verdict.answer is Answer.PRESERVED
    again = ["web-probe+"] if answer is Answer.REFUSED else []
    assert tried == ["web-probe+", *again, "web-probe", "api-probe+"]


def test_a_pod_that_nobody_may_create_says_nothing_about_the_policy() -> None:
    def server(trial: Trial) -> Reading:
        mine = trial.pod["metadata"]["name"] == "web-probe"
        return no(Answer.REFUSED) if mine else FINE

    verdict, tried = asked(server, workload("web"))
    assert verdict.answer is Answer.PRESERVED
    assert tried == ["web-probe+", "web-probe+", "web-probe", f"{NEUTRAL}-probe+"]


@pytest.mark.parametrize("answer", [Answer.INVALID, Answer.REFUSED])
def test_what_fits_no_workload_there_is_refused_in_the_words_about_the_first(
    answer: Answer,
) -> None:
    verdict, _ = asked(refusing(answer, "web", "api"), workload("web"), workload("api"))
    assert (verdict.answer, verdict.message) == (Answer.REFUSED, "no, because")


def test_what_is_malformed_even_in_a_pod_of_no_workload_is_the_policys_own_fault() -> None:
    verdict, _ = asked(refusing(Answer.INVALID, "web", NEUTRAL), workload("web"))
    assert verdict.answer is Answer.INVALID
    verdict, _ = asked(refusing(Answer.REFUSED, NEUTRAL))
    assert verdict.answer is Answer.REFUSED


def saying_last(answer: Answer, *, behind_it: Answer) -> Server:
    """Says no at the end, so that only a Pod that is malformed then shows what is behind it."""

    def server(trial: Trial) -> Reading:
        spec = trial.pod["spec"]
        loud = any("lifecycle" in each for each in spec.get("initContainers", ()))
        return no(behind_it if loud else answer) if trial.sidecars else FINE

    return server


def test_a_quota_only_warns() -> None:
    full = saying_last(Answer.OVER_QUOTA, behind_it=Answer.OVER_QUOTA)
    verdict, tried = asked(full, workload("web"))
    assert verdict.answer is Answer.PRESERVED
    assert verdict.quota == "no, because"
    assert tried == ["web-probe+", "web-probe+"]


@pytest.mark.parametrize("answer", [Answer.OVER_QUOTA, Answer.REFUSED])
def test_who_says_no_at_the_end_hides_no_loss(answer: Answer) -> None:
    verdict, _ = asked(saying_last(answer, behind_it=Answer.LOST), workload("web"))
    assert verdict.answer is Answer.LOST


def test_a_policy_that_cannot_be_read_is_not_tried() -> None:
    assert asked(lambda _: FINE, of=policy(nodeRule="x"))[1] == []


def pods_tried(*workloads: WorkloadFacts, of: PolicyFacts) -> list[JSON]:
    tried: list[JSON] = []

    def server(trial: Trial) -> Reading:
        tried.append(trial.pod)
        return no(Answer.INVALID) if trial.sidecars else FINE

    asked(server, *workloads, of=of)
    return tried


def init_names(pod: JSON) -> list[str]:
    return [each["name"] for each in pod["spec"].get("initContainers", ())]


def test_the_pod_is_what_the_workload_would_create_with_the_sidecars_and_without() -> None:
    with_one = template(initContainers=[{"name": "migrate", "image": "x"}], hostNetwork=True)
    ours, plain, *_ = pods_tried(workload(pods=with_one), of=policy())
    assert init_names(ours) == ["shipper", "migrate"]
    assert init_names(plain) == ["migrate"]
    assert ours["spec"]["hostNetwork"] is plain["spec"]["hostNetwork"] is True
    assert ours["metadata"]["labels"]["app"] == "web"
    # Else our own webhook would put the sidecars in again.
    assert plain["metadata"]["annotations"] == {"sidecarpolicy.dev/inject": "false"}


def test_other_policies_parts_stay_in_both_pods() -> None:
    first = pods_tried(workload(), of=policy("a", sidecars=[sidecar("a")]))[0]
    carrying = {key: first[key] for key in ("metadata", "spec")}
    ours, plain, *_ = pods_tried(workload(pods=carrying), of=policy("b", sidecars=[sidecar("b")]))
    assert init_names(ours) == ["a", "b"]
    assert init_names(plain) == ["a"]


def test_a_workload_whose_affinity_is_gits_is_tried_with_the_rule_that_its_pods_get() -> None:
    gits = replace(workload(), site=NodeRuleSite.NOWHERE)
    ours = pods_tried(gits, of=policy())[0]
    assert "nodeAffinity" in ours["spec"]["affinity"]


def test_a_workload_that_promises_another_policys_parts_is_tried_with_them() -> None:
    promising = with_markers(template(), {"SidecarPolicy/a": wish("a", sidecars=[sidecar("a")])})
    ours, plain, *_ = pods_tried(workload(pods=promising), of=policy("b", sidecars=[sidecar("b")]))
    assert init_names(ours) == ["a", "b"]
    assert init_names(plain) == ["a"]


def test_a_stateful_sets_pod_brings_its_claims_along() -> None:
    raw = deployment(spec={"volumeClaimTemplates": [{"metadata": {"name": "data"}}]})
    made = workload_facts(raw, kind="StatefulSet")
    volumes = pods_tried(made, of=policy())[0]["spec"]["volumes"]
    assert volumes == [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]


def test_the_pod_of_no_workload_has_all_that_the_sidecars_ask_for() -> None:
    mounts = [{"name": "own", "mountPath": "/own"}, {"name": "apps", "mountPath": "/apps"}]
    asking = policy(
        sidecars=[sidecar(volumeMounts=mounts)],
        volumes=[{"name": "own", "emptyDir": {}}],
        appContainers={
            "names": ["app"],
            "volumeMounts": [{"name": "more", "mountPath": "/more"}],
        },
        selector={"matchLabels": {"logs": "shipped"}},
    )
    pod = pods_tried(of=asking)[0]
    assert sorted(each["name"] for each in pod["spec"]["volumes"]) == ["apps", "more", "own"]
    assert [each["name"] for each in pod["spec"]["containers"]] == ["app"]
    assert pod["spec"]["containers"][0]["volumeMounts"][0]["name"] == "more"
    assert pod["metadata"]["labels"]["logs"] == "shipped"


def test_a_workload_with_something_in_the_way_is_no_sample() -> None:
    taken = template(initContainers=[{"name": "shipper", "image": "own"}])
    assert asked(lambda _: FINE, workload(pods=taken))[1] == [f"{NEUTRAL}-probe+"]


def standings(*named: tuple[str, Reason | None]) -> Iterable[Standing]:
    for name, reason in named:
        finding = Finding(reason, "because") if reason else None
        yield Standing(Ref("Deployment", "shop", name), State.PENDING, finding)


def test_a_policy_is_tried_on_a_few_of_its_workloads_that_it_may_change() -> None:
    left = [("a", Reason.OPTED_OUT), ("b", Reason.OWNED_BY_CONTROLLER), ("c", Reason.REFUSED)]
    found = samples(standings(*left, *((f"w{number}", None) for number in range(9))))
    assert [each.name for each in found] == ["c", "w0", "w1"]
