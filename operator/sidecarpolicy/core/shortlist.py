"""The shortlist: of a namespace's many policies, the few that could select a Pod template.

Decides nothing: whoever is not on it cannot match, and `selection.mismatch` has the last
word on the others. So a review looks at a few policies, however many there are.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from sidecarpolicy.core.facts import PolicyFacts

_Label = tuple[str, str]


class Shortlist:
    """Policies by the first label that their selector asks for."""

    def __init__(self, policies: Iterable[PolicyFacts] = ()) -> None:
        self.all = tuple(sorted(policies, key=lambda each: each.key))
        by_label: defaultdict[_Label | None, list[PolicyFacts]] = defaultdict(list)
        for policy in self.all:
            by_label[_asked(policy)].append(policy)
        self._by_label = dict(by_label)

    def of(self, labels: Mapping[str, str]) -> tuple[PolicyFacts, ...]:
        """All policies that could select these labels, in the order of their keys."""
        asked: list[_Label | None] = [None, *labels.items()]
        found = (policy for label in asked for policy in self._by_label.get(label, ()))
        return tuple(sorted(found, key=lambda each: each.key))


def _asked(policy: PolicyFacts) -> _Label | None:
    """A label without which a policy selects nothing, or None."""
    asked = policy.spec.selector.match_labels if policy.spec is not None else {}
    return next(iter(asked.items()), None)
