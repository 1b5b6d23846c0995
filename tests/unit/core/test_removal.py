"""Removal: what is taken off an object, and what is not the operator's."""

from typing import Any

import jsonpatch
import pytest

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.facts import workload_facts
from sidecarpolicy.core.jsonpatch import guard
from sidecarpolicy.core.plan import plan
from sidecarpolicy.core.removal import bare_patch, marked, of_users, removal, waits_for_owner
from tests.support.builders import deployment, policy, policy_object, snapshot, template

JSON = dict[str, Any]
HELD = "sidecarpolicy.dev/held"


def with_sidecars(obj: JSON, **spec: Any) -> JSON:
    """The raw Deployment as the controller leaves it."""
    facts = workload_facts(obj, kind="Deployment")
    (change,) = plan(snapshot(policies=(policy(**spec),), workloads=(facts,))).changes
    return {**obj, "spec": {**obj["spec"], "template": change.template}}


def freed(obj: JSON) -> JSON:
    """The object after the patch that takes everything off."""
    found: JSON = jsonpatch.apply_patch(obj, removal(obj, kind="Deployment").patch)
    return found


@pytest.mark.parametrize("where", ["Auto", "Pod"])
def test_a_template_is_given_back_as_it_was_wherever_sidecars_are_added(where: str) -> None:
    before = deployment()
    written = with_sidecars(before, injectAt=where)
    assert removal(written, kind="Deployment").policies == {"SidecarPolicy/log-shipper"}
    assert freed(written) == before


def test_what_a_user_changed_meanwhile_survives() -> None:
    written = with_sidecars(deployment())
    written["spec"]["template"]["spec"]["containers"][0]["image"] = "own:2"
    own = template()
    own["spec"]["containers"][0]["image"] = "own:2"
    assert freed(written) == deployment(pods=own)


def test_the_patch_holds_only_for_the_object_and_the_generation_that_were_read() -> None:
    patch = removal(with_sidecars(deployment()), kind="Deployment").patch
    assert patch[:2] == guard(uid="uid-web", generation=1)


def test_a_held_revision_is_forgotten_and_other_annotations_stay() -> None:
    obj = deployment(metadata={"annotations": {HELD: "[]", "own": "1"}})
    assert freed(obj) == deployment(metadata={"annotations": {"own": "1"}})


def test_what_nobody_wrote_to_needs_no_patch() -> None:
    found = removal(deployment(), kind="Deployment")
    assert (found.patch, found.stuck, marked(deployment(), kind="Deployment")) == ([], None, False)


def test_a_record_that_nobody_can_read_is_said_to_stay() -> None:
    broken = {"labels": {"app": "web"}, "annotations": {"sidecarpolicy.dev/injected": "{"}}
    found = removal(deployment(pods={**template(), "metadata": broken}), kind="Deployment")
    assert found.patch == []
    assert found.stuck is not None
    assert found.stuck.reason is Reason.RECORD_UNREADABLE


def test_a_daemon_set_loses_the_annotation_that_made_it_roll() -> None:
    before = deployment()
    facts = workload_facts(before, kind="DaemonSet")
    (change,) = plan(snapshot(policies=(policy(),), workloads=(facts,))).changes
    written = {**before, "spec": {**before["spec"], "template": change.template}}
    patch = removal(written, kind="DaemonSet").patch
    assert jsonpatch.apply_patch(written, patch) == before


def test_a_job_keeps_its_template() -> None:
    found = removal(with_sidecars(deployment()), kind="Job")
    assert (found.patch, found.stuck) == ([], None)


def test_people_keep_what_they_wrote_for_the_operator() -> None:
    override, evidence = "sidecarpolicy.dev/native-sidecars-override", "sidecarpolicy.dev/evidence"
    label = "sidecarpolicy.dev/native-sidecars"
    meta = {
        "uid": "u",
        "labels": {label: "true", "own": "1"},
        "annotations": {override: "true", evidence: "said", "own": "1"},
    }
    assert bare_patch(meta) == {
        "metadata": {"uid": "u", "labels": {label: None}, "annotations": {evidence: None}}
    }
    assert of_users(meta) == [override]


def test_metadata_without_anything_of_ours_is_not_written() -> None:
    assert bare_patch(policy_object()["metadata"]) is None


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"paused": True}, "it is paused"),
        ({"updateStrategy": {"type": "OnDelete"}}, "its update strategy is OnDelete"),
        (
            {"updateStrategy": {"rollingUpdate": {"partition": 2}}},
            "its update strategy has a partition",
        ),
        ({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}}, ""),
        ({}, ""),
    ],
)
def test_who_does_not_roll_by_itself_is_not_waited_for(spec: JSON, why: str) -> None:
    assert waits_for_owner(deployment(spec=spec)) == why
