"""Fitness: which policies' parts run on a node that is chosen already.

A Pod that is bound to its node, as each of a DaemonSet is, may get the parts of one policy and not
those of another: native sidecars run on capable nodes only, those of mode Universal on all that
do not refuse the field.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from sidecarpolicy.core.capability import Verdict
from sidecarpolicy.core.desired import Desired
from sidecarpolicy.core.snapshot import Snapshot

Runs = Callable[[Desired], bool]
"""Whether a Pod with these parts runs where it is to run."""

ANYWHERE: Final[Runs] = lambda _: True  # noqa: E731 - a value
"""For a Pod that may still choose its node."""


def runs_on(verdict: Verdict | None) -> Runs:
    """For a node of which this is known; on one of which nothing is (None), nothing may run."""
    return lambda wish: verdict is not None and wish.runs_on(verdict)


def fit_for(snapshot: Snapshot, verdict: Verdict | None) -> Snapshot:
    """The snapshot without the policies whose parts do not run on such a node."""
    runs = runs_on(verdict)
    fit = (each for each in snapshot.policies if each.desired is not None and runs(each.desired))
    return replace(snapshot, policies=tuple(fit))
