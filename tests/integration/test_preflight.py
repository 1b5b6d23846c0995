"""The preflight on a real API server: dry runs find out what would go wrong, before it does."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from lab import Lab
from tests.support import admission, injector, stripper
from tests.support.admission import EVERY_KIND, dry_run, names, own_rights, pod
from tests.support.audit import dry_runs
from tests.support.cluster import (
    Namespace,
    cluster_policy,
    conditions,
    deployment,
    policy,
    problems,
    writes_in,
)
from tests.support.processes import Controller
from tests.support.users import User
from tests.support.waiting import eventually, stays

JSON = dict[str, Any]
SIDECAR = {"name": "shipper", "image": "lab.local/busybox:1"}
ON_WINDOWS = {"os": {"name": "windows"}}
OF_LINUX = {**SIDECAR, "securityContext": {"runAsUser": 1000}}
"""The API server takes it, but not in a Pod for Windows."""
PROBED = {**SIDECAR, "startupProbe": {"exec": {"command": ["true"]}}}


@pytest.fixture(scope="module", autouse=True)
def controller(cluster: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """Controller and webhook, each with the rights of its own ServiceAccount."""
    with admission.running(cluster, tmp_path_factory.mktemp("preflight")) as (process, _):
        yield process


@pytest.fixture
def spaces(cluster: Lab) -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces of one team."""
    team = f"team-{uuid4().hex[:6]}"
    made = tuple(f"{team}-{each}" for each in "ab")
    for name in made:
        cluster.kubectl("create", "namespace", name)
        cluster.kubectl("label", "namespace", name, f"team={team}")
    yield Namespace(cluster, made[0]), Namespace(cluster, made[1])
    cluster.kubectl("delete", "namespace", *made, "--wait=false")


@pytest.fixture
def space(spaces: tuple[Namespace, Namespace]) -> Namespace:
    return spaces[0]


def team(space: Namespace) -> str:
    return space.name.rpartition("-")[0]


def of_team(space: Namespace, **spec: Any) -> JSON:
    chosen = {"matchLabels": {"team": team(space)}}
    return cluster_policy(team(space), namespaceSelector=chosen, targets=EVERY_KIND, **spec)


def status(space: Namespace) -> JSON:
    """Of the team's policy."""
    found: JSON = json.loads(space.lab.kubectl("get", "cscpol", team(space), "-o", "json"))
    return found.get("status") or {}


def blocked(found: JSON) -> dict[str, str]:
    """Reasons by namespace."""
    return {each["namespace"]: each["reason"] for each in found.get("blockedNamespaces", ())}


def is_blocked(space: Namespace, reason: str) -> JSON:
    """The status of the namespace's own policy, once it says that it is blocked."""
    return eventually(
        lambda: space.status("log-shipper"),
        until=lambda found: blocked(found) == {space.name: reason},
    )


def blocks_nothing(space: Namespace) -> None:
    ready = ("True", "Ready")
    eventually(lambda: conditions(space.status("log-shipper")).get("Ready") == ready)
    assert blocked(space.status("log-shipper")) == {}


@pytest.mark.parametrize("sidecar", [SIDECAR, PROBED], ids=["silently", "loudly"])
def test_a_webhook_that_strips_in_one_namespace_blocks_that_one_until_it_is_gone(
    spaces: tuple[Namespace, Namespace], tmp_path: Path, sidecar: JSON
) -> None:
    here, there = spaces
    for each in spaces:
        each.apply(deployment())
    with (
        injector.registered(here.lab, tmp_path, name="a-mesh", reinvocation="Never"),
        stripper.registered(there, tmp_path / "stripper"),
    ):
        there.lab.kubectl("apply", "-f", "-", input=json.dumps(of_team(there, sidecars=[sidecar])))
        found = eventually(
            lambda: status(there),
            until=lambda now: (
                "first: MutatingWebhookConfiguration stripper (" in json.dumps(now)
                and now["workloads"]["current"] == 1
            ),
        )
        assert blocked(found) == {there.name: "StrippedByWebhook"}
        assert conditions(found)["Ready"] == ("False", "StrippedByWebhook")
        assert conditions(found)["ClusterCapable"] == ("True", "Capable")
        assert here.sidecars("web") == ["mesh", "shipper"]
        assert there.get("deployment", "web")["metadata"]["generation"] == 1
        # What is created under a block passes our webhook as it is.
        eventually(lambda: names(dry_run(there, pod())["spec"]) == ["mesh"])
        there.apply(deployment("later"), pod("later"))
        assert there.sidecars("later") == names(there.get("pod", "later")["spec"]) == ["mesh"]
        there.lab.kubectl("delete", "mutatingwebhookconfiguration", stripper.NAME)
        eventually(lambda: status(there), until=lambda now: now["workloads"]["current"] == 3)
        assert blocked(status(there)) == {}
        assert conditions(status(there))["Ready"] == ("True", "Ready")
        assert [*there.sidecars("web"), *there.sidecars("later")].count("shipper") == 2
    there.lab.kubectl("delete", "cscpol", team(there))


def test_a_webhook_that_begins_to_strip_reverts_nothing(space: Namespace, tmp_path: Path) -> None:
    space.apply(deployment(), policy())
    space.wait_status("log-shipper", current=1)
    with stripper.registered(space, tmp_path):
        found = is_blocked(space, "StrippedByWebhook")
        assert conditions(found)["ClusterCapable"] == ("False", "StrippedByWebhook")
        assert conditions(found)["Ready"] == ("False", "StrippedByWebhook")
        space.apply(policy(sidecars=[{**SIDECAR, "args": ["new"]}]))
        space.wait_status("log-shipper", pending=1)
        assert space.sidecars("web") == ["shipper"]
        assert space.get("deployment", "web")["metadata"]["generation"] == 2
    space.wait_status("log-shipper", current=1)
    assert space.get("deployment", "web")["metadata"]["generation"] == 3


