"""Adoption: an ordinary container of the owner's becomes a native sidecar, and back.

Decides which of a policy's `adopt` can be done in a template, and does it: the container moves to
the init containers, with restartPolicy Always (KEP-753). All else in it stays as its owner wrote
it. Where it goes among them is for core.ordering; core.inject says when, and keeps the record.
"""

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from sidecarpolicy.api.models import Adoption
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.desired import Desired, names
from sidecarpolicy.core.draft import Draft
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.former import PREFIX, Former, adopted_names, former
from sidecarpolicy.core.native import is_native
from sidecarpolicy.core.parts import container_names
from sidecarpolicy.core.record import PolicyRecord

Item = dict[str, Any]
Policies = Mapping[str, PolicyRecord]

_REGULAR, _INIT = "spec.containers", "spec.initContainers"
_PATIENCE = 30
"""Failures that a startup probe allows at least: a readiness probe may fail at any time, but one
that starts its container anew after the third failure would never let a slow one come up.
"""


@dataclass(frozen=True)
class Adopted:
    """One container as it is among the init containers, and the record's part about it."""

    container: Item
    part: str
    was: str


def complete(wish: Desired, draft: Draft, policies: Policies) -> bool:
    """Whether nothing that a policy adopts is an ordinary container of the owner's, and all that
    its record says it adopted is there as a native sidecar.
    """
    native = names(each for each in draft.peek(_INIT) or [] if is_native(each))
    wanted = {each.container for each in wish.adopt}
    adopted = adopted_names(policies[wish.key].parts)
    return wanted.isdisjoint(_of_the_owner(draft, policies)) and set(adopted) <= set(native)


def obstacles(
    wish: Desired, draft: Draft, policies: Policies, *, yielding: frozenset[str]
) -> Iterator[Finding]:
    """Why a policy cannot adopt here; the policies in `yielding` make way for it."""
    if not wish.adopt:
        return
    own = _regular_beside(wish, draft, policies, yielding)
    found = [each.container for each in wish.adopt if each.container in own]
    taken = list(_taken(wish, policies, yielding))
    yield from taken
    if not found and not wish.sidecars and not taken:
        yield _nothing(wish)
    if found and len(found) == len(own):
        yield Finding(
            Reason.LAST_CONTAINER,
            f"{_listed(found)} would leave the Pod without an application container, which "
            "Kubernetes demands; adopt fewer",
        )


def _regular_beside(
    wish: Desired, draft: Draft, policies: Policies, yielding: frozenset[str]
) -> frozenset[str]:
    """The owner's ordinary containers, as they are without this policy and those that make way."""
    keys = (key for key in (wish.key, *yielding) if key in policies)
    back = (name for key in keys for name in adopted_names(policies[key].parts))
    return _of_the_owner(draft, policies).union(back)


def _of_the_owner(draft: Draft, policies: Policies) -> frozenset[str]:
    """The ordinary containers that no policy added."""
    added = container_names(part for each in policies.values() for part in each.parts)
    return frozenset(names(draft.peek(_REGULAR) or [])) - added


def _taken(wish: Desired, policies: Policies, yielding: frozenset[str]) -> Iterator[Finding]:
    for each in wish.adopt:
        holder = holder_of(each.container, policies)
        if holder is not None and holder != wish.key and holder not in yielding:
            yield Finding(
                Reason.NAME_CONFLICT,
                f"container {each.container!r} is already adopted by {holder}; take it out of one "
                "of the policies",
            )


def _nothing(wish: Desired) -> Finding:
    wanted = [each.container for each in wish.adopt]
    return Finding(
        Reason.NOTHING_TO_ADOPT,
        f"its Pod template has no ordinary {_listed(wanted, or_=True)}, and the policy adds no "
        "sidecar",
    )


def _listed(containers: Iterable[str], *, or_: bool = False) -> str:
    *first, last = (repr(each) for each in containers)
    if not first:
        return f"container {last}"
    return f"container{'' if or_ else 's'} {', '.join(first)} {'or' if or_ else 'and'} {last}"


def holder_of(container: str, policies: Policies) -> str | None:
    """The policy that adopted a container, by the record; None if nobody did."""
    return next((key for key, each in policies.items() if PREFIX + container in each.parts), None)


