"""Published tables as files for other tools: CSV, Parquet, JSON, Markdown, LaTeX, workbooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import duckdb
import polars as pl
import pyarrow.parquet as pq

from tasks.catalog import Catalogue, load_catalogue
from tasks.errors import UserError, near
from tasks.report.formulas import harmless
from tasks.report.typeset import latex, markdown
from tasks.report.workbook import write_sheet, write_workbook
from tasks.storage import PARQUET_OPTIONS, Store
from tasks.warehouse import connect, load_models
from tasks.warehouse.tables import literal, quote

#: Formats, by the suffixes of their files.
FORMATS = {
    "csv": "csv",
    "parquet": "parquet",
    "json": "json",
    "md": "md",
    "tex": "latex",
    "xlsx": "xlsx",
}
SUFFIXES = {name: suffix for suffix, name in FORMATS.items()}
#: The chosen rules where a table holds the results under several and one leaderboard is asked for.
_DEFAULTS = {"profile": "corrected", "aggregation": "modality_mean"}
_TIME = "%Y-%m-%dT%H:%M:%SZ"


def published_tables(database: duckdb.DuckDBPyConnection) -> list[str]:
    """The tables and views that results are published in, by name."""
    found = database.execute(
        "SELECT table_name FROM information_schema.tables "
        "WHERE table_catalog <> 'temp' AND table_schema = 'main'"
    ).fetchall()
    return sorted({row[0] for row in found} - {model.name for model in load_models("staging")})


def read_table(
    database: duckdb.DuckDBPyConnection,
    table: str = "leaderboard",
    *,
    board: str | None = None,
    models: Sequence[str] = (),
    profile: str | None = None,
    aggregation: str | None = None,
) -> pl.DataFrame:
    """A published table, in a fixed order; times in UTC.

    Args:
        table: name of a table or view; `leaderboard` is any board's, best first.
        board: only this board; needs a table with boards.
        models: only these models; none means all.
        profile, aggregation: only these rules; a leaderboard is of the corrected profile and
            modality_mean by default, other tables hold all.

    Raises:
        UserError: unknown table, board, model, profile or aggregation, or one that it does not have.
    """
    known = published_tables(database)
    if table not in known:
        raise UserError(
            f"there is no published table {table!r}", f"choose from: {', '.join(known)}"
        )
    wanted = {"board_id": board, "profile": profile, "aggregation": aggregation}
    source = table
    if table == "leaderboard":
        source = "leaderboards"
        wanted = _DEFAULTS | {"board_id": "A"} | {k: v for k, v in wanted.items() if v}
    types = dict(
        database.execute(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'main' AND table_name = ? ORDER BY ordinal_position",
            [source],
        ).fetchall()
    )
    keep: dict[str, list[str]] = {name: [value] for name, value in wanted.items() if value}
    if models:
        keep["model"] = list(models)
    for column, values in keep.items():
        _check_known(database, source, column, values, types)
    where = " AND ".join(
        f"{quote(column)} IN ({', '.join(map(literal, values))})" for column, values in keep.items()
    )
    columns = list(types)
    if table == "leaderboard":
        columns = [name for name in columns if name not in ("board_id", "profile", "aggregation")]
    # Sums of integers are wider than any other tool reads.
    selected = ", ".join(
        f"{quote(name)}::BIGINT AS {quote(name)}" if types[name] == "HUGEINT" else quote(name)
        for name in columns
    )
    found = database.sql(  # names go through quote(), texts through literal()
        f"SELECT {selected} FROM {quote(source)} {f'WHERE {where}' if where else ''} ORDER BY ALL"  # noqa: S608
    ).pl()
    return found.with_columns(pl.col(pl.Datetime).dt.convert_time_zone("UTC"))


def export_table(store: Store, to: str, format: str, **choice: Any) -> int:
    """Writes one published table to a file, replaced as a whole; rows written.

    Args:
        to: path or fsspec URL.
        format: one of `FORMATS`. `xlsx` of `task_results` is the results workbook.
        choice: as for `read_table`.
    """
    rows = 0

    def write_to(file: BinaryIO) -> None:
        nonlocal rows
        rows = write_table(store, file, format, **choice)

    folder, _, name = to.rpartition("/")
    Store(folder or ("/" if to.startswith("/") else ".")).write(write_to, name)
    return rows


def write_table(store: Store, file: BinaryIO, format: str, **choice: Any) -> int:
    """Writes one published table to an open file; rows written. Arguments as `export_table`."""
    table = choice.get("table", "leaderboard")
    with connect(store, rows=False) as database:
        if (table, format) == ("task_results", "xlsx"):
            choice["profile"] = choice.get("profile") or _DEFAULTS["profile"]
            frame = read_table(database, **choice)
            write_workbook(file, frame, _catalogue(database), choice["profile"])
        else:
            frame = read_table(database, **choice)
            _writer(format, table)(frame, file)
    return frame.height


def export_all(store: Store, folder: str, format: str) -> dict[str, int]:
    """Writes every published table into a folder or URL, a file a table; rows by table."""
    target = Store(folder)
    written: dict[str, int] = {}
    with connect(store, rows=False) as database:
        for table in published_tables(database):
            # The leaderboard is the view itself: leaderboards holds all of them.
            frame = read_table(database, table)
            write = _writer(format, table)
            target.write(lambda file, f=frame, w=write: w(f, file), f"{table}.{SUFFIXES[format]}")
            written[table] = frame.height
    return written


def format_of(to: str, format: str | None) -> str:
    """The format asked for, else that of the file's suffix, else CSV. Raises `UserError`."""
    if format is None:
        format = FORMATS.get(PurePosixPath(to).suffix.lower().lstrip("."), "csv")
    if format not in SUFFIXES:
        raise UserError(f"there is no format {format!r}", f"choose from: {', '.join(SUFFIXES)}")
    return format


