"""Promises: does a Pod have what its template promised it, and if not, why not?

The webhook keeps them, unless something speaks against it by now; the controller finds the
Pods of which it knew nothing, because it fails open.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from sidecarpolicy.api.models import Mode
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.blocks import field_dropped
from sidecarpolicy.core.capability import Verdict
from sidecarpolicy.core.desired import Desired
from sidecarpolicy.core.draft import Draft
from sidecarpolicy.core.facts import PolicyFacts
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.fitness import ANYWHERE, Runs
from sidecarpolicy.core.holding import nowhere_to_run
from sidecarpolicy.core.inject import Injection
from sidecarpolicy.core.marker import read_markers
from sidecarpolicy.core.noderule import missing_in_pod, rule_allows
from sidecarpolicy.core.podtime import fulfilled, promises
from sidecarpolicy.core.record import Record, read_record
from sidecarpolicy.core.selection import opted_out
from sidecarpolicy.core.snapshot import Snapshot

Pod = Mapping[str, Any]

MISSED_PARTS = Finding(
    Reason.MISSED_ADMISSION,
    "created without its sidecars: the webhook was away, or did not know the policy yet, or the "
    "policy was blocked at that time; create it anew to have them",
)


def kept_promises(
    pod: Pod, snapshot: Snapshot, *, settled: bool, runs: Runs = ANYWHERE
) -> Injection:
    """The Pod with what its template promised, as far as nothing in the cluster speaks against it.

    The template has the say: neither a pause nor the end of a policy changes what Pods get
    before the template changes. `settled` says that the Pod's node is chosen, `runs` what
    could run there.
    """
    if snapshot.excluded or snapshot.namespace_opted_out or opted_out(pod.get("metadata")):
        return Injection(pod)
    unfit = {key for key, wish in read_markers(pod).items() if not runs(wish)}
    return fulfilled(pod, blocked=unfit.union(_blocked(pod, snapshot)), settled=settled)


def broken_promises(
    pod: Pod, snapshot: Snapshot, *, verdict: Verdict | None
) -> Mapping[str, Finding]:
    """What a running Pod lacks of what its template promised, by policy key.

    `verdict` is what is known of its node, where it has one already.
    """
    if not promises(pod):
        return {}
    injection = kept_promises(pod, snapshot, settled=True)
    lacking = dict.fromkeys(injection.changed, MISSED_PARTS)
    lacking |= {key: found[0] for key, found in injection.obstacles.items()}
    node = pod["spec"].get("nodeName")
    if node:
        lacking |= dict.fromkeys(_unruled(pod, verdict), _misplaced(node))
    return lacking


def _blocked(pod: Pod, snapshot: Snapshot) -> Iterator[str]:
    """Keys of what would keep the Pod from running, or from being created."""
    known = {policy.key: policy for policy in snapshot.policies if policy.spec is not None}
    for key, wish in read_markers(pod).items():
        policy = known.get(key)
        found = nowhere_to_run(wish, snapshot.nodes)
        if found or (policy is not None and _block(policy, wish, snapshot)):
            yield key


_OF_ANY_REVISION = frozenset({Reason.API_SERVER_DROPS_FIELD, Reason.STRIPPED_BY_WEBHOOK})
"""What makes every native sidecar an ordinary init container, so that the Pod would hang."""


def _block(policy: PolicyFacts, wish: Desired, snapshot: Snapshot) -> Finding | None:
    """Why the policy is blocked in the namespace, as far as that is about this wish, too: what
    is wrong with a newer revision keeps nobody from having the older one.
    """
    found = snapshot.blocked.get(policy.key) or _refused_as_it_is(policy, wish)
    same = policy.desired is not None and policy.desired.revision == wish.revision
    concerned = found is not None and (same or found.reason in _OF_ANY_REVISION)
    return found if concerned else None


def _refused_as_it_is(policy: PolicyFacts, wish: Desired) -> Finding | None:
    """That the API server drops the field by now, and would refuse a Pod with the probes of the
    usual variant of mode Universal; or None.
    """
    told = field_dropped(policy.status)
    late = wish.mode is Mode.UNIVERSAL and not wish.field_dropped
    return told if late else None


def _unruled(pod: Pod, verdict: Verdict | None) -> Iterator[str]:
    """Keys of policies whose node rule the Pod should have, and has not, on a node that the rule
    would have kept it from.
    """
    record, draft = read_record(pod), Draft(pod)
    policies = record.policies if isinstance(record, Record) else {}
    for key, each in policies.items():
        missing = (part for part in each.parts if missing_in_pod(draft, part))
        if any(not rule_allows(part, verdict) for part in missing):
            yield key


def _misplaced(node: str) -> Finding:
    return Finding(
        Reason.MISSED_ADMISSION,
        f"created without its node rule, because the webhook was away, and now on node {node}, "
        f"which cannot run its sidecars; delete the Pod to have it created anew",
    )
