"""Where sidecars stand among a Pod's init containers.

`placement` says first or last; `order` puts single sidecars before or after others by
name, also after those of other policies and of the user. A name that is not there makes
its constraint void. Nobody else's container is ever moved. Containers that the policy adopts
started after all init containers, and do so still, unless `order` says otherwise.
"""

from collections.abc import Collection, Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from sidecarpolicy.api.models import Placement
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.desired import Desired, names
from sidecarpolicy.core.finding import Finding


def arranged(
    wish: Desired,
    present: Sequence[dict[str, Any]],
    *,
    earlier: Collection[str],
    restart_policy: str = "Always",
    adopted: Sequence[dict[str, Any]] = (),
) -> list[dict[str, Any]] | Finding:
    """All init containers with the policy's sidecars in their places, or why there is none.

    `present` are those of others, in their order; `earlier` names the ones of policies
    that come before this one; `adopted` are the containers that the policy adopts.
    `restart_policy` is the Pods'.
    """
    sidecars = wish.added(restart_policy).init
    result, added = list(present), {**sidecars, **{str(e["name"]): (e,) for e in adopted}}
    try:
        sequence = _sequence(wish, added)
    except CycleError as error:
        circle = " before ".join(map(str, error.args[1]))
        return Finding(Reason.ORDER_IMPOSSIBLE, f"order goes in a circle: {circle}")
    leading = {*earlier, *(each["name"] for group in sidecars.values() for each in group)}
    for name in sequence:
        index = _index(name, names(result), wish, leading)
        if index is None:
            return Finding(
                Reason.ORDER_IMPOSSIBLE,
                f"no place for sidecar {name!r} among {', '.join(names(result))} "
                "satisfies the policy's order",
            )
        result[index:index] = (dict(each) for each in added[name])
    return result


def _sequence(wish: Desired, added: Iterable[str]) -> list[str]:
    """The policy's sidecars as it lists them, then what it adopts, but each after those that must
    come earlier.
    """
    own = list(added)
    if not wish.order:
        return own
    graph: dict[str, set[str]] = {name: set() for name in own}
    for first, then in wish.order:
        if first in own and then in own:
            graph[then].add(first)
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    ready: list[str] = []
    sequence: list[str] = []
    while sorter.is_active():
        # One at a time: what it sets free may be listed before the others that are ready.
        name, *ready = sorted([*ready, *sorter.get_ready()], key=own.index)
        sequence.append(name)
        sorter.done(name)
    return sequence


def _index(
    name: str, present: Sequence[str], wish: Desired, leading: Collection[str]
) -> int | None:
    """Where to insert a sidecar: as its placement says, as far as its order allows."""
    where = {each: index for index, each in enumerate(present)}
    lowest = max((where[a] + 1 for a, b in wish.order if b == name and a in where), default=0)
    highest = min(
        (where[b] for a, b in wish.order if a == name and b in where), default=len(present)
    )
    if lowest > highest:
        return None
    if wish.placement is Placement.LAST or name not in names(wish.sidecars):
        return highest
    return min(max(lowest, _after_leading(present, leading)), highest)


def _after_leading(present: Sequence[str], ours: Collection[str]) -> int:
    """Index behind the leading sidecars of this and of earlier policies."""
    return next((at for at, each in enumerate(present) if each not in ours), len(present))