def rivals(
    wish: Desired, draft: Draft, policies: Policies, *, yielding: frozenset[str]
) -> frozenset[str]:
    """The policies in `yielding` that hold what this one adopts; and all that adopted anything,
    where they left it nothing but what it adopts, because a Pod keeps an ordinary container.
    """
    wanted = {each.container for each in wish.adopt}
    last = wanted >= _of_the_owner(draft, policies)
    adopting = {key: {*adopted_names(policies[key].parts)} for key in yielding & policies.keys()}
    return frozenset(key for key, own in adopting.items() if own and (last or own & wanted))


def prospects(wish: Desired, draft: Draft) -> list[Item]:
    """The containers that a policy would adopt, or did, in no particular order: by name, to see
    whether there is a place for them.
    """
    present = [*(draft.peek(_INIT) or []), *(draft.peek(_REGULAR) or [])]
    wanted = {each.container for each in wish.adopt}
    return [each for each in present if each.get("name") in wanted]


def take(wish: Desired, draft: Draft, policies: Policies) -> list[Adopted]:
    """Takes a policy's containers out of the ordinary ones, in their order there."""
    own = _of_the_owner(draft, policies)
    wanted = {each.container: each for each in wish.adopt if each.container in own}
    if not wanted:
        return []
    out, done = _indexes(policies), []
    for name in [each for each in names(draft.peek(_REGULAR)) if each in wanted]:
        regular = draft.items(_REGULAR)
        index = names(regular).index(name)
        at = _former_index(index, out)
        done.append(_adopted(regular.pop(index), wanted[name], at))
        draft.moved(f"{_REGULAR}.{name}", f"{_INIT}.{name}")
        out.append(at)
    return done


def _indexes(policies: Policies) -> list[int]:
    """Where all adopted containers stood."""
    parts = (part for each in policies.values() for part in each.parts.items())
    return [former(was).at for part, was in parts if part.startswith(PREFIX)]


def _former_index(index: int, out: Iterable[int]) -> int:
    """An index among the ordinary containers, were those back that stood at `out`."""
    for at in sorted(out):
        index += at <= index
    return index


def _adopted(container: Item, adoption: Adoption, at: int) -> Adopted:
    fields: Item = {"restartPolicy": "Always"}
    probe = container.get("readinessProbe")
    if adoption.startup_from_readiness and probe and not container.get("startupProbe"):
        fields["startupProbe"] = _startup(probe)
    was = Former(
        at,
        added=tuple(key for key in fields if key not in container),
        replaced={key: container[key] for key in fields if key in container},
    )
    return Adopted({**container, **fields}, PREFIX + container["name"], was.written())


def _startup(readiness: Mapping[str, Any]) -> Item:
    """A readiness probe as a startup probe, which has to succeed once."""
    allowed = readiness.get("failureThreshold") or 0
    patient = {"successThreshold": 1, "failureThreshold": max(_PATIENCE, allowed)}
    return {**deepcopy(dict(readiness)), **patient}


def put_back(draft: Draft, parts: Mapping[str, str], others: Policies) -> None:
    """Puts what one record says was adopted back to where and how it was.

    `others` are the policies that remain. What its owner took out meanwhile stays out, and where
    he has another ordinary container of that name, that is the one.
    """
    regular, out = draft.edit(_REGULAR), _indexes(others)
    if regular is None:
        return
    mine = {name: former(parts[PREFIX + name]) for name in adopted_names(parts)}
    for name, was in sorted(mine.items(), key=lambda each: each[1].at):
        items = draft.edit(_INIT) or []
        found = next((each for each in items if each.get("name") == name), None)
        if found is None:
            continue
        items[:] = [each for each in items if each is not found]
        if name in names(regular):
            continue
        draft.moved(f"{_INIT}.{name}", f"{_REGULAR}.{name}")
        index = was.at - sum(at < was.at for at in out)
        regular.insert(index, _as_it_was(found, was))


def _as_it_was(container: Item, was: Former) -> Item:
    kept = {key: each for key, each in container.items() if key not in was.added}
    return {**kept, **was.replaced}
