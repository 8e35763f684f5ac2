"""`general-level export`: published tables as files, or on standard output."""

from __future__ import annotations

import io
import sys
from typing import Any

from flows.cli import console
from tasks.errors import UserError
from tasks.report.export import export_all, export_table, format_of, write_table
from tasks.storage import Store

_BINARY = ("parquet", "xlsx")


def export(
    store: str,
    to: str,
    everything: str | None,
    format: str | None,
    *,
    as_json: bool,
    **choice: Any,
) -> None:
    """Writes one table to `to` (`-` is standard output), or all of them into a folder.

    Args:
        everything: folder or URL for all tables; `to` and `choice` are then not looked at.
        choice: as for `tasks.report.export.read_table`.

    Raises:
        UserError: when nothing is published, or something is asked for that there is not.
    """
    if everything is not None:
        format = format_of("", format or "parquet")
        if any(choice[name] for name in ("board", "models", "profile", "aggregation")):
            raise UserError("--all writes every table whole", "leave out --board, --model ...")
        written = export_all(Store(store), everything, format)
        found: Any = {"folder": everything, "format": format, "tables": written}
        told = f"{len(written)} tables, {sum(written.values())} rows: {everything}"
    else:
        format = format_of(to, format)
        if to == "-":
            _print(store, format, choice)
            return
        rows = export_table(Store(store), to, format, **choice)
        found = {"file": to, "format": format, "table": choice["table"], "rows": rows}
        told = f"{choice['table']}, {rows} rows: {to}"
    if as_json:
        console.print_json(found)
    else:
        console.note(told)


def _print(store: str, format: str, choice: dict[str, Any]) -> None:
    if format in _BINARY and sys.stdout.isatty():
        raise UserError(f"{format} is nothing for a terminal", "name a file with --to")
    # Whole before the first byte goes out: a mistake leaves nothing half-printed.
    buffer = io.BytesIO()
    write_table(Store(store), buffer, format, **choice)
    sys.stdout.buffer.write(buffer.getvalue())
    sys.stdout.buffer.flush()
