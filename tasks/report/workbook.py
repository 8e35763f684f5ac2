"""The results workbook: one sheet a group of tasks, one column a model.

The form is that of the published result and reference files: sheets `NLP`, `Image-Comprehension`,
... `3D-Generation`; columns `No`, `Task Name`, `Task Short Name`, `Metrics`, then the models. The
column `SoTA Performance` holds specialists, not a model.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

import polars as pl
from openpyxl import Workbook, load_workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.utils import get_column_letter
from openpyxl.utils.exceptions import InvalidFileException

from tasks.catalog import Catalogue
from tasks.catalog.model import fold, modality_of, paradigm_of
from tasks.errors import UserError

#: Sheets in published order, and the group that each holds.
SHEETS: dict[str, tuple[str, str]] = {
    "NLP": ("language", "language"),
    "Image-Comprehension": ("image", "comprehension"),
    "Image-Generation": ("image", "generation"),
    "Video-Comprehension": ("video", "comprehension"),
    "Video-Generation": ("video", "generation"),
    "Audio-Comprehension": ("audio", "comprehension"),
    "Audio-Generation": ("audio", "generation"),
    "3D-Comprehension": ("3d", "comprehension"),
    "3D-Generation": ("3d", "generation"),
}
HEADER = ("No", "Task Name", "Task Short Name", "Metrics")
SPECIALISTS = "SoTA Performance"
UNSUPPORTED_LOWER_IS_BETTER = "∞"
UNSUPPORTED_HIGHER_IS_BETTER = 0.0
#: Characters of a sheet's name.
_LONGEST_TITLE = 31

_FIXED = {"metric": "metrics"} | {fold(name): fold(name) for name in HEADER}
#: What a spreadsheet program would take for an escaped character (ECMA-376, ST_Xstring).
_ESCAPE = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
#: openpyxl takes the escape away in shared strings, but not in those that stand in their cell; nor
#: does it read the control characters that XML cannot hold.
_ESCAPED = re.compile(r"_x005F_(?=x[0-9A-Fa-f]{4}_)|_x(00[01][0-9A-Fa-f])_")


@dataclass(frozen=True, slots=True)
class Figure:
    """One cell as it stands: nothing about it has been judged yet.

    Attributes:
        place: where it stands inside the file, as a spreadsheet or an editor calls it.
        row: row or line number, from 1.
        value: the cell's value; None when it is empty.
        is_percent_cell: the cell shows its value times 100, followed by `%`.
        formula: the cell is a formula whose result the file does not hold.
    """

    place: str
    row: int
    modality: str
    paradigm: str
    task_name: str
    short_name: str
    metric: str
    model: str
    value: Any
    is_percent_cell: bool = False
    formula: bool = False


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A sheet, column or row that holds figures but does not say of what."""

    place: str
    row: int | None
    reason: str
    excerpt: str


def read_workbook(data: bytes, name: str) -> Iterator[Figure | Misplaced]:
    """Every figure of an .xlsx file, sheet by sheet, and what cannot be placed.

    Raises:
        UserError: the bytes are no workbook, or none of its sheets is named for a group.
    """
    try:
        values = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        formulas = load_workbook(io.BytesIO(data), read_only=True)
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise UserError(f"{name} is not a readable .xlsx workbook: {error}") from None
    found = False
    for sheet in values.worksheets:
        group = group_of_sheet(sheet.title)
        if group is None:
            yield Misplaced(
                f"sheet {sheet.title}",
                None,
                f"the sheet's name is none of {', '.join(SHEETS)}",
                sheet.title,
            )
            continue
        found = True
        # Without it a wrong size noted by the writing program would cut the sheet short.
        sheet.reset_dimensions()
        other = formulas[sheet.title]
        other.reset_dimensions()
        rows = zip(sheet.iter_rows(), other.iter_rows(), strict=False)
        yield from _read_sheet(sheet.title, group, rows)
    if not found:
        raise UserError(
            f"{name} has no sheet of results", f"name the sheets {', '.join(SHEETS)}, or use a CSV"
        )


