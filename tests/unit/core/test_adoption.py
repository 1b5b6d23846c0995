"""Adoption by example: which containers become native sidecars, and how they come back."""

import json
from dataclasses import replace
from typing import Any

import pytest

from sidecarpolicy.api.names import INJECTED_ANNOTATION
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.capability import Verdict as NodeVerdict
from sidecarpolicy.core.case import at_pods
from sidecarpolicy.core.desired import Desired
from sidecarpolicy.core.explanation import explain
from sidecarpolicy.core.facts import WorkloadFacts, workload_facts
from sidecarpolicy.core.inject import Action, Injection, Verdict, inject
from sidecarpolicy.core.marker import promised, read_markers, with_markers
from sidecarpolicy.core.missed import missed_by
from sidecarpolicy.core.overhead import by_policy
from sidecarpolicy.core.ownership import NodeRuleSite
from sidecarpolicy.core.plan import plan
from sidecarpolicy.core.podfacts import pod_facts
from sidecarpolicy.core.promises import MISSED_PARTS, broken_promises, kept_promises
from sidecarpolicy.core.resources import canonical
from sidecarpolicy.core.standing import State
from sidecarpolicy.core.trialpods import neutral_sample, sample_of
from tests.support.builders import JSON, deployment, policy, snapshot, template, wish, workload
from tests.support.plans import KEY, states

WEB: JSON = {"name": "web", "image": "nginx"}
PROXY: JSON = {"name": "proxy", "image": "proxy:1"}
LOGS: JSON = {"name": "logs", "image": "logs:1"}
READY: JSON = {"tcpSocket": {"port": 15001}, "periodSeconds": 2}


def adopting(*containers: str, name: str = "log-shipper", **fields: Any) -> Desired:
    adopt = [{"container": each} for each in containers]
    return wish(name, **{"sidecars": [], "adopt": adopt, **fields})


def pod(*containers: JSON, **spec: Any) -> JSON:
    return template(containers=list(containers), **spec)


def apply(pods: Any, *wishes: Desired) -> Injection:
    verdicts = [Verdict(each.key, Action.APPLY, each) for each in wishes]
    return inject(pods, verdicts, site=NodeRuleSite.AFFINITY)


def without(pods: Any, *wishes: Desired) -> Any:
    verdicts = [Verdict(each.key, Action.REMOVE) for each in wishes]
    return inject(pods, verdicts, site=NodeRuleSite.AFFINITY).template


def names(pods: Any, field: str = "initContainers") -> list[str]:
    return [each["name"] for each in pods["spec"].get(field) or []]


def reasons(injection: Injection) -> dict[str, list[Reason]]:
    return {key: [each.reason for each in found] for key, found in injection.obstacles.items()}


def test_containers_move_behind_the_init_containers_in_their_own_order() -> None:
    before = pod(PROXY, WEB, LOGS, initContainers=[{"name": "migrate"}])
    result = apply(before, adopting("logs", "proxy")).template
    assert names(result, "containers") == ["web"]
    assert result["spec"]["initContainers"] == [
        {"name": "migrate"},
        {**PROXY, "restartPolicy": "Always"},
        {**LOGS, "restartPolicy": "Always"},
    ]


@pytest.mark.parametrize(
    ("probes", "startup"),
    [
        pytest.param(
            {"readinessProbe": {**READY, "successThreshold": 3, "failureThreshold": 2}},
            {**READY, "successThreshold": 1, "failureThreshold": 30},
            id="a probe that starts nobody anew too early",
        ),
        pytest.param(
            {"readinessProbe": {**READY, "failureThreshold": 50}},
            {**READY, "successThreshold": 1, "failureThreshold": 50},
            id="a probe that is more patient than ours",
        ),
        pytest.param(
            {"readinessProbe": READY, "startupProbe": {"exec": {"command": ["up"]}}},
            {"exec": {"command": ["up"]}},
            id="its own startup probe, which is there",
        ),
        pytest.param({}, None, id="nothing where it has no readiness probe"),
    ],
)
def test_the_startup_probe_comes_from_the_readiness_probe(
    probes: JSON, startup: JSON | None
) -> None:
    asked = adopting(adopt=[{"container": "proxy", "startupFromReadiness": True}])
    before = pod(WEB, {**PROXY, **probes})
    result = apply(before, asked).template
    assert result["spec"]["initContainers"][0].get("startupProbe") == startup
    assert result["spec"]["initContainers"][0].get("readinessProbe") == probes.get("readinessProbe")
    assert without(result, asked) == before
    unasked = apply(before, adopting("proxy")).template["spec"]["initContainers"][0]
    assert unasked.get("startupProbe") == probes.get("startupProbe")


