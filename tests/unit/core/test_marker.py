"""Markers: what is written into a template and read back, and what others may have written."""

import json
from typing import Any

import pytest

from sidecarpolicy.api.names import ROLLOUT_ANNOTATION
from sidecarpolicy.core.marker import (
    annotated,
    as_pods_are,
    has_marker,
    promised,
    read_markers,
    with_markers,
)
from sidecarpolicy.core.plan import plan
from tests.support.builders import deployment, policy, sidecar, snapshot, template, wish, workload
from tests.support.reviews import admitted, memory

JSON = dict[str, Any]
KEY = "SidecarPolicy/log-shipper"


def text_of(made: Any) -> str:
    text: str = made["metadata"]["annotations"][ROLLOUT_ANNOTATION]
    return text


def test_a_marker_is_one_annotation_with_revision_and_parts() -> None:
    made = with_markers(template(), {KEY: wish(volumes=[{"name": "logs", "emptyDir": {}}])})
    assert made["spec"] == template()["spec"]
    assert made["metadata"].keys() == {"labels", "annotations"}
    assert json.loads(text_of(made)) == {
        KEY: {
            "revision": wish(volumes=[{"name": "logs", "emptyDir": {}}]).revision,
            "spec": {
                "sidecars": [sidecar(restartPolicy="Always")],
                "volumes": [{"name": "logs", "emptyDir": {}}],
                "nodeRule": "Require",
            },
        }
    }


def test_the_last_marker_takes_the_annotation_with_it() -> None:
    assert with_markers(with_markers(template(), {KEY: wish()}), {}) == template()
    assert with_markers(with_markers({"spec": {}}, {KEY: wish()}), {}) == {"spec": {}}


def test_a_marker_of_another_version_that_says_the_same_still_counts() -> None:
    made = with_markers(template(), {KEY: wish()})
    document = json.loads(text_of(made))
    document[KEY]["spec"] |= {"placement": "First", "volumes": [], "ofTheFuture": 1}
    other = read_markers(annotated(template(), document))[KEY]
    assert promised(other, wish())
    assert not promised(other, wish(placement="Last"))
    assert not promised(None, wish())


def entry(**fields: Any) -> JSON:
    return {"revision": "1f", "spec": {"sidecars": [sidecar()], **fields}}


def nested(levels: int) -> JSON:
    value: JSON = {}
    for _ in range(levels):
        value = {"x": value}
    return value


HOSTILE = [
    pytest.param("}{", id="no JSON"),
    pytest.param("[1]", id="no object"),
    pytest.param('{"SidecarPolicy/a": "7f3a9c12"}', id="a DaemonSet's revision"),
    pytest.param('{"SidecarPolicy/a": {"revision": "1f"}}', id="a revision without parts"),
    pytest.param("[" * 100_000, id="brackets without end"),
    *(
        pytest.param(json.dumps({"SidecarPolicy/a": each}), id=name)
        for name, each in {
            "a number for a revision": {**entry(), "revision": 7},
            "no sidecar": entry(sidecars=[]),
            "a sidecar without a name": entry(sidecars=[{"image": "x"}]),
            "a sidecar with a number for a name": entry(sidecars=[{"name": 7, "image": "x"}]),
            "a volume without a name": entry(volumes=[{}]),
            "a mount without a path": entry(appContainers={"volumeMounts": [{"name": "logs"}]}),
            "a variable that is none": entry(appContainers={"env": ["A=1"]}),
            "a node rule that is none": entry(nodeRule="Maybe"),
            "a command that is none": entry(sidecars=[sidecar(command=7)]),
            "objects without end": entry(sidecars=[sidecar(env=[nested(300)])]),
        }.items()
    ),
    pytest.param(json.dumps({"SidecarPolicy/": entry()}), id="a policy without a name"),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_we_did_not_write_promises_nothing_and_stops_nothing(text: str) -> None:
    pods = template()
    pods["metadata"]["annotations"] = {ROLLOUT_ANNOTATION: text}
    assert has_marker(pods)
    assert read_markers(pods) == {}
    assert as_pods_are(pods) is pods
    (change,) = plan(
        snapshot(policies=(policy(injectAt="Pod"),), workloads=(workload(pods=pods),))
    ).changes
    assert list(read_markers(change.template)) == [KEY]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_pod_with_what_we_did_not_write_passes_unchanged(text: str) -> None:
    pod: JSON = {"metadata": {"name": "p", "annotations": {ROLLOUT_ANNOTATION: text}}}
    pod |= {"spec": template()["spec"]}
    pod["metadata"]["labels"] = {"pod-template-hash": "x"}
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-x", "controller": True}
    pod["metadata"]["ownerReferences"] = [owner]
    assert admitted(pod, memory(), kind="Pod") == pod


def test_an_annotation_that_is_no_text_stops_nothing() -> None:
    made = deployment()
    made["spec"]["template"]["metadata"]["annotations"] = {ROLLOUT_ANNOTATION: 7}
    assert read_markers(made["spec"]["template"]) == {}
