"""Mode Universal in a template: what the copies have, and what the engine makes of them."""

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from sidecarpolicy.api.models import Mode, SidecarPolicySpec
from sidecarpolicy.api.names import CAPABILITY_LABEL
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.capability import Verdict as NodeVerdict
from sidecarpolicy.core.desired import Desired, desired
from sidecarpolicy.core.inject import Action, Injection, Verdict, inject
from sidecarpolicy.core.marker import promised, read_markers, with_markers
from sidecarpolicy.core.noderule import Rule
from sidecarpolicy.core.overhead import by_policy
from sidecarpolicy.core.ownership import NodeRuleSite
from sidecarpolicy.core.podfacts import pod_facts
from sidecarpolicy.core.resources import canonical
from sidecarpolicy.core.restore import only_dropped, restored
from sidecarpolicy.core.universal import copies
from tests.support.badpolicies import BAD_POLICIES
from tests.support.builders import sidecar, spec, template

JSON = dict[str, Any]
KEY = "SidecarPolicy/log-shipper"
SITE = NodeRuleSite.AFFINITY


def wish(*, field_dropped: bool = False, **fields: Any) -> Desired:
    made = {"mode": "Universal", "sidecars": [runner()], **fields}
    return desired(KEY, spec(**made), field_dropped=field_dropped)


def runner(name: str = "shipper", **fields: Any) -> JSON:
    return sidecar(name, command=["run"], **fields)


def apply(pods: Any, wanted: Desired) -> Injection:
    return inject(pods, [Verdict(wanted.key, Action.APPLY, wanted)], site=SITE)


def named(pods: Any, name: str) -> JSON:
    containers = (*(pods["spec"].get("initContainers") or ()), *pods["spec"]["containers"])
    found: JSON = next(each for each in containers if each["name"] == name)
    return found


def order(pods: Any) -> list[str]:
    return [each["name"] for each in pods["spec"]["initContainers"]]


@pytest.mark.parametrize("name", [each for each in BAD_POLICIES if each.startswith("a universal")])
def test_what_the_api_server_refuses_is_no_policy_offline_either(name: str) -> None:
    fields, words = BAD_POLICIES[name]
    with pytest.raises(ValidationError) as error:
        SidecarPolicySpec.model_validate({"selector": {}, **fields})
    assert words.partition(";")[0] in str(error.value)


def test_where_the_field_is_dropped_the_native_copy_has_nothing_that_needs_it() -> None:
    fields: JSON = {
        "ports": [{"containerPort": 80}],
        "restartPolicy": "Always",
        "resizePolicy": [],
        "livenessProbe": {"exec": {"command": ["live"]}},
        "startupProbe": {"exec": {}},
        "readinessProbe": {"tcpSocket": {"port": 80}},
        "resources": {"limits": {"cpu": "1"}},
        "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
    }
    pods = apply(template(), wish(field_dropped=True, sidecars=[runner(**fields)])).template
    assert named(pods, "shipper").keys() == {
        *("name", "image", "command", "resources", "volumeMounts")
    }
    assert named(pods, "shipper-ordinary").keys() == {
        *("name", "image", "command", "resources", "volumeMounts", "ports", "resizePolicy"),
        *("livenessProbe", "startupProbe", "readinessProbe", "lifecycle"),
    }


def test_no_rule_stands_where_the_field_is_dropped() -> None:
    assert wish(field_dropped=True).rule is Rule.NONE
    assert "affinity" not in apply(template(), wish(field_dropped=True)).template["spec"]


