"""Application containers, order, ports and the grace period, by example."""

from dataclasses import replace
from typing import Any

import pytest

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.desired import Desired
from sidecarpolicy.core.inject import Action, Injection, Verdict, inject
from sidecarpolicy.core.ownership import NodeRuleSite
from tests.support.builders import JSON, sidecar, template, wish

SITE = NodeRuleSite.AFFINITY
LOGS = {"name": "logs", "mountPath": "/var/log/app"}
LOG_DIR = {"name": "LOG_DIR", "value": "/var/log/app"}


def apply(pods: Any, *wishes: Desired) -> Injection:
    return inject(pods, [Verdict(each.key, Action.APPLY, each) for each in wishes], site=SITE)


def remove(pods: Any, *wishes: Desired) -> Any:
    return inject(pods, [Verdict(each.key, Action.REMOVE) for each in wishes], site=SITE).template


def reasons(injection: Injection) -> dict[str, list[Reason]]:
    return {key: [each.reason for each in found] for key, found in injection.obstacles.items()}


def using(**fields: Any) -> Desired:
    return wish(volumes=[{"name": "logs", "emptyDir": {}}], appContainers=fields)


def containers(pods: Any) -> dict[str, JSON]:
    return {each["name"]: each for each in pods["spec"]["containers"]}


TWO = [{"name": "web"}, {"name": "proxy", "env": [{"name": "OWN", "value": "1"}]}]


def test_all_regular_containers_get_the_mounts_and_variables() -> None:
    pods = template(containers=TWO)
    policy = using(volumeMounts=[LOGS], env=[LOG_DIR])
    result = apply(pods, policy).template
    assert containers(result) == {
        "web": {"name": "web", "volumeMounts": [LOGS], "env": [LOG_DIR]},
        "proxy": {
            "name": "proxy",
            "env": [{"name": "OWN", "value": "1"}, LOG_DIR],
            "volumeMounts": [LOGS],
        },
    }
    assert remove(result, policy) == pods


def test_named_containers_alone_get_them_and_absent_names_do_not_count() -> None:
    result = apply(template(containers=TWO), using(names=["web", "gone"], env=[LOG_DIR])).template
    assert "env" in containers(result)["web"]
    assert containers(result)["proxy"] == TWO[1]


def test_a_container_that_the_user_adds_later_gets_them_too() -> None:
    policy = using(env=[LOG_DIR])
    live: Any = apply(template(), policy).template
    live["spec"]["containers"].append({"name": "late"})
    assert containers(apply(live, policy).template)["late"]["env"] == [LOG_DIR]


@pytest.mark.parametrize(
    "own",
    [
        pytest.param({"env": [{"name": "LOG_DIR", "value": "/mine"}]}, id="variable"),
        pytest.param({"volumeMounts": [{"name": "x", "mountPath": "/var/log/app"}]}, id="mount"),
    ],
)
def test_a_differing_value_of_the_users_own_wins_and_nothing_is_half_applied(own: JSON) -> None:
    pods = template(containers=[{"name": "web", **own}])
    result = apply(pods, using(volumeMounts=[LOGS], env=[LOG_DIR]))
    assert result.template is pods
    assert reasons(result) == {wish().key: [Reason.NAME_CONFLICT]}


def test_the_same_value_of_the_users_own_is_no_conflict_and_stays_when_the_policy_goes() -> None:
    pods = template(containers=[{"name": "web", "env": [LOG_DIR]}])
    policy = using(env=[LOG_DIR])
    assert remove(apply(pods, policy).template, policy) == pods


def test_the_same_wish_of_two_policies_is_fulfilled_until_the_last_of_them_goes() -> None:
    one = wish("a", sidecars=[sidecar("s1")], appContainers={"env": [LOG_DIR]})
    two = wish("b", sidecars=[sidecar("s2")], appContainers={"env": [LOG_DIR]})
    both = apply(template(), one, two).template
    assert containers(remove(both, one))["web"]["env"] == [LOG_DIR]
    assert remove(remove(both, one), two) == template()


