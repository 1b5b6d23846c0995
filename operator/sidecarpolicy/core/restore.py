"""Restoring: what an update dropped from a Pod template, put back as it was.

`kubectl replace`, and every client that writes an object as it has it, drops what policies
added. That is no wish to be rid of it (there is an annotation to say so), hence no
rollout either.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sidecarpolicy.api.models import NodeRule
from sidecarpolicy.api.names import INJECTED_ANNOTATION, INJECTED_LABEL
from sidecarpolicy.core import graceperiod
from sidecarpolicy.core.draft import Draft
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.noderule import add_rule, rule_holds
from sidecarpolicy.core.ownership import NodeRuleSite
from sidecarpolicy.core.parts import NOUNS, Place, place
from sidecarpolicy.core.record import (
    SELECTOR_PART,
    PolicyRecord,
    Record,
    encode_record,
    read_record,
)

Template = Mapping[str, Any]


def restored(old: Template, new: Template, *, site: NodeRuleSite) -> Template:
    """The new template with the parts of all policies that only the old one's record names.

    The very `new` if there is none, and where a policy's parts find their names taken.
    """
    before, after = read_record(old), read_record(new)
    if isinstance(before, Finding) or isinstance(after, Finding):
        return new
    missing = {key: each for key, each in before.policies.items() if key not in after.policies}
    draft = Draft(new, after.made)
    source = Draft(old)
    kept = {
        key: _put_back(each, source, draft, site)
        for key, each in missing.items()
        if not _clashes(each, source, draft)
    }
    if not kept:
        return new
    draft.mapping("metadata.labels")[INJECTED_LABEL] = "true"
    annotations = draft.mapping("metadata.annotations")
    policies = {
        key: kept.get(key) or after.policies[key] for key in sorted({*kept, *after.policies})
    }
    annotations[INJECTED_ANNOTATION] = encode_record(Record(policies, draft.made))
    return draft.template


def _clashes(record: PolicyRecord, source: Draft, draft: Draft) -> bool:
    """Whether something else stands where one of the parts was."""
    return any(
        (found := where.find(draft)) is not None and found != where.find(source)
        for where in _places(record)
    )


def _places(record: PolicyRecord) -> list[Place]:
    return [place(part) for part in record.parts if part.partition("/")[0] in NOUNS]


def _put_back(
    record: PolicyRecord, source: Draft, draft: Draft, site: NodeRuleSite
) -> PolicyRecord:
    """Copies the parts over; returns what the record says of them now."""
    for where in _places(record):
        item = where.find(source)
        there = draft.peek(where.path.rpartition(".")[0]) is not None  # its container may be gone
        if item is not None and there and where.find(draft) is None:
            _insert(where, item, source.peek(where.path), draft)
    return PolicyRecord(record.revision, dict(_others(record, draft, site)))


def _insert(where: Place, item: Mapping[str, Any], order: Sequence[Any], draft: Draft) -> None:
    """Puts an item behind the nearest one that stood before it."""
    field = NOUNS[where.noun].field
    items = draft.items(where.path)
    leading = [each.get(field) for each in order[: order.index(item)]]
    known = [at for at, each in enumerate(items) if each.get(field) in leading]
    items.insert(max(known, default=-1) + 1, dict(item))


def _others(record: PolicyRecord, draft: Draft, site: NodeRuleSite) -> "list[tuple[str, str]]":
    """The record's parts; node rule and grace period, which are no items, are written anew."""
    parts = []
    for part, digest in record.parts.items():
        if part == graceperiod.PART:
            wanted = int(digest.partition(":")[0])
            if not graceperiod.enough(draft, wanted):
                parts.append((part, graceperiod.raised(draft, wanted, ())))
        elif part == SELECTOR_PART or part.startswith("nodeTerm/"):
            rule = NodeRule.REQUIRE if part == SELECTOR_PART else NodeRule(part.partition("/")[2])
            if not rule_holds(draft, rule):
                parts.append(add_rule(draft, rule, site=site))
        elif place(part).find(draft) is not None:
            parts.append((part, digest))
    return parts
