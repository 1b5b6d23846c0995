"""The grace period: raised for sidecars, never lowered, and given back.

Sidecars end after the application, within the same period (KEP-753). Several policies may
wish for a minimum; the largest counts. Each policy's part keeps its own wish and the
user's value: "45:30", or "45:" where the user had none.
"""

from collections.abc import Iterable

from sidecarpolicy.core.draft import Draft

PART = "gracePeriod"
DEFAULT_SECONDS = 30
_FIELD = "terminationGracePeriodSeconds"


def enough(draft: Draft, wanted: int | None) -> bool:
    """Whether the Pod has that much time, whoever gave it."""
    return wanted is None or _seconds(draft.peek(f"spec.{_FIELD}")) >= wanted


def raised(draft: Draft, wanted: int, others: Iterable[str]) -> str:
    """Raises the period; returns the digest of our part."""
    users = next((each.partition(":")[2] for each in others), None)
    if users is None:
        value = draft.peek(f"spec.{_FIELD}")
        users = "" if value is None else str(value)
    draft.spec[_FIELD] = max(wanted, _seconds(draft.peek(f"spec.{_FIELD}")))
    return f"{wanted}:{users}"


def lower(draft: Draft, digest: str, others: Iterable[str]) -> str | None:
    """Takes our wish back; returns why the period stays, if somebody else changed it."""
    wishes = [int(each.partition(":")[0]) for each in others]
    wanted, _, users = digest.partition(":")
    base = int(users) if users else DEFAULT_SECONDS
    if draft.peek(f"spec.{_FIELD}") != max([int(wanted), base, *wishes]):
        return "it was changed after it was raised"
    if wishes:
        draft.spec[_FIELD] = max([base, *wishes])
    elif users:
        draft.spec[_FIELD] = base
    else:
        draft.spec.pop(_FIELD, None)
    return None


def _seconds(value: object) -> int:
    return value if isinstance(value, int) else DEFAULT_SECONDS
