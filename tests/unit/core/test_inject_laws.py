"""The laws of the engine, over generated templates and policies."""

import copy
from typing import Any

import jsonpatch
from hypothesis import given
from hypothesis import strategies as st

from sidecarpolicy.core.desired import Desired
from sidecarpolicy.core.former import adopted_names
from sidecarpolicy.core.inject import Action, Verdict, inject
from sidecarpolicy.core.jsonpatch import difference
from sidecarpolicy.core.ownership import NodeRuleSite
from sidecarpolicy.core.record import Record, read_record
from tests.unit.core.strategies import templates, wishes

JSON = dict[str, Any]

sites = st.sampled_from(NodeRuleSite)


def apply(wish: Desired) -> Verdict:
    return Verdict(wish.key, Action.APPLY, wish)


def remove(wish: Desired) -> Verdict:
    return Verdict(wish.key, Action.REMOVE)


def hold(wish: Desired) -> Verdict:
    return Verdict(wish.key, Action.HOLD)


@given(templates(), wishes("p"), sites)
def test_the_input_is_never_changed(template: JSON, wish: Desired, site: NodeRuleSite) -> None:
    before = copy.deepcopy(template)
    inject(template, [apply(wish)], site=site)
    assert template == before


@given(templates(), wishes("p"), wishes("q"), sites)
def test_injecting_twice_is_injecting_once(
    template: JSON, one: Desired, two: Desired, site: NodeRuleSite
) -> None:
    once = inject(template, [apply(one), apply(two)], site=site)
    twice = inject(once.template, [apply(one), apply(two)], site=site)
    assert twice.template is once.template
    assert twice.obstacles.keys() == once.obstacles.keys()


@given(templates(), wishes("p"), wishes("q"), sites)
def test_removing_gives_back_what_the_user_wrote(
    template: JSON, one: Desired, two: Desired, site: NodeRuleSite
) -> None:
    injected = inject(template, [apply(one), apply(two)], site=site).template
    assert inject(injected, [remove(one), remove(two)], site=site).template == template


@given(templates(), wishes("p"), wishes("q"), sites)
def test_removing_one_after_the_other_gives_back_what_the_user_wrote(
    template: JSON, one: Desired, two: Desired, site: NodeRuleSite
) -> None:
    injected = inject(template, [apply(one), apply(two)], site=site).template
    first = inject(injected, [remove(one), hold(two)], site=site).template
    assert inject(first, [remove(two)], site=site).template == template


@given(templates(), wishes("p"), wishes("p"), sites)
def test_replacing_a_revision_is_the_same_as_applying_it_alone(
    template: JSON, old: Desired, new: Desired, site: NodeRuleSite
) -> None:
    direct = inject(template, [apply(new)], site=site)
    if direct.obstacles:
        return
    injected = inject(template, [apply(old)], site=site).template
    assert inject(injected, [apply(new)], site=site).template == direct.template


@given(templates(), wishes("p"), sites)
def test_the_users_items_keep_their_content_and_order(
    template: JSON, wish: Desired, site: NodeRuleSite
) -> None:
    result = inject(template, [apply(wish)], site=site).template
    for path in ("initContainers", "volumes", "imagePullSecrets"):
        own = template["spec"].get(path) or []
        assert [item for item in result["spec"].get(path) or [] if item in own] == own
    adopted = {each.container for each in wish.adopt} if result is not template else set()
    staying = [each for each in template["spec"]["containers"] if each["name"] not in adopted]
    for before, after in zip(staying, result["spec"]["containers"][: len(staying)], strict=True):
        for field, value in before.items():
            kept = after[field]
            assert (kept[: len(value)] if field in ("env", "volumeMounts") else kept) == value


@given(templates(), wishes("p"), wishes("q"), wishes("q"), sites)
def test_a_held_policy_keeps_its_parts_whatever_happens_to_another(
    template: JSON, held: Desired, other: Desired, changed: Desired, site: NodeRuleSite
) -> None:
    start = inject(template, [apply(held), apply(other)], site=site).template
    for verdict in (apply(changed), remove(other)):
        result = inject(start, [hold(held), verdict], site=site).template
        assert parts_of(held, result) == parts_of(held, start)


def parts_of(wish: Desired, template: Any) -> Any:
    record = read_record(template)
    assert isinstance(record, Record)
    mine = record.policies.get(wish.key)
    if mine is None:
        return None
    lists = (
        ("container", "initContainers"),
        ("regularContainer", "containers"),
        ("adopted", "initContainers"),
        ("volume", "volumes"),
        ("imagePullSecret", "imagePullSecrets"),
    )
    items = [
        item
        for noun, path in lists
        for item in template["spec"].get(path) or []
        if f"{noun}/{item['name']}" in mine.parts
    ]
    return mine, items


@given(templates(), wishes("p"), wishes("q"), sites)
def test_what_is_adopted_is_a_native_sidecar_with_all_that_its_owner_wrote(
    template: JSON, one: Desired, two: Desired, site: NodeRuleSite
) -> None:
    result = inject(template, [apply(one), apply(two)], site=site).template
    record = read_record(result)
    assert isinstance(record, Record)
    before = {each["name"]: each for each in template["spec"]["containers"]}
    after = {each["name"]: each for each in result["spec"].get("initContainers") or []}
    adopted = [name for each in record.policies.values() for name in adopted_names(each.parts)]
    assert len(adopted) == len(set(adopted))
    assert result["spec"]["containers"] or not template["spec"]["containers"]
    for name in adopted:
        native = after[name]
        assert native["restartPolicy"] == "Always"
        changed = {"restartPolicy", "startupProbe", "env", "volumeMounts"}
        own = {key: value for key, value in before[name].items() if key not in changed}
        assert own.items() <= native.items()
        assert native.get("startupProbe") or not before[name].get("startupProbe")


@given(templates(), wishes("p"), sites)
def test_a_policy_with_an_obstacle_changes_nothing(
    template: JSON, wish: Desired, site: NodeRuleSite
) -> None:
    result = inject(template, [apply(wish)], site=site)
    if result.obstacles:
        assert result.template is template


@given(templates(), wishes("p"), sites)
def test_the_patch_makes_the_old_template_the_new_one(
    template: JSON, wish: Desired, site: NodeRuleSite
) -> None:
    result = inject(template, [apply(wish)], site=site).template
    patch = difference(template, result, path="")
    assert jsonpatch.apply_patch(template, patch) == result
