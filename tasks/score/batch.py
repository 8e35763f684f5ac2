"""Scoring one batch of tasks of one model, in a worker process.

References are the ground: every reference row is one instance, and each gets exactly one status.

- `scored`: one readable prediction; the metric looked at it.
- `missing`: no prediction with that id.
- `unreadable`: a prediction that is refused (wrong type, not a number, media absent ...).
- `duplicate`: more than one prediction with that id, so that none can be believed.

All but `scored` count as wrong: the metric's worst value. `extra` predictions, whose id no
reference has, change nothing but are counted.

Tasks that are scored alike go through the columns together: hundreds of small tasks then cost
little more than one large one.
"""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import UserError
from tasks.files import is_storage_failure, reading_together
from tasks.metrics import Batch, Metric, get_metric
from tasks.schema import INSTANCE_SCORE_SCHEMA, QUARANTINE_SCHEMA, REPLICATE_SCHEMA
from tasks.score.align import Aligned, StoredRows, align
from tasks.score.plan import ScoreJob
from tasks.score.quick import quick_instances
from tasks.storage import PARQUET_OPTIONS, Store, quote_name
from tasks.uncertainty.bootstrap import replicates_of
from tasks.version import SCORER_VERSION

_STATUSES = ("scored", "missing", "unreadable", "duplicate")


