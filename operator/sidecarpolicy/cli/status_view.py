"""How `status` shows policies: for people a table each, for programs JSON."""

import io
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from sidecarpolicy.cli.status import Status
from sidecarpolicy.core.facts import RawObject
from sidecarpolicy.core.overview import WORST_FIRST, Overview
from sidecarpolicy.core.standing import Standing, State

_PIPE_WIDTH = 1000
"""Columns where the output is no terminal: rows are for programs then, and never wrap."""


def as_text(status: Status, *, wide: bool, width: int | None) -> str:
    """Tables; `width` is the terminal's, None where there is none."""
    console = Console(
        file=io.StringIO(),
        highlight=False,
        markup=False,
        width=width or _PIPE_WIDTH,
        force_terminal=False,
    )
    for each in status.policies:
        _show(console, each, wide=wide)
    if not status.policies:
        console.print("There are no policies")
    for what in status.unread:
        console.print(f"Could not read {what}")
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _show(console: Console, overview: Overview, *, wide: bool) -> None:
    console.print(f"{overview.policy}: {_sum(overview)}", style="bold")
    for fault in overview.faults:
        reason = f"{fault.reason}: " if fault.reason else ""
        console.print(f"  {reason}{fault.message}")
    for line in _requests(overview):
        console.print(f"  {line}")
    if overview.standings:
        more = ("PODS",) if wide else ()
        columns = ("  STATE", "WORKLOAD", *more, "REASON", "MESSAGE")
        table = Table(*columns, box=None, pad_edge=False)
        for each in overview.standings:
            table.add_row(*_row(each, wide=wide))
        console.print(table)
    console.print()


def _requests(overview: Overview) -> Iterator[str]:
    """What all Pods together request without and with the policy, by its status."""
    requests = overview.overhead.get("requests") or {}
    before, after = (_positive(requests.get(each)) for each in ("before", "after"))
    changed = [
        f"{name} {before.get(name, '0')} → {amount}"
        for name, amount in sorted({**dict.fromkeys(before, "0"), **after}.items())
        if before.get(name) != amount
    ]
    if changed:
        yield f"Its Pods together request {', '.join(changed)}"
    elif after:
        same = ", ".join(f"{name} {amount}" for name, amount in sorted(after.items()))
        yield f"Its Pods together request {same}, as without it"


def _positive(amounts: RawObject | None) -> dict[str, str]:
    """Without zeros, as of CronJobs, whose Jobs may not run."""
    return {name: each for name, each in (amounts or {}).items() if each != "0"}


def _row(standing: Standing, *, wide: bool) -> Iterator[str]:
    found = standing.finding
    yield f"  {'leaving' if standing.leaving else standing.state.value}"
    yield str(standing.ref)
    if wide:
        yield str(standing.pods) if standing.pods else "-"
    yield found.reason.value if found else "-"
    yield found.message if found else "-"


def _sum(overview: Overview) -> str:
    ready = f"Ready {_ready(overview)}"
    if overview.standings is None:
        return f"{ready}, workloads not known"
    states = (state for state in reversed(WORST_FIRST) if overview.counts[state])
    counts = [f"{overview.counts[state]} {state.value}" for state in states]
    return f"{ready}, {', '.join(counts) or 'no workloads'}"


def _ready(overview: Overview) -> str:
    status = overview.policy.status
    if status.get("observedGeneration") != overview.policy.generation:
        return "Unknown"
    found = (e["status"] for e in status.get("conditions") or () if e.get("type") == "Ready")
    return str(next(found, "Unknown"))


def as_data(status: Status) -> dict[str, Any]:
    """For programs; fields are only ever added."""
    return {
        "policies": [_policy_data(each) for each in status.policies],
        "unread": list(status.unread),
    }


def _policy_data(overview: Overview) -> dict[str, Any]:
    policy = overview.policy
    return {
        "kind": policy.kind,
        "namespace": policy.scope or None,
        "name": policy.name,
        "ready": _ready(overview),
        "revision": policy.desired.revision if policy.desired else None,
        "problems": [
            {"reason": each.reason.value if each.reason else None, "message": each.message}
            for each in overview.faults
        ],
        "overhead": overview.overhead or None,
        "counts": {state.value: overview.counts[state] for state in State},
        "workloads": None
        if overview.standings is None
        else [_standing_data(each) for each in overview.standings],
    }


def _standing_data(standing: Standing) -> dict[str, Any]:
    found, ref = standing.finding, standing.ref
    return {
        "kind": ref.kind,
        "namespace": ref.namespace,
        "name": ref.name,
        "state": standing.state.value,
        "leaving": standing.leaving,
        "pods": standing.pods,
        "reason": found.reason.value if found else None,
        "message": found.message if found else None,
    }
