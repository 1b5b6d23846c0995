"""Checks of policies, by what their status says: the controller's words, not another judgement."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.checkup import Check, Checked, fine, problem, shortened
from sidecarpolicy.core.times import seconds

RawObject = Mapping[str, Any]

PATIENCE_SECONDS: Final = 60.0
"""For how long after its creation a policy may be without a word from the controller."""

_CONDITIONS: Final = (
    ("Accepted", "False"),
    ("ClusterCapable", "False"),
    ("Ready", "False"),
    ("Stalled", "True"),
)
"""Conditions and what they must not be; Ready repeats what one before it says."""


def policies(found: Sequence[RawObject], now: float) -> tuple[Checked, ...]:
    """One line a policy that does not work, or one for all; `now` in seconds since 1970."""
    ill = tuple(line for each in found if (line := _policy(each, now)) is not None)
    if ill:
        return ill
    number = f"{len(found)} polic{'y' if len(found) == 1 else 'ies'}"
    return (fine(Check.POLICIES, f"{number}, nothing wrong" if found else "there are none"),)


def _policy(obj: RawObject, now: float) -> Checked | None:
    meta, status = obj["metadata"], obj.get("status") or {}
    faults = tuple(_faults(obj, now))
    if not faults:
        return None
    (reason, message), *more = faults
    where = f" -n {meta['namespace']}" if meta.get("namespace") else ""
    status_of = f"{obj['kind'].lower()} {meta['name']}{where}"
    return problem(
        Check.POLICIES,
        message,
        next_step=f"See its status with kubectl get {status_of} -o yaml",
        about=_title({**meta, "kind": obj["kind"]}),
        reason=reason,
        details=shortened([*(each for _, each in more), *_workloads(status)]),
    )


def _faults(obj: RawObject, now: float) -> Iterator[tuple[Reason | None, str]]:
    """What is wrong with a policy, the worst first, each once."""
    meta, status = obj["metadata"], obj.get("status") or {}
    if status.get("observedGeneration", -1) != meta.get("generation", 0):
        if now > seconds(meta.get("creationTimestamp")) + PATIENCE_SECONDS:
            yield None, "the controller has not reported on its current spec"
        return
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    told: set[str] = set()
    for name, bad in _CONDITIONS:
        each = conditions.get(name, {"status": "False" if bad == "True" else "Unknown"})
        message = each.get("message") or "nothing is said about it"
        if name == "ClusterCapable" and _works(conditions):
            continue
        if (each["status"] == "True") is (bad == "True") and message not in told:
            told.add(message)
            yield _reason(each), f"{name} is {each['status']}: {message}"
    for each in status.get("blockedNamespaces") or ():
        yield _reason(each), f"blocked in namespace {each['namespace']}: {each['message']}"
    failed = (status.get("workloads") or {}).get("failed", 0)
    if failed:
        yield Reason.WORKLOADS_FAILED, f"workloads that failed their rollout: {failed}"


def _works(conditions: Mapping[str, RawObject]) -> bool:
    """Whether a policy works, whatever the cluster cannot do: one in mode Universal may."""
    return conditions.get("Ready", {}).get("status") == "True"


def _title(entry: RawObject) -> str:
    """Kind, namespace, if it has one, and name."""
    where = f"{entry['namespace']}/" if entry.get("namespace") else ""
    return f"{entry['kind']} {where}{entry['name']}"


def _reason(entry: RawObject) -> Reason | None:
    return _REASONS.get(entry.get("reason", ""))


def _workloads(status: RawObject) -> Iterable[str]:
    """Its problems, which name the workloads."""
    return (f"{_title(e)}: {e['reason']}: {e['message']}" for e in status.get("problems") or ())


_REASONS: Final[Mapping[str, Reason]] = {each.value: each for each in Reason}
