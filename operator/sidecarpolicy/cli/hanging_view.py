"""How `doctor` reports Jobs that hang; a policy is printed so that it can be applied as it is."""

import textwrap
from collections.abc import Iterator
from typing import Any

import yaml

from sidecarpolicy.cli.hanging import Hanging
from sidecarpolicy.core.hanging import Hang, HangingJob
from sidecarpolicy.core.times import written


def lines(hanging: Hanging) -> Iterator[str]:
    """Each Job with the policy that would help; a policy that several share stands there once."""
    told: dict[str, str] = {}
    for each in hanging.jobs:
        yield from _job(each)
        if each.policy is None:
            continue
        text = yaml.safe_dump(each.policy, sort_keys=False)
        if text in told:
            yield f"  Policy: that for {told[text]}"
        else:
            told[text] = str(each.hang.job)
            yield "  Policy:"
            yield from textwrap.indent(text, "    ").splitlines()
    if hanging.more:
        yield f"And {hanging.more} more that do not hang for as long"


def as_data(hanging: Hanging) -> dict[str, Any]:
    """The same for programs; `jobs` is null where their Pods could not be listed."""
    known = hanging.unread is None
    return {
        "jobs": [_data(each) for each in hanging.jobs] if known else None,
        "moreJobs": hanging.more,
    }


def _job(found: HangingJob) -> Iterator[str]:
    hang, diagnosis = found.hang, found.diagnosis
    owner = f" of {found.owner}" if found.owner else ""
    yield f"{hang.job}{owner}: {diagnosis.reason}"
    yield f"  What:  {diagnosis.message}."
    yield f"  Next:  {diagnosis.next_step}."
    yield f"  Since: {written(hang.since)}, {_pods(hang)}"


def _pods(hang: Hang) -> str:
    others = hang.pods - 1
    more = f" and {others} more of its Pods" if others else ""
    return f"Pod {hang.pod.name}{more}"


def _data(found: HangingJob) -> dict[str, Any]:
    hang, diagnosis = found.hang, found.diagnosis
    return {
        "namespace": hang.job.namespace,
        "name": hang.job.name,
        "owner": found.owner or None,
        "pod": hang.pod.name,
        "pods": hang.pods,
        "ended": list(hang.ended),
        "running": list(hang.running),
        "since": written(hang.since),
        "reason": diagnosis.reason.value,
        "message": diagnosis.message,
        "nextStep": diagnosis.next_step,
        "policy": found.policy,
    }
