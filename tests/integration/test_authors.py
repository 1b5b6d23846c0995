"""Which rights it takes to write a policy: those to do by hand what the operator does for it.

Users here have certificates and tokens of their own; nobody acts `--as` somebody else.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from lab import Lab
from tests.support.authors import (
    BASE,
    CRON_JOBS,
    DEPLOYMENTS,
    PODS,
    POLICY,
    RESOURCES,
    STATEFUL_SETS,
    WORKLOADS,
    create,
    may_not,
    patch,
    refusal,
    said,
    targets,
)
from tests.support.cluster import (
    JSON,
    Namespace,
    cluster_policy,
    conditions,
    deployment,
    policy,
)
from tests.support.processes import Controller
from tests.support.users import (
    User,
    account,
    dismiss,
    grant,
    grant_everywhere,
    let_write_cluster_policies,
    let_write_policies,
    person,
    right,
)
from tests.support.waiting import eventually

NAMED = [f"Deployment/web-{number}" for number in range(9)]
NAMES = [word.partition("/")[2] for word in NAMED]
MOST_TARGETS = [
    f"{kind}/{number:02}".ljust(255, "x")
    for kind in ("Deployment", "StatefulSet")
    for number in range(32)
]


def on_deployments(*names: str) -> JSON:
    return right("patch", "deployments.apps", *names)


def aimed(words: list[str]) -> JSON:
    """A policy with these targets, or with those that it gets by default."""
    return policy(targets=targets(*words)) if words else policy()


LACKING: dict[str, tuple[list[JSON], list[str], str]] = {
    "nothing on workloads": ([], [], "patch deployments"),
    "pods alone": ([PODS], [], "patch deployments"),
    "some of the kinds": ([DEPLOYMENTS, CRON_JOBS, PODS], [], "patch statefulsets"),
    "all kinds but the last": ([*WORKLOADS[:-1], PODS], [], "patch jobs"),
    "another verb": ([right("update", "deployments.apps"), PODS], [], "patch deployments"),
    "a subresource": ([right("patch", "deployments/scale.apps"), PODS], [], "patch deployments"),
    "another kind": ([STATEFUL_SETS, PODS], ["CronJob"], "patch cronjobs"),
    "an object of the kind": ([on_deployments("web"), PODS], ["Deployment"], "patch deployments"),
    "another object": ([on_deployments("api"), PODS], ["Deployment/web"], "patch deployments/web"),
    "an object of another kind": (
        [on_deployments("db"), PODS], ["StatefulSet/db"], "patch statefulsets/db",
    ),
    "seven objects of eight": (
        [on_deployments(*NAMES[:7]), PODS], NAMED[:8], "patch deployments/web-7",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("rights", "words", "lacked"), LACKING.values(), ids=LACKING)
def test_an_author_is_refused_who_has_rights_on(
    author: User, shop: Namespace, rights: list[JSON], words: list[str], lacked: str
) -> None:
    grant(shop, author, rights)
    assert refusal(author, shop, aimed(words)).endswith(may_not(author, shop, lacked))


def test_an_author_is_refused_who_may_patch_workloads_but_not_create_pods(
    author: User, shop: Namespace
) -> None:
    grant(shop, author, WORKLOADS)
    assert refusal(author, shop, policy()).endswith(
        f"denied request: alice may not create pods in namespace {shop.name}, and this policy "
        "decides what runs in them; ask for that right"
    )


def test_more_than_eight_targets_take_rights_on_whole_kinds(author: User, shop: Namespace) -> None:
    grant(shop, author, [on_deployments(*NAMES), PODS])
    assert refusal(author, shop, policy(targets=targets(*NAMED))).endswith(
        may_not(author, shop, "patch deployments") + " to at most 8, which are then checked by name"
    )


ENOUGH: dict[str, tuple[list[JSON], list[str]]] = {
    "all kinds": ([*WORKLOADS, PODS], []),
    "the one kind": ([STATEFUL_SETS, PODS], ["StatefulSet"]),
    "the object's kind": ([STATEFUL_SETS, PODS], ["StatefulSet/db"]),
    "the object": ([on_deployments("web"), PODS], ["Deployment/web"]),
    "an object and a kind": (
        [on_deployments("web"), CRON_JOBS, PODS], ["Deployment/web", "CronJob"],
    ),
    "eight objects": ([on_deployments(*NAMES[:8]), PODS], NAMED[:8]),
    "the kinds of the most targets": ([DEPLOYMENTS, STATEFUL_SETS, PODS], MOST_TARGETS),
}  # fmt: skip


@pytest.mark.parametrize(("rights", "words"), ENOUGH.values(), ids=ENOUGH)
def test_a_policy_is_taken_from_an_author_with_rights_on(
    author: User, shop: Namespace, rights: list[JSON], words: list[str]
) -> None:
    grant(shop, author, rights)
    assert create(author, shop, aimed(words)) == ""


@pytest.mark.parametrize(("kind", "resource"), RESOURCES.items(), ids=RESOURCES)
def test_a_target_takes_the_right_on_its_kind(
    author: User, shop: Namespace, kind: str, resource: str
) -> None:
    wanted = policy(targets=targets(f"{kind}/one"))
    grant(shop, author, [PODS])
    lacked = f"patch {resource.partition('.')[0]}/one"
    assert refusal(author, shop, wanted).endswith(may_not(author, shop, lacked))
    grant(shop, author, [right("patch", resource, "one"), PODS])
    assert refusal(author, shop, wanted) == ""


def test_rights_in_another_namespace_do_not_help(author: User, shop: Namespace) -> None:
    other = Namespace(shop.lab, f"{shop.name}-other")
    shop.lab.kubectl("create", "namespace", other.name)
    let_write_policies(other, author)
    grant(other, author, [*WORKLOADS, PODS])
    assert refusal(author, other, policy()) == ""
    assert refusal(author, shop, policy()).endswith(may_not(author, shop, "patch deployments"))
    shop.lab.kubectl("delete", "namespace", other.name, "--wait=false")


@pytest.fixture
def carol(alice: User) -> Iterator[User]:
    """Somebody of the test's own who may write policies of all kinds, and nothing else."""
    user = person(alice.lab, f"carol-{uuid4().hex[:6]}")
    let_write_cluster_policies(user)
    yield user
    alice.lab.kubectl("delete", "cscpol", "--all")
    dismiss(user)


