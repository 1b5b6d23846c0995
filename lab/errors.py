"""The one exception of this package: what a user can understand and mend, in one line."""


class LabError(Exception):
    """An expected failure: one line of message and, above it, what the failing program said."""

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.said = said

    def __str__(self) -> str:
        return f"{self.said}\n{self.message}" if self.said else self.message
