"""Findings: what stands in the way, as values. Exceptions live in the cluster layer only."""

from dataclasses import dataclass

from sidecarpolicy.api.reasons import Reason


@dataclass(frozen=True)
class Finding:
    """One thing that a user should know: a reason to match on, a sentence to read."""

    reason: Reason
    message: str
