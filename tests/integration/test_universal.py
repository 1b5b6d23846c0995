"""Mode Universal on a real API server: all kinds, owners who write beside us, and the way back."""

import json
from typing import Any

import pytest

from tests.support.admission import EVERY_KIND, created, job, known, pod
from tests.support.cluster import (
    JSON,
    Namespace,
    conditions,
    cron_job,
    deployment,
    policy,
    problems,
    stateful_set,
)
from tests.support.waiting import eventually, stays

SIDECAR: JSON = {
    "name": "shipper",
    "image": "lab.local/busybox:1",
    "command": ["sleep", "1000"],
    "ports": [{"name": "metrics", "containerPort": 9000}],
    "livenessProbe": {"httpGet": {"path": "/", "port": "metrics"}},
    "volumeMounts": [{"name": "logs", "mountPath": "/var/log/app"}],
}
PARTS: JSON = {
    "mode": "Universal",
    "sidecars": [SIDECAR],
    "volumes": [{"name": "logs", "emptyDir": {}}],
    "appContainers": {"volumeMounts": [{"name": "logs", "mountPath": "/var/log/app"}]},
}
COPIES = (["shipper-prepare", "shipper"], ["shipper-ordinary"])
NONE: tuple[list[str], list[str]] = ([], [])


def universal(**spec: Any) -> JSON:
    return policy(**{**PARTS, "targets": EVERY_KIND, **spec})


def template_of(obj: JSON) -> JSON:
    spec: JSON = obj["spec"].get("jobTemplate", obj)["spec"]
    template: JSON = spec.get("template", {"spec": spec})
    return template


def copies(obj: JSON) -> tuple[list[str], list[str]]:
    """Names of the init containers, and of the regular ones but for the first."""
    spec = template_of(obj)["spec"]
    init, regular = spec.get("initContainers", []), spec["containers"][1:]
    return [each["name"] for each in init], [each["name"] for each in regular]


def daemon_set(name: str = "agent") -> JSON:
    made = {**deployment(name), "kind": "DaemonSet"}
    del made["spec"]["replicas"]
    return made


def pods_of(space: Namespace, owner: str) -> dict[str, tuple[list[str], list[str]]]:
    """By node, what is in the Pods of a DaemonSet; without the last part of the node's name."""
    mine = [e for e in space.all("pods") if e["metadata"]["name"].startswith(f"{owner}-")]
    placed = (each for each in mine if each["spec"].get("nodeName"))
    return {each["spec"]["nodeName"].partition("-")[0]: copies(each) for each in placed}


def test_every_kind_gets_its_copies_and_gives_them_back_when_the_policy_is_deleted(
    space: Namespace,
) -> None:
    made = (deployment(), stateful_set(), cron_job())
    space.apply(*made)
    before = {each["kind"]: template_of(space.get(each["kind"], _name(each))) for each in made}
    space.apply(universal())
    found = space.wait_status("log-shipper", current=3)
    assert conditions(found)["Ready"] == ("True", "Ready")
    assert problems(found) == []  # no node here ignores the field, so Jobs complete
    for each in made:
        assert copies(space.get(each["kind"], _name(each))) == COPIES
    rule = template_of(space.get("deployment", "web"))["spec"]["affinity"]
    assert json.dumps(rule).count('"operator": "NotIn", "values": ["rejects"]') == 1
    # The webhook does the same to what is new, also where a template never changes again.
    assert copies(created(space, job())[0]) == COPIES
    assert copies(created(space, deployment("new"))[0]) == COPIES
    assert copies(created(space, pod())[0]) == COPIES
    space.delete("scpol", "log-shipper")
    for each in made:
        eventually(
            lambda each=each: template_of(space.get(each["kind"], _name(each))),  # type: ignore[misc]
            until=lambda now, each=each: now == before[each["kind"]],  # type: ignore[misc]
            seconds=90,
        )
    assert copies(space.get("job", "run")) == COPIES


def _name(made: JSON) -> str:
    name: str = made["metadata"]["name"]
    return name


def test_a_daemon_set_rolls_and_its_pods_get_what_their_node_runs(space: Namespace) -> None:
    space.apply(daemon_set())
    eventually(lambda: pods_of(space, "agent"), until=lambda now: {"new", "old"} <= now.keys())
    known(space, universal())
    wanted = {"new": COPIES, "old": NONE}  # kubelet 1.28 refuses the field
    eventually(
        lambda: pods_of(space, "agent"),
        until=lambda now: wanted.items() <= now.items(),
        seconds=60,
    )
    assert copies(space.get("daemonset", "agent")) == NONE


@pytest.fixture
def web(space: Namespace) -> Namespace:
    """A Deployment with its copies."""
    space.apply(deployment())
    space.apply(universal())
    space.wait_status("log-shipper", current=1)
    assert space.revisions("web") == 2
    return space


def test_a_replace_and_an_undo_without_our_parts_change_nothing(web: Namespace) -> None:
    stored = template_of(web.get("deployment", "web"))
    replaced = {**deployment(), "metadata": {"name": "web", "namespace": web.name}}
    web.lab.kubectl("replace", "-f", "-", input=json.dumps(replaced))
    assert template_of(web.get("deployment", "web")) == stored
    web.kubectl("rollout", "undo", "deployment/web")
    assert template_of(web.get("deployment", "web")) == stored
    assert stays(lambda: web.revisions("web"), seconds=2) == 2


def test_an_owner_who_takes_only_the_ordinary_copy_out_gets_it_back(web: Namespace) -> None:
    stored = template_of(web.get("deployment", "web"))
    web.patch("deployment", "web", [{"op": "remove", "path": "/spec/template/spec/containers/1"}])
    assert template_of(web.get("deployment", "web")) == stored
    assert web.revisions("web") == 2


def test_an_owners_change_keeps_the_copies_in_one_rollout(web: Namespace) -> None:
    image = {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "web:2"}
    web.patch("deployment", "web", [image])
    found = web.get("deployment", "web")
    assert copies(found) == COPIES
    assert template_of(found)["spec"]["containers"][0]["image"] == "web:2"
    web.wait_status("log-shipper", current=1)
    assert stays(lambda: web.revisions("web"), seconds=2) == 3


def test_a_gitops_tool_that_applies_again_takes_nothing_out(space: Namespace) -> None:
    def apply() -> None:
        space.apply(deployment(), server_side=True, manager="kustomize-controller")

    apply()
    space.apply(universal())
    space.wait_status("log-shipper", current=1)
    stored = space.get("deployment", "web")
    assert copies(stored) == COPIES
    apply()
    again = space.get("deployment", "web")
    assert template_of(again) == template_of(stored)
    assert again["metadata"]["generation"] == stored["metadata"]["generation"]


def test_a_policy_goes_from_native_to_universal_and_back_with_one_rollout_each(
    space: Namespace,
) -> None:
    space.apply(deployment(), policy(**{**PARTS, "mode": "Native"}))
    space.wait_status("log-shipper", current=1)
    native = template_of(space.get("deployment", "web"))
    for mode, revisions in (("Universal", 3), ("Native", 4)):
        before = space.get("deployment", "web")["metadata"]["generation"]
        space.apply(policy(**{**PARTS, "mode": mode}))
        space.wait_status("log-shipper", current=1)
        found = space.get("deployment", "web")
        assert found["metadata"]["generation"] == before + 1
        assert copies(found) == (COPIES if mode == "Universal" else (["shipper"], []))
        assert stays(lambda: space.revisions("web"), seconds=1) in (revisions, revisions - 1)
    assert template_of(space.get("deployment", "web")) == native
