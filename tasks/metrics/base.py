"""The contract of a metric, and the registry of all of them.

A metric turns a batch of (prediction, references) pairs into per-instance statistics, and the
statistics into the task's score. The statistics are stored, so that a score can be explained,
re-aggregated and bootstrapped without reading a prediction again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar

import polars as pl

from tasks.errors import UserError

Payload = Literal["text", "number", "json", "media", "features"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Instances of one task, one row each, in any order.

    Attributes:
        predictions: `pl.String` for text metrics, `pl.List(pl.Float64)` for number metrics (a
            single number is a list of one). Never null: a missing or unreadable prediction does
            not reach `compute`.
        references: `pl.List(pl.String)` for text metrics (one or more alternatives, never empty,
            never null), `pl.List(pl.Float64)` for number metrics.
        task_type: the annotation's `type`, lower-cased; some label metrics split by it.
        corpus: references of all the task's instances, answered or not, for metrics that weigh
            words by how common they are; None when `references` are all there are.
    """

    predictions: pl.Series
    references: pl.Series
    task_type: str = ""
    corpus: pl.Series | None = None


class Metric(ABC):
    """One metric. Subclasses set the class attributes and implement the three methods.

    `version` is part of every score's key: raise it whenever a change can alter a score.
    """

    id: ClassVar[str]
    version: ClassVar[int] = 1
    payload: ClassVar[Payload] = "text"
    #: Names of the statistics columns, all Float64 and finite (or +inf for an unbounded error).
    statistics: ClassVar[tuple[str, ...]]
    #: True when `aggregate` gives a fraction (0..1) that a task in percent shows times 100.
    is_fraction: ClassVar[bool] = True
    #: True when one instance's statistics depend on the references of the task's others.
    needs_corpus: ClassVar[bool] = False

    @abstractmethod
    def compute(self, batch: Batch) -> pl.DataFrame:
        """Statistics of the answered instances: columns `statistics` (+ `group`), batch order."""

    @abstractmethod
    def worst(self, batch: Batch) -> pl.DataFrame:
        """Statistics of instances that count as wrong; `batch.predictions` is not to be looked at."""

    @abstractmethod
    def aggregate(self, stats: pl.DataFrame) -> float:
        """The task's score from the statistics of all its instances (at least one row)."""

    @abstractmethod
    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        """One value an instance, Float64, null where the metric has no per-instance value."""


class MeanMetric(Metric):
    """A metric that is the mean of one per-instance `score`, worst 0."""

    statistics = ("score",)

    def worst(self, batch: Batch) -> pl.DataFrame:
        return pl.DataFrame({"score": pl.zeros(len(batch.references), pl.Float64, eager=True)})

    def aggregate(self, stats: pl.DataFrame) -> float:
        return float(stats["score"].mean())  # type: ignore[arg-type]

    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        return stats["score"]


_M = TypeVar("_M", bound=Metric)
_METRICS: dict[str, Metric] = {}


def register(cls: type[_M]) -> type[_M]:
    """Class decorator: makes the metric known under its `id`; a second one of that id is an error."""
    if cls.id in _METRICS:
        raise ValueError(f"two metrics are registered as {cls.id!r}")
    _METRICS[cls.id] = cls()
    return cls


def get_metric(metric_id: str) -> Metric:
    """The metric of that id. Raises `UserError` naming the known ones if there is none."""
    try:
        return _METRICS[metric_id]
    except KeyError:
        raise UserError(
            f"metric {metric_id!r} has no scorer",
            f"metrics that can be scored: {', '.join(sorted(_METRICS))}",
        ) from None


def has_metric(metric_id: str) -> bool:
    """Whether predictions of this metric can be scored (its results can always be imported)."""
    return metric_id in _METRICS


def all_metrics() -> dict[str, Metric]:
    """Every registered metric by id."""
    return dict(_METRICS)
