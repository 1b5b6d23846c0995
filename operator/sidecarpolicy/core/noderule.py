"""The node rule: keeps injected Pods on nodes that run native sidecars.

Terms of a required node affinity are ORed, so the rule is ANDed into every term
(KEP-753 has no scheduling support of its own). An empty term, like an empty list of
terms, matches no node; both stay as they are.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from sidecarpolicy.api.names import CAPABILITY_LABEL
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.capability import Verdict
from sidecarpolicy.core.draft import Draft
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.ownership import NodeRuleSite
from sidecarpolicy.core.record import SELECTOR_PART
from sidecarpolicy.core.semantic import fingerprint

_AFFINITY = "spec.affinity.nodeAffinity"
_REQUIRED = f"{_AFFINITY}.requiredDuringSchedulingIgnoredDuringExecution"
_TERMS = f"{_REQUIRED}.nodeSelectorTerms"


class Rule(StrEnum):
    """Where the Pods of a template may run; the API's NodeRule, and what its modes make of it."""

    REQUIRE = "Require"
    AVOID = "Avoid"
    NOT_REJECTING = "NotRejecting"
    """Any node but those that refuse Pods with native sidecars: for mode Universal."""
    NONE = "None"


def _expression(rule: Rule) -> dict[str, Any]:
    if rule is Rule.AVOID:
        values = [Verdict.IGNORES.value, Verdict.REJECTS.value]
        return {"key": CAPABILITY_LABEL, "operator": "NotIn", "values": values}
    if rule is Rule.NOT_REJECTING:
        values = [Verdict.REJECTS.value]
        return {"key": CAPABILITY_LABEL, "operator": "NotIn", "values": values}
    return {"key": CAPABILITY_LABEL, "operator": "In", "values": [Verdict.CAPABLE.value]}


POD_PARTS = "podNodeTerm/"
"""How part keys begin of rules that the webhook writes into each Pod."""


RULE_PARTS = ("nodeTerm/", SELECTOR_PART, POD_PARTS)
"""How the part keys of node rules begin, wherever these stand."""


def pod_part(rule: Rule) -> str:
    """Part key of a rule that has no place in the template: the webhook writes it into each Pod."""
    return f"{POD_PARTS}{rule}"


def term_part(rule: Rule) -> str:
    """Part key of a rule that stands in the required node affinity."""
    return f"nodeTerm/{rule}"


def rule_holds(draft: Draft, rule: Rule) -> bool:
    """Whether the template keeps its Pods to the rule, whoever wrote it there."""
    if rule is Rule.NONE:
        return True
    selector = draft.peek("spec.nodeSelector") or {}
    if rule is Rule.REQUIRE and selector.get(CAPABILITY_LABEL) == Verdict.CAPABLE.value:
        return True
    terms = draft.peek(_TERMS)
    if terms is None:
        return False
    expression = _expression(rule)
    return all(expression in _expressions(term) for term in terms if not _is_void(term))


def obstacle(draft: Draft, rule: Rule, *, site: NodeRuleSite) -> Finding | None:
    """Why the rule cannot be written, or None."""
    if rule_holds(draft, rule):
        return None
    if _at(site, rule) is NodeRuleSite.NOWHERE:
        return Finding(
            Reason.NODE_RULE_OWNED_BY_GITOPS,
            f"a GitOps tool owns the required node affinity, and the rule {rule} has no other "
            f"place without the webhook; add {CAPABILITY_LABEL} to the node affinity in Git, or "
            "set nodeRule: None",
        )
    value = (draft.peek("spec.nodeSelector") or {}).get(CAPABILITY_LABEL)
    fine = rule is Rule.NOT_REJECTING and value != Verdict.REJECTS.value
    if value not in (None, Verdict.CAPABLE.value) and not fine:
        return Finding(
            Reason.NODE_RULE_CONTRADICTION,
            f"the Pod template's own nodeSelector demands {CAPABILITY_LABEL}={value}, which "
            f"contradicts nodeRule {rule}",
        )
    return None


def _at(site: NodeRuleSite, rule: Rule) -> NodeRuleSite:
    """Where this rule stands: a nodeSelector cannot say that a label must not have a value."""
    says = rule is Rule.REQUIRE
    match site:
        case NodeRuleSite.NODE_SELECTOR:
            return site if says else NodeRuleSite.NOWHERE
        case NodeRuleSite.NODE_SELECTOR_OR_POD:
            return NodeRuleSite.NODE_SELECTOR if says else NodeRuleSite.POD
        case _:
            return site


