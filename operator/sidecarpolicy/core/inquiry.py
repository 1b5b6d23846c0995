"""The inquiry: does a policy work in a namespace? Asked of the API server by dry runs of Pods.

A generator: it yields Pods to try and is sent how the API server took them, until it returns its
verdict. One dry run where all is well. What is refused is tried without the policy's parts, too,
because a Pod that nobody may create says nothing about the policy; and in the end in a Pod of no
workload, because what is refused even there is the policy's own fault.
"""

import heapq
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.facts import PolicyFacts, Ref, WorkloadFacts
from sidecarpolicy.core.reading import Answer, Reading
from sidecarpolicy.core.standing import Standing
from sidecarpolicy.core.trialpods import (
    Sample,
    bare_sample,
    made_loud,
    neutral_sample,
    sample_of,
)

JSON = dict[str, Any]

MAX_SAMPLES = 3
"""Workloads that are tried; where the first Pod is fine, it is the only one."""

_TAKEN = (Answer.PRESERVED, Answer.OVER_QUOTA)
_FAULTS = (Answer.INVALID, Answer.REFUSED)
_SAID_LAST = (Answer.REFUSED, Answer.OVER_QUOTA)
"""Admission has the last word: where it says no, nobody saw what became of the sidecars."""


@dataclass(frozen=True)
class Trial:
    """A Pod to create as a dry run, and the native sidecars that it should have then."""

    pod: JSON
    sidecars: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What is known of a policy in a namespace.

    `INVALID` is the policy's own fault; what does not fit the workloads there, or whom
    admission forbids, is `REFUSED`. `message` has the API server's words, `quota` its words
    where a ResourceQuota has no room, which keeps nothing from working.
    """

    answer: Answer
    message: str = ""
    quota: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the Pod that showed it, by which webhooks are matched."""


Inquiry = Generator[Trial, Reading, Verdict]


def samples(standings: Iterable[Standing]) -> tuple[Ref, ...]:
    """The workloads on which a policy is tried: some that it selects, the same ones each time."""
    fit = (each.ref for each in standings if not each.leaving and not _left_alone(each))
    return tuple(heapq.nsmallest(MAX_SAMPLES, fit))


def _left_alone(standing: Standing) -> bool:
    found = standing.finding
    return found is not None and found.reason in (Reason.OPTED_OUT, Reason.OWNED_BY_CONTROLLER)


def inquire(policy: PolicyFacts, workloads: Sequence[WorkloadFacts]) -> Inquiry:
    """Asks about a policy, on the workloads that it selects, if any."""
    if policy.desired is None:
        return Verdict(Answer.INCONCLUSIVE, policy.invalid)
    blamed: Verdict | None = None
    for workload in workloads:
        found = yield from _tried(sample_of(workload, policy.desired))
        if found is not None and found.answer not in _FAULTS:
            return found
        blamed = blamed or found
    itself = yield from _tried(neutral_sample(policy, policy.desired))
    if blamed is None or (itself is not None and itself.answer is Answer.INVALID):
        return itself or Verdict(Answer.INCONCLUSIVE, "no Pod shows it")
    return replace(blamed, answer=Answer.REFUSED)


def inquire_bare(labels: Mapping[str, str]) -> Inquiry:
    """Asks about native sidecars as such, with a Pod of no policy and no workload."""
    found = yield from _tried(bare_sample(labels))
    return found or Verdict(Answer.INCONCLUSIVE, "it is refused without a native sidecar, too")


def _tried(sample: Sample | None) -> Generator[Trial, Reading, Verdict | None]:
    """What one sample says; None if that is nothing about the policy."""
    if sample is None:
        return None
    labels = sample.injected["metadata"]["labels"]
    reading = yield Trial(sample.injected, sample.sidecars)
    if reading.answer in _SAID_LAST and sample.sidecars:
        loud = yield Trial(made_loud(sample.injected, sample.sidecars), sample.sidecars)
        if loud.answer is Answer.LOST:
            return Verdict(Answer.LOST, loud.message, labels=labels)
    if reading.answer is Answer.OVER_QUOTA:
        return Verdict(Answer.PRESERVED, quota=reading.message, labels=labels)
    if reading.answer in _FAULTS:
        plain = yield Trial(sample.plain)
        if plain.answer not in _TAKEN:
            return None
    return Verdict(reading.answer, reading.message, labels=labels)
