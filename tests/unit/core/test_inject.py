"""The engine by example: what one policy adds, and what keeps it from adding."""

import copy
import json
from typing import Any

import pytest

from sidecarpolicy.api.names import CAPABILITY_LABEL, INJECTED_ANNOTATION, INJECTED_LABEL
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.desired import Desired
from sidecarpolicy.core.inject import Action, Injection, Verdict, inject
from sidecarpolicy.core.ownership import NodeRuleSite
from tests.support.builders import JSON, sidecar, template, wish

REQUIRE = {"key": CAPABILITY_LABEL, "operator": "In", "values": ["true"]}
AVOID = {"key": CAPABILITY_LABEL, "operator": "NotIn", "values": ["false", "rejects"]}
ZONE = {"key": "zone", "operator": "In", "values": ["eu"]}


def apply(pods: Any, *wishes: Desired, site: NodeRuleSite = NodeRuleSite.AFFINITY) -> Injection:
    return inject(pods, [Verdict(each.key, Action.APPLY, each) for each in wishes], site=site)


def required(*terms: JSON) -> JSON:
    selector = {"nodeSelectorTerms": list(terms)}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}


def reasons(injection: Injection) -> dict[str, list[Reason]]:
    return {key: [each.reason for each in found] for key, found in injection.obstacles.items()}


def test_a_sidecar_comes_before_all_init_containers_and_restarts_always() -> None:
    result = apply(template(initContainers=[{"name": "migrate"}]), wish()).template
    assert result["spec"]["initContainers"] == [
        sidecar(restartPolicy="Always"),
        {"name": "migrate"},
    ]


def test_sidecars_of_several_policies_come_in_the_order_of_their_names() -> None:
    one, two = wish("a", sidecars=[sidecar("s1")]), wish("b", sidecars=[sidecar("s2")])
    late = apply(apply(template(), two).template, one, two).template
    assert [each["name"] for each in late["spec"]["initContainers"]] == ["s1", "s2"]
    assert late["spec"] == apply(template(), one, two).template["spec"]


def test_the_template_says_who_added_what() -> None:
    metadata = apply(template(), wish(volumes=[{"name": "logs", "emptyDir": {}}])).template[
        "metadata"
    ]
    record = json.loads(metadata["annotations"][INJECTED_ANNOTATION])
    assert metadata["labels"][INJECTED_LABEL] == "true"
    assert sorted(record["policies"]["SidecarPolicy/log-shipper"]["parts"]) == [
        "container/shipper",
        "nodeTerm/Require",
        "volume/logs",
    ]


@pytest.mark.parametrize(
    ("affinity", "expected"),
    [
        pytest.param(None, required({"matchExpressions": [REQUIRE]}), id="no affinity"),
        pytest.param(
            {"podAffinity": {}},
            {"podAffinity": {}, **required({"matchExpressions": [REQUIRE]})},
            id="another kind of affinity",
        ),
        pytest.param(
            required({"matchExpressions": [ZONE]}, {"matchFields": [ZONE]}),
            required(
                {"matchExpressions": [ZONE, REQUIRE]},
                {"matchFields": [ZONE], "matchExpressions": [REQUIRE]},
            ),
            id="every one of several terms, because terms are ORed",
        ),
        pytest.param(
            required({"matchExpressions": [ZONE]}, {}),
            required({"matchExpressions": [ZONE, REQUIRE]}, {}),
            id="not an empty term, because it matches nothing",
        ),
        pytest.param(required(), required(), id="not an empty list, because it matches nothing"),
        pytest.param(
            required({"matchExpressions": [REQUIRE]}),
            required({"matchExpressions": [REQUIRE]}),
            id="not where the user wrote it already",
        ),
    ],
)
def test_the_node_rule_is_anded_into(affinity: JSON | None, expected: JSON) -> None:
    pods = template(**({"affinity": affinity} if affinity is not None else {}))
    assert apply(pods, wish()).template["spec"]["affinity"] == expected


def test_avoid_keeps_pods_off_nodes_known_not_to_run_sidecars() -> None:
    result = apply(template(), wish(nodeRule="Avoid")).template
    assert result["spec"]["affinity"] == required({"matchExpressions": [AVOID]})


def test_no_rule_leaves_the_affinity_alone() -> None:
    assert "affinity" not in apply(template(), wish(nodeRule="None")).template["spec"]