@dataclass(slots=True)
class BatchScores:
    """What a worker hands back: rows of task scores and of refused predictions.

    Attributes:
        failed: tasks whose storage failed, with the reason. They have no rows: the failure may pass,
            so the batch is to be scored again, or they are to be given up.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    quarantine: pa.Table = field(default_factory=QUARANTINE_SCHEMA.empty_table)
    instances: int = 0
    seconds: float = 0.0


@reading_together()
def score_batch(store: Store, model: str, jobs: Sequence[ScoreJob]) -> BatchScores:
    """Scores the jobs, writes one part of per-instance statistics and one of the scores'
    replicates, and returns the task scores.

    One task's failure is its own: it becomes a `refused` row with the error as reason, without a
    key, so that the next run tries it again; the other tasks of the batch go on. A failure of the
    storage that holds its media is nobody's: see `BatchScores.failed`.

    Raises:
        OSError, and what the storage's library raises: when the store itself fails.
    """
    started = time.perf_counter()
    result = BatchScores()
    tables: list[pa.Table] = []
    replicates: list[dict[str, Any]] = []
    quarantined: list[dict[str, Any]] = []
    scored: list[ScoreJob] = []
    stored = StoredRows.of(store, model, jobs)
    outcomes = (found for alike in _alike(jobs) for found in _score_group(stored, model, alike))
    for group, outcome in outcomes:
        if isinstance(outcome, Exception):
            reason = f"{type(outcome).__name__}: {outcome}".strip()
            if is_storage_failure(outcome):
                result.failed |= {job.task_id: reason for job in group}
                continue
            result.rows += [
                refused_row(model, job.task_id, job.metrics["corrected"], reason) for job in group
            ]
            continue
        quarantined += outcome.aligned.quarantine
        first = len(tables)
        tables += [_instance_table(m, s.frame) for m, s in outcome.statistics.items()]
        where = {"row_group_start": first, "row_group_end": len(tables)}
        for job in group:
            statistics = {m: s.of(job.task_id) for m, s in outcome.statistics.items()}
            extra = outcome.aligned.extra.get(job.task_id, 0)
            rows = _task_rows(model, job, extra, statistics)
            replicates += _replicates(job, statistics)
            share = statistics[job.metrics["corrected"]].frame.height / outcome.instances
            result.rows += [r | where | {"duration_s": outcome.seconds * share} for r in rows]
        scored += group
        result.instances += outcome.instances
    if tables:
        # After what it holds: the tasks whose storage failed are not in it, but will be in the next.
        part = _part_name(scored)
        result.rows = [r | {"part": part} if "row_group_start" in r else r for r in result.rows]
        _write_part(store, model, part, tables)
        drawn = pa.Table.from_pylist(replicates, REPLICATE_SCHEMA)
        store.write_table(drawn, "scores", quote_name(model), "replicates", part)
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


class _Statistics(NamedTuple):
    """Statistics of some instances under one metric.

    Attributes:
        frame: task_id, instance_id, status, the metric's statistics, group and __score.
        status: the place of each row's status in `_STATUSES`, shape (rows,), uint8.
    """

    frame: pl.DataFrame
    status: npt.NDArray[np.uint8]

    def where(self, chosen: pl.Series) -> _Statistics:
        return _Statistics(self.frame[chosen.arg_true()], self.status[chosen.to_numpy()])


class _TaskStatistics:
    """Statistics of several tasks under one metric, sorted by task and instance id: a score is the
    same to the bit in whatever order references arrive."""

    def __init__(self, found: pl.DataFrame) -> None:
        self.frame = found.sort("task_id", "instance_id")
        self._status = self.frame["status"].cast(pl.Enum(_STATUSES)).to_physical().to_numpy()
        self._rows: dict[str, slice] = {}
        first = 0
        for count, task_id in self.frame["task_id"].rle().struct.unnest().iter_rows():
            self._rows[task_id] = slice(first, first + count)
            first += count

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._rows

    def of(self, task_id: str) -> _Statistics:
        rows = self._rows[task_id]
        return _Statistics(self.frame[rows], self._status[rows])


@dataclass(slots=True)
class _Scored:
    """A group of tasks with their statistics by metric."""

    aligned: Aligned
    statistics: dict[str, _TaskStatistics]
    seconds: float

    @property
    def instances(self) -> int:
        return self.aligned.frame.height


def _alike(jobs: Sequence[ScoreJob]) -> list[list[ScoreJob]]:
    """Jobs that the same calls can score: same metrics, same annotation type."""
    groups: dict[Any, list[ScoreJob]] = defaultdict(list)
    for job in jobs:
        key: tuple[Any, ...] = (*sorted(job.metrics.items()), job.references.task_type.lower())
        if any(get_metric(m).needs_corpus for m in job.metrics.values()):
            key = (*key, job.task_id)
        groups[key].append(job)
    return list(groups.values())


def _score_group(
    stored: StoredRows, model: str, jobs: list[ScoreJob]
) -> list[tuple[list[ScoreJob], _Scored | Exception]]:
    """Scores jobs together; if that fails, one by one, so that only the culprit is refused."""
    try:
        return [(jobs, _score_together(stored, model, jobs))]
    except UserError:
        raise
    except Exception as error:
        if len(jobs) == 1:
            return [(jobs, error)]
    return [outcome for job in jobs for outcome in _score_group(stored, model, [job])]


def _score_together(stored: StoredRows, model: str, jobs: list[ScoreJob]) -> _Scored:
    began = time.perf_counter()
    aligned = align(stored, model, jobs)
    task_type = jobs[0].references.task_type.lower()
    statistics = {
        metric_id: _TaskStatistics(_statistics(aligned, get_metric(metric_id), task_type))
        for metric_id in dict.fromkeys(jobs[0].metrics.values())
    }
    for job in jobs:
        if not all(job.task_id in found for found in statistics.values()):
            raise ValueError(f"no reference of {job.task_id} can be read: see the quarantine")
    return _Scored(aligned, statistics, time.perf_counter() - began)


def _statistics(aligned: Aligned, metric: Metric, task_type: str) -> pl.DataFrame:
    """Statistics of all instances of a group of tasks, answered or not.

    A prediction that the metric refuses becomes unreadable and counts as wrong; an instance whose
    reference it refuses is left out. Both go to the quarantine of `aligned`.
    """
    frame = aligned.frame
    corpus = frame["reference"] if metric.needs_corpus else None
    answered = frame.filter(pl.col("status") == "scored")
    wrong = frame.filter(pl.col("status") != "scored")

    def measured(rows: pl.DataFrame, function: Callable[[Batch], pl.DataFrame]) -> pl.DataFrame:
        stats = function(Batch(rows["prediction"], rows["reference"], task_type, corpus))
        for name in ("group", "refused", "reference_refused"):
            if name not in stats.columns:
                stats = stats.with_columns(pl.lit(None, pl.String).alias(name))
        keys = rows.select("task_id", "instance_id", "status")
        return pl.concat([keys, stats], how="horizontal")

    pieces = []
    if not answered.is_empty():
        taken = measured(answered, metric.compute)
        refused = taken.filter(pl.col("refused").is_not_null())
        aligned.refuse(refused, "refused")
        pieces.append(taken.filter(pl.col("refused").is_null()))
        again = answered.join(refused, on=["task_id", "instance_id"], how="semi")
        wrong = pl.concat([wrong, again.with_columns(status=pl.lit("unreadable"))])
    if not wrong.is_empty():
        pieces.append(measured(wrong, metric.worst))
    found = pl.concat(pieces)
    bad = found.filter(pl.col("reference_refused").is_not_null())
    aligned.refuse(bad, "reference_refused")
    found = found.filter(pl.col("reference_refused").is_null())
    scores = metric.instance_scores(found).cast(pl.Float64)
    return found.drop("refused", "reference_refused").with_columns(scores.alias("__score"))


def _task_rows(
    model: str, job: ScoreJob, extra: int, statistics: dict[str, _Statistics]
) -> list[dict[str, Any]]:
    # Under the corrected rules, on the quick board's instances.
    whole = statistics[job.metrics["corrected"]]
    quick = whole.where(quick_instances(job.task_id, whole.frame["instance_id"]))
    rows = []
    for profile, metric_id in [*job.metrics.items(), ("quick", job.metrics["corrected"])]:
        metric = get_metric(metric_id)
        stats, status = quick if profile == "quick" else statistics[metric_id]
        numbers = np.bincount(status, minlength=len(_STATUSES)).tolist()
        counts = dict(zip(_STATUSES, numbers, strict=True))
        complete = counts["scored"] == stats.height
        answered = stats if complete else stats.filter(pl.col("status") == "scored")
        score = _aggregate(metric, stats, job.unit)
        score_answered = score if complete else _aggregate(metric, answered, job.unit)
        # The published scorer averages over the answered instances only.
        raw = score_answered if profile == "published" else score
        rows.append(
            {
                "model": model,
                "task_id": job.task_id,
                "profile": profile,
                "metric_id": metric_id,
                "status": "scored" if raw is not None else "unsupported",
                "raw_score": raw,
                "raw_score_answered": score_answered,
                "n_instances": stats.height,
                **{f"n_{status}": count for status, count in counts.items()},
                "n_extra": extra,
                "coverage": counts["scored"] / stats.height,
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
    return None if stats.is_empty() else _factor(metric, unit) * metric.aggregate(stats)


def _replicates(job: ScoreJob, statistics: dict[str, _Statistics]) -> list[dict[str, Any]]:
    """The row of `REPLICATE_SCHEMA` of a task's score, if its metric allows one."""
    metric_id = job.metrics["corrected"]
    metric = get_metric(metric_id)
    found = replicates_of(metric, statistics[metric_id].frame, job.task_id)
    if found is None:
        return []
    drawn = _factor(metric, job.unit) * found
    return [{"task_id": job.task_id, "metric_id": metric_id, "replicates": drawn}]


