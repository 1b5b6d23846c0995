"""The laws of admission, over generated templates and policies."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sidecarpolicy.core.admission import admit
from sidecarpolicy.core.facts import policy_facts
from sidecarpolicy.webhook.memory import Memory
from tests.support.builders import policy_object
from tests.support.reviews import admitted as stored
from tests.support.reviews import memory, request
from tests.unit.core.strategies import policy_specs, templates

JSON = dict[str, Any]

_REQUIRED = "f:requiredDuringSchedulingIgnoredDuringExecution"
_AFFINITY: JSON = {"f:affinity": {"f:nodeAffinity": {_REQUIRED: {}}}}
_OWNED: list[JSON] = [{}, _AFFINITY, {**_AFFINITY, "f:nodeSelector": {}}]
"""What a GitOps tool may own of the Pod spec: nothing, the affinity, both."""

owned = st.sampled_from(_OWNED)


def policies(name: str, **fields: Any) -> st.SearchStrategy[JSON]:
    return policy_specs(name).map(lambda spec: policy_object(name, **{**spec, **fields}))


def web(template: JSON, owned: JSON, **meta: Any) -> JSON:
    """A Deployment of which a GitOps tool owns some fields."""
    fields = {"f:spec": {"f:template": {"f:spec": owned}}}
    manager = {"manager": "argocd-controller", "operation": "Apply", "fieldsV1": fields}
    return {
        "metadata": {"name": "web", "managedFields": [manager], **meta},
        "spec": {"template": template},
    }


def admitted(obj: JSON, view: Memory, *, old: JSON | None = None) -> JSON:
    return stored(obj, view, kind="Deployment", old=old)


@given(templates(), policies("p"), policies("q"), owned)
def test_what_was_admitted_is_admitted_unchanged(
    template: JSON, one: JSON, two: JSON, owned: JSON
) -> None:
    view = memory(one, two)
    once = admitted(web(template, owned), view)
    assert admitted(once, view) == once


@given(templates(), policies("p"), policies("q"), policies("p"), owned)
def test_an_update_that_leaves_the_template_changes_nothing(
    template: JSON, one: JSON, two: JSON, newer: JSON, owned: JSON
) -> None:
    old = admitted(web(template, owned), memory(one, two))
    scaled = copy.deepcopy(old)
    scaled["spec"]["replicas"] = 7
    assert admitted(scaled, memory(newer), old=old) == scaled


@given(templates(), policies("p"), policies("q"), policies("p"), owned, owned)
def test_an_update_that_drops_our_parts_is_restored_to_what_it_was(
    template: JSON, one: JSON, two: JSON, newer: JSON, owned: JSON, then: JSON
) -> None:
    view = memory(one, two)
    old = admitted(web(template, owned), view)
    view.policies.store(policy_facts(newer))
    result = admitted(web(template, then), view, old=old)
    assert result["spec"] == old["spec"]


@given(templates(), templates(), policies("p"), policies("q"), policies("p"), owned)
def test_an_owners_change_ends_as_if_it_had_been_created_so(
    template: JSON, changed: JSON, one: JSON, two: JSON, newer: JSON, owned: JSON
) -> None:
    view = memory(one, two)
    old = admitted(web(template, owned), view)
    view.policies.store(policy_facts(newer))
    edited = web(changed, owned)
    if template == changed:
        return
    assert admitted(edited, view, old=old) == admitted(edited, view)


@given(templates(), st.sampled_from(["xFuture", "args"]), policies("p"), policies("p"))
def test_a_held_policys_parts_survive_a_change_that_is_not_about_them(
    template: JSON, what: str, one: JSON, newer: JSON
) -> None:
    view = memory(one)
    old = admitted(web(template, {}), view)
    view.policies.store(policy_facts(policy_object("p", **{**newer["spec"], "paused": True})))
    for start in (template, old["spec"]["template"]):
        edited = web(changed(start, what), {})
        expected = {**old["spec"], "template": changed(old["spec"]["template"], what)}
        assert admitted(edited, view, old=old)["spec"] == expected


def changed(template: JSON, what: str) -> JSON:
    """The template as its owner edits it."""
    made = copy.deepcopy(template)
    if what == "args":
        for each in made["spec"]["containers"]:
            each["args"] = ["--edited"]
    else:
        made["spec"]["xFuture"] = "edited"
    return made


@given(templates(), templates(), policies("p"), policies("q"), st.booleans(), owned)
def test_the_review_is_never_changed(
    template: JSON, other: JSON, one: JSON, two: JSON, paused: bool, owned: JSON
) -> None:
    view = memory(one, two)
    old = admitted(web(template, owned), view)
    view.policies.store(policy_facts(policy_object("p", **{**one["spec"], "paused": paused})))
    for new in (template, other, old["spec"]["template"]):
        asked = request(web(new, owned), kind="Deployment", old=old)
        before = copy.deepcopy(asked)
        admit(asked, view)
        assert asked == before
