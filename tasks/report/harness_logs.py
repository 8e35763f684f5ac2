"""Per-sample logs of other evaluation harnesses, as columns.

Shapes as written by lm-evaluation-harness (`lm_eval/loggers/evaluation_tracker.py`, `evaluator.py`),
lmms-eval (the same files of `lmms_eval/`) and VLMEvalKit (`vlmeval/smp/file.py`, `inference.py`);
docs/interop.md has the versions that were read.
"""

from __future__ import annotations

import csv
import io
import re
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import duckdb
import msgspec
import polars as pl
from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException

from tasks.ingest.read import DamagedFile, TaskFileReader
from tasks.warehouse.models import load_models

HARNESSES = ("lm-eval", "lmms-eval", "vlmevalkit")

#: Samples as they are read: row (line of a text log, row of a sheet or list, from 1), filter,
#: numbered (the id is only the sample's number, from 0), instance_id, prediction, problem (why the
#: sample cannot be taken), missing (it is there without a response).
SAMPLE_SCHEMA = {
    "row": pl.Int64,
    "filter": pl.String,
    "numbered": pl.Boolean,
    "instance_id": pl.String,
    "prediction": pl.String,
    "problem": pl.String,
    "missing": pl.Boolean,
}

#: samples_<task>_<ISO time with dashes>.jsonl
_LM_EVAL = re.compile(r"samples_(?P<task>.+)_(?P<time>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d[.\d]*)\.jsonl")
#: <YYYYMMDD_HHMMSS>_samples_<task>.jsonl
_LMMS_EVAL = re.compile(r"(?P<time>\d{8}_\d{6})_samples_(?P<task>.+)\.jsonl")
#: <model>_<dataset>.xlsx, .tsv or .json; which underscore parts them, the names must tell.
_VLMEVALKIT = re.compile(r"(?P<task>.+)\.(xlsx|tsv|json)")
#: A run's own folder below the model's.
_RUN_FOLDER = re.compile(r"T\d{8}([_-].*)?")
#: VLMEvalKit's answer where the model gave none.
_FAILED = "Failed to obtain answer"
#: What an .xlsx cell holds at most: a response of this length was cut.
_CELL_LIMIT = 32_767
#: xlsxwriter writes control characters by their codes, openpyxl leaves them so.
_CONTROLS = {f"_x00{code:02X}_": chr(code) for code in range(32)}


class UnreadableLog(ValueError):
    """The file as a whole is no log of its harness; the message says why."""


@dataclass(frozen=True, slots=True)
class Log:
    """A per-sample log, as its name tells.

    Attributes:
        path: on its file system.
        model: the folder of its model.
        names: what the harness may call its task, the likeliest first.
        time: when it was written; later ones sort behind. Empty when the name does not say.
    """

    path: str
    model: str
    names: tuple[str, ...] = field(default=())
    time: str = ""


def log_of(path: str, harness: str) -> Log | None:
    """The log that a file is by its name, None when it is named like none."""
    place = PurePosixPath(path)
    pattern = {"lm-eval": _LM_EVAL, "lmms-eval": _LMMS_EVAL}.get(harness, _VLMEVALKIT)
    found = pattern.fullmatch(place.name)
    if found is None:
        return None
    run = place.parent.name if _RUN_FOLDER.fullmatch(place.parent.name) else ""
    model = (place.parent.parent if run else place.parent).name
    if harness != "vlmevalkit":
        return Log(path, model, (found["task"],), found["time"])
    stem = found["task"]
    parts = stem.split("_")
    names = ["_".join(parts[first:]) for first in range(1, len(parts))]
    own = stem.removeprefix(f"{model}_")
    return Log(path, model, tuple(dict.fromkeys((own, *names))), run)


def read_log(data: bytes, name: str, id_field: str = "") -> pl.DataFrame:
    """The samples of a log.

    Args:
        data: the file.
        name: its name, whose suffix tells the format.
        id_field: field with the samples' ids, where it is another than the usual: dotted below the
            sample of a JSONL log (`doc.question_id`), a column of VLMEvalKit's tables.

    Returns:
        Columns of `SAMPLE_SCHEMA`, a row a sample, in the file's order.

    Raises:
        UnreadableLog: when the file is damaged, or holds no samples.
    """
    suffix = PurePosixPath(name).suffix.lower()
    found = (
        _read_jsonl(data, id_field) if suffix == ".jsonl" else _read_table(data, suffix, id_field)
    )
    if found.is_empty():
        raise UnreadableLog("it holds no samples")
    return found


