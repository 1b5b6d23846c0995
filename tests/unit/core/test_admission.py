"""Admission: every row of the tables "Where the change is made", "Which Pods", "UPDATE"."""

import copy
import json
from typing import Any

import jsonpatch
import pytest

from sidecarpolicy.api.names import INJECTED_ANNOTATION, ROLLOUT_ANNOTATION
from sidecarpolicy.core.admission import Answer, admit
from sidecarpolicy.core.facts import policy_facts
from sidecarpolicy.core.held import Because, Hold, encode_holds
from sidecarpolicy.webhook.memory import Memory
from tests.support.builders import policy_object, sidecar
from tests.support.cluster import cron_job, deployment, stateful_set
from tests.support.reviews import admitted, memory, request

JSON = dict[str, Any]
ALL = [{"kind": kind} for kind in ("Deployment", "StatefulSet", "CronJob", "Job", "DaemonSet")]


def policy(name: str = "log-shipper", **fields: Any) -> JSON:
    return policy_object(name, targets=[*ALL, {"kind": "Pod"}], **fields)


def sidecars(spec: JSON) -> list[str]:
    return [each["name"] for each in spec.get("initContainers", ())]


def template(obj: JSON) -> JSON:
    spec = obj["spec"]
    found: JSON = (spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec)["template"]
    return found


def job(**meta: Any) -> JSON:
    made = cron_job("nightly")["spec"]["jobTemplate"]
    return {"metadata": {"name": "nightly-1", **meta}, "spec": made["spec"]}


def pod(*, spec: JSON | None = None, **meta: Any) -> JSON:
    return {
        "metadata": {"name": "p", "labels": {"app": "web"}, **meta},
        "spec": {"containers": [{"name": "web", "image": "nginx"}], **(spec or {})},
    }


def owned(kind: str, name: str = "owner", *, api: str = "apps/v1") -> JSON:
    reference = {"apiVersion": api, "kind": kind, "name": name, "controller": True}
    return {"ownerReferences": [reference]}


def pinned(node: str) -> JSON:
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    return {"affinity": {"nodeAffinity": required}}


def test_a_job_that_is_created_with_its_sidecar_is_warned_of_nothing() -> None:
    answer = admit(request(job(), kind="Job"), memory(policy()))
    assert not [each for each in answer.warnings if "not applied" in each]


@pytest.mark.parametrize(
    ("kind", "obj"),
    [
        ("Deployment", deployment()),
        ("StatefulSet", stateful_set()),
        ("CronJob", cron_job()),
        ("Job", job()),
        ("Job", job(**owned("CronJob"))),
    ],
    ids=["a Deployment", "a StatefulSet", "a CronJob", "a Job", "a CronJob's Job without record"],
)
def test_what_is_created_gets_its_sidecar_in_the_template(kind: str, obj: JSON) -> None:
    before = copy.deepcopy(obj)
    made = template(admitted(obj, memory(policy()), kind=kind))
    assert sidecars(made["spec"]) == ["shipper"]
    assert "nodeAffinity" in made["spec"]["affinity"]
    assert INJECTED_ANNOTATION in made["metadata"]["annotations"]
    assert obj == before


@pytest.mark.parametrize(
    "obj",
    [
        pytest.param(pod(), id="on its own"),
        pytest.param(pod(**owned("EphemeralRunner")), id="of a CI runner's controller"),
        pytest.param(pod(**owned("ReplicaSet")), id="of a ReplicaSet that no Deployment made"),
        pytest.param(pod(**owned("Job", api="batch.volcano.sh/v1")), id="of somebody else's Job"),
        pytest.param(
            pod(**owned("StatefulSet", api="apps.kruise.io/v1")), id="of another StatefulSet"
        ),
    ],
)
def test_a_pod_that_stands_for_itself_gets_its_sidecar(obj: JSON) -> None:
    made = admitted(obj, memory(policy()), kind="Pod")
    assert sidecars(made["spec"]) == ["shipper"]
    assert "nodeAffinity" in made["spec"]["affinity"]


@pytest.mark.parametrize(
    "obj",
    [
        pytest.param(
            pod(**owned("ReplicaSet"), labels={"app": "web", "pod-template-hash": "x"}),
            id="of a Deployment",
        ),
        pytest.param(pod(**owned("StatefulSet")), id="of a StatefulSet"),
        pytest.param(pod(spec={"nodeName": "old"}), id="that is bound to a node that cannot"),
        pytest.param(pod(**owned("Job")), id="of a Job"),
        pytest.param(pod(annotations={"kubernetes.io/config.mirror": "x"}), id="a mirror Pod"),
        pytest.param(
            pod(labels={"app.kubernetes.io/managed-by": "kubectl-debug"}), id="a node debugger"
        ),
        pytest.param(pod(annotations={INJECTED_ANNOTATION: "{}"}), id="that carries a record"),
        pytest.param(
            pod(annotations={"sidecarpolicy.dev/inject": "false"}), id="that opts out itself"
        ),
    ],
)
def test_a_pod_is_left_alone(obj: JSON) -> None:
    assert admitted(obj, memory(policy()), kind="Pod") == obj


