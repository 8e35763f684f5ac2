"""Scoring one batch of tasks of one model, in a worker process.

References are the ground: every reference row is one instance, and each gets exactly one status.

- `scored`: one readable prediction; the metric looked at it.
- `missing`: no prediction with that id.
- `unreadable`: a prediction that is refused (wrong type, not a number, media absent ...).
- `duplicate`: more than one prediction with that id, so that none can be believed.

All but `scored` count as wrong: the metric's worst value. `extra` predictions, whose id no
reference has, change nothing but are counted.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.metrics import Batch, Metric, get_metric
from tasks.schema import INSTANCE_SCORE_SCHEMA, QUARANTINE_SCHEMA
from tasks.score.payload import prediction_payload, reference_payload
from tasks.score.plan import ScoreJob
from tasks.storage import PARQUET_OPTIONS, Store, quote_name
from tasks.version import SCORER_VERSION

_STATUSES = ("scored", "missing", "unreadable", "duplicate")


@dataclass(slots=True)
class BatchScores:
    """What a worker hands back: rows of task scores and of refused predictions."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    quarantine: pa.Table = field(default_factory=QUARANTINE_SCHEMA.empty_table)
    instances: int = 0
    seconds: float = 0.0


def score_batch(store: Store, model: str, jobs: Sequence[ScoreJob]) -> BatchScores:
    """Scores the jobs, writes one part of per-instance statistics, and returns the task scores.

    One task's failure is its own: it becomes a `refused` row with the error as reason, without a
    key, so that the next run tries it again; the other tasks of the batch go on.
    """
    started = time.perf_counter()
    result = BatchScores()
    refused_ids = _refused_at_ingest(store, model)
    tables: list[pa.Table] = []
    quarantined: list[dict[str, Any]] = []
    part = _part_name(jobs)
    for job in jobs:
        began = time.perf_counter()
        try:
            instances = _load(store, model, job, refused_ids.get(job.task_id, frozenset()))
            statistics = _score_task(job, instances.frame)
            rows = _task_rows(model, job, instances, statistics)
        except Exception as error:  # the batch's other tasks must not be lost with this one
            reason = f"{type(error).__name__}: {error}".strip()
            result.rows.append(refused_row(model, job.task_id, job.metrics["corrected"], reason))
            continue
        first = len(tables)
        tables += [_instance_table(job.task_id, m, s) for m, s in statistics.items()]
        quarantined += instances.quarantine
        seconds = time.perf_counter() - began
        for row in rows:
            row |= {
                "duration_s": seconds,
                "part": part,
                "row_group_start": first,
                "row_group_end": len(tables),
            }
        result.rows += rows
        result.instances += instances.frame.height
    if tables:
        _write_part(store, model, part, tables)
    result.quarantine = pa.Table.from_pylist(quarantined, QUARANTINE_SCHEMA)
    result.seconds = time.perf_counter() - started
    return result


def refused_row(
    model: str, task_id: str, metric_id: str, reason: str, status: str = "refused"
) -> dict[str, Any]:
    """The task score row of a task that could not be scored, for the corrected profile."""
    return {
        "model": model,
        "task_id": task_id,
        "profile": "corrected",
        "metric_id": metric_id,
        "status": status,
        "reason": reason,
        "origin": "scored",
        "scorer_version": SCORER_VERSION,
    }


@dataclass(slots=True)
class _Instances:
    """One task's instances: `frame` has instance_id, status, prediction, reference."""

    frame: pl.DataFrame
    extra: int
    quarantine: list[dict[str, Any]]


def _load(store: Store, model: str, job: ScoreJob, refused: frozenset[str]) -> _Instances:
    metric = get_metric(job.metrics["corrected"])
    read = ["instance_id", "position", "kind", "text", "texts", "number", "json"]
    references = _read(store, job.references, read, "references")
    predictions = _read(store, job.predictions, read, "predictions", quote_name(model))
    references = references.with_columns(reference=reference_payload(references, metric.payload))
    predictions = predictions.with_columns(
        prediction=prediction_payload(predictions, metric.payload, metric.id)
    )
    counts = predictions.group_by("instance_id").agg(
        copies=pl.len(), prediction=pl.col("prediction").first(), position=pl.col("position").first()
    )
    frame = (
        references.filter(pl.col("reference").is_not_null())
        .select("instance_id", "reference")
        .join(counts, on="instance_id", how="left", maintain_order="left")
        .with_columns(
            status=pl.when(pl.col("copies") > 1)
            .then(pl.lit("duplicate"))
            .when(pl.col("instance_id").is_in(list(refused)))
            .then(pl.lit("unreadable"))
            .when(pl.col("copies").is_null())
            .then(pl.lit("missing"))
            .when(pl.col("prediction").is_null())
            .then(pl.lit("unreadable"))
            .otherwise(pl.lit("scored"))
        )
    )
    if frame.is_empty():
        raise ValueError(f"no reference of this task can be read as {metric.payload}")
    extra = counts.join(references, on="instance_id", how="anti")
    unreadable = frame.filter((pl.col("status") == "unreadable") & pl.col("copies").is_not_null())
    bad_references = references.filter(pl.col("reference").is_null())
    common = {"stage": "score", "model": model, "task_id": job.task_id}
    quarantine = [
        common
        | {
            "source": source,
            "position": position,
            "instance_id": instance_id,
            "reason": reason,
            "excerpt": None,
        }
        for source, reason, rows in (
            (job.predictions.source, f"not readable as {metric.payload}: scored as wrong", unreadable),
            (job.predictions.source, "no reference has this id: ignored", extra),
            (job.references.source, f"reference not readable as {metric.payload}", bad_references),
        )
        for instance_id, position in rows.select("instance_id", "position").iter_rows()
    ]
    return _Instances(
        frame.select("instance_id", "status", "prediction", "reference"), extra.height, quarantine
    )


