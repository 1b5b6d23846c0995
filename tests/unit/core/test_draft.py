"""A draft shares with its template what nobody edits, and copies the rest."""

import copy
from typing import Any

from sidecarpolicy.core.draft import Draft

TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {
        "containers": [{"name": "web", "env": [{"name": "A"}]}, {"name": "log", "env": []}],
        "volumes": [{"name": "data"}],
    },
}


def test_an_edit_deep_in_a_list_leaves_the_template_as_it_was() -> None:
    before = copy.deepcopy(TEMPLATE)
    draft = Draft(TEMPLATE)

    draft.items("spec.containers.web.env").append({"name": "B"})

    assert before == TEMPLATE
    assert draft.peek("spec.containers.web.env") == [{"name": "A"}, {"name": "B"}]


def test_what_nobody_edits_is_shared() -> None:
    draft = Draft(TEMPLATE)

    draft.edit("spec.containers.web.env").clear()

    assert draft.peek("spec.containers.log") is TEMPLATE["spec"]["containers"][1]
    assert draft.peek("spec.volumes") is TEMPLATE["spec"]["volumes"]
    assert draft.peek("metadata") is TEMPLATE["metadata"]


def test_a_second_edit_goes_on_with_the_first() -> None:
    draft = Draft(TEMPLATE)

    assert draft.edit("spec.volumes") is draft.edit("spec.volumes")
    assert draft.items("spec.volumes") is draft.edit("spec.volumes")


def test_an_edit_of_what_is_not_there_makes_nothing() -> None:
    draft = Draft(TEMPLATE)

    assert draft.edit("spec.containers.none.env") is None
    assert draft.edit("spec.affinity.nodeAffinity") is None
    assert draft.made == frozenset()
    assert draft.template == TEMPLATE