def test_a_cluster_policy_is_refused_to_an_author_with_rights_in_some_namespaces(
    carol: User, shop: Namespace
) -> None:
    grant(shop, carol, [*WORKLOADS, PODS])
    assert refusal(carol, shop, policy()) == ""
    ours = {"matchLabels": {"kubernetes.io/metadata.name": shop.name}}
    answer = refusal(carol, None, cluster_policy(namespaceSelector=ours))
    assert answer.endswith(may_not(carol, None, "patch deployments"))


def test_a_cluster_policy_is_refused_to_an_author_who_may_not_create_pods_in_all_namespaces(
    carol: User,
) -> None:
    grant_everywhere(carol, [on_deployments("web")])
    answer = refusal(carol, None, cluster_policy(targets=targets("Deployment/web")))
    assert f"{carol.name} may not create pods in all namespaces, and this policy" in answer


def test_a_cluster_policy_is_taken_from_an_author_with_rights_in_all_namespaces(
    carol: User,
) -> None:
    grant_everywhere(carol, [on_deployments("web"), STATEFUL_SETS, PODS])
    wanted = cluster_policy(targets=targets("Deployment/web", "StatefulSet"))
    assert create(carol, None, wanted) == ""


def test_no_other_namespaces_are_selected_without_rights_on_all(carol: User) -> None:
    nowhere = {"matchLabels": {"team": "nobody"}}
    carol.lab.kubectl(
        "create", "-f", "-", input=json.dumps(cluster_policy(namespaceSelector=nowhere))
    )
    labels = {"metadata": {"labels": {"team": "web"}}}
    everywhere = {"spec": {"namespaceSelector": {"matchLabels": None}}}
    assert said(carol, None, *patch("cscpol", "log-shipper", labels)) == ""
    answer = said(carol, None, *patch("cscpol", "log-shipper", everywhere))
    assert answer.endswith(may_not(carol, None, "patch deployments"))


def test_the_controllers_own_account_injects_and_reports(
    alice: User, capable: Lab, shop: Namespace, tmp_path: Path
) -> None:
    robot = account(
        capable,
        namespace="sidecarpolicy-system",
        name="sidecarpolicy-controller",
        kubeconfig=tmp_path / "controller.kubeconfig",
    )
    with Controller(capable, tmp_path / "controller.log") as controller:
        controller.start("--kubeconfig", str(robot.kubeconfig))
        let_write_policies(shop, alice)
        grant(shop, alice, [DEPLOYMENTS, PODS])
        shop.apply(deployment())
        assert create(alice, shop, policy(targets=targets("Deployment"))) == ""
        status = shop.wait_status("log-shipper", current=1)
    assert conditions(status)["Ready"] == ("True", "Ready")
    assert shop.sidecars("web") == ["shipper"]


@pytest.mark.usefixtures("alice")
def test_the_roles_of_kubernetes_let_nobody_write_policies(installed: Lab) -> None:
    def verbs(role: str) -> set[str]:
        rules = json.loads(installed.kubectl("get", "clusterrole", role, "-o", "json"))["rules"]
        ours = (rule for rule in rules if "sidecarpolicy.dev" in rule.get("apiGroups", []))
        return {verb for rule in ours for verb in rule["verbs"]}

    reading = {"get", "list", "watch"}
    for role in ("view", "edit", "admin"):  # each takes in the one before
        eventually(partial(verbs, role), until=lambda found: found == reading)


@pytest.mark.usefixtures("alice")
def test_the_expressions_fit_the_types_of_our_kinds(installed: Lab) -> None:
    installed_one = next(yaml.safe_load_all((BASE / "authors.yaml").read_text()))
    spec = installed_one["spec"]
    # The type checker reports on validations only, so all else is made one.
    others = [each["expression"] for each in [*spec["matchConditions"], *spec["variables"]]]
    checked = [{"expression": f"[{each}].size() == 1", "message": "-"} for each in others]
    wrong = {"expression": "object.spec.tragets == []"}
    copy = {**spec, "validations": [*spec["validations"], *checked, wrong]}
    installed.kubectl(
        *("apply", "-f", "-"),
        input=json.dumps({**installed_one, "metadata": {"name": "typed"}, "spec": copy}),
    )
    show = ("get", "validatingadmissionpolicy", "-o", "jsonpath={.status}")
    copied = eventually(
        lambda: installed.kubectl(*show, "typed"), until=lambda found: "observed" in found
    )
    installed.kubectl("delete", "validatingadmissionpolicy", "typed")
    (warning,) = json.loads(copied)["typeChecking"]["expressionWarnings"]
    last = len(copy["validations"]) - 1
    assert warning["fieldRef"] == f"spec.validations[{last}].expression"
    for kind in ("ClusterSidecarPolicy", "SidecarPolicy"):
        assert f"sidecarpolicy.dev/v1alpha1, Kind={kind}: ERROR" in warning["warning"]
    assert json.loads(installed.kubectl(*show, POLICY))["typeChecking"] == {}
