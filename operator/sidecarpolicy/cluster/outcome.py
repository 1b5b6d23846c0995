"""Outcomes: what the API server made of a request, as values."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Result(StrEnum):
    """How a request ended."""

    DONE = "done"
    CONFLICT = "conflict"
    """The object changed meanwhile: decide again from fresh facts."""
    GONE = "gone"
    """The object is proved absent."""
    REFUSED = "refused"
    """The server, an admission policy or a quota said no, in its own words."""
    FORBIDDEN = "forbidden"
    """We lack the right (401, 403)."""
    UNAVAILABLE = "unavailable"
    """No usable answer: the network, an overloaded or restarting server, a missing API."""


@dataclass(frozen=True)
class Outcome:
    """One answer. `message` has the server's words; `body` is the object if there is one."""

    result: Result
    message: str = ""
    # Not shown: objects do not belong into logs, Secrets least of all.
    body: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    items: tuple[Any, ...] = field(default=(), compare=False, repr=False)
    """What was kept of a list's objects."""
    code: int = field(default=0, compare=False)
    """The HTTP status code; 0 where no answer came."""
    retry_after: float = 0.0
    """Seconds that the server asked us to wait."""

    @property
    def done(self) -> bool:
        """Whether it worked."""
        return self.result is Result.DONE
