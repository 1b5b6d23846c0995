"""`sidecarpolicy status` on a real API server: what it shows, to whom, and how it ends."""

import json
import os
import signal
import sys
from pathlib import Path
from subprocess import CompletedProcess, Popen

import pytest

from tests.support.cluster import Namespace, deployment, policy
from tests.support.users import User, admin, grant, person, right
from tests.support.waiting import eventually


def status(user: User, *flags: str) -> CompletedProcess[str]:
    """The command, whatever becomes of it."""
    argv = [sys.executable, "-m", "sidecarpolicy", "status", *flags]
    return user.lab.run(argv, check=False, env={"KUBECONFIG": str(user.kubeconfig)})


@pytest.mark.usefixtures("controller")
def test_it_shows_each_policy_with_its_workloads(shop: Namespace) -> None:
    out = {"annotations": {"sidecarpolicy.dev/inject": "false"}}
    shop.apply(deployment("web"), deployment("away", template=out), policy())
    shop.wait_status("log-shipper", current=1, skipped=1)
    done = status(admin(shop.lab), "-n", shop.name)
    assert (done.returncode, done.stderr) == (0, "")
    first, titles, *rows = done.stdout.splitlines()
    assert first == f"SidecarPolicy {shop.name}/log-shipper: Ready True, 1 current, 1 skipped"
    assert titles.split() == ["STATE", "WORKLOAD", "REASON", "MESSAGE"]
    assert [row.split()[:4] for row in rows if row] == [
        ["skipped", "Deployment", f"{shop.name}/away", "OptedOut"],
        ["current", "Deployment", f"{shop.name}/web", "-"],
    ]


def test_programs_get_json_and_what_is_wrong_by_the_exit_code(shop: Namespace) -> None:
    own = {"containers": [{"name": "shipper", "image": "lab.local/busybox:1"}]}
    shop.apply(deployment(pod=own), policy())
    done = status(admin(shop.lab), "-n", shop.name, "-o", "json")
    (found,) = (e for e in json.loads(done.stdout)["policies"] if e["namespace"] == shop.name)
    assert (done.returncode, found["name"], found["ready"]) == (1, "log-shipper", "Unknown")
    (web,) = found["workloads"]
    assert (web["name"], web["state"], web["reason"]) == ("web", "conflicted", "NameConflict")


def test_who_may_read_a_namespace_sees_it_and_what_could_not_be_read(shop: Namespace) -> None:
    carol = person(shop.lab, f"carol-{shop.name}")
    kinds = ("deployments.apps", "statefulsets.apps", "daemonsets.apps", "cronjobs.batch")
    allowed = (*kinds, "jobs.batch", "sidecarpolicies.sidecarpolicy.dev")
    grant(shop, carol, [right("list", each) for each in allowed])
    shop.apply(deployment(), policy())
    done = status(carol, "-n", shop.name)
    lines = done.stdout.splitlines()
    assert lines[0] == f"SidecarPolicy {shop.name}/log-shipper: Ready Unknown, 1 pending"
    unread = [line.split(":")[0] for line in lines if line.startswith("Could not read")]
    assert unread == [
        "Could not read clustersidecarpolicies",
        f"Could not read namespace {shop.name}",
        "Could not read nodes",
        "Could not read the webhook's registration",
    ]
    assert done.returncode == 1


def test_who_may_read_no_policies_is_told_so(shop: Namespace) -> None:
    done = status(person(shop.lab, f"dave-{shop.name}"), "-A")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: cannot list policies: ")


def test_it_watches_until_it_is_interrupted(shop: Namespace, tmp_path: Path) -> None:
    shop.apply(deployment(), policy(paused=True))
    argv = [sys.executable, "-m", "sidecarpolicy", "status", "-n", shop.name, "--watch"]
    env = os.environ | shop.lab.environment() | {"KUBECONFIG": str(shop.lab.kubeconfig)}
    shown = tmp_path / "shown"
    with shown.open("w") as file, Popen(shop.lab.command(argv), env=env, stdout=file) as process:
        try:
            eventually(lambda: "1 pending" in shown.read_text())
            shop.apply(deployment("other"))
            eventually(lambda: "2 pending" in shown.read_text())
            process.send_signal(signal.SIGINT)
            assert process.wait(30) in (0, 1)
        finally:
            process.kill()
