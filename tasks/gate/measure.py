"""Answers as the metric takes them: read, decoded and measured, all or a sample of those with files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tasks.gate.alone import Alone
from tasks.media import Refused, decode
from tasks.metrics import Batch, Metric
from tasks.uncertainty.bootstrap import REPLICATES, replicates_of

#: Called with (stage, done, total).
Progress = Callable[[str, int, int], None]

#: Answers with files that are measured at once, between two steps of the progress.
_AT_ONCE = 32
#: Answers that are measured against themselves, to know how long that takes without references.
_CALIBRATED = 200
#: Replicates that are drawn to know how long all take: few for what they cost at all, more for each.
_REPLICATES = (10, 60)
#: How much longer it takes to measure two files than to read one of them.
_BOTH_SIDES = 2.0


@dataclass(slots=True)
class Measured:
    """What a metric made of the answers of one task.

    Attributes:
        refused: instance_id, position and reason of answers that it does not take.
        bad_references: instance_id, position and reason of references that it does not take.
        media_read: answers with files that were looked at.
        seconds: of one core, for all answers, looked at or not; None when that is not known.
    """

    refused: pl.DataFrame
    bad_references: pl.DataFrame
    media_read: int = 0
    seconds: float | None = None


def measure(
    answered: pl.DataFrame,
    metric: Metric,
    task_id: str,
    task_type: str,
    corpus: pl.Series | None,
    quick_media: int | None,
    progress: Progress | None,
) -> Measured:
    """Runs the metric on answers beside their references.

    Args:
        answered: instance_id, predicted_at, position, has_file, prediction, reference.
        corpus: references of all instances, if the metric needs them.
        quick_media: how many of the answers with files are looked at; None for all. Those of a
            metric that looks at all instances together are never fewer.
    """

    statistics: list[pl.DataFrame] = []

    def look(rows: pl.DataFrame) -> pl.DataFrame:
        found = metric.compute(Batch(rows["prediction"], rows["reference"], task_type, corpus))
        reasons = {
            name: found[name] if name in found.columns else pl.lit(None, pl.String)
            for name in ("refused", "reference_refused")
        }
        rows = rows.select("instance_id", "predicted_at", "position").with_columns(**reasons)
        good = rows["refused"].is_null() & rows["reference_refused"].is_null()
        kept = found.drop("refused", "reference_refused", strict=False)
        statistics.append(kept.with_columns(rows["instance_id"]).filter(good))
        return rows

    whole = metric.needs_corpus
    result = _measured(answered, look, None if whole else quick_media, whole, 1.0, progress)
    if statistics and result.seconds is not None:
        result.seconds += _bootstrap(pl.concat(statistics), answered.height, metric, task_id)
    return result


def _bootstrap(statistics: pl.DataFrame, instances: int, metric: Metric, task_id: str) -> float:
    """Seconds that the replicates of the score take, from a few of them."""
    if statistics.is_empty():
        return 0.0
    times = []
    for replicates in _REPLICATES:
        began = time.perf_counter()
        if replicates_of(metric, statistics, task_id, replicates) is None:
            return 0.0
        times.append(time.perf_counter() - began)
    few, more = _REPLICATES
    each = max(0.0, times[1] - times[0]) / (more - few)
    return (times[0] + each * (REPLICATES - few)) * instances / statistics.height


def look_alone(
    answered: pl.DataFrame, metric: Metric, quick_media: int | None, progress: Progress | None
) -> Measured:
    """What can be told of answers without references; arguments as `measure`."""
    if metric.payload in ("text", "number"):
        measured = _measured(answered.clear(), _nothing_refused, None, True, 1.0, None)
        measured.seconds = _calibrated(answered["prediction"], metric)
        return measured
    alone = Alone(metric)

    def reason(document: str) -> str | None:
        try:
            alone.look_at(decode(document))
        except Refused as error:
            return str(error)
        return None

    def look(rows: pl.DataFrame) -> pl.DataFrame:
        # One by one, as files are.
        refused = pl.Series([reason(d) for d in rows["prediction"]], dtype=pl.String)
        return _nothing_refused(rows).with_columns(refused=refused)

    return _measured(answered, look, quick_media, False, _BOTH_SIDES, progress)


def _nothing_refused(rows: pl.DataFrame) -> pl.DataFrame:
    nothing = pl.lit(None, pl.String)
    return rows.select("instance_id", "predicted_at", "position").with_columns(
        refused=nothing, reference_refused=nothing
    )


def _measured(
    answered: pl.DataFrame,
    look: Callable[[pl.DataFrame], pl.DataFrame],
    quick_media: int | None,
    whole: bool,
    factor: float,
    progress: Progress | None,
) -> Measured:
    """Looks at the answers: those without files together, those with files a few at a time."""
    plain, files = answered.filter(~pl.col("has_file")), answered.filter("has_file")
    if whole:
        plain, files = answered, answered.clear()
    chosen = _spread(files, quick_media)
    frames = [_nothing_refused(answered.clear())]
    began = time.perf_counter()
    if plain.height:
        frames.append(look(plain))
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    for done, rows in _in_steps(chosen):
        frames.append(look(rows))
        if progress is not None:
            progress("files", done + rows.height, chosen.height)
    if chosen.height:
        seconds += (time.perf_counter() - began) * files.height / chosen.height
    found = pl.concat(frames)
    media_read = answered.filter("has_file").height if whole else chosen.height
    return Measured(
        _refusals(found, "refused", "predicted_at"),
        _refusals(found, "reference_refused", "position"),
        media_read,
        factor * seconds,
    )


def _spread(rows: pl.DataFrame, most: int | None) -> pl.DataFrame:
    """So many rows at most, evenly spread, the first and the last one among them."""
    if most is None or rows.height <= most:
        return rows
    return rows[np.linspace(0, rows.height - 1, most).round().astype(np.int64)]


def _in_steps(rows: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    for done in range(0, rows.height, _AT_ONCE):
        yield done, rows.slice(done, _AT_ONCE)


def _refusals(found: pl.DataFrame, reason: str, position: str) -> pl.DataFrame:
    kept = found.filter(pl.col(reason).is_not_null())
    return kept.select("instance_id", position=pl.col(position), reason=pl.col(reason))


def _calibrated(predictions: pl.Series, metric: Metric) -> float | None:
    """Seconds for all answers, from some of them measured against themselves."""
    few: Any = predictions.head(_CALIBRATED)
    if few.is_empty():
        return None
    references = few if metric.payload == "number" else few.reshape((-1, 1)).arr.to_list()
    began = time.perf_counter()
    metric.compute(Batch(few, references))
    return (time.perf_counter() - began) * len(predictions) / len(few)
