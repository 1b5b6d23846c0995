"""ClusterSidecarPolicy: one policy, many namespaces, on a real API server."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from lab import Lab
from tests.support.cluster import (
    Namespace,
    cluster_policy,
    conditions,
    cron_job,
    deployment,
    policy,
    problems,
)
from tests.support.processes import Controller
from tests.support.waiting import eventually, stays

JSON = dict[str, Any]
TEAM = f"team-{uuid4().hex[:6]}"
OURS = {"matchLabels": {"team": TEAM}}
PROXY = {"name": "proxy", "image": "lab.local/busybox:1"}


class Cluster:
    """Cluster policies, by name."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def apply(self, made: JSON) -> None:
        Namespace(self._lab, "default").apply(made)

    def status(self, name: str) -> JSON:
        found: JSON = Namespace(self._lab, "default").get("cscpol", name)
        return found.get("status") or {}

    def wait_status(self, name: str, **wanted: int) -> JSON:
        return eventually(
            lambda: self.status(name),
            until=lambda status: wanted.items() <= status.get("workloads", {}).items(),
        )


@pytest.fixture
def cluster_policies(installed: Lab) -> Iterator[Cluster]:
    yield Cluster(installed)
    installed.kubectl("delete", "cscpol", "--all")


@pytest.fixture
def teams(installed: Lab) -> Iterator[tuple[Namespace, Namespace, Namespace]]:
    """Two namespaces of the team, and one that is not."""
    made = tuple(Namespace(installed, f"{TEAM}-{name}") for name in ("a", "b", "other"))
    for namespace in made:
        installed.kubectl("create", "namespace", namespace.name)
        namespace.apply(deployment())
    for namespace in made[:2]:
        installed.kubectl("label", "namespace", namespace.name, f"team={TEAM}")
    yield made[0], made[1], made[2]
    installed.kubectl("delete", "namespace", *(each.name for each in made), "--wait=true")


def label(namespace: Namespace, value: str) -> None:
    namespace.lab.kubectl("label", "--overwrite", "namespace", namespace.name, value)


@pytest.mark.usefixtures("controller")
def test_it_follows_the_labels_of_namespaces_and_sums_up_their_workloads(
    cluster_policies: Cluster, teams: tuple[Namespace, Namespace, Namespace]
) -> None:
    a, b, other = teams
    cluster_policies.apply(cluster_policy("mesh", namespaceSelector=OURS, sidecars=[PROXY]))
    status = cluster_policies.wait_status("mesh", matched=2, current=2)
    assert conditions(status)["RolloutComplete"] == ("True", "Complete")
    assert [each.sidecars("web") for each in teams] == [["proxy"], ["proxy"], []]

    label(other, f"team={TEAM}")
    label(a, "team=another")
    cluster_policies.wait_status("mesh", matched=2, current=2)
    eventually(
        lambda: [each.sidecars("web") for each in teams],
        until=lambda found: found == [[], ["proxy"], ["proxy"]],
    )

    b.lab.kubectl("annotate", "namespace", b.name, "sidecarpolicy.dev/inject=false")
    status = cluster_policies.wait_status("mesh", matched=2, current=1, skipped=1)
    assert b.sidecars("web") == []
    assert [each["namespace"] for each in problems(status)] == [b.name]


@pytest.mark.usefixtures("controller")
def test_what_was_in_a_deleted_namespace_is_no_longer_counted(
    cluster_policies: Cluster, installed: Lab
) -> None:
    short = Namespace(installed, f"{TEAM}-short")  # its content goes at the same time as itself
    installed.kubectl("create", "namespace", short.name)
    installed.kubectl("label", "namespace", short.name, f"team={TEAM}")
    short.apply(cron_job())
    cluster_policies.apply(cluster_policy("mesh", namespaceSelector=OURS, sidecars=[PROXY]))
    cluster_policies.wait_status("mesh", matched=1, current=1)
    installed.kubectl("delete", "namespace", short.name)
    cluster_policies.wait_status("mesh", matched=0)