def group_of_sheet(title: str) -> tuple[str, str] | None:
    """(modality, paradigm) of a sheet's name in any spelling, e.g. `audio generation`."""
    modality_name, _, paradigm_name = (
        title.strip().replace("_", "-").replace(" ", "-").partition("-")
    )
    modality = modality_of(modality_name)
    if modality == "language":
        return "language", "language"
    paradigm = paradigm_of(paradigm_name)
    return (modality, paradigm) if modality and paradigm else None


def _text(value: Any) -> str:
    return "" if value is None else _ESCAPED.sub(_unescaped, str(value)).strip()


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else "_"


def _read_sheet(
    title: str, group: tuple[str, str], rows: Iterator[tuple[tuple, tuple]]
) -> Iterator[Figure | Misplaced]:
    header: _Header | None = None
    for number, (cells, raw_cells) in enumerate(rows, 1):
        texts = [_text(cell.value) for cell in cells]
        if not any(texts) and all(cell.value is None for cell in raw_cells):
            continue
        if header is None:
            header = _Header.of(texts)
            if header is None:
                reason = f"the first row must name the columns {', '.join(HEADER)}"
                yield Misplaced(f"sheet {title}", number, reason, " | ".join(filter(None, texts)))
                return
            continue
        for position in header.nameless(texts):
            place = f"sheet {title}, {get_column_letter(position + 1)}{number}"
            yield Misplaced(place, number, "the column has no model's name", texts[position])
        for position, model in header.models.items():
            cell = cells[position] if position < len(cells) else None
            raw = raw_cells[position] if position < len(raw_cells) else None
            value = None if cell is None else cell.value
            shown_as = getattr(cell, "number_format", None) or ""
            yield Figure(
                place=f"sheet {title}, {get_column_letter(position + 1)}{number}",
                row=number,
                modality=group[0],
                paradigm=group[1],
                task_name=header.at("taskname", texts),
                short_name=header.at("taskshortname", texts),
                metric=header.at("metrics", texts),
                model=model,
                value=value,
                is_percent_cell="%" in shown_as,
                formula=value is None and raw is not None and raw.value is not None,
            )


@dataclass(frozen=True, slots=True)
class _Header:
    """Which column holds what; the first column of a fixed name counts, later ones are models."""

    fixed: dict[str, int]
    models: dict[int, str]
    specialists: set[int]

    @classmethod
    def of(cls, texts: list[str]) -> _Header | None:
        """None when the row does not name the task and its metric."""
        fixed: dict[str, int] = {}
        models: dict[int, str] = {}
        specialists: set[int] = set()
        for position, text in enumerate(texts):
            name = _FIXED.get(fold(text))
            if name and name not in fixed:
                fixed[name] = position
            elif text == SPECIALISTS:
                specialists.add(position)
            elif text:
                models[position] = text
        if not {"taskname", "metrics"} <= set(fixed):
            return None
        return cls(fixed, models, specialists)

    def at(self, name: str, texts: list[str]) -> str:
        position = self.fixed.get(name, len(texts))
        return texts[position] if position < len(texts) else ""

    def nameless(self, texts: list[str]) -> list[int]:
        """Filled cells below an empty heading."""
        known = {*self.fixed.values(), *self.models, *self.specialists}
        return [i for i, text in enumerate(texts) if text and i not in known]