def _score_task(job: ScoreJob, instances: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Statistics by metric id: columns instance_id, status, the metric's statistics, score, group."""
    answered = instances.filter(pl.col("status") == "scored")
    wrong = instances.filter(pl.col("status") != "scored")
    task_type = job.references.task_type.lower()
    result = {}
    for metric_id in dict.fromkeys(job.metrics.values()):
        metric = get_metric(metric_id)
        pieces = []
        for rows, statistics in ((answered, metric.compute), (wrong, metric.worst)):
            if rows.is_empty():
                continue
            stats = statistics(Batch(rows["prediction"], rows["reference"], task_type, instances["reference"]))
            if "group" not in stats.columns:
                stats = stats.with_columns(group=pl.lit(None, pl.String))
            stats = stats.select(*metric.statistics, "group")
            # One order for all pieces; statuses and scores travel beside the statistics.
            scores = metric.instance_scores(stats).cast(pl.Float64)
            pieces.append(
                rows.select("instance_id", "status").with_columns(
                    *stats.get_columns(), scores.alias("__score")
                )
            )
        result[metric_id] = pl.concat(pieces)
    return result


def _task_rows(
    model: str, job: ScoreJob, instances: _Instances, statistics: dict[str, pl.DataFrame]
) -> list[dict[str, Any]]:
    counts = dict(instances.frame["status"].value_counts().iter_rows())
    n_instances = instances.frame.height
    rows = []
    for profile, metric_id in job.metrics.items():
        metric = get_metric(metric_id)
        stats = statistics[metric_id]
        answered = stats.filter(pl.col("status") == "scored")
        score = _aggregate(metric, stats, job.unit)
        score_answered = _aggregate(metric, answered, job.unit)
        # The published scorer averages over the answered instances only.
        raw = score if profile == "corrected" else score_answered
        rows.append(
            {
                "model": model,
                "task_id": job.task_id,
                "profile": profile,
                "metric_id": metric_id,
                "status": "scored" if raw is not None else "unsupported",
                "raw_score": raw,
                "raw_score_answered": score_answered,
                "n_instances": n_instances,
                **{f"n_{status}": counts.get(status, 0) for status in _STATUSES},
                "n_extra": instances.extra,
                "coverage": counts.get("scored", 0) / n_instances,
                "reason": None,
                "origin": "scored",
                "scorer_version": f"{SCORER_VERSION}:{metric_id}@{metric.version}",
                "score_key": job.key,
                "source": job.predictions.source,
                "prediction_sha256": job.predictions.content_sha256,
                "reference_sha256": job.references.content_sha256,
            }
        )
    return rows


def _aggregate(metric: Metric, stats: pl.DataFrame, unit: str) -> float | None:
    """The raw score in the task's unit; None over no instances."""
    if stats.is_empty():
        return None
    score = metric.aggregate(stats)
    return 100.0 * score if metric.is_fraction and unit == "percent" else score


def _instance_table(task_id: str, metric_id: str, stats: pl.DataFrame) -> pa.Table:
    metric = get_metric(metric_id)
    return (
        stats.select(
            pl.lit(task_id).alias("task_id"),
            pl.lit(metric_id).alias("metric_id"),
            "instance_id",
            "status",
            pl.col("__score").alias("score"),
            pl.concat_list(*metric.statistics).alias("stats"),
            "group",
        )
        .to_arrow()
        .cast(INSTANCE_SCORE_SCHEMA)
    )


def _write_part(store: Store, model: str, part: str, tables: Sequence[pa.Table]) -> None:
    def write(file: Any) -> None:
        with pq.ParquetWriter(file, INSTANCE_SCORE_SCHEMA, **PARQUET_OPTIONS) as writer:
            for table in tables:
                writer.write_table(table, row_group_size=max(1, table.num_rows))

    store.write(write, "scores", quote_name(model), "instances", part)


def _part_name(jobs: Sequence[ScoreJob]) -> str:
    return hashlib.sha256("\n".join(job.key for job in jobs).encode()).hexdigest()[:24] + ".parquet"


def _read(store: Store, entry: Any, columns: list[str], *folder: str) -> pl.DataFrame:
    table = store.read_row_groups(
        entry.row_groups, *folder, "parts", entry.part, columns=columns
    )
    return pl.DataFrame(pl.from_arrow(table))


def _refused_at_ingest(store: Store, model: str) -> dict[str, frozenset[str]]:
    """Instance ids whose prediction was refused when it was read, by task."""
    try:
        table = store.read_table("quarantine", "ingest", f"{quote_name(model)}.parquet")
    except FileNotFoundError:
        return {}
    rows = pl.DataFrame(pl.from_arrow(table)).drop_nulls(["task_id", "instance_id"])
    return {
        str(task_id): frozenset(ids["instance_id"])
        for (task_id,), ids in rows.partition_by("task_id", as_dict=True).items()
    }
