"""The watch over Pods: mirrors those with our sidecars, diagnoses them, and tells their owners.

    reflector → PodMirror → core.diagnosis → PodBook → marks for the reporter, Events

A Pod's events bring its diagnosis up to date; what only time can tell is looked at every few
seconds, for the Pods that are not settled.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sidecarpolicy.api.names import INJECTED_LABEL
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.reflector import Reflector
from sidecarpolicy.cluster.resources import EVENTS, PODS
from sidecarpolicy.controller.dirty import DirtySet
from sidecarpolicy.controller.events import Recorder
from sidecarpolicy.controller.inventory import Inventory
from sidecarpolicy.core.advice import Diagnosis
from sidecarpolicy.core.diagnosis import Case, diagnose, settled
from sidecarpolicy.core.facts import RawObject, Ref
from sidecarpolicy.core.podfacts import Owner, PodFacts, pod_facts
from sidecarpolicy.core.refused import Refusal, misses_pods, policies_in, refusal_of
from sidecarpolicy.core.trouble import PodRecord, Trouble, pod_record

LOOK_SECONDS = 5.0
_AGAIN_SECONDS = 30.0
_SETTLE = 0.2
_PAGE = 100
"""Pods are the largest of objects, and there are many."""

_REPLACING = frozenset({"Deployment", "StatefulSet", "DaemonSet"})
"""A Job that wants no more Pods may have given up."""

_INJECTED = f"{INJECTED_LABEL}=true"

_Topic = tuple[str, Reason, str]
"""What is told once: an owner's uid, a reason, a container."""


@dataclass(frozen=True, slots=True)
class Examined:
    """A Pod as the mirror keeps it; `facts` only as long as it is not settled."""

    uid: str
    record: PodRecord
    facts: PodFacts | None


class PodWatch:
    """Diagnoses Pods, writes that into the inventory's book, and tells of it."""

    def __init__(self, api: Api, inventory: Inventory, recorder: Recorder) -> None:
        self._api = api
        self._inventory = inventory
        self._recorder = recorder
        self.refusals = RefusalMirror()
        self._untold: DirtySet[_Topic] = DirtySet(settle=_SETTLE)
        self._news: dict[_Topic, Trouble] = {}
        self._telling = False
        self.reflectors = (
            Reflector(api, PODS, PodMirror(self), labels=_INJECTED, page=_PAGE),
            Reflector(api, EVENTS, self.refusals, fields="reason=FailedCreate"),
        )

    async def run(self) -> None:
        """Looks for ever."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def tell(self) -> None:
        """Posts Events for ever: one for each owner, reason and container. What happened
        before, while another process told of it, is told by names that the API server knows.
        """
        self._telling = True
        for owner, diagnosis in self._inventory.pods.ill():
            self._announce(owner, diagnosis)
        while True:
            for topic in await self._untold.take():
                trouble = self._news.get(topic)
                if trouble is None or await self._post(trouble):
                    self._news.pop(topic, None)
                else:
                    self._untold.mark_later(topic, _AGAIN_SECONDS * random.uniform(0.8, 1.2))

    async def revisit(self) -> None:
        """Judges Pods anew, for ever, whose node gained or lost the capability.

        The facts of those that are settled are not held, so they are listed, node by node.
        """
        while True:
            drifted = await self._inventory.drifted_nodes.take()
            for node in self._inventory.pods.settled(drifted):
                if not await self._revisited(node):
                    self._inventory.drifted_nodes.mark_later(node, _AGAIN_SECONDS)

    async def _revisited(self, node: str) -> bool:
        listed = await self._api.list_all(
            PODS, labels=_INJECTED, fields=f"spec.nodeName={node}", keep=pod_facts, page=_PAGE
        )
        # Of what changed or went meanwhile, the watch knows better.
        still = self._inventory.pods.settled({node}).get(node, frozenset())
        for facts in listed.items:
            if facts.uid in still:
                self.take(self.examine(facts))
        return listed.done

    def look(self) -> None:
        """Examines again what may have changed with time."""
        for facts in self._inventory.pods.unsettled():
            self.take(self.examine(facts))
        self._look_at_refusals()

    def examine(self, facts: PodFacts) -> Examined:
        """Diagnoses a Pod."""
        now, node = time.time(), self._inventory.nodes.get(facts.node)
        found = diagnose(Case(facts, now, node, replaced=self._replaced(facts)))
        rests = settled(facts, now) and (found is None or (facts.over and not found.stuck))
        return Examined(facts.uid, pod_record(facts, found), None if rests else facts)

    def take(self, examined: Examined) -> None:
        """Takes in a Pod."""
        record, book = examined.record, self._inventory.pods
        ref, before = record.owner.ref, self._idle(record.owner.ref)
        self._mark(book.put(examined.uid, record, examined.facts))
        if self._idle(ref) != before:
            # How its rollout stands depends on that (core.failure).
            self._inventory.dirty_scopes.mark(ref.namespace)
        if record.diagnosis is not None:
            self._announce(record.owner, record.diagnosis)

    def _idle(self, ref: Ref) -> Mapping[str, float]:
        """What a workload's rollout depends on."""
        return self._inventory.pods.idle(ref, arrived=not self._inventory.rolling(ref))

    def uids(self) -> frozenset[str]:
        """Of all Pods held."""
        return self._inventory.pods.uids()

    def forget(self, uid: str) -> None:
        """Drops a Pod."""
        self._mark(self._inventory.pods.drop(uid))

    def _replaced(self, pod: PodFacts) -> bool:
        workload = self._inventory.workload(pod.owner.ref) if pod.over else None
        if workload is None or workload.ref.kind not in _REPLACING:
            return False
        return not misses_pods(workload)

    def _look_at_refusals(self) -> None:
        """Whose Pods cannot be created; attributed by the record in the owner's own template."""
        found: defaultdict[tuple[str, str], list[Trouble]] = defaultdict(list)
        for refusal in self.refusals.latest():
            youngest = self._inventory.pods.youngest(refusal.owner)
            if not refusal.lasts(time.time(), youngest=youngest):
                continue
            workload = self._inventory.workload(refusal.owner.ref)
            if workload is None or not misses_pods(workload):
                continue
            policies = policies_in(workload)
            for key in policies:
                trouble = Trouble(refusal.owner, refusal.diagnosis, 0)
                found[refusal.owner.ref.namespace, key].append(trouble)
            if policies:
                self._announce(refusal.owner, refusal.diagnosis)
        self._mark(self._inventory.pods.refuse({part: tuple(each) for part, each in found.items()}))

    def _mark(self, scopes: Iterable[str]) -> None:
        for scope in scopes:
            self._inventory.dirty_reports.mark(scope)

    def _announce(self, owner: Owner, diagnosis: Diagnosis) -> None:
        topic = owner.uid, diagnosis.reason, diagnosis.container
        if self._telling and topic not in self._news and not self._recorder.has_told(*topic):
            self._news[topic] = Trouble(owner, diagnosis)
            self._untold.mark(topic)

    async def _post(self, trouble: Trouble) -> bool:
        ref, uid, api_version = self._addressee(trouble.owner)
        return await self._recorder.tell(
            ref,
            uid,
            trouble.diagnosis.finding,
            api_version=api_version,
            topic=(trouble.owner.uid, trouble.diagnosis.reason, trouble.diagnosis.container),
        )

    def _addressee(self, owner: Owner) -> tuple[Ref, str, str]:
        """The workload that people look at, if it is known, else the Pod's direct owner."""
        known = self._inventory.workload(owner.ref)
        if known is not None:
            return known.ref, known.uid, ""
        return owner.direct, owner.uid, owner.api_version


