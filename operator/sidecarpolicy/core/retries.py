"""Retries: how many restarts in its Pods a Job survives.

In mode Universal the native copy of each sidecar is restarted once, which shows who serves. The
Job controller counts all restarts in Pods with restartPolicy OnFailure that run at one time, init
containers included, and fails the Job when their number reaches its backoffLimit.

Source: pastBackoffLimitOnFailure in k8s.io/kubernetes pkg/controller/job.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sidecarpolicy.api.models import Mode, TargetKind
from sidecarpolicy.api.reasons import Reason
from sidecarpolicy.core.desired import Desired
from sidecarpolicy.core.finding import Finding
from sidecarpolicy.core.native import native_names
from sidecarpolicy.core.record import Record, read_record
from sidecarpolicy.core.universal import ORDINARY_PART, sidecars_of

RawObject = Mapping[str, Any]

_DEFAULT_LIMIT = 6


@dataclass(frozen=True)
class Retries:
    """A Job's backoffLimit, and how many of its Pods run at one time."""

    limit: int
    pods: int


def retries(obj: RawObject, *, kind: str) -> Retries | None:
    """Of a raw Job or CronJob; None where restarts in its Pods do not count against it."""
    if kind not in (TargetKind.JOB, TargetKind.CRON_JOB):
        return None
    job = obj["spec"]["jobTemplate"]["spec"] if kind == TargetKind.CRON_JOB else obj["spec"]
    if (job["template"].get("spec") or {}).get("restartPolicy") != "OnFailure":
        return None
    pods = min(_number(job, "parallelism", 1), _number(job, "completions", 1 << 31))
    return Retries(_number(job, "backoffLimit", _DEFAULT_LIMIT), max(1, pods))


def _number(job: RawObject, field: str, default: int) -> int:
    value = job.get(field)
    return value if isinstance(value, int) else default


def too_few_retries(
    wish: Desired, allowed: Retries | None, *, earlier: Iterable[Desired] = ()
) -> Finding | None:
    """That a Job would fail because of restarts that the policy intends, or None. They come on top
    of those of `earlier` policies, which have the first claim.
    """
    if allowed is None or not _restarts(wish):
        return None
    needed = sum(map(_restarts, (wish, *earlier))) * allowed.pods + 1
    if allowed.limit >= needed:
        return None
    return Finding(
        Reason.BACKOFF_LIMIT_TOO_LOW,
        "the Job would fail: in mode Universal each Pod restarts each sidecar once, which counts "
        f"against its backoffLimit of {allowed.limit}; set that to {needed} or more, or "
        "restartPolicy: Never",
    )


def _restarts(wish: Desired) -> int:
    """How many a policy intends in each Pod."""
    universal = wish.mode is Mode.UNIVERSAL and not wish.field_dropped
    return len(wish.sidecars) if universal else 0


def fails_with(pods: RawObject, key: str, allowed: Retries | None) -> bool:
    """Whether a Job of such Pods fails as it is, and a policy's sidecars in them are a reason."""
    record = read_record(pods)
    if allowed is None or not isinstance(record, Record) or key not in record.policies:
        return False
    native = native_names(pods)
    restarted = {
        policy: native.intersection(sidecars_of(each.parts).values())
        for policy, each in record.policies.items()
        if any(part.startswith(ORDINARY_PART) for part in each.parts)
    }
    return key in restarted and sum(map(len, restarted.values())) * allowed.pods >= allowed.limit
