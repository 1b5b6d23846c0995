"""Admission where another writer won: the webhook obeys what the controller wrote down."""

import copy
from typing import Any

from sidecarpolicy.api.names import HELD_ANNOTATION
from sidecarpolicy.core.admission import admit
from sidecarpolicy.core.facts import policy_facts
from sidecarpolicy.core.held import Because, Hold, encode_holds
from sidecarpolicy.webhook.memory import Memory
from tests.support.builders import policy_object, sidecar
from tests.support.cluster import deployment
from tests.support.reviews import admitted, memory, request

JSON = dict[str, Any]


def policy(**fields: Any) -> JSON:
    return policy_object(**fields)


def with_image(obj: JSON, image: str) -> JSON:
    made = copy.deepcopy(obj)
    made["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return made


def sidecars(obj: JSON) -> list[str]:
    return [each["name"] for each in obj["spec"]["template"]["spec"].get("initContainers", ())]


def fought(obj: JSON, view: Memory) -> JSON:
    """The object with a hold on the policy's current revision, as after a fight."""
    (known,) = view.policies.held.values()
    assert known.desired is not None
    hold = Hold(known.key, known.desired.revision, Because.FIGHT, "deployer")
    made = copy.deepcopy(obj)
    made["metadata"]["annotations"] = {HELD_ANNOTATION: encode_holds([hold])}
    return made


def test_what_was_fought_over_is_not_put_in_by_an_owners_change() -> None:
    view = memory(policy())
    old = fought(deployment(), view)
    edited = with_image(old, "nginx:2")
    answer = admit(request(edited, kind="Deployment", old=old), view)
    assert answer.patch == []
    assert "Fight" in answer.warnings[0]


def test_what_was_fought_over_stays_out_when_it_is_dropped_once_more_and_stays_held() -> None:
    view = memory(policy())
    old = fought(admitted(deployment(), view, kind="Deployment"), view)
    bare = deployment()
    assert admitted(bare, view, kind="Deployment", old=old) == fought(bare, view)


def test_a_hold_outlives_a_replace_of_the_whole_object_but_not_its_own_removal() -> None:
    view = memory(policy())
    old = fought(deployment(), view)
    edited = with_image(deployment(), "nginx:2")
    assert admitted(edited, view, kind="Deployment", old=old) == fought(edited, view)
    assert admitted(deployment(), view, kind="Deployment", old=old) == deployment()


def test_a_new_revision_comes_in_with_an_owners_change_and_ends_the_hold() -> None:
    view = memory(policy())
    old = fought(deployment(), view)
    view.policies.store(policy_facts(policy(sidecars=[sidecar(image="newer")])))
    result = admitted(with_image(old, "nginx:2"), view, kind="Deployment", old=old)
    assert sidecars(result) == ["shipper"]
    assert HELD_ANNOTATION not in result["metadata"]["annotations"]
