"""Rollouts: what rolls, what finished, and what waits for its owner."""

from typing import Any

import pytest

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.facts import Ref
from sidecarpolicy.core.rollout import RolloutFacts, rollout_facts
from sidecarpolicy.core.standing import State, rollout_standing

JSON = dict[str, Any]
PAUSED = {"paused": True}
BY_HAND = {"updateStrategy": {"type": "OnDelete"}}
STOPPED: JSON = {"conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}


def partition(number: int, **more: Any) -> JSON:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": number}}
    return {"updateStrategy": strategy, **more}


def seen(kind: str, spec: JSON, status: JSON, *, observed: bool = True) -> RolloutFacts:
    obj = {
        "metadata": {"generation": 2},
        "spec": {"replicas": 3, **spec},
        "status": {"observedGeneration": 2 if observed else 1, **status},
    }
    return rollout_facts(obj, kind=kind)


def stands(facts: RolloutFacts) -> tuple[State, Reason | None]:
    found = rollout_standing(Ref("Deployment", "shop", "web"), facts)
    return found.state, found.finding.reason if found.finding else None


def deployment(spec: JSON, *, updated: int, observed: bool = True, **status: Any) -> RolloutFacts:
    counts = {"replicas": 3, "updatedReplicas": updated, "availableReplicas": 3, **status}
    return seen("Deployment", spec, counts, observed=observed)


def stateful_set(
    spec: JSON, *, updated: int, ready: int = 3, observed: bool = True
) -> RolloutFacts:
    revisions = {"currentRevision": "old", "updateRevision": "new"}
    counts = {"updatedReplicas": updated, "readyReplicas": ready, **revisions}
    return seen("StatefulSet", spec, counts, observed=observed)


def daemon_set(spec: JSON, *, updated: int, available: int = 3) -> RolloutFacts:
    counts = {"desiredNumberScheduled": 3, "numberAvailable": available}
    return seen("DaemonSet", spec, {**counts, "updatedNumberScheduled": updated})


WAITS = (State.UPDATING, Reason.WAITING_FOR_OWNER)
ROLLS = (State.UPDATING, None)
DONE = (State.CURRENT, None)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param(deployment(PAUSED, updated=0), WAITS, id="a paused Deployment"),
        pytest.param(
            deployment(PAUSED, updated=0, observed=False), WAITS, id="one that is not observed yet"
        ),
        pytest.param(deployment(PAUSED, updated=1), WAITS, id="one that was paused on the way"),
        pytest.param(
            deployment(PAUSED, updated=0, **STOPPED), WAITS, id="one that had failed before"
        ),
        pytest.param(deployment(PAUSED, updated=3), DONE, id="one that was paused afterwards"),
        pytest.param(deployment({}, updated=1), ROLLS, id="a Deployment that rolls"),
        pytest.param(stateful_set(BY_HAND, updated=0), WAITS, id="a StatefulSet with OnDelete"),
        pytest.param(
            stateful_set(BY_HAND, updated=2, ready=2), WAITS, id="one with a Pod still to delete"
        ),
        pytest.param(
            stateful_set(BY_HAND, updated=3, ready=2), ROLLS, id="one whose last Pod starts"
        ),
        pytest.param(stateful_set(BY_HAND, updated=3), DONE, id="one whose Pods were all deleted"),
        pytest.param(stateful_set(partition(2), updated=1), WAITS, id="Pods below a partition"),
        pytest.param(
            stateful_set(partition(2), updated=0), ROLLS, id="the Pods above a partition roll"
        ),
        pytest.param(
            stateful_set(partition(2), updated=1, ready=2),
            ROLLS,
            id="the Pods above a partition start",
        ),
        pytest.param(
            stateful_set(partition(3), updated=0, observed=False),
            WAITS,
            id="a partition above all Pods",
        ),
        pytest.param(
            stateful_set(partition(2, ordinals={"start": 2}), updated=2),
            ROLLS,
            id="a partition below the first ordinal holds nothing",
        ),
        pytest.param(
            stateful_set(partition(4, ordinals={"start": 2}), updated=1),
            WAITS,
            id="a partition among higher ordinals",
        ),
        pytest.param(daemon_set(BY_HAND, updated=1), WAITS, id="a DaemonSet with OnDelete"),
        pytest.param(daemon_set({}, updated=1), ROLLS, id="a DaemonSet that rolls"),
        pytest.param(daemon_set(BY_HAND, updated=3, available=2), ROLLS, id="its last Pod starts"),
    ],
)
def test_a_rollout_waits_for_its_owner_only_where_nothing_else_moves_it(
    facts: RolloutFacts, expected: tuple[State, Reason | None]
) -> None:
    assert stands(facts) == expected
    assert facts.settled is (expected != ROLLS)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
@pytest.mark.parametrize("spec", [{}, PAUSED, BY_HAND, partition(1)])
def test_without_replicas_nothing_rolls_nor_waits(kind: str, spec: JSON) -> None:
    facts = seen(kind, {**spec, "replicas": 0}, {}, observed=False)
    assert stands(facts) == DONE


def test_what_the_owner_has_to_do_is_said() -> None:
    for facts, command in (
        (deployment(PAUSED, updated=0), "kubectl rollout resume"),
        (stateful_set(BY_HAND, updated=0), "deleted"),
        (stateful_set(partition(2), updated=1), "lower rollingUpdate.partition"),
    ):
        found = rollout_standing(Ref("Deployment", "shop", "web"), facts).finding
        assert found is not None
        assert command in found.message
