"""Pod time: what stands in a Pod template and what is left to its Pods, and what these then get.

The template's side, `carry_out`, asks the engine about the Pods as they will be, so that
names clash, policies rank and obstacles show as if everything stood in the template. The
Pod's side, `fulfilled`, carries out what a template promised, whatever became of the
policy since. Which policies want Pod time is for core.decision to say.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sidecarpolicy.api.models import NodeRule, TargetKind
from sidecarpolicy.api.names import INJECTED_ANNOTATION, ROLLOUT_ANNOTATION
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.desired import Desired
from sidecarpolicy.core.draft import Draft
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.inject import Action, Injection, Verdict, inject
from sidecarpolicy.core.marker import (
    as_pods_are,
    promised,
    read_markers,
    size,
    with_markers,
)
from sidecarpolicy.core.noderule import POD_PARTS, written_in_pod
from sidecarpolicy.core.ownership import NodeRuleSite
from sidecarpolicy.core.record import PolicyRecord, Record, encode_record, read_record

Template = Mapping[str, Any]
Markers = Mapping[str, Desired]

MARKED_KINDS = frozenset(
    {
        TargetKind.DEPLOYMENT.value,
        TargetKind.STATEFUL_SET.value,
        TargetKind.CRON_JOB.value,
        TargetKind.JOB.value,
    }
)
"""Kinds whose Pods get what the template promises."""


MAX_MARKER = 64 * 1024
"""Bytes for one policy. The API server takes 256 KiB of annotations in all, and an admission
webhook must never be the reason why an owner's object is refused.
"""
_TOO_LARGE = Finding(
    Reason.MARKER_TOO_LARGE,
    f"an annotation holds at most {MAX_MARKER // 1024} KiB of what a policy adds; make it smaller, "
    "or set injectAt: Auto",
)


def carry_out(
    template: Template,
    verdicts: Sequence[Verdict],
    *,
    at_pods: Collection[str],
    site: NodeRuleSite,
    claims: frozenset[str] = frozenset(),
) -> Injection:
    """Carries out the verdicts on a template; policies in `at_pods` get a marker for their parts.

    A policy that went from one way to the other loses the one with the change that brings
    the other: one rollout. `site` and `claims` are as for the engine.
    """
    before = read_markers(template)
    if not before and not any(_promises(each, at_pods) for each in verdicts):
        return inject(template, verdicts, site=site, claims=claims)
    large = {each.key: (_TOO_LARGE,) for each in verdicts if _too_large(each, at_pods)}
    verdicts = [replace(e, action=Action.HOLD) if e.key in large else e for e in verdicts]
    whole = as_pods_are(template, claims=claims)
    trial = inject(whole, verdicts, site=NodeRuleSite.AFFINITY, claims=claims)
    record = read_record(trial.template)
    if isinstance(record, Finding):
        return Injection(template, obstacles=trial.obstacles)
    kept = record.policies.keys()
    narrowed = [_narrowed(each, kept, trial, at_pods=at_pods) for each in verdicts]
    # Without markers, so that the engine knows whether the annotations were made by it.
    parts = inject(with_markers(template, {}), narrowed, site=site, claims=claims)
    blocked = trial.obstacles.keys() | parts.obstacles.keys()
    after = _markers(before, verdicts, kept, blocked=blocked, at_pods=at_pods)
    turned = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    return Injection(
        with_markers(parts.template, after) if turned or parts.changed else template,
        current=frozenset(_current(template, verdicts, trial, parts=parts, at_pods=at_pods)),
        changed=parts.changed | turned,
        obstacles={**trial.obstacles, **parts.obstacles, **large},
        leftovers=parts.leftovers,
    )


def _promises(verdict: Verdict, at_pods: Collection[str]) -> bool:
    return verdict.action is Action.APPLY and verdict.key in at_pods


def _too_large(verdict: Verdict, at_pods: Collection[str]) -> bool:
    wish = verdict.desired
    return _promises(verdict, at_pods) and wish is not None and size(wish) > MAX_MARKER


def _narrowed(
    verdict: Verdict, kept: Collection[str], trial: Injection, *, at_pods: Collection[str]
) -> Verdict:
    """What is to be done with a policy's parts in the template itself."""
    if verdict.key not in kept:
        return Verdict(verdict.key, Action.REMOVE)
    if verdict.action is Action.APPLY and verdict.key in trial.obstacles:
        return replace(verdict, action=Action.HOLD)
    return Verdict(verdict.key, Action.REMOVE) if _promises(verdict, at_pods) else verdict


