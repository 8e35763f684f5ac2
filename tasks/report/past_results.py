"""Past results, from a workbook or a CSV file, as task scores.

What is printed is taken as it is: nothing is scored again. Rows that cannot be believed go to
quarantine with their place and the reason, the rest goes on.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from tasks.catalog import Catalogue, Task
from tasks.catalog.model import fold
from tasks.errors import UserError
from tasks.report.formulas import meant
from tasks.report.workbook import SPECIALISTS, Figure, Misplaced, read_workbook
from tasks.schema import QUARANTINE_SCHEMA, TASK_SCORE_SCHEMA
from tasks.storage import Store, file_system, misfit, quote_name, unquote_name
from tasks.version import SCORER_VERSION

PROFILES = ("corrected", "published")
CSV_COLUMNS = ("modality", "paradigm", "task_name", "metric", "model", "raw_score")
#: What a CSV needs when it names tasks by their ids.
ID_COLUMNS = ("task_id", "model", "raw_score")
_EXCERPT = 200
_UNSUPPORTED_TEXTS = frozenset({"", "-", "–", "—", "n/a", "na"})
_INFINITY_TEXTS = frozenset({"∞", "+∞", "inf", "+inf", "infinity"})
#: So many figures of percentages, all of them at most 1, look like fractions.
_FRACTION_SUSPICION = 3


@dataclass(frozen=True, slots=True)
class PastResults:
    """What a file of past results says.

    Attributes:
        task_scores: `TASK_SCORE_SCHEMA`, origin `imported`, one row a (model, task, profile); a
            printed figure belongs to both profiles.
        refused: `QUARANTINE_SCHEMA`, stage `import`; `position` is the row or line, from 1.
        notes: what a reader should know though nothing was refused for it.
    """

    task_scores: pl.DataFrame
    refused: pl.DataFrame
    notes: tuple[str, ...]


class _Refused(Exception):
    """Why a figure is not taken over."""


def read_past_results(path: str | os.PathLike[str], catalogue: Catalogue) -> PastResults:
    """Reads an .xlsx workbook or a CSV file (path or fsspec URL) of past results.

    Marks of an unsupported task, as in the published tables: an empty cell, `-`, `N/A`; 0.00 where
    higher is better (a MOS of 0 too); the infinity sign or `inf` where lower is better.

    Refused: a figure that is no number, outside of the metric's range, of an unknown task, under
    another metric than the task's, and all figures of a (model, task) that differ.

    Raises:
        UserError: the file is absent, or is neither a workbook nor a CSV of results.
    """
    data, name = _fetch(path)
    figures = read_workbook(data, name) if data[:4] == b"PK\x03\x04" else _read_csv(data, name)
    refused: list[dict[str, Any]] = []
    found: dict[tuple[str, str], list[tuple[Figure, float | None, str]]] = defaultdict(list)
    unknown_rows: set[tuple[str, int]] = set()
    for figure in figures:
        if isinstance(figure, Misplaced):
            refused.append(_quarantined(name, figure, figure.reason, figure.excerpt))
            continue
        try:
            task = _task(figure, catalogue)
            if task is None:
                # One row a task, however many models stand in it.
                line = (figure.place.partition(", ")[0], figure.row)
                if line not in unknown_rows and (figure.task_name or figure.value is not None):
                    unknown_rows.add(line)
                    raise _Refused(_unknown_task(figure))
                continue
            raw, mark = _judge(figure, task)
        except _Refused as refusal:
            refused.append(_quarantined(name, figure, str(refusal), _excerpt(figure)))
            continue
        found[figure.model, task.task_id].append((figure, raw, mark))

    rows: list[dict[str, Any]] = []
    for (model, task_id), entries in sorted(found.items()):
        if len({raw for _, raw, _ in entries}) > 1:
            places = "; ".join(figure.place for figure, _, _ in entries)
            for figure, _, _ in entries:
                reason = (
                    f"{task_id} of {model} stands in several places with other figures: {places}"
                )
                refused.append(_quarantined(name, figure, reason, _excerpt(figure), task_id))
            continue
        _, raw, mark = entries[0]
        rows += [
            {
                "model": model,
                "task_id": task_id,
                "profile": profile,
                "metric_id": catalogue.task(task_id).metric_id,
                "status": "unsupported" if raw is None else "scored",
                "raw_score": raw,
                "reason": mark or None,
                "origin": "imported",
                "scorer_version": SCORER_VERSION,
                "source": name,
            }
            for profile in PROFILES
        ]
    return PastResults(
        _frame(rows, TASK_SCORE_SCHEMA),
        _frame(refused, QUARANTINE_SCHEMA),
        tuple(_notes(rows, catalogue)),
    )


def import_past_results(
    store: Store, path: str | os.PathLike[str], catalogue: Catalogue
) -> dict[str, Any]:
    """Takes a file of past results into a store; the same file again changes nothing.

    A model may come from several files: of a task that two files hold, the file that is imported
    last counts. What an earlier version of the same file held is gone.

    Returns:
        file, models, scored, unsupported, refused (rows), notes: counts and texts for a report.
    """
    results = read_past_results(path, catalogue)
    name = _name(path)
    news = dict(results.task_scores.partition_by("model", as_dict=True))
    models = {str(key[0]): frame for key, frame in news.items()}
    known = {unquote_name(file.removesuffix(".parquet")) for file in store.names("imported")}
    for model in sorted(known | set(models)):
        place = ("imported", f"{quote_name(model)}.parquet")
        before = _read(store, *place) if model in known else None
        after = models.get(model, results.task_scores.clear())
        if before is not None:
            others = before.filter(pl.col("source").ne_missing(name))
            after = pl.concat([others.join(after, on="task_id", how="anti"), after])
        after = after.sort("task_id", "profile")
        if before is not None and after.equals(before):
            continue
        if after.is_empty():
            store.delete(*place)
        else:
            store.write_table(after.to_arrow().cast(TASK_SCORE_SCHEMA), *place)
    # A name that does not fit by what is the same in each run.
    own = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    place = ("quarantine", "import", f"{own if misfit(name) else quote_name(name)}.parquet")
    if results.refused.is_empty():
        store.delete(*place)
    else:
        store.write_table(results.refused.to_arrow().cast(QUARANTINE_SCHEMA), *place)
    once = results.task_scores.filter(pl.col("profile") == PROFILES[0])
    return {
        "file": name,
        "models": len(models),
        "scored": once.filter(pl.col("status") == "scored").height,
        "unsupported": once.filter(pl.col("status") == "unsupported").height,
        "refused": results.refused.height,
        "notes": list(results.notes),
    }


def _name(path: str | os.PathLike[str]) -> str:
    """The file's own name: where it lies may differ from one machine to the next."""
    return os.fspath(path).rstrip("/").replace("\\", "/").rsplit("/", 1)[-1]


