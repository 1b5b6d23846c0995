"""The examiner: answers a question of the preflight by dry runs, and finds out who is at fault.

    Question → core.inquiry (Pods to try) → dry runs → core.reading → core.blame → Known

A policy in mode Universal is also tried as the variant for an API server that drops the field.
Whether it does, is asked with native sidecars always, so that it shows when it keeps it again.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sidecarpolicy.api.names import INJECTED_LABEL
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.controller.dryruns import DryRuns
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.controller.questions import Known, Question
from sidecarpolicy.controller.webhooks import WebhookMirror
from sidecarpolicy.core.blame import finding_of, without_field
from sidecarpolicy.core.facts import PolicyFacts
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.gate import Gate, by_comparison
from sidecarpolicy.core.inquiry import Inquiry, Verdict, inquire, inquire_bare
from sidecarpolicy.core.reading import Answer
from sidecarpolicy.core.status import as_found
from sidecarpolicy.core.suspects import Hook, Scene, Suspect, suspects
from sidecarpolicy.core.trialpods import neutral_labels

_OF_ALL = frozenset({Reason.INVALID, Reason.API_SERVER_DROPS_FIELD})
"""What a Pod in our own namespace says about all others, too."""


class Examiner:
    """Answers questions, any number at one time."""

    def __init__(
        self, api: Api, inventory: Inventory, webhooks: WebhookMirror, *, home: str
    ) -> None:
        """`home` is the operator's own namespace."""
        self._inventory = inventory
        self._webhooks = webhooks
        self._home = home
        self._dry_runs = DryRuns(api)
        self._cleared: dict[tuple[str, str], Hook] = {}

    async def answer(self, question: Question) -> Known:
        """What the API server makes of the policy's Pods."""
        policy = question.policy
        wish = policy.desired
        if wish is not None and wish.field_dropped:
            found = await self._examined(question, inquire_bare(_labels_of(policy)))
            if _kept(found) or _because(found, Reason.STRIPPED_BY_WEBHOOK):
                return found
            return await self._without_field(question, policy)
        found = await self._examined(question, self._inquiry(question, policy))
        if policy.universal and _because(found, Reason.API_SERVER_DROPS_FIELD):
            return await self._without_field(question, as_found(policy, dropped=True))
        return found

    async def _without_field(self, question: Question, policy: PolicyFacts) -> Known:
        """The answer where the API server drops the field, with this variant of the policy."""
        found = await self._examined(question, self._inquiry(question, policy))
        return replace(found, dropped=without_field())

    def _inquiry(self, question: Question, policy: PolicyFacts) -> Inquiry:
        found = (self._inventory.workload(ref) for ref in question.workloads)
        return inquire(policy, [each for each in found if each is not None])

    async def _examined(self, question: Question, inquiry: Inquiry) -> Known:
        """What one inquiry says."""
        verdict = await self._dry_runs.carry_out(inquiry, namespace=question.namespace)
        asked = self._suspects(question, verdict)
        if verdict.answer is Answer.PRESERVED:
            sure = (each.hook for each in asked if each.certain)
            self._cleared |= {(each.configuration, each.name): each for each in sure}
        gate = await self._gate(question) if verdict.answer is Answer.LOST else Gate.UNKNOWN
        quota = Finding(Reason.QUOTA_EXCEEDED, verdict.quota) if verdict.quota else None
        block = finding_of(verdict, gate=gate, suspects=asked)
        if question.namespace == self._home and block and block.reason not in _OF_ALL:
            block = None
        return Known(
            question,
            block=block,
            warning=quota,
            open=verdict.answer is Answer.INCONCLUSIVE,
            since=time.monotonic(),
        )

    def _suspects(self, question: Question, verdict: Verdict) -> Sequence[Suspect]:
        """The webhooks that were asked about the Pod, the likeliest suspects first."""
        scene = Scene(question.namespace, question.basis.labels, verdict.labels)
        return suspects(self._webhooks.hooks, scene, cleared=self._cleared.values())

    async def _gate(self, question: Question) -> Gate:
        """Whether it is the API server itself that drops the field."""
        known = await self._dry_runs.gate()
        if known is not Gate.UNKNOWN or question.namespace == self._home:
            return known
        policy = question.policy
        dropped = policy.desired is not None and policy.desired.field_dropped
        asked = inquire_bare(_labels_of(policy)) if dropped else inquire(policy, ())
        verdict = await self._dry_runs.carry_out(asked, namespace=self._home)
        labels = self._labels(self._home)
        there = suspects(self._webhooks.hooks, Scene(self._home, labels, verdict.labels))
        return by_comparison(verdict.answer, webhooks_there=bool(there))

    def _labels(self, namespace: str) -> Mapping[str, str]:
        facts = self._inventory.namespaces.get(namespace)
        return facts.labels if facts is not None else {}


def _labels_of(policy: PolicyFacts) -> Mapping[str, str]:
    """What a Pod of the policy has, by which webhooks choose."""
    return {**neutral_labels(policy), INJECTED_LABEL: "true"}


def _kept(known: Known) -> bool:
    """Whether native sidecars stayed what they are."""
    return known.block is None and not known.open


def _because(known: Known, reason: Reason) -> bool:
    return known.block is not None and known.block.reason is reason