class PodMirror:
    """Feeds a reflector's Pods into the watch."""

    def __init__(self, watch: PodWatch) -> None:
        self._watch = watch

    def facts(self, obj: RawObject) -> Examined:
        """What is kept of a raw Pod."""
        return self._watch.examine(pod_facts(obj))

    def replace(self, facts: Iterable[Examined]) -> None:
        """Takes in a complete list; what is not in it is gone."""
        gone = set(self._watch.uids())
        for each in facts:
            gone.discard(each.uid)
            self._watch.take(each)
        for uid in gone:
            self._watch.forget(uid)

    def store(self, fact: Examined) -> None:
        """Takes in one Pod."""
        self._watch.take(fact)

    def forget(self, fact: Examined) -> None:
        """Drops one Pod; how it ended is told all the same."""
        self._watch.take(fact)
        self._watch.forget(fact.uid)


class RefusalMirror:
    """Keeps the Events that say that Pods cannot be created."""

    def __init__(self) -> None:
        self._held: dict[str, Refusal] = {}

    def facts(self, obj: RawObject) -> tuple[str, Refusal | None]:
        """What is kept of a raw Event: its uid, and what it says if that concerns us."""
        return obj["metadata"]["uid"], refusal_of(obj)

    def replace(self, facts: Iterable[tuple[str, Refusal | None]]) -> None:
        """Takes in a complete list."""
        self._held = {uid: found for uid, found in facts if found is not None}

    def store(self, fact: tuple[str, Refusal | None]) -> None:
        """Takes in one Event."""
        uid, found = fact
        if found is not None:
            self._held[uid] = found

    def forget(self, fact: tuple[str, Refusal | None]) -> None:
        """Drops one Event."""
        self._held.pop(fact[0], None)

    def latest(self) -> tuple[Refusal, ...]:
        """The latest of each owner; the API server's words differ from Pod to Pod."""
        by_owner: dict[Ref, Refusal] = {}
        for each in self._held.values():
            held = by_owner.get(each.owner.ref)
            if held is None or held.at < each.at:
                by_owner[each.owner.ref] = each
        return tuple(by_owner.values())
