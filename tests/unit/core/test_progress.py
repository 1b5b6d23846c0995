"""Progress: what is rolling out now, since when, and what is no rollout any more."""

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
            Progress(seen=AT),
            id="arrived, so that Pods which are not ready now are no rollout's fault",
        ),
        pytest.param(
            made(condition("ReplicaSetUpdated"), paused=True), Progress(seen=AT), id="is paused"
        ),
        pytest.param(
            made({"replicas": 3, "updatedReplicas": 1}),
            Progress("2"),
            id="has no deadline, and old Pods",
        ),
        pytest.param(
            made({"replicas": 3, "updatedReplicas": 3}),
            Progress(),
            id="has no deadline, and no old Pods",
        ),
        pytest.param(
            made(condition("ReplicaSetUpdated"), generation=3), Progress(), id="is not observed yet"
        ),
    ],
)
def test_a_deployment_that(obj: JSON, expected: Progress) -> None:
    found = progress(obj, kind="Deployment")
    assert (found.change, found.seen) == (expected.change, expected.seen)
    assert found.selector == "app=web,tier=a"


def test_a_stateful_set_rolls_from_one_revision_to_another() -> None:
    status = {"currentRevision": "db-1", "updateRevision": "db-2"}
    found = progress(made(status), kind="StatefulSet")
    assert (found.change, found.proven, found.one_by_one) == ("db-2", "db-1", True)


@pytest.mark.parametrize(
    ("status", "change"),
    [
        ({"currentRevision": "db-2", "updateRevision": "db-2"}, ""),
        ({"currentRevision": "db-1", "updateRevision": "db-2"}, "db-2"),
    ],
    ids=["that arrived", "whose Pods are made all at once"],
)
def test_a_stateful_set(status: JSON, change: str) -> None:
    found = progress(made(status, podManagementPolicy="Parallel"), kind="StatefulSet")
    assert (found.change, found.one_by_one) == (change, False)


@pytest.mark.parametrize(
    ("updated", "replaced"),
    [(1, False), (3, True)],
    ids=["with Pods of an older template", "with Pods of the newest only"],
)
def test_a_daemon_set(updated: int, replaced: bool) -> None:
    status = {"desiredNumberScheduled": 3, "updatedNumberScheduled": updated}
    assert progress(made(status), kind="DaemonSet") == Progress(
        "2", replaced=replaced, selector="app=web,tier=a"
    )


def test_what_does_not_roll_makes_no_progress() -> None:
    assert progress(made({}), kind="CronJob") == Progress()