@pytest.mark.parametrize("rule", ["Require", "Avoid"])
def test_the_pods_run_on_any_node_that_does_not_refuse_them(rule: str) -> None:
    pods = apply(template(), wish(nodeRule=rule)).template
    terms = pods["spec"]["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]["nodeSelectorTerms"]
    expression = {"key": CAPABILITY_LABEL, "operator": "NotIn", "values": ["rejects"]}
    assert terms == [{"matchExpressions": [expression]}]


def test_nobody_is_kept_from_any_node_if_the_policy_says_so() -> None:
    assert wish(nodeRule="None").rule is Rule.NONE


@pytest.mark.parametrize(
    ("label", "fine"), [("true", True), ("false", True), ("rejects", False), ("x", True)]
)
def test_a_selector_of_the_users_may_ask_for_any_node_that_does_not_refuse_the_pods(
    label: str, *, fine: bool
) -> None:
    result = apply(template(nodeSelector={CAPABILITY_LABEL: label}), wish())
    assert (not result.obstacles) is fine


@pytest.mark.parametrize(
    ("verdict", "runs", "dropped"),
    [
        (NodeVerdict.CAPABLE, True, True),
        (NodeVerdict.IGNORES, True, True),
        (NodeVerdict.UNKNOWN, True, True),
        (NodeVerdict.REJECTS, False, True),
    ],
)
def test_pods_run_wherever_no_kubelet_refuses_them(
    verdict: NodeVerdict, *, runs: bool, dropped: bool
) -> None:
    assert wish().runs_on(verdict) is runs
    assert wish(field_dropped=True).runs_on(verdict) is dropped


def test_mode_native_does_not_care_whether_the_field_is_dropped() -> None:
    assert desired(KEY, spec(), field_dropped=True) == desired(KEY, spec())


def test_all_that_is_injected_is_in_the_revision() -> None:
    revisions = {
        wish().revision,
        wish(field_dropped=True).revision,
        wish(universal={"image": "mine:1"}).revision,
        wish(sidecars=[sidecar(command=["walk"])]).revision,
        desired(KEY, spec(sidecars=[runner()])).revision,
    }
    assert len(revisions) == 5


def test_the_node_rule_of_the_api_is_nothing_to_the_parts_but_stays_in_the_wish() -> None:
    assert wish(nodeRule="Avoid").rule is wish().rule is Rule.NOT_REJECTING
    assert wish().mode is Mode.UNIVERSAL


def test_a_template_whose_restart_policy_changes_gets_other_copies() -> None:
    pods = copy.deepcopy(apply(template(restartPolicy="OnFailure"), wish()).template)
    pods["spec"]["restartPolicy"] = "Never"
    result = apply(pods, wish())
    assert result.changed == {KEY}
    assert result.template == apply(template(restartPolicy="Never"), wish()).template


def test_from_native_to_universal_and_back_is_as_if_it_had_always_been_so() -> None:
    native, universal = desired(KEY, spec(sidecars=[runner()])), wish()
    for first, then in ((native, universal), (universal, native)):
        before = apply(template(), first).template
        assert apply(before, then).template == apply(template(), then).template


def test_a_marker_says_whether_the_field_is_dropped() -> None:
    for each in (wish(), wish(field_dropped=True)):
        read = read_markers(with_markers({"spec": {}}, {KEY: each}))[KEY]
        assert promised(read, each)
        assert read.field_dropped is each.field_dropped
        assert apply(template(), read).template == apply(template(), each).template


def test_another_policys_sidecar_goes_behind_both_containers_of_an_earlier_one() -> None:
    later = desired("SidecarPolicy/mesh", spec(sidecars=[sidecar("proxy")]))
    pods = apply(template(initContainers=[{"name": "migrate"}]), wish()).template
    assert order(apply(pods, later).template) == ["shipper-prepare", "shipper", "proxy", "migrate"]


def test_whichever_policy_comes_first_the_template_is_the_same_in_the_end() -> None:
    native = desired("SidecarPolicy/mesh", spec(sidecars=[sidecar("proxy")]))
    verdicts = [Verdict(each.key, Action.APPLY, each) for each in (wish(), native)]

    def after(*steps: list[Verdict]) -> Any:
        found: Any = template()
        for each in steps:
            found = inject(found, each, site=SITE).template
        return found

    assert after(verdicts) == after(verdicts[:1], verdicts) == after(verdicts[1:], verdicts)


def test_an_earlier_policy_takes_the_name_of_a_copy_from_a_later_one() -> None:
    first = desired("ClusterSidecarPolicy/a", spec(sidecars=[sidecar("shipper-ordinary")]))
    pods = apply(template(), wish()).template
    verdicts = [Verdict(each.key, Action.APPLY, each) for each in (first, wish())]
    result = inject(pods, verdicts, site=SITE)
    assert order(result.template) == ["shipper-ordinary"]
    (finding,) = result.obstacles[KEY]
    assert finding.reason is Reason.NAME_CONFLICT
    assert "added by ClusterSidecarPolicy/a" in finding.message


def test_an_ordinary_copy_gets_nothing_that_application_containers_get() -> None:
    app = {"env": [{"name": "A", "value": "1"}]}
    one = desired("SidecarPolicy/one", spec(sidecars=[sidecar("one")], appContainers=app))
    verdicts = [Verdict(each.key, Action.APPLY, each) for each in (one, wish(appContainers=app))]
    once = inject(template(), verdicts, site=SITE)
    assert "env" not in named(once.template, "shipper-ordinary")
    assert inject(once.template, verdicts, site=SITE).template is once.template


def test_what_an_update_dropped_comes_back_as_it_was() -> None:
    own = template(containers=[{"name": "web", "image": "x"}, {"name": "aux", "image": "y"}])
    injected = apply(own, wish()).template
    assert only_dropped(injected, own, site=SITE)
    assert restored(injected, own, frozenset(), site=SITE) == injected


@pytest.mark.parametrize("field", ["containers", "initContainers"])
def test_a_policy_makes_way_for_what_an_owner_adds_under_the_name_of_a_copy(field: str) -> None:
    injected = copy.deepcopy(apply(template(), wish()).template)
    name = "shipper-prepare" if field == "containers" else "shipper-ordinary"
    injected["spec"][field].append({"name": name, "image": "theirs"})
    assert order_or_none(inject(injected, [], site=SITE).template) == (
        [name] if field == "initContainers" else []
    )


def order_or_none(pods: Any) -> list[str]:
    return [each["name"] for each in pods["spec"].get("initContainers") or ()]


def test_the_cost_is_that_of_both_copies() -> None:
    resources = {"requests": {"cpu": "50m", "memory": "64Mi"}}
    pods = apply(template(), wish(sidecars=[runner(resources=resources)])).template
    cost = by_policy(pods)[KEY]
    assert canonical(cost.requests) == {"cpu": "100m", "memory": "128Mi"}
    assert not cost.findings


def test_a_sidecar_without_requests_is_told_of_once() -> None:
    for dropped in (False, True):
        cost = by_policy(apply(template(), wish(field_dropped=dropped)).template)[KEY]
        assert [each.reason for each in cost.findings] == [Reason.NO_RESOURCE_REQUEST]
        assert cost.findings[0].message.startswith("sidecar 'shipper' requests no cpu")


def test_a_worse_qos_class_is_the_sidecars_fault_and_said_once() -> None:
    whole = {"limits": {"cpu": "1", "memory": "1Gi"}}
    web = {"name": "web", "image": "x", "resources": whole}
    half = {"requests": {"cpu": "50m", "memory": "64Mi"}}
    pods = apply(template(containers=[web]), wish(sidecars=[runner(resources=half)])).template
    (finding,) = by_policy(pods)[KEY].findings
    assert finding.reason is Reason.QOS_CLASS_CHANGED
    assert finding.message.count("sidecar 'shipper' has no cpu limit") == 1
    assert "-ordinary" not in finding.message
    assert "-prepare" not in finding.message


def test_the_qos_class_stays_if_the_sidecar_has_limits() -> None:
    whole = {"limits": {"cpu": "1", "memory": "1Gi"}}
    web = {"name": "web", "image": "x", "resources": whole}
    pods = apply(template(containers=[web]), wish(sidecars=[runner(resources=whole)])).template
    assert not by_policy(pods)[KEY].findings


def test_a_pod_is_known_by_its_sidecars_and_not_by_what_is_added_beside_them() -> None:
    made = apply(template(), wish(sidecars=[runner(), runner("agent")])).template
    pod = {**made, "metadata": dict(made["metadata"])}
    pod["metadata"] |= {"namespace": "shop", "name": "web-1", "uid": "u", "resourceVersion": "1"}
    assert pod_facts(pod).sidecars == ((KEY, ("agent", "shipper")),)


@pytest.mark.parametrize(
    ("own", "user"),
    [
        pytest.param({}, 65532, id="no security context"),
        pytest.param({"runAsUser": 1000}, 1000, id="a user"),
        pytest.param({"runAsUser": 0}, 65532, id="root, which runAsNonRoot forbids"),
    ],
)
def test_the_volume_is_prepared_by_a_user_that_pod_security_takes(own: JSON, user: int) -> None:
    made = copies(runner(securityContext=own), "busybox", "Always").prepare
    assert made["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_ports_that_are_no_names_of_the_sidecars_stay_as_they_are() -> None:
    probe = {"httpGet": {"port": "other"}}
    made = copies(runner(livenessProbe=probe, ports=[{"containerPort": 1}]), "busybox", "Always")
    assert made.native["livenessProbe"] == probe


def test_rules_about_restarts_are_the_native_copys_only() -> None:
    rules = [{"action": "Restart"}]
    made = copies(runner(restartPolicyRules=rules), "busybox", "Always")
    assert made.native["restartPolicyRules"] == rules
    assert "restartPolicyRules" not in made.ordinary