def test_fields_that_say_something_else_come_back_as_they_were() -> None:
    asked = adopting(adopt=[{"container": "proxy", "startupFromReadiness": True}])
    odd = {**PROXY, "restartPolicy": "OnFailure", "startupProbe": None, "readinessProbe": READY}
    result = apply(pod(WEB, odd), asked).template
    assert result["spec"]["initContainers"][0]["restartPolicy"] == "Always"
    assert result["spec"]["initContainers"][0]["startupProbe"]
    assert without(result, asked) == pod(WEB, odd)


def test_what_its_owner_changed_meanwhile_goes_back_with_it() -> None:
    asked = adopting("proxy")
    result = apply(pod(PROXY, WEB), asked).template
    result["spec"]["initContainers"][0]["image"] = "proxy:2"
    assert without(result, asked) == pod({**PROXY, "image": "proxy:2"}, WEB)


def test_what_its_owner_took_out_meanwhile_stays_out() -> None:
    asked = adopting("proxy")
    result = apply(pod(PROXY, WEB), asked).template
    result["spec"]["initContainers"].clear()
    assert without(result, asked) == pod(WEB)


def test_a_container_that_its_owner_has_again_wins_over_the_adopted_one() -> None:
    asked = adopting("proxy")
    result = apply(pod(WEB, PROXY), asked).template
    result["spec"]["containers"].append({**PROXY, "image": "proxy:2"})
    again = apply(result, asked).template
    assert again["spec"]["initContainers"] == [
        {**PROXY, "image": "proxy:2", "restartPolicy": "Always"}
    ]
    assert names(again, "containers") == ["web"]


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_containers_of_several_policies_come_back_to_their_places_in_any_order(gone: int) -> None:
    before = pod(LOGS, PROXY, WEB, {"name": "cache", "image": "cache:1"})
    wishes = [adopting(each, name=each) for each in ("cache", "logs", "proxy")]
    result = apply(before, *wishes).template
    for each in (wishes[gone], *wishes):
        result = without(result, each)
    assert result == before


@pytest.mark.parametrize(
    ("containers", "asked", "expected"),
    [
        pytest.param([WEB], ["proxy"], Reason.NOTHING_TO_ADOPT, id="none of them is there"),
        pytest.param([PROXY], ["proxy"], Reason.LAST_CONTAINER, id="the only container"),
        pytest.param([PROXY, LOGS], ["proxy", "logs"], Reason.LAST_CONTAINER, id="all of them"),
    ],
)
def test_a_workload_without_anything_to_adopt_is_skipped(
    containers: list[JSON], asked: list[str], expected: Reason
) -> None:
    fields: JSON = {"sidecars": [], "adopt": [{"container": each} for each in asked]}
    concerned = workload(pods=pod(*containers))
    found = plan(snapshot(policies=(policy(**fields),), workloads=(concerned,)))
    assert states(found) == {"web": (State.SKIPPED, expected)}
    assert found.changes == ()


def test_an_absent_container_keeps_no_sidecar_out() -> None:
    both = wish(adopt=[{"container": "proxy"}])
    assert names(apply(pod(WEB), both).template) == ["shipper"]


def test_the_last_container_is_counted_without_those_that_others_adopted() -> None:
    result = apply(pod(WEB, PROXY), adopting("proxy", name="a"), adopting("web", name="b"))
    assert reasons(result) == {"SidecarPolicy/b": [Reason.LAST_CONTAINER]}
    assert names(result.template, "containers") == ["web"]


def test_a_container_that_another_policy_added_is_none_to_adopt() -> None:
    universal = wish("b", mode="Universal", sidecars=[{**LOGS, "command": ["ship"]}])
    asked = adopting("logs-ordinary", name="a", sidecars=[PROXY])
    result = apply(apply(pod(WEB), universal).template, asked, universal)
    assert reasons(result) == {}
    assert names(result.template, "containers") == ["web", "logs-ordinary"]
    assert apply(result.template, asked, universal).current == {asked.key, universal.key}


@pytest.mark.parametrize(
    "older",
    [
        pytest.param(adopting("proxy"), id="adopted another"),
        pytest.param(wish(), id="added a sidecar"),
    ],
)
def test_a_revision_that_finds_nothing_to_adopt_takes_back_what_an_older_one_did(
    older: Desired,
) -> None:
    before = pod(WEB, PROXY)
    result = apply(apply(before, older).template, adopting("logs"))
    assert reasons(result) == {KEY: [Reason.NOTHING_TO_ADOPT]}
    assert result.template == before


def test_a_later_policy_gives_its_container_back_before_an_earlier_takes_the_last_one() -> None:
    earlier, later = adopting("web", name="a"), adopting("proxy", name="b")
    first = apply(pod(WEB, PROXY), later).template
    both = apply(first, earlier, later)
    assert names(both.template) == ["web"]
    assert names(both.template, "containers") == ["proxy"]
    assert reasons(both) == {later.key: [Reason.LAST_CONTAINER]}
    assert without(both.template, earlier) == pod(WEB, PROXY)


