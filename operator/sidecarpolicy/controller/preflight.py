"""Preflight: tries policies by dry runs before the first write, and while they are blocked.

Per namespace and policy, beside the reconcile loop, which never waits for it: a pass holds what is
not proved yet and has it asked (`consider`); the answer marks the namespace for another pass. What
was proved counts until the policy's revision, the namespace's labels, or the webhooks that are
asked about its Pods change. Idle, only what is blocked is tried again, one a second at most.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.controller.backoff import Backoff
from sidecarpolicy.controller.dryruns import IN_FLIGHT
from sidecarpolicy.controller.examiner import Examiner
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.controller.questions import Basis, Known, Question, askable, kept, kept_drop
from sidecarpolicy.controller.webhooks import WebhookMirror
from sidecarpolicy.core import blocks
from sidecarpolicy.core.facts import CLUSTER, PolicyFacts, Ref
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.inquiry import samples
from sidecarpolicy.core.snapshot import Snapshot
from sidecarpolicy.core.standing import Standing
from sidecarpolicy.core.summary import Summary
from sidecarpolicy.core.suspects import Hook, concerned
from sidecarpolicy.process.life import first_to_end

log = logging.getLogger(__name__)

_WAITING = Finding(Reason.PREFLIGHT, "a Pod with its sidecars is tried as a dry run first")
_WAKE_SECONDS = 30.0
_OF_MANY = frozenset({Reason.STRIPPED_BY_WEBHOOK, Reason.API_SERVER_DROPS_FIELD})
"""What ends for many at once."""


@dataclass(frozen=True)
class Pace:
    """How often is asked again, in seconds."""

    first_retry: float = 2.0
    last_retry: float = 300.0
    """What is blocked rests so long at first, and in the end."""
    every: float = 1.0
    """Of all that is blocked, one has its turn so often."""
    lag: float = 5.0
    """How much later than we do the API server may learn of webhooks and labels."""


class Preflight:
    """What is known of policies in namespaces, and the questions that are under way."""

    def __init__(
        self,
        api: Api,
        inventory: Inventory,
        webhooks: WebhookMirror,
        *,
        home: str,
        pace: Pace = Pace(),
    ) -> None:
        """`home` is the operator's own namespace."""
        self._inventory = inventory
        self._webhooks = webhooks
        webhooks.changed = self._webhooks_changed
        self._home = home
        self._examiner = Examiner(api, inventory, webhooks, home=home)
        self._known: defaultdict[str, dict[str, Known]] = defaultdict(dict)
        self._asked: defaultdict[str, dict[str, Question]] = defaultdict(dict)
        self._unsettled: set[tuple[str, str]] = set()
        self._seen_by: dict[str, tuple[Mapping[str, str], tuple[Hook, ...]]] = {}
        self._queue: asyncio.Queue[Question] = asyncio.Queue()
        self._webhooks_at = -inf
        self._pace = pace
        self._backoff = Backoff(first=pace.first_retry, last=pace.last_retry)

    def holds(self, snapshot: Snapshot) -> Mapping[str, Finding]:
        """Why policies may change nothing in the namespace now, by their keys."""
        found = ((each.key, self._hold(each, snapshot)) for each in snapshot.policies)
        return {key: finding for key, finding in found if finding is not None}

    def _hold(self, policy: PolicyFacts, snapshot: Snapshot) -> Finding | None:
        """Why the policy may change nothing: it was blocked, or nothing is proved yet."""
        if not askable(policy, snapshot):
            return None
        known = self._known[snapshot.namespace].get(policy.key)
        if known is None:
            return policy.block(snapshot.namespace) or _WAITING
        if known.block is not None:
            return known.block
        proved = known.question.basis == self._basis(policy, snapshot, sampled=True)
        # Pods that a change leads to are the webhook's, which goes by the status.
        told = policy.server_known and known.suits(policy)
        return None if proved and told else _WAITING

    def consider(
        self, snapshot: Snapshot, standings: Mapping[str, Sequence[Standing]]
    ) -> frozenset[str]:
        """Has asked what is not known yet; the keys of the policies that wait for an answer. What
        is only tried again is known: its answer may say nothing new, and calls for no other pass.
        """
        if snapshot.excluded:
            return frozenset()
        self._forget_others(snapshot)
        for policy in snapshot.policies:
            question = self._question(policy, snapshot, samples(standings[policy.key]))
            if question is None or self._answered(question):
                continue
            if (wait := self._too_soon(question)) > 0:
                self._inventory.dirty_scopes.mark_later(snapshot.namespace, wait)
                continue
            self._backoff.succeeded(question.id)  # something changed: it may have healed
            self._ask(question)
        asked = self._asked[snapshot.namespace].items()
        return frozenset(key for key, question in asked if not self._answered(question))

    def _too_soon(self, question: Question) -> float:
        """For how many seconds an answer has to do, where only templates changed since: Jobs
        that come and go change them all the time.
        """
        known = self._known[question.namespace].get(question.policy.key)
        if known is None or known.question.basis != question.basis:
            return 0.0
        return known.since + self._pace.first_retry - time.monotonic()

    def _forget_others(self, snapshot: Snapshot) -> None:
        """Drops what was said of policies that have nothing to do with the namespace any more."""
        keys = {each.key for each in snapshot.policies if askable(each, snapshot)}
        for key in self._known[snapshot.namespace].keys() - keys:
            self._drop((snapshot.namespace, key))

    def forget(self, namespace: str) -> None:
        """Drops all that was said of a namespace, which is gone."""
        for key in {*self._known.pop(namespace, ()), *self._asked.pop(namespace, ())}:
            self._drop((namespace, key))
        self._seen_by.pop(namespace, None)

    def _drop(self, about: tuple[str, str]) -> None:
        namespace, key = about
        self._known[namespace].pop(key, None)
        self._asked[namespace].pop(key, None)
        self._unsettled.discard(about)
        self._backoff.succeeded(about)

    def _question(
        self, policy: PolicyFacts, snapshot: Snapshot, workloads: tuple[Ref, ...]
    ) -> Question | None:
        """What to ask; None where nothing is selected, but in a policy's own namespace: there,
        what it does to the first object that is created must be known before.
        """
        if not askable(policy, snapshot) or not (workloads or policy.scope):
            return None
        basis = self._basis(policy, snapshot, sampled=bool(workloads))
        found = (self._inventory.workload(ref) for ref in workloads)
        templates = hash(tuple(each.template for each in found if each is not None))
        return Question(snapshot.namespace, policy, workloads, templates, basis)

    def _basis(self, policy: PolicyFacts, snapshot: Snapshot, *, sampled: bool) -> Basis:
        labels = snapshot.namespace_labels
        hooks = self._hooks(snapshot.namespace, labels)
        return Basis(
            uid=policy.uid,
            revision=policy.desired.revision if policy.desired is not None else "",
            labels=labels,
            hooks=hooks,
            sampled=sampled,
        )

    def _hooks(self, namespace: str, labels: Mapping[str, str]) -> tuple[Hook, ...]:
        """The webhooks that see the namespace's Pods; found anew only where something changed."""
        known_labels, hooks = self._seen_by.get(namespace, (None, ()))
        if known_labels != labels:
            hooks = concerned(self._webhooks.hooks, labels)
            self._seen_by[namespace] = labels, hooks
        return hooks

    def _answered(self, question: Question) -> bool:
        known = self._known[question.namespace].get(question.policy.key)
        return known is not None and known.answers(question)

    def _ask(self, question: Question) -> None:
        asked = self._asked[question.namespace].get(question.policy.key)
        if asked is None or asked.basis != question.basis:
            self._asked[question.namespace][question.policy.key] = question
            self._queue.put_nowait(question)

    async def run(self) -> None:
        """Asks for ever; what was listed before that, the API server knows as well."""
        self._webhooks_at = -inf
        await first_to_end(self._retry(), *(self._work() for _ in range(IN_FLIGHT)))

    def _wanted(self, question: Question) -> bool:
        """Whether nobody asked anew meanwhile, or wants to know no more."""
        return self._asked[question.namespace].get(question.policy.key) is question

    async def _work(self) -> None:
        while True:
            question = await self._queue.get()
            if not self._wanted(question):
                continue
            try:
                known = await self._examiner.answer(question)
            except Exception:
                log.exception("%s in %r: internal error", question.policy, question.namespace)
                known = Known(question, open=True)
            if self._wanted(question):
                self._learn(known)

    def _labels(self, namespace: str) -> Mapping[str, str]:
        facts = self._inventory.namespaces.get(namespace)
        return facts.labels if facts is not None else {}

    def _learn(self, known: Known) -> None:
        """Takes an answer in, and has the namespace looked at if it is news."""
        question = known.question
        before = self._known[question.namespace].get(question.policy.key)
        if known.open:
            block, dropped = kept(before, question), kept_drop(before, question)
            known = replace(known, block=block, dropped=dropped)
        del self._asked[question.namespace][question.policy.key]
        self._known[question.namespace][question.policy.key] = known
        self._settle(known)
        if before is None or not before.same_as(known):
            self._tell(before, known)
        moved = before is not None and not before.question.basis.same_place(question.basis)
        if moved or known.since < self._webhooks_at + self._pace.lag:
            asyncio.get_running_loop().call_later(self._pace.lag, self._confirm, known)

    def _confirm(self, known: Known) -> None:
        """Asks once more: the API server itself learns of webhooks and labels a moment later
        than we do, and then still answers as before.
        """
        question = known.question
        if self._known[question.namespace].get(question.policy.key) is known:
            self._ask(question)

    def _settle(self, known: Known) -> None:
        about = known.question.id
        if known.settled:
            self._unsettled.discard(about)
            self._backoff.succeeded(about)
        else:
            self._unsettled.add(about)
            self._backoff.failed(about, now=time.monotonic())

    def _tell(self, before: Known | None, known: Known) -> None:
        question = known.question
        if known.block is not None:
            log.warning(
                "%s is blocked in namespace %r: %s: %s",
                *(question.policy, question.namespace, known.block.reason, known.block.message),
            )
        elif before is not None and before.block is not None:
            log.info("%s is blocked no more in namespace %r", question.policy, question.namespace)
            self._wake(before.block.reason)
        if before is not None and before.dropped is not None and known.dropped is None:
            log.info("%s: the API server keeps the field now", question.policy)
            self._wake(before.dropped.reason)
        home = question.namespace == self._home
        self._inventory.dirty_scopes.mark(CLUSTER if home else question.namespace)

    def _wake(self, reason: Reason) -> None:
        """Has those tried again at once who were blocked for a reason that ended for one."""
        if reason not in _OF_MANY:
            return
        now = time.monotonic()
        for namespace, key in self._unsettled:
            known = self._known[namespace][key]
            reasons = {each.reason for each in (known.block, known.dropped) if each is not None}
            if reason in reasons and now - known.since > _WAKE_SECONDS:
                self._ask(known.question)

    async def _retry(self) -> None:
        """Tries again what is not settled, when its time has come, and never many at once."""
        while True:
            await asyncio.sleep(self._pace.every)
            now = time.monotonic()
            waiting = [each for each in self._unsettled if each[1] not in self._asked[each[0]]]
            rests = {each: self._backoff.rest(each, now=now) for each in waiting}
            due = min(rests, key=rests.__getitem__, default=None)
            if due is not None and rests[due] <= 0:
                self._ask(self._known[due[0]][due[1]].question)

    def _webhooks_changed(self) -> None:
        """Has those namespaces looked at whose Pods are no longer seen by the same webhooks."""
        self._webhooks_at = time.monotonic()
        self._seen_by.clear()
        for namespace, policies in self._known.items():
            now = self._hooks(namespace, self._labels(namespace))
            if any(each.question.basis.hooks != now for each in policies.values()):
                home = namespace == self._home
                self._inventory.dirty_scopes.mark(CLUSTER if home else namespace)

    def told(self, namespace: str, key: str) -> blocks.Preflight:
        """What is known of a policy in a namespace, for its status."""
        known = self._known[namespace].get(key)
        if known is None:
            return blocks.Preflight()
        return blocks.preflight(
            namespace, block=known.block, warning=known.warning, dropped=known.dropped
        )

    def of_all(self, policy: PolicyFacts, summary: Summary) -> Summary | None:
        """The summary of a cluster policy. Where it selects nothing yet, with what a Pod in our
        own namespace says of all others; None until that was tried.
        """
        if policy.desired is None or policy.deleting or summary.preflight.tried:
            self._drop((self._home, policy.key))
            return summary
        home = self._inventory.snapshot(self._home)
        basis = self._basis(policy, home, sampled=False)
        question = Question(self._home, policy, (), hash(()), basis)
        if not self._answered(question):
            self._ask(question)
            return None
        known = self._known[self._home][policy.key]
        if known.block is None and known.dropped is None:
            return summary
        found = blocks.preflight(CLUSTER, block=known.block, dropped=known.dropped)
        return replace(summary, preflight=found)
