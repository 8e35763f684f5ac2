"""Errors that a user can act on."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


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


def near(wanted: str, known: Iterable[str], most: int = 8) -> list[str]:
    """The known names that contain the wanted one or look like it; capitals make no difference."""
    names = {name.casefold(): name for name in known}
    wanted = wanted.casefold()
    alike = [name for name in names if wanted in name]
    alike += get_close_matches(wanted, names, most, 0.4)
    return [names[name] for name in dict.fromkeys(alike)][:most]