def _markers(
    before: Markers,
    verdicts: Sequence[Verdict],
    kept: Collection[str],
    *,
    blocked: Collection[str],
    at_pods: Collection[str],
) -> Markers:
    """What the template promises from now on: nothing that its Pods could not have."""
    after = dict(before)
    for each in verdicts:
        if each.action is Action.HOLD or (each.key in blocked and each.key in kept):
            continue
        if each.key in kept and each.desired is not None and _promises(each, at_pods):
            same = promised(before.get(each.key), each.desired)
            after[each.key] = before[each.key] if same else each.desired
        else:
            after.pop(each.key, None)
    return after


def _current(
    template: Template,
    verdicts: Sequence[Verdict],
    trial: Injection,
    *,
    parts: Injection,
    at_pods: Collection[str],
) -> Iterator[str]:
    """Keys of policies that were as they should be, in the place where they should be."""
    before, record = read_markers(template), read_record(template)
    here = record.policies.keys() if isinstance(record, Record) else ()
    for each in verdicts:
        if each.desired is None:
            continue
        if each.key not in at_pods:
            fine = each.key in parts.current and each.key not in before
        else:
            same = promised(before.get(each.key), each.desired)
            fine = same and each.key in trial.current and each.key not in here
        if fine:
            yield each.key


def promises(pod: Template) -> bool:
    """Whether a Pod's template promised anything that the Pod has not got yet."""
    record = read_record(pod)
    if isinstance(record, Finding):
        return False
    return any(key not in record.policies for key in read_markers(pod)) or _has_rules(record)


def may_promise(template: bytes) -> bool:
    """Whether a template, as JSON text, could promise anything; cheap, and never wrong if not."""
    return ROLLOUT_ANNOTATION.encode() in template or POD_PARTS.encode() in template


def promised_parts(template: Template) -> Mapping[str, tuple[str, ...]]:
    """Keys of the parts that Pods of a template get at their creation, by policy key."""
    before, after = read_record(template), read_record(fulfilled(template).template)
    if isinstance(before, Finding) or isinstance(after, Finding):
        return {}
    return {
        key: tuple(part for part in each.parts if part not in _parts(before, key))
        for key, each in after.policies.items()
    }


def _parts(record: Record, key: str) -> Collection[str]:
    return record.policies[key].parts if key in record.policies else ()


def fulfilled(pod: Template, *, blocked: Collection[str] = (), settled: bool = False) -> Injection:
    """The Pod with what its template promised; twice is once, and what it has is never changed.

    Policies in `blocked` get nothing. `settled`: its node is chosen, and a rule could only
    keep it from there.
    """
    record = read_record(pod)
    if isinstance(record, Finding):
        return Injection(pod)
    open_ = {key: wish for key, wish in read_markers(pod).items() if key not in record.policies}
    wishes = [
        replace(wish, node_rule=NodeRule.NONE) if settled else wish
        for key, wish in open_.items()
        if key not in blocked
    ]
    verdicts = [Verdict(wish.key, Action.APPLY, wish) for wish in wishes]
    result = inject(pod, verdicts, site=NodeRuleSite.AFFINITY)
    return result if settled else replace(result, template=_ruled(result.template))


def _has_rules(record: Record) -> bool:
    parts = (part for each in record.policies.values() for part in each.parts)
    return any(part.startswith(POD_PARTS) for part in parts)


def _ruled(pod: Template) -> Template:
    """The Pod with the node rules that its template could not have."""
    record = read_record(pod)
    if isinstance(record, Finding) or not _has_rules(record):
        return pod
    draft = Draft(pod, record.made)
    policies = {key: _settled(each, draft) for key, each in record.policies.items()}
    if policies == record.policies:
        return pod
    annotations = draft.mapping("metadata.annotations")
    annotations[INJECTED_ANNOTATION] = encode_record(Record(policies, draft.made))
    return draft.template


def _settled(record: PolicyRecord, draft: Draft) -> PolicyRecord:
    """The record as it is once the rule is written."""
    parts = dict(
        written_in_pod(draft, part) if part.startswith(POD_PARTS) else (part, digest)
        for part, digest in record.parts.items()
    )
    return replace(record, parts=parts)
