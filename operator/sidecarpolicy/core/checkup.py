"""A checkup of a cluster: what a check can come to, and how what could not be read is passed on.

The checks are functions of facts (serverchecks, nodechecks, operatorchecks, policychecks); none
reads anything. A fact that nobody let us read is an `Unread`, and never taken for a "no".
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sidecarpolicy.api.reasons import Reason


class State(StrEnum):
    """What a check came to."""

    FINE = "fine"
    PROBLEM = "problem"
    UNKNOWN = "unknown"
    """It could not be read or tried; that alone is no problem."""


class Check(StrEnum):
    """The checks, as programs see them, in the order in which they are told."""

    API_SERVER = "api-server"
    NODES = "nodes"
    NODE_LABELS = "node-labels"
    DRY_RUN = "dry-run"
    MUTATING_WEBHOOKS = "mutating-webhooks"
    OPERATOR = "operator"
    CRDS = "crds"
    CONTROLLER = "controller"
    CONTROLLER_RIGHTS = "controller-rights"
    WEBHOOK = "webhook"
    WEBHOOK_RIGHTS = "webhook-rights"
    WEBHOOK_REGISTRATION = "webhook-registration"
    WEBHOOK_ENDPOINTS = "webhook-endpoints"
    POLICIES = "policies"
    PODS = "pods"
    JOBS = "jobs"


@dataclass(frozen=True)
class Unread:
    """A fact that could not be read, and why, most often in the API server's words."""

    why: str


@dataclass(frozen=True)
class Checked:
    """What one check came to: the cause in `message`, what to do in `next_step`.

    `about` names the object where a check says something of one; `details` are lines below.
    """

    check: Check
    state: State
    message: str
    next_step: str = ""
    about: str = ""
    reason: Reason | None = None
    details: tuple[str, ...] = ()


def fine(check: Check, message: str, *, details: Iterable[str] = ()) -> Checked:
    """Nothing is wrong."""
    return Checked(check, State.FINE, message, details=tuple(details))


def problem(
    check: Check,
    message: str,
    *,
    next_step: str,
    about: str = "",
    reason: Reason | None = None,
    details: Iterable[str] = (),
) -> Checked:
    """Something is wrong, and what to do next."""
    return Checked(check, State.PROBLEM, message, next_step, about, reason, tuple(details))


def unknown(check: Check, message: str, *, next_step: str = "") -> Checked:
    """Nobody knows."""
    return Checked(check, State.UNKNOWN, message, next_step)


def unread(check: Check, what: str, missing: Unread) -> Checked:
    """What the check asks about could not be read."""
    return unknown(check, f"could not read {what}: {missing.why}")


def wrong(checked: Iterable[Checked]) -> bool:
    """Whether there is a problem."""
    return any(each.state is State.PROBLEM for each in checked)


MAX_LISTED: Final = 10
"""Objects that a check names; the others are counted."""


def shortened(lines: Sequence[str]) -> tuple[str, ...]:
    """The first MAX_LISTED, and how many more there are."""
    more = len(lines) - MAX_LISTED
    return (*lines[:MAX_LISTED], *([f"and {more} more"] if more > 0 else []))