def test_where_a_gitops_tool_owns_the_affinity_the_rule_becomes_a_node_selector() -> None:
    pods = template(affinity=required({"matchExpressions": [ZONE]}))
    result = apply(pods, wish(), site=NodeRuleSite.NODE_SELECTOR).template
    assert result["spec"]["nodeSelector"] == {CAPABILITY_LABEL: "true"}
    assert result["spec"]["affinity"] == pods["spec"]["affinity"]


def test_where_a_gitops_tool_owns_affinity_and_node_selector_nothing_is_injected() -> None:
    pods = template(affinity=required({"matchExpressions": [ZONE]}))
    result = apply(pods, wish(), site=NodeRuleSite.NOWHERE)
    assert result.template is pods
    assert reasons(result) == {"SidecarPolicy/log-shipper": [Reason.NODE_RULE_OWNED_BY_GITOPS]}


def test_a_node_selector_that_demands_the_opposite_is_a_contradiction() -> None:
    pods = template(nodeSelector={CAPABILITY_LABEL: "false"})
    result = apply(pods, wish())
    assert result.template is pods
    assert reasons(result) == {"SidecarPolicy/log-shipper": [Reason.NODE_RULE_CONTRADICTION]}


@pytest.mark.parametrize(
    "taken",
    [
        pytest.param({"initContainers": [{"name": "shipper"}]}, id="init container"),
        pytest.param({"containers": [{"name": "shipper"}]}, id="container"),
        pytest.param({"volumes": [{"name": "logs"}]}, id="volume"),
    ],
)
def test_the_user_wins_a_clash_of_names_with_a(taken: JSON) -> None:
    pods = template(**taken)
    result = apply(pods, wish(volumes=[{"name": "logs", "emptyDir": {}}]))
    assert result.template is pods
    assert reasons(result) == {"SidecarPolicy/log-shipper": [Reason.NAME_CONFLICT]}


def test_of_two_policies_that_add_the_same_name_the_earlier_wins_and_the_later_learns_it() -> None:
    result = apply(template(), wish("b"), wish("a"))
    assert result.template == apply(template(), wish("a")).template
    (finding,) = result.obstacles["SidecarPolicy/b"]
    assert "added by SidecarPolicy/a" in finding.message


def test_a_conflicting_revision_leaves_the_former_one_in_place() -> None:
    before = apply(template(), wish()).template
    result = apply(before, wish(sidecars=[sidecar("web")]))
    assert result.template is before
    assert reasons(result) == {"SidecarPolicy/log-shipper": [Reason.NAME_CONFLICT]}


def test_a_pull_secret_that_the_user_has_is_used_and_stays_his() -> None:
    pods = template(imagePullSecrets=[{"name": "regcred"}])
    one = wish(imagePullSecrets=[{"name": "regcred"}])
    injected = apply(pods, one).template
    assert injected["spec"]["imagePullSecrets"] == [{"name": "regcred"}]
    assert (
        inject(injected, [Verdict(one.key, Action.REMOVE)], site=NodeRuleSite.AFFINITY).template
        == pods
    )


def test_server_side_defaults_and_canonical_quantities_are_no_change() -> None:
    policy = wish(
        sidecars=[sidecar(resources={"requests": {"cpu": "1000m"}}, ports=[{"containerPort": 80}])],
        volumes=[{"name": "cfg", "configMap": {"name": "cfg"}}],
    )
    live: Any = apply(template(), policy).template
    container = live["spec"]["initContainers"][0]
    container.update(imagePullPolicy="IfNotPresent", terminationMessagePath="/dev/termination-log")
    container["resources"]["requests"]["cpu"] = "1"
    container["ports"][0]["protocol"] = "TCP"
    live["spec"]["volumes"][0]["configMap"]["defaultMode"] = 420
    assert apply(live, policy).template is live


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda spec: spec["initContainers"].clear(), id="the sidecar was removed"),
        pytest.param(lambda spec: spec.pop("affinity"), id="the node rule was removed"),
        pytest.param(
            lambda spec: spec["initContainers"][0].pop("restartPolicy"),
            id="restartPolicy was stripped",
        ),
    ],
)
def test_what_somebody_took_out_comes_back_when(damage: Any) -> None:
    whole = apply(template(), wish()).template
    live = copy.deepcopy(whole)
    damage(live["spec"])
    assert live != whole
    assert apply(live, wish()).template == whole


