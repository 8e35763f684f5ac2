"""The SQL models: what they say of themselves in their headers, and the order to run them in.

A header is comment lines at the top of the file: what the model is, then `grain:`, `inputs:` and
`columns:` with one `name: meaning` a line. Order and comments in the database come from there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import sql as sql_package

SQL_FOLDER = Path(sql_package.__file__).parent
_COLUMN = re.compile(r"--   (\w+): (.+)")


@dataclass(frozen=True, slots=True)
class Model:
    """One SQL file: a table (staging, marts), a type whose rows are its values (keys), a check whose
    rows are offences, or a macro."""

    name: str
    kind: str
    about: str
    grain: str
    inputs: tuple[str, ...]
    columns: dict[str, str]
    sql: str


def load_models(kind: str) -> list[Model]:
    """The models of a folder of `sql/`, by name."""
    return [_read(path, kind) for path in sorted((SQL_FOLDER / kind).glob("*.sql"))]


def in_order(models: list[Model]) -> list[Model]:
    """Each model after those it reads. Raises `graphlib.CycleError` when they read each other."""
    by_name = {model.name: model for model in models}
    graph = {model.name: [i for i in model.inputs if i in by_name] for model in models}
    return [by_name[name] for name in TopologicalSorter(graph).static_order()]


def needed_for(names: Iterable[str], models: list[Model]) -> list[Model]:
    """Of the models those named and all that they are made of, each after those it reads."""
    by_name = {model.name: model for model in models}
    found: dict[str, Model] = {}
    waiting = list(names)
    while waiting:
        model = by_name.get(waiting.pop())
        if model and model.name not in found:
            found[model.name] = model
            waiting += model.inputs
    return in_order(list(found.values()))


@cache
def _read(path: Path, kind: str) -> Model:
    text = path.read_text(encoding="utf-8")
    about: list[str] = []
    fields = {"grain": "", "inputs": ""}
    columns: dict[str, str] = {}
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        key, _, value = line[2:].strip().partition(":")
        column = _COLUMN.match(line)
        if column:
            columns[column[1]] = column[2]
        elif key in fields:
            fields[key] = value.strip()
        elif key != "columns":
            about.append(line[2:].strip())
    inputs = tuple(name.strip() for name in fields["inputs"].split(",") if name.strip())
    return Model(path.stem, kind, " ".join(about), fields["grain"], inputs, columns, text)
