"""The catalogue in memory: what every task is, and which names mean it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from tasks.catalog.normalise import normalise
from tasks.errors import UserError

MODALITIES = ("image", "video", "audio", "3d", "language")
PARADIGMS = ("comprehension", "generation", "language")

_MODALITY_NAMES = {name: name for name in MODALITIES} | {"nlp": "language"}


def fold(name: str) -> str:
    """A name for comparison: case-folded letters and digits only.

    `Bird-Detection`, `bird_detection` and `BirdDetection` are one name.
    """
    return "".join(c for c in name.casefold() if c.isalnum())


def modality_of(name: str) -> str | None:
    """Canonical modality of a spelling such as `NLP`, `Image` or `3D`; None if it is none."""
    return _MODALITY_NAMES.get(fold(name))


def paradigm_of(name: str) -> str | None:
    """Canonical paradigm of a spelling in any case; None if it is none."""
    folded = fold(name)
    return folded if folded in PARADIGMS else None


@dataclass(frozen=True, slots=True)
class Task:
    """One task. `specialist_raw`, `minimum` and `maximum` are in `unit`; see docs/catalogue.md."""

    task_id: str
    modality: str
    paradigm: str
    title: str
    short_title: str | None
    aliases: tuple[str, ...]
    skill: str | None
    metric_id: str
    unit: str
    direction: str
    specialist_raw: float
    specialist_normalised: float
    specialist_model: str | None
    n_instances: int | None
    domain: str | None
    capability: str | None
    data_source: str | None
    source: str | None
    note: str | None
    printed_metric: str | None
    map: str
    threshold: float | None
    minimum: float
    maximum: float
    payload: str

    def normalise(self, raw: float) -> float:
        """A raw value in the task's unit, on 0..100. Raises ValueError outside its range."""
        return normalise(
            self.map,
            self.threshold,
            self.unit,
            raw,
            minimum=self.minimum,
            maximum=self.maximum,
        )