def test_a_volume_that_another_policy_mounts_is_left_to_that_policy() -> None:
    owner = wish("a", volumes=[{"name": "logs", "emptyDir": {}}])
    user = wish("b", sidecars=[sidecar("s2")], appContainers={"volumeMounts": [LOGS]})
    both = apply(template(), owner, user).template
    alone = remove(both, owner)
    assert alone["spec"]["volumes"] == [{"name": "logs", "emptyDir": {}}]
    assert remove(alone, user) == template()


def init_names(injection: Injection) -> list[str]:
    return [each["name"] for each in injection.template["spec"]["initContainers"]]


OWN = [{"name": "vault-agent"}, {"name": "migrate"}, {"name": "warm-up"}]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({}, ["shipper", "vault-agent", "migrate", "warm-up"], id="first by default"),
        pytest.param(
            {"placement": "Last"}, ["vault-agent", "migrate", "warm-up", "shipper"], id="last"
        ),
        pytest.param(
            {"order": [{"sidecar": "shipper", "after": ["vault-agent"]}]},
            ["vault-agent", "shipper", "migrate", "warm-up"],
            id="after one",
        ),
        pytest.param(
            {"placement": "Last", "order": [{"sidecar": "shipper", "before": ["warm-up"]}]},
            ["vault-agent", "migrate", "shipper", "warm-up"],
            id="last, but before one",
        ),
        pytest.param(
            {"order": [{"sidecar": "shipper", "before": ["migrate"], "after": ["vault-agent"]}]},
            ["vault-agent", "shipper", "migrate", "warm-up"],
            id="between two",
        ),
        pytest.param(
            {"order": [{"sidecar": "shipper", "after": ["nobody"]}]},
            ["shipper", "vault-agent", "migrate", "warm-up"],
            id="an absent name makes its constraint void",
        ),
        pytest.param(
            {
                "sidecars": [sidecar("one"), sidecar("two")],
                "order": [{"sidecar": "two", "before": ["one"]}],
            },
            ["two", "one", "vault-agent", "migrate", "warm-up"],
            id="among its own",
        ),
    ],
)
def test_sidecars_stand(fields: JSON, expected: list[str]) -> None:
    assert init_names(apply(template(initContainers=OWN), wish(**fields))) == expected


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(
            {"order": [{"sidecar": "shipper", "before": ["vault-agent"], "after": ["migrate"]}]},
            id="against the users order",
        ),
        pytest.param(
            {
                "sidecars": [sidecar("one"), sidecar("two")],
                "order": [
                    {"sidecar": "one", "before": ["two"]},
                    {"sidecar": "two", "before": ["one"]},
                ],
            },
            id="in a circle",
        ),
    ],
)
def test_an_order_that_cannot_be_is_a_finding(fields: JSON) -> None:
    pods = template(initContainers=OWN)
    result = apply(pods, wish(**fields))
    assert result.template is pods
    assert reasons(result) == {wish().key: [Reason.ORDER_IMPOSSIBLE]}


@pytest.mark.parametrize(
    ("own", "expected"),
    [(None, 45), (30, 45), (45, 45), (60, 60)],
)
def test_the_grace_period_is_raised_never_lowered_and_given_back(
    own: int | None, expected: int
) -> None:
    fields: JSON = {"terminationGracePeriodSeconds": own} if own else {}
    pods = template(**fields)
    policy = wish(minTerminationGracePeriodSeconds=45)
    result = apply(pods, policy).template
    assert result["spec"]["terminationGracePeriodSeconds"] == expected
    assert remove(result, policy) == pods


def test_the_largest_of_several_grace_periods_counts_as_long_as_its_policy_lives() -> None:
    one = wish("a", sidecars=[sidecar("s1")], minTerminationGracePeriodSeconds=90)
    two = wish("b", sidecars=[sidecar("s2")], minTerminationGracePeriodSeconds=45)
    both = apply(template(), one, two).template
    assert both["spec"]["terminationGracePeriodSeconds"] == 90
    assert remove(both, one)["spec"]["terminationGracePeriodSeconds"] == 45
    assert remove(both, one, two) == template()


