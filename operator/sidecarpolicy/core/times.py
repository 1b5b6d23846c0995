"""Times as the API server writes them."""

from datetime import datetime


def seconds(time: str | None) -> float:
    """An RFC 3339 time in seconds since 1970; 0 where there is none."""
    return datetime.fromisoformat(time).timestamp() if time else 0.0