@dataclass(frozen=True, eq=False)
class Catalogue:
    """All tasks and metrics.

    Attributes:
        tasks: one row a task, columns of `Task`, sorted as in the files; `aliases` is the text
            of the file, separated by `|`.
        metrics: one row a metric, columns of metrics.csv.
    """

    tasks: pl.DataFrame
    metrics: pl.DataFrame

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._rows

    def __len__(self) -> int:
        return self.tasks.height

    def task(self, task_id: str) -> Task:
        """The task of that id. Raises `UserError` if the catalogue has none."""
        try:
            row = self._rows[task_id]
        except KeyError:
            raise UserError(
                f"the catalogue has no task {task_id!r}",
                "look for its name with `general-level task`, or add it in a catalogue file",
            ) from None
        return Task(**{**row, "aliases": split_names(row["aliases"])})

    def payload(self, task_id: str) -> str:
        """What a known task's metric reads; see `payload` in metrics.csv."""
        return self._rows[task_id]["payload"]

    def scored_by(self, task_id: str) -> tuple[str, str, str]:
        """Modality, metric and unit of a known task."""
        row = self._rows[task_id]
        return row["modality"], row["metric_id"], row["unit"]

    def resolve(self, modality: str | None, paradigm: str | None, *names: str) -> str | None:
        """The task that one of the names means.

        Args:
            modality: any spelling (`NLP`, `3D`, ...), or None when unknown.
            paradigm: any case, or None when unknown; language tasks have none to tell.
            names: task id, title, short title, alias or folder name, the most telling first.

        Returns:
            The task id of the first name that means exactly one task; None if no name does. A
            name of several tasks (`AudioCaps`) means none of them.
        """
        group = modality_of(modality) if modality else None
        side = paradigm_of(paradigm) if paradigm else None
        if (modality and group is None) or (paradigm and side is None):
            return None
        if group == "language":
            side = None
        for name in names:
            if name in self._rows:
                return name
            found = {
                task_id
                for task_id in self._names.get(fold(name), ())
                if (group is None or self._rows[task_id]["modality"] == group)
                and (side is None or self._rows[task_id]["paradigm"] == side)
            }
            if len(found) == 1:
                return found.pop()
        return None

    def resolve_metric(self, name: str, task_id: str | None = None) -> str:
        """The metric of that id, title, alias or published spelling.

        Some published spellings stand for several metrics (`AUC` is the area under the success
        curve of a tracker, and under the ROC curve of a segmentation); `task_id` decides those.

        Raises:
            UserError: unknown name, a name of several metrics without a task to decide, or a
                metric that is not the task's.
        """
        own = self._metric_names.get(fold(name), set())
        found = own | self._printed_metrics.get(fold(name), set())
        if not found:
            raise UserError(
                f"unknown metric {name!r}",
                f"metrics: {', '.join(self.metrics['metric_id'])}",
            )
        if task_id is not None:
            expected = self.task(task_id).metric_id
            if expected in found:
                return expected
            raise UserError(
                f"task {task_id} is measured by {expected}, not by {name!r}",
                "correct the metric's name, or give the task another metric in a catalogue file",
            )
        found = own or found
        if len(found) > 1:
            raise UserError(
                f"metric {name!r} may be any of {', '.join(sorted(found))}",
                "use the id of the one that is meant",
            )
        return next(iter(found))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every cell: equal for equal catalogues, on every machine."""
        digest = hashlib.sha256()
        for frame in (self.tasks.sort("task_id"), self.metrics.sort("metric_id")):
            digest.update(frame.write_csv().encode())
        return digest.hexdigest()

    @cached_property
    def _rows(self) -> dict[str, dict[str, Any]]:
        return {row["task_id"]: row for row in self.tasks.iter_rows(named=True)}

    @cached_property
    def _names(self) -> dict[str, set[str]]:
        """Folded name -> task ids. A short title yields to a title or alias within its group."""
        firm: dict[str, set[str]] = defaultdict(set)
        loose: dict[str, set[str]] = defaultdict(set)
        for task_id, row in self._rows.items():
            for name in (row["title"], *split_names(row["aliases"])):
                firm[fold(name)].add(task_id)
            if row["short_title"]:
                loose[fold(row["short_title"])].add(task_id)
        for name, ids in loose.items():
            taken = {self._group(task_id) for task_id in firm.get(name, ())}
            firm[name] |= {task_id for task_id in ids if self._group(task_id) not in taken}
        return dict(firm)

    def _group(self, task_id: str) -> tuple[str, str]:
        row = self._rows[task_id]
        return row["modality"], row["paradigm"]

    @cached_property
    def _metric_names(self) -> dict[str, set[str]]:
        """Folded id, title or alias -> metric ids."""
        names: dict[str, set[str]] = defaultdict(set)
        for metric_id, title, aliases in self.metrics.select(
            "metric_id", "title", "aliases"
        ).iter_rows():
            for name in (metric_id, title, *split_names(aliases)):
                names[fold(name)].add(metric_id)
        return dict(names)

    @cached_property
    def _printed_metrics(self) -> dict[str, set[str]]:
        """Folded spelling of the published table -> metric ids, often several."""
        names: dict[str, set[str]] = defaultdict(set)
        for metric_id, printed in self.metrics.select("metric_id", "printed_as").iter_rows():
            for name in split_names(printed):
                names[fold(name)].add(metric_id)
        return dict(names)


def split_names(cell: str | None) -> tuple[str, ...]:
    """The names in a `|`-separated cell."""
    return tuple(name for part in (cell or "").split("|") if (name := part.strip()))


def duplicates(values: Iterable[str]) -> list[str]:
    """Values that occur more than once, sorted."""
    seen: set[str] = set()
    again: set[str] = set()
    for value in values:
        (again if value in seen else seen).add(value)
    return sorted(again)
