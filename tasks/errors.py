"""Errors that a user can act on."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in the input or the call, told without a traceback.

    Args:
        message: what is wrong, naming the file, row or value.
        remedy: what to do about it; empty when the message says it all.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  {self.remedy}" if self.remedy else self.message

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str]]:
        # Exceptions cross process boundaries by pickling, which by default replays only `args`.
        return type(self), (self.message, self.remedy)