def test_a_rollout_that_failed_in_one_namespace_stays_stopped_in_others_after_a_restart(
    cluster_policies: Cluster,
    controller: Controller,
    teams: tuple[Namespace, Namespace, Namespace],
) -> None:
    a, b, _ = teams  # the last name is planned first
    label(b, "team=later")
    a.apply(deployment(replicas=1))
    a.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    greedy = {**PROXY, "resources": {"requests": {"cpu": "1000"}}}  # no node has as much
    rollout = {"progressDeadlineSeconds": 3}
    cluster_policies.apply(
        cluster_policy("mesh", namespaceSelector=OURS, sidecars=[greedy], rollout=rollout)
    )
    cluster_policies.wait_status("mesh", failed=1)
    label(b, f"team={TEAM}")
    cluster_policies.wait_status("mesh", failed=1, pending=1)
    controller.stop()
    controller.start("--log-format", "json")
    stays(lambda: b.sidecars("web"), seconds=5)
    assert b.sidecars("web") == []


@pytest.mark.usefixtures("controller")
def test_it_comes_before_the_policies_of_a_namespace(
    cluster_policies: Cluster, teams: tuple[Namespace, Namespace, Namespace]
) -> None:
    a, _, _ = teams
    cluster_policies.apply(cluster_policy("mesh", namespaceSelector=OURS, sidecars=[PROXY]))
    a.apply(policy(), policy("b-mesh", sidecars=[PROXY]))
    status = a.wait_status("b-mesh", conflicted=1)
    assert "added by ClusterSidecarPolicy/mesh" in problems(status)[0]["message"]
    a.wait_status("log-shipper", current=1)
    assert a.sidecars("web") == ["proxy", "shipper"]


def test_it_never_reaches_a_namespace_of_the_system(
    cluster_policies: Cluster, controller: Controller, installed: Lab
) -> None:
    system = Namespace(installed, "kube-public")
    system.apply(deployment())
    try:
        cluster_policies.apply(cluster_policy("everywhere"))
        cluster_policies.wait_status("everywhere")
        stays(lambda: system.sidecars("web"), seconds=1)
        assert controller.running()
        assert system.sidecars("web") == []
    finally:
        system.delete("deployment", "web")


def test_when_it_is_deleted_every_namespace_is_as_before(
    cluster_policies: Cluster,
    controller: Controller,
    teams: tuple[Namespace, Namespace, Namespace],
) -> None:
    a, b, _ = teams
    before = [each.pods_template("web") for each in teams]
    cluster_policies.apply(cluster_policy("mesh", namespaceSelector=OURS, sidecars=[PROXY]))
    cluster_policies.wait_status("mesh", current=2)
    controller.stop()
    a.lab.kubectl("delete", "cscpol", "mesh")
    controller.start("--log-format", "json")
    stays(lambda: [a.sidecars("web"), b.sidecars("web")], seconds=10)
    eventually(
        lambda: [each.pods_template("web") for each in teams],
        until=lambda now: now == before,
        seconds=45,
    )


@pytest.mark.usefixtures("controller")
def test_a_policy_that_the_api_server_refuses_holds_nobody_else_up(shop: Namespace) -> None:
    bad = {"name": "bad", "image": "x", "resources": {"requests": {"cpu": "a lot"}}}
    agent = {"name": "agent", "image": "lab.local/busybox:1"}
    shop.apply(
        policy("a-good", sidecars=[PROXY]),
        policy("b-bad", sidecars=[bad]),
        policy("c-good", sidecars=[agent]),
    )
    for name in ("a-good", "b-bad", "c-good"):
        shop.wait_status(name, matched=0)  # all are known before there is anything to roll
    shop.apply(deployment())
    for name in ("a-good", "c-good"):
        status = shop.wait_status(name, current=1)
        assert problems(status) == []
    status = shop.wait_status("b-bad", pending=1)
    assert [each["reason"] for each in problems(status)] == ["Invalid"]
    assert conditions(status)["Ready"] == ("False", "Invalid")
    assert shop.sidecars("web") == ["proxy", "agent"]
    assert shop.get("deployment", "web")["metadata"]["generation"] == 2
    shop.apply(policy("b-bad"))
    shop.wait_status("b-bad", current=1)
    assert shop.sidecars("web") == ["proxy", "shipper", "agent"]
