"""The users' catalogue files: added tasks, updated specialists, other metrics.

A CSV file has the columns of tasks.csv, in any order, as many as needed; an empty cell keeps what
is there. A TOML file has one `[[task]]` table a row with the same keys. See docs/catalogue.md.
"""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Iterator
from typing import Any

import polars as pl

from tasks.catalog.check import metric_scale, problems_of_row
from tasks.catalog.model import MODALITIES, PARADIGMS, duplicates, modality_of, paradigm_of
from tasks.catalog.names import ambiguous_names
from tasks.catalog.normalise import normalise
from tasks.errors import UserError
from tasks.storage import file_system

_NEEDED = ("task_id", "modality", "paradigm", "title", "metric_id", "specialist_raw")

#: A changed cell here makes the stored normalised specialist a figure of something else.
_DECIDES_SPECIALIST = ("metric_id", "unit", "specialist_raw")


def apply_file(tasks: pl.DataFrame, metrics: pl.DataFrame, path: str) -> pl.DataFrame:
    """`tasks` with the rows of the file at `path` merged in.

    Raises:
        UserError: naming the file and the row (the header of a CSV is row 1; the first `[[task]]`
            of a TOML is entry 1), and the remedy.
    """
    known = {row["metric_id"]: row for row in metrics.iter_rows(named=True)}
    merged = {row["task_id"]: row for row in tasks.iter_rows(named=True)}
    seen: dict[str, str] = {}
    for where, cells in _rows(path, tasks.columns):
        given = _typed(cells, tasks.schema, where)
        task_id = given.get("task_id")
        if not task_id:
            raise UserError(f"{where}: no task_id", "give every row the id of its task")
        if task_id in seen:
            raise UserError(
                f"{where}: task {task_id} is already in {seen[task_id]}", "keep one of the two rows"
            )
        seen[task_id] = where
        merged[task_id] = _merged(merged.get(task_id), given, known, where)
    result = pl.DataFrame(list(merged.values()), schema=tasks.schema)
    for message in ambiguous_names(result):
        raise UserError(f"{path}: {message}", "rename or remove one of the two")
    return result


def _merged(
    old: dict[str, Any] | None, given: dict[str, Any], known: dict[str, Any], where: str
) -> dict[str, Any]:
    task_id = given["task_id"]
    if old is None:
        missing = [column for column in _NEEDED if given.get(column) is None]
        if missing:
            raise UserError(
                f"{where}: task {task_id} is not in the catalogue and lacks {', '.join(missing)}",
                "correct the task_id if an existing task is meant; a new one needs "
                + ", ".join(_NEEDED),
            )
    metric_id = given.get("metric_id") or (old or {}).get("metric_id")
    metric = known.get(str(metric_id))
    if metric is None:
        raise UserError(f"{where}: unknown metric {metric_id!r}", f"metrics: {', '.join(known)}")
    row = dict(old or {}) | given
    if old is None or ("metric_id" in given and "unit" not in given):
        row["unit"] = given.get("unit") or metric["unit"]
    if "direction" not in given:
        row["direction"] = metric["direction"]
    if "specialist_normalised" not in given and any(c in given for c in _DECIDES_SPECIALIST):
        row["specialist_normalised"] = None
    if old is not None and row["metric_id"] != old["metric_id"] and "printed_metric" not in given:
        row["printed_metric"] = None
    if old is None:
        row["source"] = given.get("source") or where
    for message, remedy in problems_of_row(row, metric):
        raise UserError(f"{where}: {message}", remedy)
    if row.get("specialist_normalised") is None:
        row["specialist_normalised"] = _specialist(row, metric)
    return row


def _specialist(row: dict[str, Any], metric: dict[str, Any]) -> float:
    scale = metric_scale(metric["unit"], row["unit"])
    return normalise(
        metric["map"],
        metric["threshold"],
        row["unit"],
        row["specialist_raw"],
        minimum=metric["minimum"] * scale,
        maximum=metric["maximum"] * scale,
    )


def _typed(cells: dict[str, Any], schema: pl.Schema, where: str) -> dict[str, Any]:
    """The given cells in their types and canonical spellings; empty cells are not given."""
    given: dict[str, Any] = {}
    for column, value in cells.items():
        if isinstance(value, list) and column == "aliases":
            value = "|".join(str(name) for name in value)
        text = "" if value is None else str(value).strip()
        if not text:
            continue
        given[column] = _cell(text, schema[column], column, where)
    for column, canonical, choices in (
        ("modality", modality_of, MODALITIES),
        ("paradigm", paradigm_of, PARADIGMS),
    ):
        if column in given:
            spelled = given[column]
            given[column] = canonical(spelled)
            if given[column] is None:
                raise UserError(
                    f"{where}: unknown {column} {spelled!r}", f"use one of {', '.join(choices)}"
                )
    return given


def _cell(text: str, dtype: pl.DataType, column: str, where: str) -> Any:
    if not dtype.is_numeric():
        return text
    try:
        return int(text.replace(",", "")) if dtype.is_integer() else float(text)
    except ValueError:
        kind = "a whole number" if dtype.is_integer() else "a number"
        raise UserError(
            f"{where}: {column} is {text!r}, not {kind}",
            "write it with a decimal point and without unit or percent sign",
        ) from None


def _rows(path: str, columns: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, cells) of each row, with only known columns."""
    text = _read(path)
    reader = _toml_rows if path.casefold().endswith(".toml") else _csv_rows
    for where, cells in reader(path, text):
        unknown = sorted(set(cells) - set(columns))
        if unknown:
            raise UserError(
                f"{where}: unknown column {', '.join(map(repr, unknown))}",
                f"columns: {', '.join(columns)}",
            )
        yield where, cells


def _read(path: str) -> str:
    try:
        fs, file = file_system(path)
        return fs.cat_file(file).decode("utf-8-sig")
    except (OSError, ValueError, ImportError) as error:
        raise UserError(
            f"catalogue file {path} cannot be read: {error}",
            "give the path of a CSV or TOML file in UTF-8",
        ) from error


def _csv_rows(path: str, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        records = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise UserError(
            f"{path} is not valid CSV: {error}", "close every double quote; save it as CSV, UTF-8"
        ) from None
    header = [name.strip() for name in (records[0] if records else [])]
    if "task_id" not in header:
        raise UserError(
            f"{path}: row 1 has no column task_id", "begin the file with a row of column names"
        )
    if again := duplicates(header):
        raise UserError(f"{path}: row 1 names column {', '.join(again)} twice", "keep one of them")
    for number, cells in enumerate(records[1:], start=2):
        where = f"{path}: row {number}"
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise UserError(
                f"{where}: {len(cells)} cells under {len(header)} column names",
                "put cells that hold a comma in double quotes",
            )
        yield where, dict(zip(header, cells, strict=True))


def _toml_rows(path: str, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        entries = tomllib.loads(text).get("task")
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {error}", "correct the line it names") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path} has no [[task]] tables", "begin each task with a line [[task]]")
    for number, cells in enumerate(entries, start=1):
        yield f"{path}: [[task]] {number}", cells