def _check_known(
    database: duckdb.DuckDBPyConnection,
    table: str,
    column: str,
    values: list[str],
    types: dict[str, str],
) -> None:
    what = column.removesuffix("_id")
    if column not in types:
        raise UserError(f"the table {table} has no {what}s to choose from", f"leave out --{what}")
    query = f"SELECT DISTINCT {quote(column)} FROM {quote(table)}"  # noqa: S608 - quoted
    found = database.execute(query).fetchall()
    known = [str(row[0]) for row in found]
    for value in values:
        if value not in known:
            told = near(value, known) or sorted(known)[:8]
            raise UserError(
                f"{table} has no {what} {value!r}", f"near it: {', '.join(told)}" if told else ""
            )


def _writer(format: str, table: str) -> Callable[[pl.DataFrame, BinaryIO], Any]:
    if format == "csv":
        return lambda frame, file: harmless(frame).write_csv(file, datetime_format=_TIME)
    if format == "parquet":
        return lambda frame, file: pq.write_table(frame.to_arrow(), file, **PARQUET_OPTIONS)
    if format == "json":
        return _write_json
    if format == "md":
        return lambda frame, file: file.write(markdown(frame).encode())
    if format == "latex":
        label = f"tab:{table.replace('_', '-')}"
        title = table.replace("_", " ").capitalize()
        return lambda frame, file: file.write(latex(frame, title, label).encode())
    return lambda frame, file: write_sheet(file, frame, table)


def _write_json(frame: pl.DataFrame, file: BinaryIO) -> None:
    """A list of rows; JSON knows neither times nor infinities: ISO 8601 text, null."""
    floats = pl.col(pl.Float64, pl.Float32)
    plain = frame.with_columns(
        pl.col(pl.Datetime).dt.strftime(_TIME), pl.when(floats.is_finite()).then(floats).name.keep()
    )
    file.write(plain.write_json().encode())


def _catalogue(database: duckdb.DuckDBPyConnection) -> Catalogue:
    """The tasks that the results were published with, whatever catalogue is at hand now."""
    tasks = database.sql("FROM stg_tasks ORDER BY task_id").pl()
    # Not published: the metric's title stands for the spelling of the published table.
    absent = {"printed_metric", "aliases"} - set(tasks.columns)
    tasks = tasks.with_columns(pl.lit(None, pl.String).alias(name) for name in sorted(absent))
    return Catalogue(tasks=tasks, metrics=load_catalogue(base=False).metrics)
