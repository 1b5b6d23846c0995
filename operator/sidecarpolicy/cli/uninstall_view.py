"""How `uninstall` tells what it does: a line a step for people, one JSON object for programs."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import click

from sidecarpolicy.cli.uninstall_steps import Action, State, Step

_ROW: Final = "{:<10}  {:<6}  {:<52}  {}"
_HISTORY: Final = ("ReplicaSet", "ControllerRevision")
_UNDO: Final = (
    "Older revisions in the histories of workloads still have sidecars: after `kubectl rollout "
    "undo` to one of them its Pods would wait for a node label that is gone"
)


def header() -> str:
    """The titles of the columns."""
    return _ROW.format("STATE", "ACTION", "OBJECT", "WHAT").rstrip()


class Lines:
    """Prints steps as they come. What is merely cleaned is counted: there are thousands."""

    def __init__(self, *, err: bool) -> None:
        """`err` has them printed on standard error, where the output is for programs."""
        self._err = err
        self._cleaned: Counter[tuple[State, str]] = Counter()
        self._begun = False

    def tell(self, step: Step) -> None:
        """Takes in one step."""
        if step.action is Action.CLEAN and step.state is not State.FAILED:
            self._cleaned[step.state, step.kind] += 1
            return
        self.flush()
        action = "" if step.action is Action.NONE else step.action.value
        self._print(_ROW.format(step.state.value, action, step.what, step.message).rstrip())

    def flush(self) -> None:
        """Prints what was counted."""
        counted, self._cleaned = self._cleaned, Counter()
        for (state, kind), number in counted.items():
            what = f"{number} {kind}{'s' * (number != 1)}"
            self._print(_ROW.format(state.value, Action.CLEAN.value, what, "labels, annotations"))

    def _print(self, line: str) -> None:
        if not self._begun:
            self._begun = True
            click.echo(header(), err=self._err)
        click.echo(line, err=self._err)


def summary(steps: Sequence[Step], *, dry_run: bool) -> list[str]:
    """How it ended, in sentences."""
    states = Counter(each.state for each in steps)
    lines = []
    if any(e.action is Action.CLEAN and e.kind in _HISTORY for e in steps):
        lines.append(_UNDO)
    if dry_run:
        lines.append(f"{states[State.PLANNED]} steps; nothing was changed")
    elif states[State.FAILED]:
        lines.append("Not finished: mend what failed, and run it again; it goes on where it was")
    elif states[State.UNFINISHED]:
        lines.append("Everything is taken back; see above what has not come to its end yet")
    else:
        lines.append("Everything is taken back" if states[State.DONE] else "Nothing to take back")
    return lines


def as_data(steps: Sequence[Step], *, dry_run: bool) -> dict[str, Any]:
    """For programs."""
    return {
        "dryRun": dry_run,
        "finished": finished(steps),
        "steps": [
            {
                "state": each.state.value,
                "action": each.action.value,
                "kind": each.kind,
                "namespace": each.namespace or None,
                "name": each.name,
                "message": each.message or None,
            }
            for each in steps
        ],
    }


def finished(steps: Sequence[Step]) -> bool:
    """Whether nothing failed and nothing is waited for."""
    return not any(each.state in (State.FAILED, State.UNFINISHED) for each in steps)
