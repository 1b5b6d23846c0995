"""Progress: what is rolling out now, since when, and what is no rollout any more."""

from dataclasses import replace
from typing import Any

import pytest

from sidecarpolicy.core.progress import Progress, progress

JSON = dict[str, Any]
SELECTOR = {"selector": {"matchLabels": {"tier": "a", "app": "web"}}}
AT = "2026-11-21T20:00:00Z"


def made(status: JSON, *, generation: int = 2, **spec: Any) -> JSON:
    return {
        "metadata": {"generation": generation},
        "spec": {**SELECTOR, **spec},
        "status": {"observedGeneration": 2, **status},
    }


def condition(reason: str) -> JSON:
    return {"conditions": [{"type": "Progressing", "reason": reason, "lastUpdateTime": AT}]}


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        pytest.param(
            made(condition("ReplicaSetUpdated")), Progress("2", seen=AT), id="gets further"
        ),
        pytest.param(
            made(condition("ProgressDeadlineExceeded")), Progress("2", seen=AT), id="gave up"
        ),
        pytest.param(
            made(condition("NewReplicaSetAvailable")),
            Progress("2", seen=AT, arrived=True),
            id="arrived",
        ),
        pytest.param(made(condition("ReplicaSetUpdated"), paused=True), Progress(), id="is paused"),
        pytest.param(
            made({"replicas": 3, "updatedReplicas": 1}),
            Progress("2"),
            id="has no deadline, and old Pods",
        ),
        pytest.param(
            made({"replicas": 3, "updatedReplicas": 3}),
            Progress("2", arrived=True),
            id="has no deadline, and no old Pods",
        ),
        pytest.param(
            made(condition("ReplicaSetUpdated"), generation=3), Progress(), id="is not observed yet"
        ),
    ],
)
def test_a_deployment_that(obj: JSON, expected: Progress) -> None:
    found = progress(obj, kind="Deployment")
    assert found == replace(expected, selector="app=web,tier=a")


def test_a_stateful_set_rolls_from_one_revision_to_another() -> None:
    status = {"currentRevision": "db-1", "updateRevision": "db-2"}
    found = progress(made(status), kind="StatefulSet")
    assert (found.change, found.proven, found.one_by_one) == ("db-2", "db-1", True)


def test_a_stateful_set_that_came_from_nowhere_else_arrived() -> None:
    status = {"currentRevision": "db-2", "updateRevision": "db-2"}
    found = progress(made(status, podManagementPolicy="Parallel"), kind="StatefulSet")
    assert (found.change, found.arrived, found.one_by_one) == ("db-2", True, False)


@pytest.mark.parametrize(
    ("strategy", "change"),
    [
        ({"type": "OnDelete"}, ""),
        ({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}, ""),
        ({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}, "db-2"),
        ({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}, "db-2"),
    ],
    ids=[
        "that waits for deletions",
        "with new Pods down to its partition",
        "with an old Pod above its partition",
        "without a partition",
    ],
)
def test_a_stateful_set_stands_or_rolls(strategy: JSON, change: str) -> None:
    status = {"currentRevision": "db-1", "updateRevision": "db-2", "updatedReplicas": 1}
    obj = made(status, replicas=3, updateStrategy=strategy)
    assert progress(obj, kind="StatefulSet").change == change


def test_a_daemon_set_that_waits_for_deletions_stands() -> None:
    status = {"desiredNumberScheduled": 3, "updatedNumberScheduled": 1}
    obj = made(status, updateStrategy={"type": "OnDelete"})
    assert progress(obj, kind="DaemonSet").change == ""


@pytest.mark.parametrize(
    ("updated", "arrived"),
    [(1, False), (3, True)],
    ids=["with Pods of an older template", "with Pods of the newest only"],
)
def test_a_daemon_set(updated: int, arrived: bool) -> None:
    status = {"desiredNumberScheduled": 3, "updatedNumberScheduled": updated}
    assert progress(made(status), kind="DaemonSet") == Progress(
        "2", arrived=arrived, selector="app=web,tier=a"
    )


def test_what_does_not_roll_makes_no_progress() -> None:
    assert progress(made({}), kind="CronJob") == Progress()
