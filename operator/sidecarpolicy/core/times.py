"""Times as the API server writes them."""

from datetime import UTC, datetime


def seconds(time: str | None) -> float:
    """An RFC 3339 time in seconds since 1970; 0 where there is none."""
    return datetime.fromisoformat(time).timestamp() if time else 0.0


def written(time: float) -> str:
    """Seconds since 1970 as an RFC 3339 time in UTC, whole seconds."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
