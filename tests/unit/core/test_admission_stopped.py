"""Admission where a rollout stopped: owners' changes do not carry on what failed elsewhere."""

import copy
from typing import Any

import pytest

from sidecarpolicy.core.admission import admit
from sidecarpolicy.core.facts import policy_facts
from sidecarpolicy.webhook.memory import Memory
from tests.support.builders import policy_object, sidecar
from tests.support.cluster import deployment
from tests.support.reviews import admitted, memory, request

JSON = dict[str, Any]
NEWER = policy_object(generation=2, sidecars=[sidecar(image="newer")])
STOPPED = {"type": "Stalled", "status": "True", "reason": "RolloutStopped", "message": "2 failed"}


def told(status: JSON) -> JSON:
    """The newer revision with a status, which is about it unless it says otherwise."""
    known = policy_facts(NEWER).desired
    assert known is not None
    about = {"observedGeneration": 2, "revision": known.revision, "conditions": [STOPPED]}
    return {**NEWER, "status": {**about, **status}}


def edited(obj: JSON) -> JSON:
    made = copy.deepcopy(obj)
    made["spec"]["template"]["spec"]["containers"][0]["image"] = "nginx:2"
    return made


def images(obj: JSON) -> list[str]:
    return [each["image"] for each in obj["spec"]["template"]["spec"].get("initContainers", ())]


def of_the_older() -> JSON:
    return admitted(deployment(), memory(policy_object()), kind="Deployment")


def after_an_edit(view: Memory) -> list[str]:
    old = of_the_older()
    return images(admitted(edited(old), view, kind="Deployment", old=old))


def test_an_owners_change_keeps_what_works_while_a_newer_revision_is_stopped() -> None:
    view = memory(told({}))
    assert after_an_edit(view) == images(of_the_older())
    bare = deployment()
    answer = admit(request(edited(bare), kind="Deployment", old=bare), view)
    assert (answer.patch, len(answer.warnings)) == ([], 1)
    assert "RolloutStopped: 2 failed" in answer.warnings[0]


def test_what_is_created_gets_its_sidecars_all_the_same() -> None:
    assert images(admitted(deployment(), memory(told({})), kind="Deployment")) == ["newer"]


@pytest.mark.parametrize(
    "status",
    [
        pytest.param({"observedGeneration": 1}, id="of an older generation"),
        pytest.param({"revision": "older"}, id="of another revision"),
        pytest.param({"conditions": []}, id="not stopped"),
        pytest.param({"conditions": [{**STOPPED, "status": "False"}]}, id="stopped no more"),
        pytest.param({"conditions": [{**STOPPED, "reason": "WorkloadsFailed"}]}, id="not by us"),
    ],
)
def test_otherwise_an_owners_change_brings_the_current_revision_in(status: JSON) -> None:
    assert after_an_edit(memory(told(status))) == ["newer"]