def test_the_earlier_of_two_policies_adopts_also_if_it_came_later() -> None:
    early, late = adopting("proxy", name="a"), adopting("proxy", "logs", name="b")
    before = pod(WEB, PROXY, LOGS)
    result = apply(apply(before, late).template, early, late)
    assert reasons(result) == {"SidecarPolicy/b": [Reason.NAME_CONFLICT]}
    (said,) = result.obstacles["SidecarPolicy/b"]
    assert "'proxy' is already adopted by SidecarPolicy/a" in said.message
    assert names(result.template) == ["proxy"]
    assert names(result.template, "containers") == ["web", "logs"]


def test_an_adopted_container_stands_where_the_order_says() -> None:
    before = pod(WEB, PROXY, initContainers=[{"name": "migrate"}, {"name": "seed"}])
    asked = adopting("proxy", order=[{"sidecar": "proxy", "before": ["seed"]}])
    result = apply(before, asked).template
    assert names(result) == ["migrate", "proxy", "seed"]
    assert apply(result, asked).template is result


def test_an_order_that_nothing_satisfies_is_an_obstacle() -> None:
    before = pod(WEB, PROXY, initContainers=[{"name": "migrate"}, {"name": "seed"}])
    order = [{"sidecar": "proxy", "before": ["migrate"], "after": ["seed"]}]
    assert reasons(apply(before, adopting("proxy", order=order))) == {
        KEY: [Reason.ORDER_IMPOSSIBLE]
    }


def test_a_policy_gives_nothing_to_what_it_adopts_itself_unless_it_names_it() -> None:
    env = [{"name": "HTTP_PROXY", "value": "http://127.0.0.1"}]
    silent = adopting("proxy", appContainers={"env": env})
    named = adopting("proxy", appContainers={"env": env, "names": ["proxy"]})
    before = pod(WEB, PROXY)
    assert "env" not in apply(before, silent).template["spec"]["initContainers"][0]
    assert apply(before, silent).template["spec"]["containers"] == [{**WEB, "env": env}]
    result = apply(before, named).template
    assert result["spec"]["initContainers"][0]["env"] == env
    assert without(result, named) == before


def test_what_other_policies_give_it_does_not_depend_on_who_was_first() -> None:
    env = [{"name": "REGION", "value": "eu"}]
    for giver in ("a", "z"):
        gives = wish(giver, appContainers={"env": env})
        before = pod(WEB, PROXY)
        result = apply(before, gives, adopting("proxy")).template
        assert result["spec"]["initContainers"][-1]["env"] == env
        assert apply(result, gives, adopting("proxy")).template is result
        alone = without(result, adopting("proxy"))
        assert alone["spec"] == apply(before, gives).template["spec"]
        assert without(without(result, gives), adopting("proxy")) == before


@pytest.mark.parametrize("was", ["", "[]", '{"at":-1}', '{"at":"1"}', '{"at":0,"replaced":[]}'])
def test_a_record_that_this_version_did_not_write_freezes_its_template(was: str) -> None:
    result = apply(pod(WEB, PROXY), adopting("proxy")).template
    annotations = result["metadata"]["annotations"]
    document = json.loads(annotations[INJECTED_ANNOTATION])
    document["policies"][KEY]["parts"]["adopted/proxy"] = was
    annotations[INJECTED_ANNOTATION] = json.dumps(document)
    assert without(result, adopting("proxy")) is result


def test_policies_that_adopt_leave_templates_to_their_owners() -> None:
    asked = policy(sidecars=[], adopt=[{"container": "proxy"}])
    assert at_pods(asked)
    (change,) = plan(
        snapshot(policies=(asked,), workloads=(workload(pods=pod(WEB, PROXY)),))
    ).changes
    assert change.template["spec"] == pod(WEB, PROXY)["spec"]
    unasked = snapshot(policies=(asked,), workloads=(workload(pods=pod(WEB, PROXY)),))
    assert states(plan(replace(unasked, webhook=False))) == {
        "web": (State.PENDING, Reason.WEBHOOK_NOT_REGISTERED)
    }


def test_a_marker_says_what_is_adopted_and_in_which_order() -> None:
    order = [{"sidecar": "proxy", "before": ["seed"], "after": ["migrate"]}]
    adopt = [{"container": "proxy", "startupFromReadiness": True}]
    asked = adopting(adopt=adopt, order=order)
    read = read_markers(with_markers(pod(WEB), {asked.key: asked}))[asked.key]
    assert promised(read, asked)
    assert (read.adopt, read.order) == (asked.adopt, asked.order)


