"""Killed after any of its writes, the controller comes to where it would have come undisturbed."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lab import Lab
from tests.support.admission import job
from tests.support.cluster import Namespace, cron_job, deployment, policy, stateful_set
from tests.support.killer import Killer
from tests.support.replicas import replicas
from tests.support.waiting import eventually

JSON = dict[str, Any]
Wait = Callable[..., Any]
TIMES = {
    "lastTransitionTime", "lastUpdateTime", "creationTimestamp", "firstTimestamp", "lastTimestamp",
}  # fmt: skip
OF_THE_RUN = TIMES | {"uid", "resourceVersion", "managedFields", "ownerReferences", "eventTime"}
RICH = {"initContainers": [{"name": "migrate", "image": "lab.local/busybox:1"}]}


@pytest.fixture
def two_spaces(capable: Lab) -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces whose names are equally long."""
    made = [Namespace(capable, name) for name in ("run-calm", "run-kill")]
    for each in made:
        capable.kubectl("create", "namespace", each.name)
    yield made[0], made[1]
    for each in made:
        capable.kubectl("delete", "namespace", each.name, "--wait=false")


def install_and_change(space: Namespace, wait: Wait) -> None:
    """Nodes are labelled, sidecars come in, another revision comes in."""
    space.apply(deployment("web"), deployment("rich", pod=RICH), stateful_set(), cron_job())
    space.apply(policy())
    wait(lambda: counts(space), until=lambda now: now.get("current") == 4)
    space.apply(job())  # it misses its sidecar, for no webhook is there
    wait(lambda: events(space))
    other = [{"name": "courier", "image": "lab.local/busybox:1"}]
    space.patch("scpol", "log-shipper", {"spec": {"sidecars": other}})
    wait(lambda: space.sidecars("rich"), until=lambda now: now == ["courier", "migrate"])
    wait(lambda: counts(space), until=lambda now: now.get("current") == 4)


def revert(space: Namespace, wait: Wait) -> None:
    """A workload opts out, and another policy's wish is narrowed."""
    no = {
        "spec": {"template": {"metadata": {"annotations": {"sidecarpolicy.dev/inject": "false"}}}}
    }
    space.patch("deployment", "web", no)
    wait(lambda: space.sidecars("web"), until=lambda now: now == [])
    wait(
        lambda: counts(space), until=lambda now: (now.get("current"), now.get("skipped")) == (3, 2)
    )


def counts(space: Namespace) -> JSON:
    found = space.get("scpol", "log-shipper")
    status: JSON = found.get("status") or {}
    fresh = status.get("observedGeneration") == found["metadata"]["generation"]
    return status.get("workloads", {}) if fresh else {}


def events(space: Namespace) -> list[JSON]:
    """About what lasts; what changed in the moment of a crash is not told afterwards."""
    ours = (e for e in space.all("events") if e["reason"] == "MissedAdmission")
    return [each for each in ours if each["involvedObject"]["kind"] == "Job"]


def test_killed_after_each_kind_of_write_it_ends_where_it_would_have_ended_undisturbed(
    two_spaces: tuple[Namespace, Namespace], tmp_path: Path
) -> None:
    calm, rough = two_spaces
    with running(calm.lab, tmp_path / "calm"):
        install_and_change(calm, eventually)
        revert(calm, eventually)
        nodes = eventually(lambda: labels(calm.lab), until=lambda found: None not in found.values())
    expected = end_state(calm)
    unlabel(calm.lab)
    with running(rough.lab, tmp_path / "rough") as killer, killer.at_work():
        killer.chapter = "install:"
        wait = partial(eventually, seconds=90)
        wait(lambda: labels(rough.lab), until=lambda found: found == nodes)
        install_and_change(rough, wait)
        killer.chapter = "revert:"
        revert(rough, wait)
        wait(lambda: end_state(rough), until=lambda found: found == expected)
    print("killed after:", *killer.killed, sep="\n  ")  # noqa: T201
    assert "revert: patch deployments" in killer.killed
    assert {each.partition(": ")[2] for each in killer.killed} >= {
        "patch nodes",
        "patch deployments",
        "patch sidecarpolicies/status",
        "create events",
        "patch leases",
    }


@contextmanager
def running(lab: Lab, place: Path) -> Iterator[Killer]:
    """A controller under one name, as a container that is restarted in its Pod."""
    place.mkdir()
    with replicas(lab, place, "pod-1") as (only,):
        killer = Killer(only)
        only.start(wait=False)
        yield killer


def labels(lab: Lab) -> dict[str, str | None]:
    found = json.loads(lab.kubectl("get", "nodes", "-o", "json"))["items"]
    key = "sidecarpolicy.dev/native-sidecars"
    return {each["metadata"]["name"]: each["metadata"]["labels"].get(key) for each in found}


def unlabel(lab: Lab) -> None:
    lab.kubectl("label", "nodes", "--all", "sidecarpolicy.dev/native-sidecars-")


def end_state(space: Namespace) -> JSON:
    """All that the controller has to do with, without what differs from run to run."""
    kinds = ("deployments", "statefulsets", "cronjobs", "jobs")
    found: JSON = {kind: [without_status(each) for each in space.all(kind)] for kind in kinds}
    found["policies"] = space.all("scpol")
    found["events"] = sorted(
        [each["involvedObject"]["name"], each["reason"], each["message"], each["count"]]
        for each in events(space)
    )
    renamed: JSON = json.loads(json.dumps(found).replace(space.name, "run"))
    return {key: timeless(each) for key, each in renamed.items()}


def without_status(obj: JSON) -> JSON:
    return {key: value for key, value in obj.items() if key != "status"}


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if key not in OF_THE_RUN}
        return {key: timeless(each) for key, each in kept.items() if "controller-uid" not in key}
    if isinstance(value, list):
        return [timeless(each) for each in value]
    return value