def _passes(space: Namespace, made: JSON) -> bool:
    done = space.lab.run(
        ["kubectl", "-n", space.name, "apply", "-f", "-"], input=json.dumps(made), check=False
    )
    return done.returncode == 0


def test_a_malformed_sidecar_keeps_no_owner_from_creating_once_the_status_says_so(
    space: Namespace,
) -> None:
    negative = {**SIDECAR, "resources": {"requests": {"cpu": "-1"}}}
    space.apply(policy(sidecars=[negative], targets=EVERY_KIND))
    found = is_blocked(space, "Invalid")
    assert conditions(found)["Accepted"] == conditions(found)["Ready"] == ("False", "Invalid")
    assert "must be greater than or equal to 0" in found["blockedNamespaces"][0]["message"]
    # The webhook hears of a status a moment later than we do.
    eventually(lambda: _passes(space, pod()))
    space.apply(deployment())
    assert space.sidecars("web") == names(space.get("pod", "alone")["spec"]) == []
    space.apply(policy(targets=EVERY_KIND))
    space.wait_status("log-shipper", current=1)
    blocks_nothing(space)


def test_what_fits_no_workload_is_refused_in_the_servers_words(space: Namespace) -> None:
    space.apply(deployment(pod=ON_WINDOWS))
    space.apply(policy(sidecars=[OF_LINUX]))
    found = is_blocked(space, "Refused")
    assert "cannot be set for a windows pod" in found["blockedNamespaces"][0]["message"]
    assert conditions(found)["Accepted"] == ("True", "Accepted")
    eventually(lambda: _passes(space, deployment("later", pod=ON_WINDOWS)))
    space.delete("deployment", "later")
    space.patch("deployment", "web", {"spec": {"template": {"spec": {"os": None}}}})
    space.wait_status("log-shipper", current=1, seconds=60)


def test_a_workload_that_is_refused_by_itself_can_still_be_changed_by_its_owner(
    space: Namespace,
) -> None:
    space.apply(deployment("fine"), deployment("web", pod=ON_WINDOWS))
    space.apply(policy(sidecars=[OF_LINUX]))
    found = space.wait_status("log-shipper", current=1, pending=1)
    assert [(e["name"], e["reason"]) for e in problems(found)] == [("web", "Refused")]
    assert blocked(found) == {}
    changed = deployment("web", labels={"new": "label"}, pod=ON_WINDOWS)
    eventually(lambda: _passes(space, changed))
    space.patch("deployment", "web", {"spec": {"template": {"spec": {"os": None}}}})
    space.wait_status("log-shipper", current=2)


def test_pod_security_refuses_in_its_own_words_and_heals_with_the_label(space: Namespace) -> None:
    label = "pod-security.kubernetes.io/enforce"
    space.lab.kubectl("label", "namespace", space.name, f"{label}=restricted")
    space.apply(deployment())
    space.apply(policy())
    found = is_blocked(space, "Refused")
    message = found["blockedNamespaces"][0]["message"]
    assert 'violates PodSecurity "restricted:latest"' in message
    assert 'container "shipper" must set securityContext.allowPrivilegeEscalation' in message
    assert conditions(found)["Ready"] == ("False", "Refused")
    assert space.sidecars("web") == []
    space.lab.kubectl("label", "namespace", space.name, f"{label}-")
    space.wait_status("log-shipper", current=1)
    blocks_nothing(space)


def test_a_full_quota_is_only_a_warning(space: Namespace) -> None:
    space.kubectl("create", "quota", "few", "--hard=pods=0")
    eventually(lambda: space.get("quota", "few").get("status", {}).get("hard"))
    space.apply(policy(), deployment())
    found = space.wait_status("log-shipper", current=1)
    assert conditions(found)["Ready"] == ("True", "Ready")
    said = {each["reason"]: each["message"] for each in found["problems"]}
    assert "exceeded quota: few" in said["QuotaExceeded"]
    assert problems(found) == []


def test_a_policy_costs_few_dry_runs_and_none_when_idle(space: Namespace) -> None:
    before = len(dry_runs(space.lab))
    space.apply(*(deployment(f"web-{number}") for number in range(9)))
    space.apply(policy("a"), policy("b", sidecars=[{**SIDECAR, "name": "b"}]))
    for name in ("a", "b"):
        space.wait_status(name, current=9, seconds=60)

    def asked() -> int:
        mine = (e["objectRef"].get("namespace") == space.name for e in dry_runs(space.lab)[before:])
        return sum(mine)

    assert stays(asked, seconds=3) == 2
    assert stays(lambda: len(writes_in(space)), seconds=1)


def test_the_controllers_account_may_create_pods_as_dry_runs_only(
    space: Namespace, tmp_path: Path, controller: Controller
) -> None:
    itself = User(space.lab, "controller", own_rights(space.lab, "controller", tmp_path))

    def create(name: str, *flags: str) -> str:
        command = ("-n", space.name, "create", "--validate=false", *flags, "-f", "-")
        return itself.run(*command, input=json.dumps(pod(name))).stderr.strip()

    denial = "may create Pods as dry runs only"
    eventually(lambda: denial in create("early"))  # the API server learns of it in its own time
    assert denial in create("real")
    assert create("tried", "--dry-run=server") == ""
    assert {"real", "tried"}.isdisjoint(each["metadata"]["name"] for each in space.all("pod"))
    assert "forbidden: User" not in controller.log()