@pytest.mark.parametrize(
    "placed",
    [pinned("new"), {"nodeName": "new"}],
    ids=["the daemon controller pins it to", "is bound to"],
)
def test_a_pod_of_a_daemon_set_gets_its_sidecar_if_it_is_for_a_capable_node(placed: JSON) -> None:
    obj = pod(spec=placed, **owned("DaemonSet"))
    made = admitted(obj, memory(policy()), kind="Pod")
    assert sidecars(made["spec"]) == ["shipper"]
    assert made["spec"].get("affinity") == placed.get("affinity")


@pytest.mark.parametrize("node", ["old", "unknown"])
def test_a_pod_of_a_daemon_set_for_any_other_node_runs_as_before(node: str) -> None:
    obj = pod(spec=pinned(node), **owned("DaemonSet"))
    assert admitted(obj, memory(policy()), kind="Pod") == obj


def test_a_daemon_set_is_selected_by_its_own_name() -> None:
    obj = pod(spec=pinned("new"), **owned("DaemonSet", "agent"))
    other = policy_object(targets=[{"kind": "DaemonSet", "name": "another"}])
    assert admitted(obj, memory(other), kind="Pod") == obj
    ours = policy_object(targets=[{"kind": "DaemonSet", "name": "agent"}])
    assert sidecars(admitted(obj, memory(ours), kind="Pod")["spec"]) == ["shipper"]


def test_a_new_daemon_set_has_nothing_to_roll_for() -> None:
    made = admitted({**deployment(), "kind": "DaemonSet"}, memory(policy()), kind="DaemonSet")
    assert sidecars(made["spec"]["template"]["spec"]) == []
    assert list(made["spec"]["template"]["metadata"]["annotations"]) == [ROLLOUT_ANNOTATION]


def test_a_job_that_brings_its_sidecar_from_its_cron_job_passes_unchanged() -> None:
    made = job(**owned("CronJob"))
    made["spec"]["template"]["metadata"]["annotations"] = {INJECTED_ANNOTATION: "{}"}
    assert admitted(made, memory(policy()), kind="Job") == made


def test_a_pod_of_an_older_job_gets_its_sidecar_only_where_the_policy_says_so() -> None:
    obj = pod(**owned("Job", "nightly"))
    view = memory(policy(), policy("next", jobs={"existing": "NewPods"}, sidecars=[sidecar("n")]))
    assert sidecars(admitted(obj, view, kind="Pod")["spec"]) == ["n"]


def test_a_workload_of_another_controller_is_left_alone_with_a_warning() -> None:
    obj = deployment()
    obj["metadata"] |= owned("Rollout", "canary")
    answer = admit(request(obj, kind="Deployment"), memory(policy()))
    assert answer.patch == []
    assert "Rollout canary controls it" in answer.warnings[0]


@pytest.mark.parametrize(
    ("view", "namespace"),
    [
        (memory(), "shop"),
        (memory(policy()), "kube-system"),
        (memory(policy()), "sidecarpolicy-system"),
        (memory(policy(), annotations={"sidecarpolicy.dev/inject": "false"}), "shop"),
        (memory(policy(selector={"matchLabels": {"app": "db"}})), "shop"),
        (memory(policy(nodeRule="Sometimes")), "shop"),
    ],
    ids=[
        "no policy", "the system's namespace", "our own namespace",
        "a namespace that opts out", "another selector", "an unreadable policy",
    ],
)  # fmt: skip
def test_nothing_changes_with(view: Memory, namespace: str) -> None:
    assert admit(request(deployment(), kind="Deployment", namespace=namespace), view).patch == []


def test_a_policy_that_is_being_deleted_counts_as_absent() -> None:
    going = policy()
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert admit(request(deployment(), kind="Deployment"), memory(going)) == Answer([])


def test_a_paused_policy_still_adds_to_what_is_created_but_not_to_what_is_updated() -> None:
    view = memory(policy(paused=True))
    created = admitted(deployment(), view, kind="Deployment")
    assert sidecars(template(created)["spec"]) == ["shipper"]
    edited = with_image(deployment(), "nginx:2")
    assert admitted(edited, view, kind="Deployment", old=deployment()) == edited


