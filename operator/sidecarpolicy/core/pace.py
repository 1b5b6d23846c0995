"""Pace: how many workloads each policy may set rolling now, and when it must stop.

A workload that rolls as it is takes no place of its own: its rollout may be stuck on the
very sidecar that is to be changed. A revision that failed on `maxFailed` workloads goes
no further, but is taken out as ever; a new revision starts afresh.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sidecarpolicy.api.models import SidecarPolicySpec
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.decision import Decision
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.snapshot import Elsewhere, Snapshot
from sidecarpolicy.core.standing import State


@dataclass
class Budget:
    """How many more workloads one policy may change; why none gets its parts any more, if so."""

    slots: int
    stopped: Finding | None = None


def budgets(decisions: Sequence[Decision], snapshot: Snapshot) -> dict[str, Budget]:
    """The budget of every policy that is known, or proved gone, by its key."""
    counts: Counter[tuple[str, State]] = Counter()
    rolling: Counter[str] = Counter()
    for decision in decisions:
        for key, each in decision.standings.items():
            counts[key, each.state] += 1
        rolling.update(decision.rolling)
        workload = decision.case.workload
        if not workload.rollout.settled:
            rolling.update(snapshot.taken_out.get(workload.ref, frozenset()) - decision.rolling)
    known = {
        policy.key: _budget(
            policy.spec,
            matched=sum(counts[policy.key, state] for state in State if state != State.SKIPPED),
            failed=counts[policy.key, State.FAILED],
            rolling=rolling[policy.key],
            elsewhere=snapshot.elsewhere.get(policy.key, Elsewhere()),
        )
        for policy in snapshot.policies
        if policy.spec is not None
    }
    gone = {key: Budget(_revert_slots(key, decisions, snapshot)) for key in snapshot.gone}
    return {**gone, **known}


def _budget(
    spec: SidecarPolicySpec, *, matched: int, failed: int, rolling: int, elsewhere: Elsewhere
) -> Budget:
    wanted = share(str(spec.rollout.max_concurrent), matched + elsewhere.matched)
    slots = wanted - rolling - elsewhere.rolling
    return Budget(slots, _stopped(failed + elsewhere.failed, spec.rollout.max_failed))


def _stopped(failed: int, most: int) -> Finding | None:
    if failed < most:
        return None
    message = f"failed rollouts: {failed} (maxFailed: {most}); mend the policy or the workloads"
    return Finding(Reason.ROLLOUT_STOPPED, message)


def _revert_slots(key: str, decisions: Iterable[Decision], snapshot: Snapshot) -> int:
    """Places for taking a deleted policy back, less those that roll because of it."""
    holding = [each for each in decisions if key in each.recorded]
    urgent = sum(not each.case.workload.rollout.settled for each in holding)
    taken_back = [
        each
        for each in snapshot.workloads
        if not each.rollout.settled and key in snapshot.taken_out.get(each.ref, ())
    ]
    total = len(holding) + len(taken_back)
    return share(snapshot.revert_share, total) - len(taken_back) - urgent


def share(text: str, total: int) -> int:
    """A number, or a percentage of `total` rounded down; at least 1."""
    number = int(text.removesuffix("%"))
    return max(1, total * number // 100 if text.endswith("%") else number)
