"""The laws of what a template leaves to its Pods, over generated templates and policies."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sidecarpolicy.core.desired import Desired
from sidecarpolicy.core.inject import Action, Verdict, inject
from sidecarpolicy.core.marker import has_marker, promised, read_markers, with_markers
from sidecarpolicy.core.ownership import NodeRuleSite
from sidecarpolicy.core.podtime import carry_out, fulfilled, promises
from tests.unit.core.strategies import templates, wishes

JSON = dict[str, Any]

sites = st.sampled_from(NodeRuleSite)
at_pods = st.sets(st.sampled_from(["SidecarPolicy/p", "SidecarPolicy/q"])).map(frozenset)


def apply(*wishes: Desired) -> list[Verdict]:
    return [Verdict(each.key, Action.APPLY, each) for each in wishes]


def remove(*wishes: Desired) -> list[Verdict]:
    return [Verdict(each.key, Action.REMOVE) for each in wishes]


@given(wishes("p"))
def test_a_marker_says_all_that_a_policy_wants(wish: Desired) -> None:
    read = read_markers(with_markers({"spec": {}}, {wish.key: wish}))[wish.key]
    assert promised(read, wish)
    pod = {"spec": {"containers": [{"name": "z"}]}}
    results = [
        inject(pod, apply(each), site=NodeRuleSite.AFFINITY).template for each in (read, wish)
    ]
    assert results[0] == results[1]


@given(templates(), wishes("p"), wishes("q"), at_pods, sites)
def test_carrying_out_twice_is_carrying_out_once(
    template: JSON, one: Desired, two: Desired, at_pods: frozenset[str], site: NodeRuleSite
) -> None:
    before = copy.deepcopy(template)
    once = carry_out(template, apply(one, two), at_pods=at_pods, site=site)
    twice = carry_out(once.template, apply(one, two), at_pods=at_pods, site=site)
    assert twice.template is once.template
    assert twice.obstacles.keys() == once.obstacles.keys()
    assert twice.current == {one.key, two.key} - once.obstacles.keys()
    assert template == before


@given(templates(), wishes("p"), wishes("q"), at_pods, at_pods, sites)
def test_removing_gives_back_what_the_user_wrote_whichever_way_policies_went(
    template: JSON,
    one: Desired,
    two: Desired,
    at_pods: frozenset[str],
    then: frozenset[str],
    site: NodeRuleSite,
) -> None:
    first = carry_out(template, apply(one, two), at_pods=at_pods, site=site).template
    second = carry_out(first, apply(one, two), at_pods=then, site=site).template
    for made in (first, second):
        result = carry_out(made, remove(one, two), at_pods=at_pods, site=site).template
        assert result == template


@given(templates(), wishes("p"), wishes("p"), st.booleans())
def test_a_policy_that_goes_the_other_way_ends_as_if_it_had_always(
    template: JSON, old: Desired, new: Desired, at_first: bool
) -> None:
    site = NodeRuleSite.AFFINITY
    before: set[str] = {old.key} if at_first else set()
    after = {new.key} - before
    direct = carry_out(template, apply(new), at_pods=after, site=site)
    if not direct.obstacles:
        first = carry_out(template, apply(old), at_pods=before, site=site).template
        assert carry_out(first, apply(new), at_pods=after, site=site).template == direct.template


@given(templates(), wishes("p"))
def test_pods_get_what_a_template_would_have(template: JSON, wish: Desired) -> None:
    site = NodeRuleSite.AFFINITY
    direct = inject(template, apply(wish), site=site)
    marked = carry_out(template, apply(wish), at_pods={wish.key}, site=site)
    assert marked.template.get("spec") == template["spec"]
    assert has_marker(marked.template) is not bool(direct.obstacles)
    assert marked.obstacles.keys() == direct.obstacles.keys()
    assert fulfilled(marked.template).template.get("spec") == direct.template["spec"]


@given(templates(), wishes("p"), wishes("q"), at_pods, sites)
def test_a_pod_gets_what_was_promised_once(
    template: JSON, one: Desired, two: Desired, at_pods: frozenset[str], site: NodeRuleSite
) -> None:
    pod = carry_out(template, apply(one, two), at_pods=at_pods, site=site).template
    before = copy.deepcopy(pod)
    once = fulfilled(pod).template
    assert fulfilled(once).template is once
    assert pod == before
    if not promises(pod):
        assert once is pod


@given(templates(), wishes("p"), wishes("p"), wishes("q"), at_pods, sites)
def test_a_held_policy_keeps_its_promise_whatever_happens_to_another(
    template: JSON,
    held: Desired,
    newer: Desired,
    other: Desired,
    at_pods: frozenset[str],
    site: NodeRuleSite,
) -> None:
    start = carry_out(template, apply(held, other), at_pods=at_pods, site=site).template
    for rest in (remove(other), apply(other)):
        verdicts = [Verdict(newer.key, Action.HOLD, newer), *rest]
        result = carry_out(start, verdicts, at_pods=at_pods, site=site).template
        assert read_markers(result).get(held.key) == read_markers(start).get(held.key)
