"""Conditions and kstatus: what deployment tools make of policies in real runs.

The judge is the real library, as a small program of tests/kstatus.
"""

import json
import subprocess
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from lab import Lab
from tests.support.audit import writes
from tests.support.cluster import JSON, Namespace, conditions, deployment, persisted, policy
from tests.support.goprograms import go_program
from tests.support.processes import Controller
from tests.support.waiting import at_rest, eventually

SLOW = {"minReadySeconds": 500}
"""Its Pods are ready at once, and available only after minutes."""


@pytest.fixture(scope="session")
def kstatus(installed: Lab) -> Path:
    """The program that judges objects."""
    return go_program(installed, "kstatus")


def judged(program: Path, *dumps: JSON) -> list[str]:
    text = "".join(json.dumps(each) for each in dumps)
    done = subprocess.run([program], input=text, capture_output=True, text=True, check=True)
    return [json.loads(line)["status"] for line in done.stdout.splitlines()]


def dump(shop: Namespace, condition: str, reason: str, name: str = "log-shipper") -> JSON:
    """The policy as soon as it says so of its current generation."""

    def says(obj: JSON) -> bool:
        status = obj.get("status") or {}
        fresh = status.get("observedGeneration") == obj["metadata"]["generation"]
        return fresh and conditions(status).get(condition, ("", ""))[1] == reason

    return eventually(lambda: shop.get("scpol", name), until=says)


def slow(name: str = "web") -> JSON:
    made = deployment(name, replicas=1)
    return {**made, "spec": {**made["spec"], **SLOW}}


def both(dumped: JSON) -> set[str]:
    return {"Reconciling", "Stalled"} & conditions(dumped["status"]).keys()


def test_kstatus_follows_a_policy_from_its_creation_to_its_end(
    shop: Namespace, capable: Lab, tmp_path: Path, kstatus: Path
) -> None:
    shop.apply(policy(rollout={"maxConcurrent": 1}), slow())
    fresh = shop.get("scpol", "log-shipper")
    with Controller(capable, tmp_path / "controller.log") as controller:
        controller.start()
        rolling = dump(shop, "Reconciling", "InProgress")
        shop.patch("deployment", "web", {"spec": {"minReadySeconds": 0}})
        done = dump(shop, "RolloutComplete", "Complete")
        shop.patch("scpol", "log-shipper", {"spec": {"paused": True}})
        shop.patch("scpol", "log-shipper", {"spec": {"sidecars": [{"name": "b", "image": "b:1"}]}})
        paused = dump(shop, "RolloutComplete", "Paused")
    shop.patch("scpol", "log-shipper", {"spec": {"paused": False}})
    edited = shop.get("scpol", "log-shipper")
    shop.patch("scpol", "log-shipper", {"metadata": {"finalizers": ["example.com/wait"]}})
    shop.kubectl("delete", "scpol", "log-shipper", "--wait=false")
    ending = shop.get("scpol", "log-shipper")
    shop.patch("scpol", "log-shipper", {"metadata": {"finalizers": None}})
    assert fresh["status"] == {"observedGeneration": -1}
    assert [both(each) for each in (rolling, done, paused)] == [{"Reconciling"}, set(), set()]
    assert judged(kstatus, fresh, rolling, done, paused, edited, ending) == [
        "InProgress", "InProgress", "Current", "Current", "InProgress", "Terminating",
    ]  # fmt: skip


@pytest.mark.usefixtures("controller")
def test_kstatus_sees_what_waiting_does_not_mend_as_failed(shop: Namespace, kstatus: Path) -> None:
    broken = slow()
    broken["spec"]["progressDeadlineSeconds"] = 5  # late enough to be joined before
    broken["spec"]["minReadySeconds"] = 0
    unstartable = [{"name": "shipper", "image": "lab.local/busybox:1"}]
    shop.apply(policy("stopped", sidecars=unstartable, selector={"matchLabels": {"app": "web"}}))
    shop.apply(unschedulable(broken))
    typo = [{"name": "shipper", "image": "lab.local/busybox:1", "volumMounts": []}]
    shop.apply(policy("typo", sidecars=typo, selector={"matchLabels": {"app": "api"}}))
    own = deployment("own", pod={"initContainers": [{"name": "shipper", "image": "x"}]})
    shop.apply(policy("clash", selector={"matchLabels": {"app": "own"}}))
    shop.apply(deployment("api"), own)
    excluded = Namespace(shop.lab, "kube-public")
    excluded.apply(policy("excluded"))
    dumps = [
        dump(shop, "Stalled", "RolloutStopped", "stopped"),
        dump(shop, "Stalled", "Invalid", "typo"),
        dump(shop, "Stalled", "WorkloadsConflicted", "clash"),
        dump(excluded, "Stalled", "NamespaceExcluded", "excluded"),
    ]
    excluded.delete("scpol", "excluded")
    assert [both(each) for each in dumps] == [{"Stalled"}] * 4
    assert judged(kstatus, *dumps) == ["Failed"] * 4


def unschedulable(obj: JSON) -> JSON:
    """No node has that label, so that its Pods never run."""
    obj["spec"]["template"]["spec"]["schedulerName"] = "nobody"
    return obj


@pytest.mark.usefixtures("controller")
def test_kstatus_does_not_wait_for_what_is_peoples_turn(shop: Namespace, kstatus: Path) -> None:
    paused = deployment(replicas=1)
    paused["spec"]["paused"] = True
    shop.apply(paused, deployment("later"))
    later = {"rollout": {"existing": "OnNextUpdate"}}
    shop.apply(policy("waiting", selector={"matchLabels": {"app": "web"}}))
    shop.apply(policy("later", selector={"matchLabels": {"app": "later"}}, **later))
    waiting = dump(shop, "RolloutComplete", "WaitingForOwner", "waiting")
    left = dump(shop, "RolloutComplete", "OnNextUpdate", "later")
    assert judged(kstatus, waiting, left) == ["Current", "Current"]
    (problem, *_) = waiting["status"]["problems"]
    assert (problem["name"], problem["reason"]) == ("web", "WaitingForOwner")
    assert "kubectl rollout resume" in problem["message"]
    assert shop.sidecars("later") == []


def status_times(shop: Namespace) -> list[float]:
    """When statuses of the policy were written."""
    wanted = ("patch", "sidecarpolicies/log-shipper/status")
    mine = (e for e in writes(shop.lab) if e["objectRef"].get("namespace") == shop.name)
    taken = (each for each in mine if persisted([each]) == [wanted])
    return [datetime.fromisoformat(each["requestReceivedTimestamp"]).timestamp() for each in taken]


@pytest.mark.usefixtures("controller")
def test_a_busy_rollout_writes_its_status_at_most_once_a_second(shop: Namespace) -> None:
    shop.apply(*(deployment(f"web-{number:02}", replicas=1) for number in range(40)))
    eventually(
        lambda: [each["status"].get("availableReplicas") for each in shop.all("deployment")],
        until=lambda found: found == [1] * 40,
        seconds=90,
    )
    shop.apply(policy(rollout={"maxConcurrent": 8}))
    shop.wait_status("log-shipper", current=40, seconds=120)
    times = status_times(shop)
    assert len(times) > 3
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert min(gaps) > 0.9
    rolled = [shop.revisions(f"web-{number:02}") for number in (0, 39)]
    assert rolled == [2, 2]
    at_rest(lambda: len(status_times(shop)), seconds=5)
