"""Reads the bundled tables and the users' own catalogue files into one catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tasks.catalog.model import Catalogue
from tasks.catalog.userfile import apply_file

_FOLDER = Path(__file__).parent

_NUMBERS = {"minimum": pl.Float64, "maximum": pl.Float64, "threshold": pl.Float64}

#: tasks.csv, in order.
TASK_COLUMNS: dict[str, type[pl.DataType]] = {
    "task_id": pl.String,
    "modality": pl.String,
    "paradigm": pl.String,
    "title": pl.String,
    "short_title": pl.String,
    "aliases": pl.String,
    "skill": pl.String,
    "metric_id": pl.String,
    "unit": pl.String,
    "direction": pl.String,
    "specialist_raw": pl.Float64,
    "specialist_normalised": pl.Float64,
    "specialist_model": pl.String,
    "n_instances": pl.Int64,
    "domain": pl.String,
    "capability": pl.String,
    "data_source": pl.String,
    "source": pl.String,
    "note": pl.String,
    "printed_metric": pl.String,
}

#: What a task takes from its metric.
_FROM_METRIC = ("map", "threshold", "minimum", "maximum", "payload")


def load_catalogue(extra: Sequence[str | Path] = (), base: bool = True) -> Catalogue:
    """The published catalogue, with the users' files applied in order.

    Args:
        extra: CSV or TOML files (paths or fsspec URLs). A row whose task_id exists overrides the
            columns that it gives; any other row adds a task. Later files win.
        base: False leaves out the published tasks (never the metrics): the catalogue then holds
            only what the files hold.

    Raises:
        UserError: a file that is absent, unreadable or wrong, naming file, row and remedy.
    """
    metrics = pl.read_csv(_FOLDER / "metrics.csv", infer_schema=False).cast(_NUMBERS)  # type: ignore[arg-type]
    tasks = pl.read_csv(_FOLDER / "tasks.csv", schema=TASK_COLUMNS)
    if not base:
        tasks = tasks.clear()
    for path in extra:
        tasks = apply_file(tasks, metrics, str(path))
    return Catalogue(tasks=_with_metric(tasks, metrics), metrics=metrics)


def _with_metric(tasks: pl.DataFrame, metrics: pl.DataFrame) -> pl.DataFrame:
    """Adds map, threshold, range (in the task's unit) and payload of each task's metric."""
    own = metrics.select("metric_id", pl.col("unit").alias("_unit"), *_FROM_METRIC)
    scale = (
        pl.when(pl.col("unit") == pl.col("_unit"))
        .then(1.0)
        .when(pl.col("_unit") == "percent")
        .then(0.01)  # the metric is declared in percent, the task in fractions
        .otherwise(100.0)
    )
    return (
        tasks.join(own, on="metric_id", how="left", maintain_order="left")
        .with_columns(pl.col("minimum") * scale, pl.col("maximum") * scale)
        .drop("_unit")
    )