def add_rule(draft: Draft, rule: Rule, *, site: NodeRuleSite) -> tuple[str, str]:
    """Writes the rule, which does not hold yet; returns its part key and digest.

    The digest lists the terms in which the user had written the same expression, so
    that taking the rule out leaves it there.
    """
    place = _at(site, rule)
    if place is NodeRuleSite.POD:
        return pod_part(rule), ""
    if place is NodeRuleSite.NODE_SELECTOR:
        draft.mapping("spec.nodeSelector")[CAPABILITY_LABEL] = Verdict.CAPABLE.value
        return SELECTOR_PART, ""
    expression = _expression(rule)
    if draft.peek(_REQUIRED) is None:
        terms = [{"matchExpressions": [expression]}]
        draft.mapping(_AFFINITY)[_REQUIRED.rpartition(".")[2]] = {"nodeSelectorTerms": terms}
        return term_part(rule), ""
    own = []
    terms = draft.edit(_TERMS) or []
    identities = _identities(terms)
    for at, term in enumerate(terms):
        if expression in _expressions(term):
            own.append(identities[at])
        elif not _is_void(term):
            terms[at] = {**term, "matchExpressions": _joined(_expressions(term), rule)}
    return term_part(rule), ",".join(own)


def _joined(present: list[dict[str, Any]], rule: Rule) -> list[dict[str, Any]]:
    """A term's expressions with that of a rule. Of several rules the order is always the same,
    whichever policy came first.
    """
    rules = list(Rule)
    later = [_expression(each) for each in rules[rules.index(rule) + 1 :] if each is not Rule.NONE]
    at = next((i for i, each in enumerate(present) if each in later), len(present))
    return [*present[:at], _expression(rule), *present[at:]]


def written_in_pod(draft: Draft, part: str) -> tuple[str, str]:
    """Writes the rule that a template's record has for its Pods into a Pod; part key and digest.

    Where the rule holds already, there is nothing of ours to take out.
    """
    rule = Rule(part.removeprefix(POD_PARTS))
    if rule_holds(draft, rule):
        return part, ""
    return add_rule(draft, rule, site=NodeRuleSite.AFFINITY)


def missing_in_pod(draft: Draft, part: str) -> bool:
    """Whether a part is a rule that a Pod should have by now, and that does not hold for it."""
    return part.startswith(POD_PARTS) and not rule_holds(draft, Rule(part.removeprefix(POD_PARTS)))


def needs_label(spec: Mapping[str, Any]) -> bool:
    """Whether a Pod spec is for labelled nodes only, so that nodes without the label suit none."""
    if CAPABILITY_LABEL in (spec.get("nodeSelector") or {}):
        return True
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    wanted = [
        each
        for term in required.get("nodeSelectorTerms") or ()
        for each in _expressions(term)
        if each.get("key") == CAPABILITY_LABEL
    ]
    return any(each.get("operator") in ("In", "Exists") for each in wanted)


def rule_allows(part: str, verdict: Verdict | None) -> bool:
    """Whether the rule of a part in POD_PARTS lets a Pod run on a node of which this is known."""
    if verdict is None:
        return False
    expression = _expression(Rule(part.removeprefix(POD_PARTS)))
    listed = verdict.label in expression["values"]
    return listed if expression["operator"] == "In" else not listed


def remove_rule(draft: Draft, part: str, digest: str) -> None:
    """Takes the rule out again; a term that consisted of it alone goes too."""
    if part.startswith(POD_PARTS):
        return  # it never stood there
    if part == SELECTOR_PART:
        selector = draft.edit("spec.nodeSelector") or {}
        if selector.get(CAPABILITY_LABEL) == Verdict.CAPABLE.value:
            del selector[CAPABILITY_LABEL]
        return
    expression = _expression(Rule(part.partition("/")[2]))
    terms = draft.edit(_TERMS)
    if not terms:
        return
    own = digest.split(",")
    slim = [
        term if identity in own else _without(term, expression)
        for term, identity in zip(terms, _identities(terms), strict=True)
    ]
    terms[:] = [term for term in slim if term is not None]
    if not terms:
        draft.drop(_REQUIRED)


def _without(term: dict[str, Any], expression: dict[str, Any]) -> dict[str, Any] | None:
    """The term without the expression; None if nothing else was in it."""
    if expression not in _expressions(term):
        return term
    rest = [each for each in _expressions(term) if each != expression]
    slim = {**term, "matchExpressions": rest}
    if not rest:
        del slim["matchExpressions"]
    return slim or None


def _identities(terms: Iterable[Mapping[str, Any]]) -> list[str]:
    """What tells each term from the others; of equal ones the place among them: "1f…", "1f…#1"."""
    seen: Counter[str] = Counter()
    found = []
    for term in terms:
        identity = _identity(term)
        found.append(f"{identity}#{seen[identity]}" if seen[identity] else identity)
        seen[identity] += 1
    return found


def _identity(term: Mapping[str, Any]) -> str:
    """What tells a term from others, whatever rules of ours stand in it."""
    rest = [each for each in _expressions(term) if each.get("key") != CAPABILITY_LABEL]
    return fingerprint({**term, "matchExpressions": rest})


def _expressions(term: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(term.get("matchExpressions") or [])


def _is_void(term: Mapping[str, Any]) -> bool:
    """Whether a term is empty: it matches no node, and ANDing to it changes that."""
    return not term.get("matchExpressions") and not term.get("matchFields")