def test_a_grace_period_that_the_user_changed_stays_his() -> None:
    policy = wish(minTerminationGracePeriodSeconds=45)
    live: Any = apply(template(), policy).template
    live["spec"]["terminationGracePeriodSeconds"] = 300
    assert remove(live, policy)["spec"]["terminationGracePeriodSeconds"] == 300


@pytest.mark.parametrize(
    ("port", "clashes"),
    [({"containerPort": 8080}, True), ({"containerPort": 8080, "protocol": "UDP"}, False)],
)
def test_two_containers_of_a_pod_cannot_use_one_port(port: JSON, clashes: bool) -> None:
    listening = {"name": "web", "ports": [{"containerPort": 8080, "protocol": "TCP"}]}
    result = apply(template(containers=[listening]), wish(sidecars=[sidecar(ports=[port])]))
    assert reasons(result) == ({wish().key: [Reason.PORT_CONFLICT]} if clashes else {})


@pytest.mark.parametrize("odd", [5, True, "http", {"a": 1}, [None], [{"containerPort": [80]}]])
def test_ports_that_are_none_do_no_harm(odd: Any) -> None:
    """A policy with such a sidecar is Invalid; here it comes as an older version took it."""
    result = apply(template(), replace(wish(), sidecars=(sidecar(ports=odd),)))
    assert result.template["spec"]["initContainers"][0]["ports"] == odd


def test_an_earlier_policy_takes_a_name_from_a_later_one_which_then_loses_all_its_parts() -> None:
    later = wish("b", sidecars=[sidecar("s"), sidecar("t")])
    before = apply(template(), later).template
    earlier = wish("a", sidecars=[sidecar("s")])
    result = apply(before, earlier, later)
    assert init_names(result) == ["s"]
    assert reasons(result) == {later.key: [Reason.NAME_CONFLICT]}


VOLUMES = {"volumes": [{"name": name, "emptyDir": {}} for name in "xy"]}


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param(
            {"appContainers": {"env": [{"name": "A", "value": "1"}]}},
            {"appContainers": {"env": [{"name": "A", "value": "2"}]}},
            id="a variable",
        ),
        pytest.param(
            {"appContainers": {"volumeMounts": [{"name": "x", "mountPath": "/m"}]}, **VOLUMES},
            {"appContainers": {"volumeMounts": [{"name": "y", "mountPath": "/m"}]}, **VOLUMES},
            id="a mount path",
        ),
        pytest.param(
            {"sidecars": [sidecar("s", ports=[{"containerPort": 1}])]},
            {"sidecars": [sidecar("t", ports=[{"containerPort": 1}])]},
            id="a port",
        ),
        pytest.param(
            {"volumes": [{"name": "v", "emptyDir": {}}]},
            {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
            id="a volume",
        ),
    ],
)
def test_whoever_came_first_the_earlier_policy_gets(first: JSON, then: JSON) -> None:
    earlier = wish("a", **{"sidecars": [sidecar("s")], **first})
    later = wish("b", **{"sidecars": [sidecar("t")], **then})
    fresh = apply(template(), earlier, later)
    assert list(fresh.obstacles) == [later.key]
    overtaken = apply(apply(template(), later).template, earlier, later)
    assert overtaken.template == fresh.template
    assert list(overtaken.obstacles) == [later.key]
    assert apply(overtaken.template, earlier, later).template is overtaken.template


def test_a_later_policy_that_is_held_keeps_the_name() -> None:
    later = wish("b", sidecars=[sidecar("s")])
    before = apply(template(), later).template
    earlier = wish("a", sidecars=[sidecar("s")])
    verdicts = [Verdict(earlier.key, Action.APPLY, earlier), Verdict(later.key, Action.HOLD, later)]
    result = inject(before, verdicts, site=SITE)
    assert result.template is before
    assert reasons(result) == {earlier.key: [Reason.NAME_CONFLICT]}