def test_a_container_that_somebody_put_in_our_place_stays() -> None:
    live: Any = apply(template(), wish()).template
    live["spec"]["initContainers"][0]["image"] = "my/own:1"
    key = wish().key
    result = inject(live, [Verdict(key, Action.REMOVE)], site=NodeRuleSite.AFFINITY)
    assert result.template["spec"]["initContainers"] == live["spec"]["initContainers"]
    assert [each.reason for each in result.leftovers[key]] == [Reason.PART_CHANGED]


def test_a_container_that_was_changed_is_not_overwritten_by_a_new_revision() -> None:
    live: Any = apply(template(), wish()).template
    live["spec"]["initContainers"][0]["image"] = "my/own:1"
    result = apply(live, wish(sidecars=[sidecar(tty=True)]))
    assert result.template is live
    assert reasons(result) == {wish().key: [Reason.PART_CHANGED]}


def test_a_volume_that_another_container_mounts_stays_so_that_the_template_stays_valid() -> None:
    one = wish(volumes=[{"name": "logs", "emptyDir": {}}])
    live: Any = apply(template(), one).template
    live["spec"]["containers"][0]["volumeMounts"] = [{"name": "logs", "mountPath": "/logs"}]
    result = inject(live, [Verdict(one.key, Action.REMOVE)], site=NodeRuleSite.AFFINITY)
    assert result.template["spec"]["volumes"] == [{"name": "logs", "emptyDir": {}}]
    assert "initContainers" not in result.template["spec"]
    (leftover,) = result.leftovers[one.key]
    assert "container 'web' mounts it" in leftover.message


@pytest.mark.parametrize("source", ["my-name", 5, True, ["name"], None])
def test_a_volume_source_of_an_odd_type_is_left_to_the_api_server_to_judge(source: Any) -> None:
    odd = wish(volumes=[{"name": "v", "configMap": source}])
    live = apply(template(), odd).template
    assert apply(live, odd).template is live


def test_a_rule_of_the_users_own_survives_policies_that_come_and_go() -> None:
    gpu = {"key": "gpu", "operator": "Exists"}
    pods = template(
        affinity=required({"matchExpressions": [ZONE, REQUIRE]}, {"matchExpressions": [gpu]})
    )
    one, two = wish("a"), wish("b", nodeRule="Avoid", sidecars=[sidecar("s2")])
    live = apply(pods, one, two).template
    for each in (one, two):
        removal = [Verdict(each.key, Action.REMOVE)]
        live = inject(live, removal, site=NodeRuleSite.AFFINITY).template
    assert live == pods


def recorded(policy: str = "SidecarPolicy/p", part: str = "container/s", made: str = "") -> str:
    parts = {"revision": "x", "parts": {part: ""}}
    return json.dumps({"policies": {policy: parts}, "made": [made] if made else []})


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{oops", id="no JSON"),
        pytest.param("[]", id="another type"),
        pytest.param("[" * 100_000, id="nested without end"),
        pytest.param(recorded(policy="SidecarPolicy/"), id="a policy without a name"),
        pytest.param(recorded(policy="SidecarPolicy/.."), id="a name that is a path"),
        pytest.param(recorded(policy="Secret/p"), id="another kind"),
        pytest.param(recorded(part="env/A"), id="a part that a newer version may write"),
        pytest.param(recorded(part="nodeTerm/Foo"), id="a rule that does not exist"),
        pytest.param(recorded(made="spec.containers"), id="a list that was never made by us"),
    ],
)
def test_a_record_that_this_version_did_not_write_freezes_the_template(text: str) -> None:
    pods = template()
    pods["metadata"]["annotations"] = {INJECTED_ANNOTATION: text}
    result = apply(pods, wish())
    assert result.template is pods
    assert reasons(result) == {wish().key: [Reason.RECORD_UNREADABLE]}


def test_a_recorded_policy_without_a_verdict_is_held() -> None:
    live = apply(template(), wish()).template
    assert inject(live, [], site=NodeRuleSite.AFFINITY).template is live


@pytest.mark.parametrize("swapped", [False, True])
def test_of_two_terms_that_our_rule_makes_equal_each_gets_back_what_it_was(swapped: bool) -> None:
    field = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}
    terms = [{"matchExpressions": [REQUIRE], **field}, field]
    before = template(affinity=required(*(reversed(terms) if swapped else terms)))
    injected = apply(before, wish()).template
    removal = [Verdict(wish().key, Action.REMOVE)]
    assert inject(injected, removal, site=NodeRuleSite.AFFINITY).template == before
