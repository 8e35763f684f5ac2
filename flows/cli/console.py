"""What the command line prints: tables, progress bars, JSON, and errors that say what to do."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

#: Columns when the output is no terminal: tables in logs and files must not fold to 80.
_FILE_WIDTH = 140


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=_FILE_WIDTH)


#: Characters of names that would steer the terminal or turn the text around.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

out = _console(stderr=False)
err = _console(stderr=True)


def print_json(value: Any) -> None:
    """One JSON document on standard output; NaN and infinities become null, times ISO text."""
    sys.stdout.write(json.dumps(_finite(value), ensure_ascii=False, indent=2, default=_text) + "\n")


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = ""
) -> None:
    """A table; numbers are right-aligned and cells are never read as markup."""
    rows = [list(row) for row in rows]
    table = Table(title=escape(title), caption=escape(caption) or None, title_justify="left")
    for i, name in enumerate(columns):
        numeric = any(isinstance(row[i], (int, float)) for row in rows)
        table.add_column(escape(name), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell(value)) for value in row))
    out.print(table)


def cell(value: Any) -> str:
    """A value as people read it: two decimals, a dash for nothing."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        return f"{value:.2f}" if value == 0 or abs(value) >= 0.01 else f"{value:.3g}"
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], str(value))


def note(message: str) -> None:
    """A line for people, on standard error, so that standard output stays data."""
    err.print(escape(message), highlight=False)


def complain(message: str, remedy: str = "") -> None:
    """An error for people: what is wrong, then what to do."""
    err.print(f"[bold red]error:[/] {escape(message)}", highlight=False)
    if remedy:
        err.print(f"  [bold]try:[/] {escape(remedy)}", highlight=False)


@contextmanager
def progress_bars(enabled: bool, unit: str = "batches") -> Iterator[Any]:
    """Yields a callable `(stage, done, total)` that draws one bar a stage; None when disabled."""
    if not enabled:
        yield None
        return
    bars = Progress(
        TextColumn("{task.description:>8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        console=err,
        transient=True,
    )
    known: dict[str, Any] = {}

    def advance(stage: str, done: int, total: int) -> None:
        if total == 0:
            return
        if stage not in known:
            known[stage] = bars.add_task(stage, total=total)
        bars.update(known[stage], completed=done, total=total)

    with bars:
        yield advance


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