def _factor(metric: Metric, unit: str) -> float:
    return 100.0 if metric.is_fraction and unit == "percent" else 1.0


def _instance_table(metric_id: str, stats: pl.DataFrame) -> pa.Table:
    """One row group of `INSTANCE_SCORE_SCHEMA`: a group of tasks under one metric."""
    metric = get_metric(metric_id)
    names = [pl.col(name).cast(pl.Float64) for name in metric.statistics if not metric.variable]
    statistics = pl.concat_list(names) if names else pl.col("stats").cast(pl.List(pl.Float64))
    frame = stats.select(
        "task_id",
        pl.lit(metric_id).alias("metric_id"),
        "instance_id",
        "status",
        pl.col("__score").alias("score"),
        statistics.alias("stats"),
        "group",
    )
    return frame.to_arrow().cast(INSTANCE_SCORE_SCHEMA)


def _write_part(store: Store, model: str, part: str, tables: Sequence[pa.Table]) -> None:
    def write(file: Any) -> None:
        with pq.ParquetWriter(file, INSTANCE_SCORE_SCHEMA, **PARQUET_OPTIONS) as writer:
            for table in tables:
                writer.write_table(table, row_group_size=max(1, table.num_rows))

    store.write(write, "scores", quote_name(model), "instances", part)


def _part_name(jobs: Sequence[ScoreJob]) -> str:
    return hashlib.sha256("\n".join(job.key for job in jobs).encode()).hexdigest()[:24] + ".parquet"
