"""The API server's audit log, which tells who wrote what; read on from where one left off."""

import json
from pathlib import Path
from typing import Any

from lab import Lab

JSON = dict[str, Any]
OPERATOR = "sidecarpolicy-operator"


class Trail:
    """Follows a log that is being written, from its beginning or from a place in it."""

    def __init__(self, log: Path, *, begin: int = 0) -> None:
        self._log = log
        self._read = begin

    @classmethod
    def from_now(cls, lab: Lab) -> "Trail":
        """Only what is asked from now on."""
        return cls(lab.audit_log, begin=lab.audit_log.stat().st_size)

    def news(self, mentioned: str) -> list[JSON]:
        """The events since the last look whose lines mention this."""
        with self._log.open("rb") as file:
            file.seek(self._read)
            # The last line may be half written: it counts at the next look.
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        # Most lines are somebody else's, and there are very many.
        return [json.loads(line) for line in whole.split(b"\n") if mentioned.encode() in line]


class _Writes:
    """What programs of ours asked to write, or to try as a dry-run, as far as it was read."""

    def __init__(self, log: Path) -> None:
        self._trail = Trail(log)
        self._seen: list[JSON] = []

    def all(self) -> list[JSON]:
        self._seen += filter(_is_ours, self._trail.news(OPERATOR))
        return self._seen


_logs: dict[tuple[Path, int], _Writes] = {}
"""By path and inode: the log of a cluster that was made anew is another."""


def writes(lab: Lab) -> list[JSON]:
    """Audit events of all that our programs wrote, or wanted to."""
    return [event for event in _asked(lab) if not is_dry_run(event)]


def dry_runs(lab: Lab) -> list[JSON]:
    """The same of what was asked, but not to be written."""
    return [event for event in _asked(lab) if is_dry_run(event)]


def is_dry_run(event: JSON) -> bool:
    """Whether nothing was to be written."""
    return "dryRun=All" in event.get("requestURI", "")


def _asked(lab: Lab) -> list[JSON]:
    log = lab.audit_log
    key = log, log.stat().st_ino
    if key not in _logs:
        _logs[key] = _Writes(log)
    return _logs[key].all()


def _is_ours(event: JSON) -> bool:
    # Questions about rights are created, too, but nothing is written.
    reviews = ("subjectaccessreviews", "selfsubjectaccessreviews")
    asked = event["objectRef"].get("resource") in reviews
    return not asked and event.get("userAgent", "").startswith(OPERATOR)
