"""Namesakes: what an owner adds to a Pod template under a name that is a sidecar's already.

A GitOps tool merges its container into the live object, which has ours. Names are unique in a
Pod, and a volume has one source, so the API server would refuse the owner's change because of us.
The user's names win.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sidecarpolicy.core.draft import Draft
from sidecarpolicy.core.former import adopted_names
from sidecarpolicy.core.parts import Place, container_names, place
from sidecarpolicy.core.record import Record, read_record


def crowded_out(template: Mapping[str, Any], record: Record) -> frozenset[str]:
    """Keys of the policies with a container, added or adopted, that shares its name with one of the
    Pod's other kind.

    None in any template that the API server stored: only a change that is being admitted can
    look so.
    """
    spec = template.get("spec") or {}
    regular, init = _names(spec.get("containers")), _names(spec.get("initContainers"))
    return frozenset(
        key
        for key, each in record.policies.items()
        if not _names_of(each.parts).isdisjoint(regular & init)
    )


def untangled(old: Mapping[str, Any], new: Mapping[str, Any]) -> Mapping[str, Any]:
    """The new template, where an item of ours into which its owner's tool merged another choice
    says only what the owner does; the very `new` if there is none.

    A volume has one source, and a variable a value or where it comes from. `old` shows which was
    ours. What is left is the owner's, and found changed.
    """
    record = read_record(new)
    if not isinstance(record, Record):
        return new
    before, draft = Draft(old), Draft(new)
    for policy in record.policies.values():
        for part in policy.parts:
            if part.startswith(("volume/", "env/")):
                _untangle(place(part), before, draft)
    return draft.template if draft.template != new else new


def _untangle(where: Place, before: Draft, draft: Draft) -> None:
    ours, now = where.find(before), where.find(draft)
    if ours is None or now is None:
        return
    mine, chosen = _choices(where, ours), _choices(where, now)
    if not chosen - mine or not chosen & mine:
        return
    items = draft.items(where.path_in(draft))
    items[items.index(now)] = {key: value for key, value in now.items() if key not in mine}


def _choices(where: Place, item: Mapping[str, Any]) -> frozenset[str]:
    """Fields of which an item may have one."""
    fields = frozenset(item) - {"name"}
    return fields & {"value", "valueFrom"} if where.noun == "env" else fields


def _names(containers: Any) -> frozenset[str]:
    return frozenset(str(each.get("name")) for each in containers or ())


def _names_of(parts: Iterable[str]) -> frozenset[str]:
    parts = tuple(parts)
    return container_names(parts) | frozenset(adopted_names(parts))
