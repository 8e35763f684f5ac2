"""Texts that a spreadsheet program would take for formulas, made harmless and back."""

from __future__ import annotations

import re

import polars as pl

#: What a cell begins with that is taken for a formula (OWASP, "CSV Injection").
_STARTS = "=+-@\t\r"


def harmless(frame: pl.DataFrame) -> pl.DataFrame:
    """Puts `'` before texts that begin like a formula, and before those that begin with a `'` which
    `meant` would take away; so `meant` gets every text back."""
    starts = pl.col(pl.String).str.contains(rf"^'*[{re.escape(_STARTS)}]")
    quoted = pl.lit("'") + pl.col(pl.String)
    return frame.with_columns(pl.when(starts).then(quoted).otherwise(pl.col(pl.String)).name.keep())


def meant(text: str) -> str:
    """The text that `harmless` wrote as this one."""
    return text[1:] if re.match(rf"'+[{re.escape(_STARTS)}]", text) else text
