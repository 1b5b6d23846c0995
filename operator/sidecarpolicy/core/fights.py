"""Fights: another writer takes a policy's parts out of a workload, again and again.

Each of the two writes makes the workload's Pods roll, so two that both insist would never let
them rest. What is counted are our own writes that were undone; three within ten minutes end
the fight, and we are the one who gives in (core.truce). The clock is an argument.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sidecarpolicy.core.facts import WorkloadFacts

LIMIT = 3
WINDOW = 600.0
"""Seconds within which so many of our writes have to be undone."""


@dataclass(frozen=True)
class Bout:
    """What became of one policy's revision in one workload, as far as this process saw it.

    `generation` is the workload's after our last write, `written` says that this was not undone
    yet, as far as is known. `undone` are the times, in seconds, at which it was found undone;
    `at` is when anything happened last. `lost`: we gave in.
    """

    uid: str
    revision: str
    generation: int
    at: float
    written: bool = False
    undone: tuple[float, ...] = ()
    lost: bool = False


def wanted_again(bout: Bout | None, workload: WorkloadFacts, *, revision: str, now: float) -> Bout:
    """The bout once a revision is to be written into a workload (again); lost, if it is one time
    too often.

    Without a memory, as after a restart, a template without our record that somebody wrote after
    us counts once. A bout that was lost and is on again has had its hold
    taken away, by people or by who writes whole objects: within the window that counts, too.
    """
    if bout is None or (bout.uid, bout.revision) != (workload.uid, revision):
        undone = (now,) if _overwritten(workload) else ()
        return Bout(workload.uid, revision, workload.generation, now, undone=undone)
    recent = _recent(bout.undone, now)
    again = bout.written and workload.generation > bout.generation
    if again or (bout.lost and len(recent) >= LIMIT):
        recent = (*recent, now)
    return replace(
        bout,
        at=now,
        written=bout.written and not again,
        undone=recent,
        lost=len(recent) >= LIMIT,
    )


def written(bout: Bout, *, generation: int, now: float) -> Bout:
    """The bout after we wrote; `generation` is the workload's since then."""
    return replace(bout, generation=generation, at=now, written=True)


def taken_out(bout: Bout) -> Bout:
    """The bout after we took the parts out ourselves: what is wanted again then, nobody undid.

    A selector that is narrowed and widened, an opt-out that ends, a rollout that failed and is
    tried once more are no fight. What was undone before still counts.
    """
    return replace(bout, written=False)


def over(bout: Bout, now: float) -> bool:
    """Whether nothing happened for so long that it counts no more."""
    return bout.at <= now - WINDOW


def _overwritten(workload: WorkloadFacts) -> bool:
    """Whether we wrote here, and somebody wrote the template after us, so that nothing of our
    records is left in it.
    """
    ours = workload.written
    return bool(ours) and workload.writer.at > ours and _RECORDS not in workload.template


_RECORDS = b'"sidecarpolicy.dev/'


def _recent(times: Sequence[float], now: float) -> tuple[float, ...]:
    return tuple(each for each in times if each > now - WINDOW)