def _read_table(data: bytes, suffix: str, id_field: str) -> pl.DataFrame:
    rows = {".xlsx": _xlsx_rows, ".tsv": _tsv_rows, ".json": _json_rows}[suffix](
        data, (id_field or "index", "prediction")
    )
    # Texts are taken as they are: the number 7 and the text "7" are one id.
    found = pl.DataFrame(
        list(rows),
        schema={name: SAMPLE_SCHEMA[name] for name in ("row", "instance_id", "prediction")}
        | {"problem": pl.String},
        orient="row",
    )
    answer = pl.col("prediction")
    nothing = (answer == "") | answer.is_null() | answer.str.starts_with(_FAILED)
    if suffix == ".xlsx":
        answer = answer.str.replace_many(_CONTROLS)
        cut = pl.col("prediction").str.len_chars() >= _CELL_LIMIT
        told = f"the response was cut at {_CELL_LIMIT:,} characters: use PRED_FORMAT=tsv"
        found = found.with_columns(problem=pl.coalesce("problem", pl.when(cut).then(pl.lit(told))))
    return found.with_columns(
        filter=pl.lit(None, pl.String),
        numbered=pl.lit(False),
        prediction=answer,
        problem=pl.coalesce(
            "problem",
            pl.when(pl.col("instance_id").fill_null("") == "").then(pl.lit("the sample has no id")),
            pl.when(nothing).then(pl.lit("no response")),
        ),
    ).select(
        *(name for name in SAMPLE_SCHEMA if name != "missing"),
        missing=(pl.col("problem") == "no response").fill_null(False),
    )


def _read_jsonl(data: bytes, id_field: str) -> pl.DataFrame:
    try:
        texts: list[str | None] = list(data.decode("utf-8-sig").split("\n"))
    except UnicodeDecodeError:
        texts = [_utf8(line) for line in data.split(b"\n")]
    lines = (
        pl.DataFrame({"line": pl.Series(texts, dtype=pl.String)})
        .with_row_index("row", offset=1)
        .filter(pl.col("line").str.strip_chars().ne_missing(""))
        .with_columns(pl.col("row").cast(pl.Int64))
    )
    steps = [step.replace("~", "~0").replace("/", "~1") for step in id_field.split(".") if step]
    options = pl.DataFrame({"id_pointer": ["".join(f"/{step}" for step in steps)]})
    (model,) = load_models("harness")
    with duckdb.connect() as database:
        database.register("log_lines", lines.to_arrow())
        database.register("log_options", options.to_arrow())
        found = database.sql(f"{model.sql} ORDER BY row").pl()
    return found.cast(SAMPLE_SCHEMA)  # type: ignore[arg-type]


def _utf8(line: bytes) -> str | None:
    """A line's text; None, which is no JSON either, where it is no UTF-8."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return None


#: Row number, id, response and what is wrong with the row's form.
_Row = tuple[int, str | None, str | None, str | None]


def _xlsx_rows(data: bytes, wanted: Sequence[str]) -> Iterator[_Row]:
    try:
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise UnreadableLog(f"it is not a readable .xlsx workbook: {error}") from None
    sheet = book.worksheets[0]
    sheet.reset_dimensions()
    rows = enumerate(sheet.iter_rows(values_only=True), 1)
    _, head = next(rows, (0, ()))
    places = _places([str(cell) for cell in head], wanted)
    for number, cells in rows:
        if any(cell is not None for cell in cells):
            own, answer = (_text(cells[i]) if i < len(cells) else None for i in places)
            yield number, own, answer, None


def _tsv_rows(data: bytes, wanted: Sequence[str]) -> Iterator[_Row]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableLog(f"it is no UTF-8 text: {error}") from None
    csv.field_size_limit(sys.maxsize)  # images stand in some columns
    lines = csv.reader(io.StringIO(text, newline=""), delimiter="\t")
    head = next(lines, [])
    places = _places(head, wanted)
    for row in lines:
        if len(row) == len(head):
            yield lines.line_num, row[places[0]], row[places[1]], None
        elif row:
            told = f"{len(row)} columns where the heading has {len(head)}"
            yield lines.line_num, None, None, told


def _json_rows(data: bytes, wanted: Sequence[str]) -> Iterator[_Row]:
    reader = TaskFileReader(io.BytesIO(data), len(data))
    number = 0
    try:
        for number, row in enumerate(reader, 1):
            if not isinstance(row, dict):
                yield number, None, None, "the sample is no object"
            else:
                own, answer = (_text(row.get(name)) for name in wanted)
                yield number, own, answer, None
    except DamagedFile as error:
        if number == 0:
            raise UnreadableLog(str(error)) from None
        yield number + 1, None, None, str(error)


def _places(head: Sequence[str], wanted: Sequence[str]) -> list[int]:
    absent = [name for name in wanted if name not in head]
    if absent:
        raise UnreadableLog(f"it has no column {' and no column '.join(absent)}")
    return [head.index(name) for name in wanted]


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (dict, list)):
        return msgspec.json.encode(value).decode()
    return str(value)
