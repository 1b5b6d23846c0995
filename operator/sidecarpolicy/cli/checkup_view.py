"""How `doctor` reports on a cluster: for people a line a check, for programs JSON."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from sidecarpolicy.cli import doctor_view
from sidecarpolicy.cli.checkup import Checkup
from sidecarpolicy.core.checkup import Check, Checked, State

_MARKS: Final = {State.FINE: "✓", State.PROBLEM: "✗", State.UNKNOWN: "?"}
_BY_MARK: Final = {mark: state for state, mark in _MARKS.items()}
_COLOURS: Final = {State.FINE: "green", State.PROBLEM: "red", State.UNKNOWN: "yellow"}
_TITLES: Final = {
    Check.API_SERVER: "API server",
    Check.NODES: "Nodes",
    Check.NODE_LABELS: "Node labels",
    Check.DRY_RUN: "Dry run of a Pod",
    Check.MUTATING_WEBHOOKS: "Mutating webhooks",
    Check.OPERATOR: "Operator",
    Check.CRDS: "CRDs",
    Check.CONTROLLER: "Controller",
    Check.CONTROLLER_RIGHTS: "  its rights",
    Check.WEBHOOK: "Webhook",
    Check.WEBHOOK_RIGHTS: "  its rights",
    Check.WEBHOOK_REGISTRATION: "  its registration",
    Check.WEBHOOK_ENDPOINTS: "  its endpoints",
    Check.POLICIES: "Policies",
    Check.PODS: "Pods",
    Check.JOBS: "Jobs",
}
_WIDTH: Final = max(map(len, _TITLES.values()))


def show(checkup: Checkup) -> None:
    """Prints a checkup; colours are for terminals, and marks for those who can print them."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for line in lines(checkup):
        state = _BY_MARK.get(line[:1])
        if state is None:
            console.print(line)
        else:
            mark = line[0] if console.encoding.startswith("utf") else state.value
            console.print(Text.assemble((mark, _COLOURS[state]), line[1:]))


def lines(checkup: Checkup) -> Iterator[str]:
    """A checkup in lines."""
    for each in checkup.checked:
        about = f"{each.about}: " if each.about else ""
        yield f"{_MARKS[each.state]} {_TITLES[each.check]:{_WIDTH}}  {about}{each.message}"
        yield from (f"    {detail}" for detail in each.details)
        if each.next_step:
            yield f"    Next: {each.next_step}"
    if checkup.pods is not None:
        yield from (f"    {line}" for line in doctor_view.troubles(checkup.pods))
    yield ""
    yield _sum(checkup.checked)


def as_data(checkup: Checkup) -> dict[str, Any]:
    """A checkup for programs; fields are only ever added."""
    pods = doctor_view.as_data(checkup.pods) if checkup.pods is not None else None
    return {"checks": [_data(each) for each in checkup.checked], **(pods or _NO_PODS)}


_NO_PODS: Final[dict[str, Any]] = {
    "pods": None,
    "refused": None,
    "jobs": None,
    "moreJobs": 0,
    "unread": [],
}


def _data(checked: Checked) -> dict[str, Any]:
    return {
        "check": checked.check.value,
        "state": checked.state.value,
        "about": checked.about or None,
        "reason": checked.reason.value if checked.reason else None,
        "message": checked.message,
        "nextStep": checked.next_step or None,
        "details": list(checked.details),
    }


def _sum(checked: Iterable[Checked]) -> str:
    states = [each.state for each in checked]
    problems, unknowns = states.count(State.PROBLEM), states.count(State.UNKNOWN)
    wrong = f"{problems} problem{'s' * (problems != 1)}" if problems else "Nothing is wrong"
    return f"{wrong}; {unknowns} not known" if unknowns else wrong