def write_workbook(
    file: BinaryIO,
    task_scores: pl.DataFrame,
    catalogue: Catalogue,
    profile: str = "corrected",
    specialists: bool = False,
) -> None:
    """Writes task scores in the published form, every task of the catalogue a row.

    A model that does not support a task gets the published mark (0.00, or the infinity sign where
    lower is better); a refused score and a task that the model says nothing of stay empty. So a
    real score of exactly 0 on a higher-is-better task reads back as unsupported: both count 0.

    Args:
        file: where the workbook goes.
        task_scores: model, task_id, profile, status and raw_score of any number of models, as in
            `TASK_SCORE_SCHEMA` and in the mart task_results.
        profile: which of the profiles to write.
        specialists: adds the column `SoTA Performance` from the catalogue.

    Raises:
        UserError: a model's name that no cell can hold, or that the form uses for something else.
    """
    chosen = task_scores.filter(pl.col("profile") == profile)
    models = chosen["model"].unique().sort().to_list()
    scores = {
        (row["model"], row["task_id"]): row
        for row in chosen.select("model", "task_id", "status", "raw_score").iter_rows(named=True)
    }
    book = Workbook(write_only=True)
    heading = [*HEADER, *([SPECIALISTS] if specialists else []), *models]
    for model in models:
        if model == SPECIALISTS or model != model.strip() or not model:
            raise UserError(
                f"a workbook cannot hold a model named {model!r}",
                "rename it, or leave it out of the export",
            )
    for title, (modality, paradigm) in SHEETS.items():
        tasks = catalogue.tasks.filter(
            (pl.col("modality") == modality) & (pl.col("paradigm") == paradigm)
        )
        if tasks.is_empty():
            continue
        sheet = book.create_sheet(title)
        sheet.append([_text_cell(sheet, text) for text in heading])
        for number, task in enumerate(tasks.iter_rows(named=True), 1):
            texts = (task["title"], task["short_title"] or "", task["printed_metric"])
            names = [*texts[:2], texts[2] or _metric_title(catalogue, task["metric_id"])]
            row: list[Any] = [number, *(_text_cell(sheet, text) for text in names)]
            if specialists:
                row.append(task["specialist_raw"])
            marks = (_mark(scores.get((model, task["task_id"])), task) for model in models)
            row += [
                _number_cell(sheet, mark) if isinstance(mark, float) else mark for mark in marks
            ]
            sheet.append(row)
    if not book.worksheets:
        book.create_sheet(next(iter(SHEETS)))
    book.save(file)


def write_sheet(file: BinaryIO, frame: pl.DataFrame, title: str) -> None:
    """Writes any table as a workbook of one sheet; numbers stay exact, texts are no formulas.

    Raises:
        UserError: a text that no cell can hold.
    """
    book = Workbook(write_only=True)
    sheet = book.create_sheet(title[:_LONGEST_TITLE])
    sheet.append([_text_cell(sheet, name) for name in frame.columns])
    for row in frame.iter_rows():
        sheet.append([_cell(sheet, value) for value in row])
    book.save(file)


def _cell(sheet: Any, value: Any) -> Any:
    if isinstance(value, float):
        return _number_cell(sheet, value) if math.isfinite(value) else str(value)
    if isinstance(value, datetime):
        return _text_cell(sheet, value.isoformat())  # a cell's time has no zone
    return _text_cell(sheet, value) if isinstance(value, str) else value


def _mark(score: dict[str, Any] | None, task: dict[str, Any]) -> float | str | None:
    if score is None or score["status"] == "refused":
        return None
    raw = score["raw_score"]
    if score["status"] == "scored" and raw is not None and math.isfinite(raw):
        return raw
    if task["direction"] == "lower":
        return UNSUPPORTED_LOWER_IS_BETTER
    return UNSUPPORTED_HIGHER_IS_BETTER


def _metric_title(catalogue: Catalogue, metric_id: str) -> str:
    """The metric's title if it is understood again on reading, else its id."""
    title = catalogue.metrics.filter(pl.col("metric_id") == metric_id)["title"].item()
    try:
        return title if catalogue.resolve_metric(title) == metric_id else metric_id
    except UserError:
        return metric_id


def _number_cell(sheet: Any, number: float) -> Any:
    """A cell that holds exactly this number: openpyxl would write 16 digits, of 17 needed."""
    cell = WriteOnlyCell(sheet, value=repr(number))
    cell.data_type = "n"
    return cell


def _text_cell(sheet: Any, text: str) -> Any:
    """A cell that holds exactly this text: no formula, whatever it begins with."""
    text = _ESCAPE.sub("_x005F_", text)
    text = ILLEGAL_CHARACTERS_RE.sub(lambda found: f"_x{ord(found[0]):04X}_", text)
    cell = WriteOnlyCell(sheet, value=text)
    cell.data_type = "s"
    # Keeps it text when somebody edits the cell in a spreadsheet program.
    cell.quotePrefix = True
    return cell
