"""The book of Pods: a record of each Pod with our sidecars, and what they come to by policy.

Ten thousand Pods fit, because facts are kept only of those that are not settled.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.advice import Diagnosis
from sidecarpolicy.core.facts import CLUSTER, PolicyFacts, Ref, policy_scope
from sidecarpolicy.core.podfacts import Owner, PodFacts
from sidecarpolicy.core.trouble import PodRecord, PodTally, Trouble, troubles, worst

_Part = tuple[str, str]
"""A namespace and a policy's key."""

_TOTAL, _RUNNING, _STUCK, _ILL = "total", "running", "stuck", "ill"


class PodBook:
    """Records by uid. `put` and `drop` return the scopes whose policies have something new."""

    def __init__(self) -> None:
        self._records: dict[str, PodRecord] = {}
        self._unsettled: dict[str, PodFacts] = {}
        self._counts: defaultdict[_Part, Counter[str]] = defaultdict(Counter)
        self._ill: defaultdict[_Part, dict[str, None]] = defaultdict(dict)
        self._idle: defaultdict[Ref, set[str]] = defaultdict(set)
        self._fresh: defaultdict[Ref, set[str]] = defaultdict(set)
        self._reasons: Counter[Reason] = Counter()
        self._refused: Mapping[_Part, tuple[Trouble, ...]] = {}

    def uids(self) -> frozenset[str]:
        """Of all Pods held."""
        return frozenset(self._records)

    def settled(self, nodes: Collection[str]) -> Mapping[str, frozenset[str]]:
        """By node, the uids of its settled Pods; nodes without any are left out."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for uid, each in self._records.items():
            if each.node in nodes and uid not in self._unsettled:
                found[each.node].add(uid)
        return {node: frozenset(uids) for node, uids in found.items()}

    def unsettled(self) -> tuple[PodFacts, ...]:
        """Pods with which something may come to be wrong as time goes by."""
        return tuple(self._unsettled.values())

    def ill(self) -> Iterator[tuple[Owner, Diagnosis]]:
        """What is wrong with Pods, and whose they are."""
        for each in self._records.values():
            if each.diagnosis is not None:
                yield each.owner, each.diagnosis

    def put(self, uid: str, record: PodRecord, facts: PodFacts | None) -> frozenset[str]:
        """Takes in a record, and the facts if it is not settled."""
        if facts is None:
            self._unsettled.pop(uid, None)
        else:
            self._unsettled[uid] = facts
        before = self._records.get(uid)
        if record == before:
            return frozenset()
        self._records[uid] = record
        return self._scopes(self._recount(uid, before, record))

    def drop(self, uid: str) -> frozenset[str]:
        """Forgets a Pod."""
        self._unsettled.pop(uid, None)
        before = self._records.pop(uid, None)
        return self._scopes(self._recount(uid, before, None))

    def youngest(self, owner: Owner) -> float:
        """When the youngest Pod of an owner was created; 0 without any."""
        theirs = (e.created for e in self._records.values() if e.owner.ref == owner.ref)
        return max(theirs, default=0.0)

    def idle(self, owner: Ref, *, arrived: bool = False) -> Mapping[str, float]:
        """By policy key, when the oldest of a workload's Pods was created that are to run with its
        sidecars, and do not; in seconds since 1970.

        Of one that `arrived`, only what ends again and again counts, which may run just now.
        """
        found: dict[str, float] = {}
        for record in (self._records[uid] for uid in self._idle.get(owner, ())):
            for key in _crashing(record) if arrived else _lacking(record):
                found[key] = min(record.created, found.get(key, record.created))
        return found

    def fresh(self, owner: Ref, *, now: float) -> Mapping[str, float]:
        """What `idle` says, of sidecars that have not run for long enough yet."""
        found: dict[str, float] = {}
        for uid in tuple(self._fresh.get(owner, ())):
            record = self._records[uid]
            if record.steady <= now:
                _drop(self._fresh, owner, uid)
                continue
            for key in record.policies if record.counts else ():
                found[key] = min(record.created, found.get(key, record.created))
        return found

    def cause(self, owner: Ref) -> str:
        """What is wrong with the Pods of a workload, in the words of the worst; empty if unseen."""
        found = [*troubles(self._ill_of(owner))]
        found += (e for group in self._refused.values() for e in group if e.owner.ref == owner)
        return worst(found)[0].diagnosis.message if found else ""

    def blamed(self, owner: Ref) -> frozenset[str]:
        """Keys of the policies whose sidecars keep Pods of a workload from running."""
        ill = (each for each in self._ill_of(owner) if each.diagnosis and each.diagnosis.stuck)
        return frozenset(key for each in ill if not each.leaving for key in each.blamed)

    def _ill_of(self, owner: Ref) -> list[PodRecord]:
        uids = {
            uid for part, uids in self._ill.items() if part[0] == owner.namespace for uid in uids
        }
        return [each for each in map(self._records.__getitem__, uids) if each.owner.ref == owner]

    def refuse(self, found: Mapping[_Part, tuple[Trouble, ...]]) -> frozenset[str]:
        """Takes in whose Pods cannot even be created, by namespace and policy."""
        before, self._refused = self._refused, found
        parts = before.keys() | found.keys()
        return self._scopes(part for part in parts if before.get(part) != found.get(part))

    def tally(self, policy: PolicyFacts) -> PodTally:
        """What the Pods of a policy come to."""
        parts = list(self._parts(policy))
        counts: Counter[str] = Counter()
        for part in parts:
            counts.update(self._counts.get(part, {}))
        ill = (self._records[uid] for part in parts for uid in self._ill.get(part, ()))
        refused = (each for part in parts for each in self._refused.get(part, ()))
        return PodTally(
            total=counts[_TOTAL],
            running=counts[_RUNNING],
            stuck=counts[_STUCK],
            troubles=worst([*troubles(ill), *refused]),
        )

    def reasons(self) -> Counter[Reason]:
        """Pods by what is wrong with them; an owner that gets no Pods counts as one."""
        owners = {(each.owner.ref, each.diagnosis.reason)
                  for group in self._refused.values() for each in group}  # fmt: skip
        return self._reasons + Counter(reason for _, reason in owners)

    def _parts(self, policy: PolicyFacts) -> Iterator[_Part]:
        if policy.scope != CLUSTER:
            yield policy.scope, policy.key
            return
        yield from {part for part in (*self._counts, *self._refused) if part[1] == policy.key}

    def _recount(
        self, uid: str, before: PodRecord | None, after: PodRecord | None
    ) -> frozenset[_Part]:
        changed = set()
        for record, sign in ((before, -1), (after, 1)):
            if record is None:
                continue
            for part, what in _contributions(record):
                self._counts[part][what] += sign
                changed.add(part)
            if record.diagnosis is not None and not record.leaving:
                self._reasons[record.diagnosis.reason] += sign
        self._note_ill(uid, before, after)
        self._note_idle(uid, before, after)
        for part in changed:
            if not any(self._counts[part].values()) and not self._ill.get(part):
                self._counts.pop(part, None)
                self._ill.pop(part, None)
        return frozenset(changed)

    def _note_ill(self, uid: str, before: PodRecord | None, after: PodRecord | None) -> None:
        for part in _blamed(before):
            self._ill[part].pop(uid, None)
        for part in _blamed(after):
            self._ill[part][uid] = None

    def _note_idle(self, uid: str, before: PodRecord | None, after: PodRecord | None) -> None:
        if before is not None:
            _drop(self._idle, before.owner.ref, uid)
            _drop(self._fresh, before.owner.ref, uid)
        if after is not None and _lacking(after):
            self._idle[after.owner.ref].add(uid)
        if after is not None and after.steady:
            self._fresh[after.owner.ref].add(uid)

    def _scopes(self, parts: Iterable[_Part]) -> frozenset[str]:
        return frozenset(policy_scope(key, namespace) for namespace, key in parts)


def _contributions(record: PodRecord) -> Iterator[tuple[_Part, str]]:
    """What a Pod adds to which number; also what is ill without counting changes a policy."""
    namespace = record.owner.ref.namespace
    for key in record.policies:
        part = namespace, key
        if record.counts:
            yield part, _TOTAL
            if key in record.running:
                yield part, _RUNNING
    stuck = record.counts and record.diagnosis is not None and record.diagnosis.stuck
    for part in _blamed(record):
        yield part, _STUCK if stuck else _ILL


def _drop(index: dict[Ref, set[str]], owner: Ref, uid: str) -> None:
    if owner in index:
        index[owner].discard(uid)
        if not index[owner]:
            del index[owner]


def _lacking(record: PodRecord) -> frozenset[str]:
    """Keys of the policies whose sidecars are to run in a Pod, and do not, or not for long."""
    if not record.counts:
        return frozenset()
    return frozenset(record.policies).difference(record.running) | _crashing(record)


def _crashing(record: PodRecord) -> frozenset[str]:
    """Keys of the policies whose sidecars end again and again, also while they run."""
    found = record.diagnosis
    crashes = record.counts and found is not None and found.reason is Reason.CRASH_LOOPING
    return frozenset(record.blamed) if crashes else frozenset()


def _blamed(record: PodRecord | None) -> list[_Part]:
    if record is None or record.leaving:
        return []
    return [(record.owner.ref.namespace, key) for key in record.blamed]