def test_people_are_told_what_was_added_and_what_was_not() -> None:
    clash = policy("z-clash", sidecars=[sidecar("web")])
    answer = admit(request(deployment(), kind="Deployment"), memory(policy(), clash))
    wanted = (
        "sidecarpolicy: SidecarPolicy/log-shipper added its sidecars",
        "sidecarpolicy: SidecarPolicy/log-shipper: sidecar 'shipper' requests no cpu and no memory",
        "sidecarpolicy: SidecarPolicy/z-clash not applied: NameConflict: container 'web'",
    )
    assert [said[: len(start)] for said, start in zip(answer.warnings, wanted, strict=True)] == [
        *wanted
    ]


# UPDATE of a template.


def with_image(obj: JSON, image: str) -> JSON:
    made = copy.deepcopy(obj)
    template(made)["spec"]["containers"][0]["image"] = image
    return made


def injected(view: Memory, **fields: Any) -> JSON:
    return admitted(deployment(**fields), view, kind="Deployment")


FULL: JSON = {
    "volumes": [{"name": "logs", "emptyDir": {}}],
    "imagePullSecrets": [{"name": "regcred"}],
    "appContainers": {
        "env": [{"name": "A", "value": "1"}],
        "volumeMounts": [{"name": "logs", "mountPath": "/logs"}],
    },
    "minTerminationGracePeriodSeconds": 45,
}
OWN: JSON = {
    "pod": {
        "initContainers": [{"name": "migrate", "image": "app"}],
        "volumes": [{"name": "data", "emptyDir": {}}],
        "nodeSelector": {"disk": "ssd"},
    }
}


@pytest.mark.parametrize("own", [{}, OWN], ids=["a small template", "one with lists of its own"])
@pytest.mark.parametrize("rule", ["Require", "Avoid", "None"])
def test_a_replace_without_our_parts_is_restored_to_what_it_was(own: JSON, rule: str) -> None:
    view = memory(policy(**FULL, nodeRule=rule))
    old = injected(view, **own)
    # Also under a newer revision: a replace is no reason to roll.
    view.policies.store(policy_facts(policy(**FULL, sidecars=[sidecar(image="newer")])))
    assert admitted(deployment(**own), view, kind="Deployment", old=old) == old


def test_an_owners_change_brings_in_the_current_revision_in_the_same_request() -> None:
    view = memory(policy(**FULL))
    old = injected(view, **OWN)
    newer = policy(**FULL, sidecars=[sidecar(image="newer")])
    view.policies.store(policy_facts(newer))
    for edited in (with_image(old, "nginx:2"), with_image(deployment(**OWN), "nginx:2")):
        result = template(admitted(edited, view, kind="Deployment", old=old))
        assert result["spec"]["containers"][0]["image"] == "nginx:2"
        assert [each["image"] for each in result["spec"]["initContainers"]] == ["newer", "app"]
        assert result == template(admitted(with_image(deployment(**OWN), "nginx:2"),
                                           view, kind="Deployment"))  # fmt: skip


def test_a_policy_that_is_held_keeps_its_parts_through_a_replace_with_changes() -> None:
    view = memory(policy(**FULL))
    old = injected(view, **OWN)
    paused = policy(**FULL, sidecars=[sidecar(image="newer")], paused=True)
    view.policies.store(policy_facts(paused))
    edited = with_image(deployment(**OWN), "nginx:2")
    assert admitted(edited, view, kind="Deployment", old=old) == with_image(old, "nginx:2")


