"""Names as file names and as parts of a URL, whatever they contain."""

from __future__ import annotations

import hashlib
import re

#: Names that are safe as they are: in a URL without quoting, on any file system in any case.
_PLAIN = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_LONGEST = 100
_READABLE = 60
_DIGITS = 16


def slug(name: str) -> str:
    """A file name for a model, task or board: the same one every night, for this name alone.

    A plain lower-case name is its own; any other keeps what can be read of it, with a hash of the
    whole after `--`, which no plain name contains. So no two names share a file, also where the
    file system knows no case, and none holds `%`, which a link would have to quote again.

    Returns:
        At most 100 characters of `[a-z0-9._-]`, never beginning with a dot.
    """
    if len(name) <= _LONGEST and _PLAIN.fullmatch(name):
        return name
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_READABLE].rstrip("-")
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
    return f"{readable or 'x'}--{digest}"
