"""Origins: whose change a rollout brought, told from the templates that there were before."""

from typing import Any

import pytest

from sidecarpolicy.core.case import case_of
from sidecarpolicy.core.decision import decide
from sidecarpolicy.core.origin import Origin, Stage, origin, stage
from tests.support.builders import deployment, policy, sidecar, snapshot, template, workload
from tests.support.plans import KEY

JSON = dict[str, Any]
OTHER = "SidecarPolicy/tracer"


def carrying(*policies: Any, image: str = "nginx") -> JSON:
    """A Deployment's template with the parts of policies."""
    pods = template(containers=[{"name": "web", "image": image}])
    decision = decide(case_of(workload(pods=pods), snapshot(policies=policies)))
    return dict(decision.change.template) if decision.change is not None else pods


OURS, NEWER = policy(), policy(sidecars=[sidecar(image="newer")])
TRACER = policy("tracer", sidecars=[sidecar("tracer")])


def found(*templates: JSON, works: int = 0) -> Origin | None:
    """Where the last template comes from; the one at `works` was seen working."""
    stages = [
        Stage(f"web-{at}", at, float(at), each, works=at == works)
        for at, each in enumerate(templates)
    ]
    return origin(reversed(stages), kind="Deployment")


@pytest.mark.parametrize(
    ("templates", "expected"),
    [
        pytest.param(
            (carrying(), carrying(OURS)), Origin(1.0, frozenset({KEY})), id="our first revision"
        ),
        pytest.param(
            (carrying(OURS), carrying(NEWER)), Origin(1.0, frozenset({KEY})), id="a newer revision"
        ),
        pytest.param(
            (carrying(OURS), carrying(OURS, TRACER)),
            Origin(1.0, frozenset({OTHER})),
            id="another policy's, while ours was there",
        ),
        pytest.param(
            (carrying(), carrying(OURS, TRACER)),
            Origin(1.0, frozenset({KEY, OTHER})),
            id="two policies' at once",
        ),
        pytest.param(
            (carrying(OURS), carrying(OURS, image="wrong")),
            Origin(1.0, mixed=True),
            id="only the owner's, with our parts as before",
        ),
        pytest.param(
            (carrying(), carrying(OURS, image="wrong")),
            Origin(1.0, frozenset({KEY}), mixed=True),
            id="ours and the owner's in one: ours is blamed",
        ),
        pytest.param(
            (carrying(), carrying(image="wrong"), carrying(OURS, image="wrong")),
            Origin(2.0, mixed=True),
            id="ours on top of an owner's that had failed already",
        ),
        pytest.param(
            (carrying(OURS), carrying(NEWER), carrying(policy(sidecars=[sidecar(image="third")]))),
            Origin(2.0, frozenset({KEY})),
            id="a third revision on top of one of ours that failed",
        ),
        pytest.param((carrying(OURS),), Origin(0.0, first=True), id="the first template of all"),
        pytest.param((), None, id="nothing, yet"),
    ],
)
def test_a_rollout_brought(templates: tuple[JSON, ...], expected: Origin | None) -> None:
    assert found(*templates) == expected


def test_without_a_sign_of_what_worked_the_one_before_counts() -> None:
    templates = (carrying(), carrying(OURS), carrying(OURS, image="wrong"))
    assert found(*templates, works=-1) == Origin(2.0, mixed=True)


def test_a_daemon_sets_annotation_says_whose_revision_was_rolled_out() -> None:
    before, after = template(), template()
    after["metadata"]["annotations"] = {"sidecarpolicy.dev/rollout": f'{{"{KEY}":"7f3a"}}'}
    stages = [Stage("logs-1", 1, 1.0, before), Stage("logs-2", 2, 2.0, after)]
    assert origin(stages, kind="DaemonSet") == Origin(2.0, frozenset({KEY}))


def owned(**fields: Any) -> JSON:
    reference = {"uid": "uid-web", "controller": True}
    return {"name": "web-1", "ownerReferences": [reference], **fields}


def test_a_replica_set_is_a_stage_that_works_while_it_has_available_pods() -> None:
    obj = deployment(status={"availableReplicas": 1})
    obj["metadata"] = owned(annotations={"deployment.kubernetes.io/revision": "7"})
    read = stage(obj, owner="uid-web")
    assert read == Stage("web-1", 7, 0.0, template(), works=True)
    assert stage(obj, owner="uid-api") is None


REVISION: JSON = {
    "metadata": owned(
        creationTimestamp="1970-01-01T00:00:10Z",
        managedFields=[
            {"manager": "kube-controller-manager", "time": "1970-01-01T00:01:00Z"},
            {"manager": "any", "time": "1970-01-01T00:09:00Z", "subresource": "status"},
        ],
    ),
    "revision": 3,
    "data": {"spec": {"template": {**template(), "$patch": "replace"}}},
}


def test_a_template_that_came_back_is_as_old_as_its_coming_back() -> None:
    assert stage(REVISION, owner="uid-web") == Stage("web-1", 3, 60.0, template())


def test_the_revision_that_a_stateful_set_comes_from_worked() -> None:
    read = stage(REVISION, owner="uid-web", proven="web-1")
    assert read is not None
    assert read.works
