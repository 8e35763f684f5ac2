"""Resampling: what each metric makes of drawn instances is what it makes of a table of them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tasks.metrics import all_metrics
from tasks.metrics.base import Metric
from tasks.metrics.samples import Samples

INSTANCES, SAMPLES = 40, 25


def _draws(rng: np.random.Generator, instances: int) -> Samples:
    return Samples(rng.integers(0, instances, (SAMPLES, instances), dtype=np.int64))


def _records(rng: np.random.Generator, metric: Metric) -> list[list[float]]:
    """Statistics of metrics that keep as many numbers as an instance needs."""
    rows: list[list[float]] = []
    for _ in range(INSTANCES):
        row: list[float] = []
        if metric.id == "pq":
            for label in rng.choice(4, rng.integers(0, 4), replace=False):
                tp, fp, fn = rng.integers(0, 4, 3)
                row += [label, tp + 1, fp, fn, (tp + 1) * rng.random()]
        elif metric.id == "miou":
            row = [-2.0, 0.0, 0.0]
            for label in rng.choice(5, rng.integers(1, 5), replace=False):
                union = rng.integers(1, 100)
                row += [label, rng.integers(0, union + 1), union]
        elif metric.id == "amota":
            for label in rng.choice(3, rng.integers(1, 3), replace=False):
                row += [label, 0.0, rng.integers(1, 9), 0.0, 0.0, 0.0]
                for score in rng.choice(20, rng.integers(1, 6), replace=False):
                    row += [label, score / 20, 0.0, *rng.integers(0, 3, 3)]
        else:
            raise AssertionError(f"no statistics are made up for {metric.id}")
        rows.append([float(number) for number in row])
    return rows


def _statistics(rng: np.random.Generator, metric: Metric) -> pl.DataFrame:
    """Statistics as the metric might have kept them."""
    if metric.variable:
        return pl.DataFrame({"stats": pl.Series(_records(rng, metric), dtype=pl.List(pl.Float64))})
    columns = {name: rng.integers(0, 9, INSTANCES).astype(float) for name in metric.statistics}
    for name in ("n", "frames", "segments"):
        if name in columns:
            columns[name] = rng.integers(1, 9, INSTANCES).astype(float)
    for name in columns:
        if ("total" in name and name != "total") or "length" in name:
            columns[name] += 9.0  # what can be matched is no less than what is
    frame = pl.DataFrame(columns)
    if metric.id == "macro_accuracy":
        frame = frame.with_columns(group=pl.Series(rng.choice(list("abc"), INSTANCES)))
    if metric.id == "f_score":
        pairs = rng.choice(list("abc"), (INSTANCES, 2))
        frame = frame.with_columns(
            group=pl.Series(f'{{"expected":"{e}","predicted":"{p}"}}' for e, p in pairs)
        )
    return frame


def _both(metric: Metric, stats: pl.DataFrame, drawn: Samples) -> tuple[np.ndarray, np.ndarray]:
    """What the metric's own way gives, and scoring each sample of instances."""
    found, expected = metric.resample(stats, drawn), Metric.resample(metric, stats, drawn)
    assert found is not None and expected is not None
    return found, expected


OWN = [
    metric_id
    for metric_id, metric in sorted(all_metrics().items())
    if type(metric).resample is not Metric.resample
    and not hasattr(metric, "thresholds")
    and metric_id not in ("fid", "fvd", "fad")
]


@pytest.mark.parametrize("metric_id", OWN)
def test_a_quick_way_gives_what_scoring_the_drawn_instances_gives(metric_id: str) -> None:
    metric = all_metrics()[metric_id]
    rng = np.random.default_rng(5)
    stats = _statistics(rng, metric)
    drawn = _draws(rng, INSTANCES)
    np.testing.assert_allclose(*_both(metric, stats, drawn), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("metric_id", ["mae", "rmse", "mcd", "epe"])
def test_a_sample_with_an_unanswered_instance_has_an_unbounded_error(metric_id: str) -> None:
    metric = all_metrics()[metric_id]
    rng = np.random.default_rng(6)
    stats = _statistics(rng, metric)
    error = metric.statistics[0]
    stats = stats.with_columns(
        pl.when(pl.int_range(pl.len()) == 3).then(np.inf).otherwise(pl.col(error)).alias(error)
    )
    drawn = _draws(rng, INSTANCES)
    found, expected = _both(metric, stats, drawn)
    assert np.array_equal(np.isinf(found), (drawn.chosen == 3).any(axis=1))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("columns", [1, 3, 4])
def test_sums_are_those_of_the_drawn_rows(columns: int) -> None:
    rng = np.random.default_rng(8)
    values = rng.random((INSTANCES, columns))
    values[7, columns - 1] = np.inf
    drawn = _draws(rng, INSTANCES)
    expected = [
        [sum(values[row, j] for row in sample) for j in range(columns)] for sample in drawn.chosen
    ]
    np.testing.assert_allclose(drawn.sums(values), expected, rtol=1e-12)
    assert (drawn.counts.sum(axis=1) == INSTANCES).all()


@pytest.mark.parametrize("metric_id", ["ap", "ap50", "keypoint_ap50", "map"])
def test_average_precision_of_drawn_images(metric_id: str) -> None:
    metric = all_metrics()[metric_id]
    rng = np.random.default_rng(7)
    thresholds = len(metric.thresholds)  # type: ignore[attr-defined]
    rows = []
    for _ in range(INSTANCES):
        # A header that orders images, then the references and detections of each class.
        row: list[float] = [rng.integers(0, 2**40)]
        for label in rng.choice(3, rng.integers(0, 3), replace=False):
            row += [label + 10, rng.integers(1, 5), -1]
            for score in rng.choice(50, rng.integers(0, 6), replace=False):
                right = 2 ** rng.integers(0, thresholds + 1) - 1
                ignored = (2**thresholds - 1) & ~right if rng.random() < 0.1 else 0
                row += [label + 10, score / 50, right + ignored * 2**thresholds]
        rows.append([float(number) for number in row])
    stats = pl.DataFrame({"stats": pl.Series(rows, dtype=pl.List(pl.Float64))})
    drawn = _draws(rng, INSTANCES)
    np.testing.assert_allclose(*_both(metric, stats, drawn), rtol=1e-9)
