"""Writing the site: a folder made aside and swapped in whole."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from tasks.errors import UserError

#: What tells a site from any other folder.
MARKER = "general-level-site.json"
_SIGNIFICANT = 9


@contextmanager
def swapped_in(out: Path) -> Iterator[Path]:
    """Yields an empty folder that takes the place of `out` when the block ends well.

    Before, `out` stays as it is; readers meet the old site or the new one, never parts of both.

    Raises:
        UserError: `out` is something else than a site or an empty folder.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file", "name a folder with --out")
    if out.is_dir() and any(out.iterdir()) and not (out / MARKER).is_file():
        raise UserError(
            f"{out} is not empty and holds no site: it is left as it is",
            "name another folder with --out",
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as aside:
        fresh, old = Path(aside, "new"), Path(aside, "old")
        fresh.mkdir()
        yield fresh
        if out.exists():
            out.rename(old)
        try:
            fresh.rename(out)
        except OSError:
            if old.exists():
                old.rename(out)
            raise


def data_script(key: str, value: Any) -> str:
    """A script that hands `value` to the page under `key`: pages from disk may not fetch.

    Plain ASCII, so that no name can end a line or the script early; infinities stay what they are.
    """
    return f"GL.put({json.dumps(key)},{json.dumps(value, separators=(',', ':'), default=str)});\n"


def numbers(column: pl.Series, decimals: int | None = None) -> list[Any]:
    """A column as short as it is read: to so many decimals, or to nine significant digits."""
    if column.dtype == pl.Boolean:
        return column.cast(pl.Int8).to_list()
    if not column.dtype.is_float():
        return column.to_list()
    kept = column.round_sig_figs(_SIGNIFICANT) if decimals is None else column.round(decimals)
    return [None if value is not None and math.isnan(value) else value for value in kept.to_list()]


def coded(column: pl.Series) -> tuple[list[str], list[int | None]]:
    """Texts that repeat, once each, and every row's place among them."""
    texts = column.drop_nulls().unique(maintain_order=True).to_list()
    places = {text: place for place, text in enumerate(texts)}
    return texts, [None if text is None else places[text] for text in column.to_list()]