def test_an_adopted_container_is_one_of_the_pods_sidecars_and_costs_nothing() -> None:
    amounts = {"resources": {"requests": {"cpu": "100m"}}}
    result = apply(pod({**WEB, **amounts}, {**PROXY, **amounts}), adopting("proxy")).template
    identity = {"name": "web-1", "namespace": "shop", "uid": "u", "resourceVersion": "1"}
    seen = {**result, "metadata": {**result["metadata"], **identity}}
    assert pod_facts(seen).sidecars == ((KEY, ("proxy",)),)
    cost = by_policy(result)[KEY]
    assert canonical(cost.requests) == {}
    assert (canonical(cost.before), canonical(cost.after)) == ({"cpu": "200m"}, {"cpu": "200m"})


def test_a_big_init_container_beside_what_is_ordered_before_it_makes_the_pod_bigger() -> None:
    amounts = {"resources": {"requests": {"cpu": "100m"}}}
    seed = {"name": "seed", "resources": {"requests": {"cpu": "1"}}}
    asked = adopting("proxy", order=[{"sidecar": "proxy", "before": ["seed"]}])
    before = pod(WEB, {**PROXY, **amounts}, initContainers=[seed])
    cost = by_policy(apply(before, asked).template)[KEY]
    assert (canonical(cost.before), canonical(cost.after)) == ({"cpu": "1"}, {"cpu": "1100m"})


def test_dry_runs_watch_what_is_adopted() -> None:
    asked = policy(sidecars=[], adopt=[{"container": "proxy"}, {"container": "logs"}])
    assert asked.desired is not None
    sample = sample_of(workload(pods=pod(WEB, PROXY)), asked.desired)
    assert sample is not None
    assert sample.sidecars == ("proxy",)
    assert names(sample.injected) == ["proxy"]
    assert names(sample.plain, "containers") == ["web", "proxy"]
    neutral = neutral_sample(asked, asked.desired)
    assert neutral is not None
    assert neutral.sidecars == ("logs", "proxy")


def test_an_explanation_says_who_adopts() -> None:
    concerned = workload(pods=pod(WEB, PROXY))
    asked = policy(sidecars=[], adopt=[{"container": "proxy"}])
    found = explain(concerned, snapshot(policies=(asked,), workloads=(concerned,)))
    assert found.init_containers == (("proxy", KEY),)
    assert found.effects[0].at_pods == ("adopted/proxy", "nodeTerm/Require")


def created(pods: JSON, **spec: Any) -> JSON:
    """A Pod on a node, as the API server has it."""
    identity = {
        "name": "web-1",
        "namespace": "shop",
        "uid": "u",
        "resourceVersion": "1",
        "creationTimestamp": "2026-01-02T00:00:00Z",
    }
    metadata = {**pods["metadata"], **identity}
    return {**pods, "metadata": metadata, "spec": {**pods["spec"], "nodeName": "new-0", **spec}}


def test_a_pod_that_was_promised_it_and_runs_without_it_has_missed_it() -> None:
    asked = adopting("proxy", nodeRule="None")
    promise: Any = with_markers(pod(WEB, PROXY), {asked.key: asked})
    here = snapshot(policies=(policy(sidecars=[], adopt=[{"container": "proxy"}]),))
    missed = broken_promises(created(promise), here, verdict=NodeVerdict.CAPABLE)
    assert missed == {KEY: MISSED_PARTS}
    kept: Any = kept_promises(promise, here, settled=False).template
    assert names(kept) == ["proxy"]
    assert broken_promises(created(kept), here, verdict=NodeVerdict.CAPABLE) == {}


def test_a_pod_of_nobody_that_runs_without_it_has_missed_it() -> None:
    targets = [{"kind": "Pod"}]
    asked = policy(sidecars=[], adopt=[{"container": "proxy"}], targets=targets)
    here = snapshot(policies=(asked,))
    assert missed_by(created(pod(WEB, PROXY)), here, verdict=NodeVerdict.CAPABLE) == {KEY}
    assert missed_by(created(pod(WEB)), here, verdict=NodeVerdict.CAPABLE) == frozenset()


def daemons(*containers: JSON, **changes: Any) -> WorkloadFacts:
    return workload_facts(deployment(pods=pod(*containers), **changes), kind="DaemonSet")


def test_a_daemon_set_rolls_for_what_its_pods_can_adopt_only() -> None:
    asked = policy(sidecars=[], adopt=[{"container": "proxy"}])
    idle = plan(snapshot(policies=(asked,), workloads=(daemons(WEB),)))
    assert idle.changes == ()
    assert states(idle) == {"web": (State.SKIPPED, Reason.NOTHING_TO_ADOPT)}
    (change,) = plan(snapshot(policies=(asked,), workloads=(daemons(WEB, PROXY),))).changes
    assert change.template["spec"] == pod(WEB, PROXY)["spec"]
