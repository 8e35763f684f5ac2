"""Predictions beside the references of their instances, each with its status."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from tasks.metrics import get_metric
from tasks.schema import INSTANCE_SCHEMA, TaskEntry
from tasks.score.payload import prediction_payload, reference_payload
from tasks.score.plan import ScoreJob
from tasks.storage import Store, quote_name

_KEY = ["task_id", "instance_id"]
_COLUMNS = [*_KEY, "position", "kind", "text", "texts", "number", "json"]

#: Status of an instance, from the number of its predictions (`copies`, null for none), whether one
#: was refused when it was read (`refused`), and what the metric reads (`prediction`).
STATUS = (
    pl.when(pl.col("copies") > 1)
    .then(pl.lit("duplicate"))
    .when(pl.col("refused"))
    .then(pl.lit("unreadable"))
    .when(pl.col("copies").is_null())
    .then(pl.lit("missing"))
    .when(pl.col("prediction").is_null())
    .then(pl.lit("unreadable"))
    .otherwise(pl.lit("scored"))
)


@dataclass(slots=True)
class Aligned:
    """Instances of several tasks that are scored alike.

    Attributes:
        frame: one row an instance: task_id, instance_id, status, prediction, reference, in the
            order of the references.
        extra: predictions without an instance, by task.
        quarantine: refused rows (`QUARANTINE_SCHEMA`).
    """

    frame: pl.DataFrame
    extra: dict[str, int]
    quarantine: list[dict[str, Any]]
    model: str
    #: Source of each task's predictions and references.
    sources: dict[str, tuple[str, str]]

    def refuse(self, rows: pl.DataFrame, column: str) -> None:
        """Puts rows in the quarantine that the metric refused, for the reason in their `column`
        (`refused`: the prediction, `reference_refused`: the reference)."""
        if rows.is_empty():
            return
        side, place = (0, "predicted_at") if column == "refused" else (1, "position")
        found = rows.join(self.frame, on=_KEY, how="left", maintain_order="left")
        told = ": scored as wrong" if side == 0 else ": the instance is left out"
        self.quarantine += [
            _refusal(self.model, task_id, self.sources[task_id][side], position, key, reason + told)
            for task_id, key, position, reason in found.select(*_KEY, place, column).iter_rows()
        ]


@dataclass(frozen=True, slots=True)
class StoredRows:
    """What is stored of a batch of tasks, as the columns `_COLUMNS`."""

    references: pl.DataFrame
    predictions: pl.DataFrame
    #: Instances whose prediction was refused when it was read: task_id, instance_id, refused.
    refused: pl.DataFrame

    @classmethod
    def of(cls, store: Store, model: str, jobs: Sequence[ScoreJob]) -> StoredRows:
        """Reads them all at once, as small tasks of a batch share their row groups."""
        name = quote_name(model)
        return cls(
            _read(store, [job.references for job in jobs], "references"),
            _read(store, [job.predictions for job in jobs], "predictions", name),
            _refused_at_ingest(store, name, [job.task_id for job in jobs]),
        )


def align(stored: StoredRows, model: str, jobs: Sequence[ScoreJob]) -> Aligned:
    """Joins the rows of those jobs of a batch that share their metrics.

    Raises:
        ValueError: when a task has no reference that its metric can read.
    """
    metric = get_metric(jobs[0].metrics["corrected"])
    asked = pl.col("task_id").is_in([job.task_id for job in jobs])
    references, predictions = stored.references.filter(asked), stored.predictions.filter(asked)
    references = references.select(
        *_KEY, "position", reference=reference_payload(references, metric.payload)
    )
    predictions = predictions.select(
        *_KEY,
        predicted_at="position",
        prediction=prediction_payload(predictions, metric.payload, metric.id),
        copies=pl.len().over(_KEY),
    ).unique(_KEY, keep="first", maintain_order=True)
    joined = (
        references.filter(pl.col("reference").is_not_null())
        .join(predictions, on=_KEY, how="left", maintain_order="left")
        .join(stored.refused, on=_KEY, how="left", maintain_order="left")
        .with_columns(status=STATUS)
    )
    readable = set(joined["task_id"].unique())
    for job in jobs:
        if job.task_id not in readable:
            raise ValueError(f"no reference of {job.task_id} can be read as {metric.payload}")
    extra = predictions.join(references, on=_KEY, how="anti")
    unreadable = joined.filter((pl.col("status") == "unreadable") & (pl.col("copies") == 1))
    bad_references = references.filter(pl.col("reference").is_null())
    sources = {job.task_id: (job.predictions.source, job.references.source) for job in jobs}
    quarantine = [
        _refusal(model, task_id, sources[task_id][side], position, instance_id, reason)
        for side, place, reason, rows in (
            (0, "predicted_at", f"not readable as {metric.payload}: scored as wrong", unreadable),
            (0, "predicted_at", "no reference has this id: ignored", extra),
            (1, "position", f"reference not readable as {metric.payload}", bad_references),
        )
        for task_id, instance_id, position in rows.select(*_KEY, place).iter_rows()
    ]
    counts = dict(extra["task_id"].value_counts().iter_rows()) if extra.height else {}
    columns = ("position", "predicted_at", "status", "prediction", "reference")
    return Aligned(joined.select(*_KEY, *columns), counts, quarantine, model, sources)


def _refusal(
    model: str, task_id: str, source: str, position: int | None, instance_id: str, reason: str
) -> dict[str, Any]:
    return {
        "stage": "score",
        "model": model,
        "task_id": task_id,
        "source": source,
        "position": position,
        "instance_id": instance_id,
        "reason": reason,
        "excerpt": None,
    }


def _read(store: Store, entries: Sequence[TaskEntry], *folder: str) -> pl.DataFrame:
    groups: dict[str, set[int]] = defaultdict(set)
    tasks: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        groups[entry.part] |= set(range(*entry.row_groups))
        tasks[entry.part].append(entry.task_id)
    frames = [pl.DataFrame(pl.from_arrow(INSTANCE_SCHEMA.empty_table().select(_COLUMNS)))]
    with store.part_reader() as read:
        for part, chosen in sorted(groups.items()):
            if chosen:
                table = read(sorted(chosen), *folder, "parts", part, columns=_COLUMNS)
                # Small tasks share row groups: the neighbours of those asked for go, and so do
                # superseded rows of a task that is asked for, which now lies in another part.
                asked = pl.col("task_id").is_in(tasks[part])
                frames.append(pl.DataFrame(pl.from_arrow(table)).filter(asked))
    return pl.concat(frames)


def _refused_at_ingest(store: Store, name: str, tasks: Sequence[str]) -> pl.DataFrame:
    try:
        table = store.read_table("quarantine", "ingest", f"{name}.parquet", columns=_KEY)
    except FileNotFoundError:
        table = pa.table({name: pa.array([], pa.string()) for name in _KEY})
    rows = pl.DataFrame(pl.from_arrow(table)).drop_nulls()
    rows = rows.filter(pl.col("task_id").is_in(list(tasks))).unique()
    return rows.with_columns(refused=pl.lit(True))