def _fetch(path: str | os.PathLike[str]) -> tuple[bytes, str]:
    try:
        fs, file = file_system(path)
        return fs.cat_file(file), _name(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"past results {os.fspath(path)} cannot be read: {error}", "check the path or URL"
        ) from None


def _read(store: Store, *parts: str) -> pl.DataFrame:
    frame = pl.from_arrow(store.read_table(*parts))
    assert isinstance(frame, pl.DataFrame)
    return frame


def _frame(rows: list[dict[str, Any]], schema: pa.Schema) -> pl.DataFrame:
    full = [{field: row.get(field) for field in schema.names} for row in rows]
    frame = pl.from_arrow(pa.Table.from_pylist(full, schema=schema))
    assert isinstance(frame, pl.DataFrame)
    return frame


def _read_csv(data: bytes, name: str) -> Iterator[Figure]:
    """Tidy rows, one figure a line, of `ID_COLUMNS` or `CSV_COLUMNS`; others do not matter."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is neither an .xlsx workbook nor UTF-8 text: {error}") from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    by_id = "task_id" in (reader.fieldnames or ())
    columns = ID_COLUMNS if by_id else CSV_COLUMNS
    absent = [column for column in columns if column not in (reader.fieldnames or ())]
    if absent:
        raise UserError(
            f"{name} lacks the columns {', '.join(absent)}",
            f"past results as CSV have the columns {', '.join(CSV_COLUMNS)} "
            f"or {', '.join(ID_COLUMNS)}",
        )
    try:
        for row in reader:
            values = {column: meant((row[column] or "").strip()) for column in columns}
            if any(values.values()):
                yield Figure(
                    place=f"line {reader.line_num}, column raw_score",
                    row=reader.line_num,
                    modality=values.get("modality", ""),
                    paradigm=values.get("paradigm", ""),
                    task_name=values["task_id" if by_id else "task_name"],
                    short_name="",
                    metric=values.get("metric", ""),
                    model=values["model"],
                    value=values["raw_score"],
                )
    except csv.Error as error:
        raise UserError(f"{name}, line {reader.line_num}: {error}") from None


def _task(figure: Figure, catalogue: Catalogue) -> Task | None:
    """The task that a figure belongs to, under its own metric."""
    if not figure.model:
        raise _Refused("no model is named")
    if reason := misfit(figure.model):
        raise _Refused(f"no model can be called that: {reason}")
    if figure.model == SPECIALISTS:
        raise _Refused(f"{SPECIALISTS} is not a model: specialists belong into a catalogue file")
    names = [name for name in (figure.task_name, figure.short_name) if fold(name)]
    task_id = catalogue.resolve(figure.modality or None, figure.paradigm or None, *names)
    if task_id is None:
        return None
    if figure.metric:
        try:
            catalogue.resolve_metric(figure.metric, task_id)
        except UserError as error:
            raise _Refused(error.message) from None
    return catalogue.task(task_id)


def _unknown_task(figure: Figure) -> str:
    if not figure.task_name:
        return "no task is named"
    group = "-".join(filter(None, (figure.modality, figure.paradigm)))
    return f"the catalogue has no task {figure.task_name!r} in {group or 'any group'}"


def _judge(figure: Figure, task: Task) -> tuple[float | None, str]:
    """(raw score, "") of a supported task, or (None, the mark) of one that is not."""
    if figure.formula:
        raise _Refused("the cell is a formula whose result is not stored: save the file once more")
    number = _number(figure)
    if number is None:
        return None, "marked as unsupported by an empty cell or a dash"
    if figure.is_percent_cell:
        if task.unit not in ("percent", "fraction"):
            raise _Refused(f"the cell is formatted as a percentage, {task.metric_id} is not one")
        # Ten digits are more than any table prints, and take the product's rounding error away.
        number = float(f"{number * 100:.10g}") if task.unit == "percent" else number
    if task.direction == "lower" and number == math.inf:
        return None, "marked as unsupported by infinity"
    if task.direction == "higher" and number == 0:
        return None, "marked as unsupported by 0.00"
    if math.isinf(number) and task.map != "tanh_scale":
        raise _Refused(f"{task.metric_id} cannot be infinite")
    try:
        task.normalise(number)
    except ValueError as error:
        raise _Refused(str(error)) from None
    return number, ""


def _number(figure: Figure) -> float | None:
    """The value as a number, None for an empty one. Text in scientific notation is a number too."""
    value = figure.value
    if value is None:
        return None
    if isinstance(value, bool):
        raise _Refused(f"{value} is not a number")
    if isinstance(value, int | float):
        number = float(value)
    else:
        text = str(value).strip().casefold()
        if text in _UNSUPPORTED_TEXTS:
            return None
        if text in _INFINITY_TEXTS:
            return math.inf
        try:
            # float() would also take 1_000 and digits of other scripts.
            number = float(text) if text.isascii() and "_" not in text else math.nan
        except ValueError:
            raise _Refused(f"{str(value)[:80]!r} is not a number") from None
    if math.isnan(number):
        raise _Refused(f"{str(value)[:80]!r} is not a number")
    return number


def _excerpt(figure: Figure) -> str:
    shown = " | ".join((figure.task_name, figure.metric, figure.model))
    return f"{shown} = {figure.value!r}"


def _quarantined(
    name: str, at: Figure | Misplaced, reason: str, excerpt: str, task_id: str | None = None
) -> dict[str, Any]:
    return {
        "stage": "import",
        "model": (at.model or None) if isinstance(at, Figure) else None,
        "task_id": task_id,
        "source": f"{name}, {at.place}",
        "position": at.row,
        "reason": reason,
        "excerpt": excerpt[:_EXCERPT],
    }


def _notes(rows: Iterable[dict[str, Any]], catalogue: Catalogue) -> Iterator[str]:
    """Fractions where percentages are asked for pass every range check, and no task is ever won."""
    percentages: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        in_percent = catalogue.task(row["task_id"]).unit == "percent"
        if row["profile"] == PROFILES[0] and row["raw_score"] is not None and in_percent:
            percentages[row["model"]].append(row["raw_score"])
    for model, values in percentages.items():
        if len(values) >= _FRACTION_SUSPICION and max(values) <= 1:
            yield f"{model}: all {len(values)} percentages are at most 1; are they fractions?"
