"""Restoring: what an update dropped from a Pod template, put back as it was.

`kubectl replace`, and every client that writes an object as it has it, drops what policies
added. That is no wish to be rid of it (there is an annotation to say so), hence no
rollout either.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sidecarpolicy.api.names import INJECTED_ANNOTATION, INJECTED_LABEL
from sidecarpolicy.core import graceperiod
from sidecarpolicy.core.desired import Desired
from sidecarpolicy.core.draft import Draft
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.former import adopted_names
from sidecarpolicy.core.inject import Action, Verdict, inject
from sidecarpolicy.core.marker import read_markers, with_markers
from sidecarpolicy.core.noderule import POD_PARTS, RULE_PARTS, Rule, add_rule, rule_holds
from sidecarpolicy.core.nouns import NOUNS
from sidecarpolicy.core.ownership import NodeRuleSite
from sidecarpolicy.core.parts import Place, place
from sidecarpolicy.core.record import (
    SELECTOR_PART,
    PolicyRecord,
    Record,
    encode_record,
    read_record,
)

Template = Mapping[str, Any]


def only_dropped(old: Template, new: Template, *, site: NodeRuleSite) -> bool:
    """Whether all that the new template changed is to drop what policies added to the old one."""
    verdicts = [Verdict(key, Action.REMOVE) for key in _dropped(old, new)]
    forgotten = _forgotten(old, new)
    if not verdicts and not forgotten:
        return False
    # What cannot be taken out, such as a volume of ours that the user mounts, can be put back.
    kept = {key: wish for key, wish in read_markers(old).items() if key not in forgotten}
    stripped = with_markers(inject(with_markers(old, {}), verdicts, site=site).template, kept)
    return stripped == new or restored(old, new, frozenset(), site=site) == old


def restored(
    old: Template, new: Template, renewed: frozenset[str], *, site: NodeRuleSite
) -> Template:
    """The new template with the parts of the policies that only the old one's record names.

    The very `new` if there are none. Left out are the policies in `renewed`, which get
    their parts anew, and those whose parts find their names taken.
    """
    after = read_record(new)
    if isinstance(after, Finding):
        return new
    draft, source = Draft(new, after.made), Draft(old)
    policies = dict(after.policies)
    for key, each in _dropped(old, new).items():
        if key not in renewed and not _clashes(each, source, draft):
            _copy(each, source, draft)
            policies[key] = _rewritten(each, draft, site, list(policies.values()))
    if policies.keys() != after.policies.keys():
        draft.mapping("metadata.labels")[INJECTED_LABEL] = "true"
        annotations = draft.mapping("metadata.annotations")
        annotations[INJECTED_ANNOTATION] = encode_record(Record(policies, draft.made))
        new = draft.template
    return _remarked(old, new, renewed)


def _remarked(old: Template, new: Template, renewed: frozenset[str]) -> Template:
    """The new template with the markers, too, that only the old one has."""
    forgotten = {key: wish for key, wish in _forgotten(old, new).items() if key not in renewed}
    return with_markers(new, {**read_markers(new), **forgotten}) if forgotten else new


def _forgotten(old: Template, new: Template) -> Mapping[str, Desired]:
    """Markers that only the old template has."""
    after = read_markers(new)
    return {key: wish for key, wish in read_markers(old).items() if key not in after}


def _dropped(old: Template, new: Template) -> Mapping[str, PolicyRecord]:
    """What only the old template's record names; nothing where a record is unreadable."""
    before, after = read_record(old), read_record(new)
    if isinstance(before, Finding) or isinstance(after, Finding):
        return {}
    return {key: each for key, each in before.policies.items() if key not in after.policies}


def _clashes(record: PolicyRecord, source: Draft, draft: Draft) -> bool:
    """Whether something else stands where one of the parts was, or has its name. What was adopted
    stands among the owner's containers again.
    """
    return bool(adopted_names(record.parts)) or any(
        (where.twin is not None and where.twin.find(draft) is not None)
        or ((found := where.find(draft)) is not None and found != where.find(source))
        for where in _places(record)
    )


def _places(record: PolicyRecord) -> list[Place]:
    return [place(part) for part in record.parts if part.partition("/")[0] in NOUNS]


def _copy(record: PolicyRecord, source: Draft, draft: Draft) -> None:
    """Copies list items over, except into containers that are gone."""
    for where in _places(record):
        item = where.find(source)
        there = draft.peek(where.path.rpartition(".")[0]) is not None
        if item is not None and there and where.find(draft) is None:
            _insert(where, item, source.peek(where.path_in(source)), draft)


def _insert(where: Place, item: Mapping[str, Any], order: Sequence[Any], draft: Draft) -> None:
    """Puts an item behind the nearest one that stood before it."""
    field = NOUNS[where.noun].field
    items = draft.items(where.path)
    leading = [each.get(field) for each in order[: order.index(item)]]
    known = [at for at, each in enumerate(items) if each.get(field) in leading]
    items.insert(max(known, default=-1) + 1, dict(item))


def _rewritten(
    record: PolicyRecord, draft: Draft, site: NodeRuleSite, others: Sequence[PolicyRecord]
) -> PolicyRecord:
    """What the record says now; node rule and grace period, which are no items, are written anew.

    `others` are the records of policies that are in the draft already.
    """
    parts: dict[str, str] = {}
    for part, digest in record.parts.items():
        if part == graceperiod.PART:
            wanted = int(digest.partition(":")[0])
            wishes = [each.parts[part] for each in others if part in each.parts]
            if wishes or not graceperiod.enough(draft, wanted):
                parts[part] = graceperiod.raised(draft, wanted, wishes)
        elif part.startswith(POD_PARTS):
            parts[part] = digest
        elif part.startswith(RULE_PARTS):
            parts.update(_rule(part, draft, site, others))
        elif place(part).find(draft) is not None:
            parts[part] = digest
    return PolicyRecord(record.revision, parts)


def _rule(
    part: str, draft: Draft, site: NodeRuleSite, others: Sequence[PolicyRecord]
) -> list[tuple[str, str]]:
    """Writes a node rule unless it holds; what the record says of it, also if it is shared."""
    rule = Rule.REQUIRE if part == SELECTOR_PART else Rule(part.partition("/")[2])
    if not rule_holds(draft, rule):
        return [add_rule(draft, rule, site=site)]
    return [(part, each.parts[part]) for each in others if part in each.parts][:1]
