"""The shortlist leaves out only whom `mismatch` would leave out."""

from hypothesis import given
from hypothesis import strategies as st

from sidecarpolicy.core.facts import PolicyFacts, policy_facts
from sidecarpolicy.core.selection import mismatch
from sidecarpolicy.core.shortlist import Shortlist
from tests.support.builders import policy_object

_labels = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2"]), max_size=3)
_expressions = st.lists(
    st.sampled_from(
        [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "NotIn", "values": ["1"]}]
    ),
    max_size=1,
)
_selectors = st.builds(
    lambda labels, expressions: {"matchLabels": labels, "matchExpressions": expressions},
    _labels,
    _expressions,
)


def policies(selectors: "list[dict[str, object]]") -> list[PolicyFacts]:
    return [
        policy_facts(policy_object(f"p-{number:02}", selector=selector))
        for number, selector in enumerate(selectors)
    ]


@given(st.lists(_selectors, max_size=6), _labels)
def test_whoever_selects_a_template_is_on_the_list(
    selectors: "list[dict[str, object]]", labels: dict[str, str]
) -> None:
    known = policies(selectors)
    selecting = [each for each in known if _selects(each, labels)]

    found = Shortlist(reversed(known)).of(labels)

    assert [each for each in found if _selects(each, labels)] == selecting


def _selects(policy: PolicyFacts, labels: dict[str, str]) -> bool:
    assert policy.spec is not None
    template = {"metadata": {"labels": labels}}
    lacking = mismatch(
        policy.spec, kind="Deployment", name="web", template=template, namespace_labels={}
    )
    return lacking is None


def test_who_asks_for_another_label_is_not_on_the_list() -> None:
    one, other = policies([{"matchLabels": {"app": "web"}}, {"matchLabels": {"app": "db"}}])

    assert Shortlist([one, other]).of({"app": "web", "tier": "front"}) == (one,)


def test_a_policy_that_cannot_be_read_is_always_on_the_list() -> None:
    unreadable = policy_facts(policy_object("p", selector={"matchLabels": 7}))

    assert Shortlist([unreadable]).of({}) == (unreadable,)
