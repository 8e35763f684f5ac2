"""Writes docs/schemas: what every command prints with --json, and the rows of every exported table.

python -m scripts.schemas
"""

from __future__ import annotations

import json
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict, get_type_hints

import msgspec

from flows.cli.doctor import Check
from flows.options import IngestReport, ScoreReport
from tasks.catalog import load_catalogue
from tasks.report.convert import Conversion
from tasks.report.export import published_tables
from tasks.report.site.build import Site
from tasks.report.status import Status
from tasks.storage import Store
from tasks.warehouse import RunInfo, build, connect

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_TYPES = {
    "VARCHAR": str,
    "BIGINT": int,
    "HUGEINT": int,
    "INTEGER": int,
    "DOUBLE": float,
    "BOOLEAN": bool,
    "TIMESTAMP WITH TIME ZONE": datetime,
}
#: What a row is known by is never null.
_KEYS = {"model", "task_id", "board_id", "profile", "aggregation", "run_id"}


class Import(TypedDict):
    """What came of one file of past results: counts of models and of (model, task) pairs."""

    file: str
    models: int
    scored: int
    unsupported: int
    refused: int
    notes: list[str]


class Ingestion(TypedDict):
    ingest: list[IngestReport]
    imports: list[Import]


class Validation(TypedDict):
    """What would become of a submission; `findings` tells what is wrong with it."""

    model: str
    verdict: str
    exit_code: int
    tasks: list[dict[str, Any]]
    boards: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    to_mend: list[dict[str, Any]]


class TaskScores(TypedDict):
    """A task's entry in the catalogue, and every model's score."""

    task: dict[str, Any]
    scores: list[dict[str, Any]]


class NothingPublished(TypedDict):
    state: str
    max_age_seconds: float
    store: str


class ComparedLevel(TypedDict):
    level: int
    score: float
    other_score: float
    difference: float
    low: float | None
    high: float | None
    p: float | None


class ComparedTask(TypedDict):
    task_id: str
    score: float | None
    other_score: float | None
    difference: float
    low: float | None
    high: float | None
    p: float | None
    q: float | None
    better: str | None


class Comparison(TypedDict):
    """Differences of `model` minus `other`, with intervals of 95 %."""

    model: str
    other: str
    board: str
    rate: float
    levels: list[ComparedLevel]
    tasks: list[ComparedTask]


class Explanation(TypedDict):
    """How a score came about; the parts are told in tasks/report/explain.py."""

    model: str
    task: dict[str, Any]
    metric: dict[str, Any]
    instances: dict[str, Any]
    statistics: dict[str, Any] | None
    result: dict[str, Any]
    normalisation: dict[str, Any]
    specialist: dict[str, Any]
    interval: dict[str, Any] | None
    contributions: list[dict[str, Any]]
    gains: dict[str, Any] | None
    other_profiles: list[dict[str, Any]]


class ExportedFile(TypedDict):
    file: str
    format: str
    table: str
    rows: int


class ExportedFolder(TypedDict):
    """Rows by table."""

    folder: str
    format: str
    tables: dict[str, int]


#: What a table's columns mean, by table and column.
Meanings = dict[str, dict[str, str | None]]


def schemas() -> dict[str, str]:
    """Every schema as text, by the path of its file below docs/schemas.

    Columns, their types and meanings are those of an empty database, built for it.
    """
    rows, meanings = _tables()
    kinds = {f"tables/{name}": [list[row]] for name, row in rows.items()} | _commands(rows)
    return {f"{name}.json": _schema(name, of, meanings) for name, of in kinds.items()}


def _tables() -> tuple[dict[str, Any], Meanings]:
    """The rows of each published table as a type, and what their columns mean."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        build(store, load_catalogue(base=False), RunInfo.now("schemas"))
        with connect(store) as database:
            columns = database.execute(
                "SELECT table_name, column_name, data_type, comment FROM duckdb_columns() "
                "WHERE schema_name = 'main' ORDER BY table_name, column_index"
            ).fetchall()
            tables = published_tables(database)
    fields: dict[str, dict[str, Any]] = {table: {} for table in tables}
    meanings: Meanings = {table: {} for table in tables}
    for table, name, data_type, comment in columns:
        if table in fields:
            kind = _TYPES[data_type]
            fields[table][name] = kind if name in _KEYS or kind is float else kind | None
            meanings[table][name] = comment
    return {table: TypedDict(table, of) for table, of in fields.items()}, meanings  # type: ignore[operator]


def _commands(rows: dict[str, Any]) -> dict[str, list[Any]]:
    """What each command prints, one of the types."""
    ranked = rows["leaderboards"]
    board = {"board_id": str, "title": str, "max_level": int, "tasks": int}
    publication = {
        "run_id": str,
        "database": str,
        "tables": dict[str, int],
        "levels": list[ranked],
    }
    run = {
        "run_id": str,
        "store": str,
        "ingest": list[IngestReport],
        "imports": list[Import],
        "scores": list[ScoreReport],
        "published": TypedDict("Published", publication),  # type: ignore[misc]
        "seconds": dict[str, float],
        "failures": list[str],
    }
    status = get_type_hints(Status) | {"state": str, "max_age_seconds": float}
    return {
        "run": [TypedDict("Run", run)],  # type: ignore[misc]
        "ingest": [Ingestion],
        "score": [list[ScoreReport]],
        "publish": [run["published"]],
        "levels": [list[ranked], list[TypedDict("Board", board)]],  # type: ignore[misc]
        "compare": [Comparison],
        "task": [TaskScores],
        "explain": [Explanation],
        "sql": [list[dict[str, Any]]],
        "validate": [Validation],
        "doctor": [list[Check]],
        "status": [TypedDict("Freshness", status), NothingPublished],  # type: ignore[misc]
        "site": [Site],
        "export": [ExportedFile, ExportedFolder],
        "convert": [Conversion],
    }


def _schema(name: str, kinds: list[Any], meanings: Meanings) -> str:
    tops, parts = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    for part, schema in parts.items():
        for column, about in meanings.get(part, {}).items():
            schema["properties"][column] |= {"description": about} if about else {}
    top = tops[0] if len(tops) == 1 else {"anyOf": list(tops)}
    table = name.removeprefix("tables/")
    about = f"general-level {name} --json" if table == name else f"rows of {table}"
    document = {"$schema": _DRAFT, "title": about, **top, "$defs": parts}
    return json.dumps(_as_printed(document), indent=1, ensure_ascii=False) + "\n"


def _as_printed(schema: Any) -> Any:
    """All fields are printed, and what is no finite number is printed as null."""
    if isinstance(schema, list):
        return [_as_printed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: _as_printed(part) for key, part in schema.items() if key != "default"}
    if changed.get("type") == "number":
        changed["type"] = ["number", "null"]
    if isinstance(changed.get("properties"), dict):
        changed["required"] = list(changed["properties"])
    return changed


def write() -> None:
    """Writes all files, and removes those of what is no more."""
    wanted = schemas()
    for path in FOLDER.rglob("*.json"):
        if path.relative_to(FOLDER).as_posix() not in wanted:
            path.unlink()
    for name, text in wanted.items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