def test_bookkeeping_and_scaling_change_nothing() -> None:
    view = memory(policy())
    old = deployment()  # not injected, so there would be something to do
    scaled = copy.deepcopy(old)
    scaled["spec"]["replicas"] = 7
    scaled["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "2"}
    assert admitted(scaled, view, kind="Deployment", old=old) == scaled


def test_an_opt_out_takes_the_parts_out_in_the_same_request() -> None:
    view = memory(policy(**FULL))
    old = injected(view, **OWN)
    opted_out = deployment(**OWN, template={"annotations": {"sidecarpolicy.dev/inject": "false"}})
    assert admitted(opted_out, view, kind="Deployment", old=old) == opted_out


def test_a_container_that_takes_the_name_of_ours_is_the_users() -> None:
    view = memory(policy())
    old = injected(view)
    mine = deployment(pod={"initContainers": [{"name": "shipper", "image": "mine"}]})
    answer = admit(request(mine, kind="Deployment", old=old), view)
    assert jsonpatch.apply_patch(mine, answer.patch) == mine
    assert "NameConflict" in answer.warnings[0]


@pytest.mark.parametrize("paused", [True, False])
def test_an_ordinary_container_may_take_the_name_of_ours_too(paused: bool) -> None:
    """Both in one Pod would be refused, and with it the owner's change."""
    view = memory(policy())
    old = injected(view)
    view.policies.store(policy_facts(policy(paused=paused)))
    mine = deployment(pod={"containers": [{"name": "shipper", "image": "mine"}]})
    assert admitted(mine, view, kind="Deployment", old=old) == mine


def test_a_replace_without_the_parts_of_two_policies_is_restored_to_what_it_was() -> None:
    both = (policy(**FULL), policy("other", sidecars=[sidecar("other")]))
    view = memory(*both)
    old = injected(view, **OWN)
    view.policies.store(policy_facts(policy(**FULL, sidecars=[sidecar(image="newer")])))
    assert admitted(deployment(**OWN), view, kind="Deployment", old=old) == old
    for each in both:
        each["spec"]["paused"] = True
        view.policies.store(policy_facts(each))
    edited = with_image(deployment(**OWN), "nginx:2")
    assert admitted(edited, view, kind="Deployment", old=old) == with_image(old, "nginx:2")


def test_a_container_that_goes_takes_what_was_added_to_it_along() -> None:
    view = memory(policy(**FULL, paused=True))
    two = {"containers": [{"name": "web", "image": "nginx"}, {"name": "aux", "image": "aux"}]}
    old = injected(view, pod=two)
    result = template(admitted(deployment(), view, kind="Deployment", old=old))
    assert [each["name"] for each in result["spec"]["containers"]] == ["web"]
    assert "aux" not in result["metadata"]["annotations"][INJECTED_ANNOTATION]


def test_the_second_of_two_reviews_changes_nothing() -> None:
    view = memory(policy(**FULL))
    once = injected(view, **OWN)
    assert admit(request(once, kind="Deployment"), view).patch == []


HELD = "sidecarpolicy.dev/held"


def failed_here(one: JSON) -> JSON:
    """The annotation that keeps a policy's current revision out."""
    facts = policy_facts(one)
    assert facts.desired is not None
    hold = Hold(facts.key, facts.desired.revision, Because.ROLLOUT_FAILED)
    return {HELD: encode_holds([hold])}


def with_annotations(obj: JSON, annotations: JSON) -> JSON:
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


WRONG: JSON = {"pod": {"containers": [{"name": "web", "image": "wrong"}]}}


@pytest.mark.parametrize(
    "old", [None, with_annotations(deployment(), failed_here(policy()))], ids=["create", "edit"]
)
def test_what_failed_stays_out_also_when_owners(old: JSON | None) -> None:
    new = with_annotations(deployment(**WRONG), failed_here(policy()))
    assert admitted(new, memory(policy()), kind="Deployment", old=old) == new


def test_a_new_revision_comes_in_with_its_owners_edit_and_ends_the_hold() -> None:
    old = with_annotations(deployment(), failed_here(policy()))
    new = with_annotations(deployment(**WRONG), failed_here(policy()))
    newer = policy(sidecars=[sidecar(image="newer")])
    made = admitted(new, memory(newer), kind="Deployment", old=old)
    assert sidecars(template(made)["spec"]) == ["shipper"]
    assert made["metadata"]["annotations"] == {}


@pytest.mark.parametrize("annotations", [None, {}, {"a": "b"}], ids=["no", "empty", "other"])
def test_a_hold_that_is_dropped_with_an_edit_is_put_back_beside_annotations(
    annotations: JSON | None,
) -> None:
    old = with_annotations(deployment(), failed_here(policy()))
    new = deployment(**WRONG)
    if annotations is not None:
        new = with_annotations(new, annotations)
    made = admitted(new, memory(policy()), kind="Deployment", old=old)
    assert made == with_annotations(new, {**(annotations or {}), **failed_here(policy())})


def test_a_template_with_what_failed_is_stored_without_it() -> None:
    with_it = admitted(deployment(), memory(policy()), kind="Deployment")
    old = with_annotations(deployment(), failed_here(policy()))
    undone = with_annotations(with_it, failed_here(policy()))
    made = admitted(undone, memory(policy()), kind="Deployment", old=old)
    assert template(made) == template(deployment())


def test_pods_of_a_daemon_set_get_nothing_of_a_revision_that_failed_there() -> None:
    one = policy()
    facts = policy_facts(one)
    assert facts.desired is not None
    said = {ROLLOUT_ANNOTATION: json.dumps({facts.key: f"!{facts.desired.revision}"})}
    daemon = pod(spec=pinned("new"), annotations=said, **owned("DaemonSet"))
    assert admitted(daemon, memory(one), kind="Pod") == daemon
    newer = policy(sidecars=[sidecar(image="newer")])
    assert sidecars(admitted(daemon, memory(newer), kind="Pod")["spec"]) == ["shipper"]
