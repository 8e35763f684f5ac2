"""The contract of a metric, and the registry of all of them.

A metric turns a batch of (prediction, references) pairs into per-instance statistics, and the
statistics into the task's score. The statistics are stored, so that a score can be explained,
re-aggregated and bootstrapped without reading a prediction again.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
import polars as pl

from tasks.errors import UserError
from tasks.files import read_ahead
from tasks.media import Refused, decode, plain_urls
from tasks.metrics.samples import Floats, Samples

Payload = Literal["text", "number", "json", "media", "features"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Instances of one task, one row each, in any order.

    Attributes:
        predictions: `pl.String` for text metrics, `pl.List(pl.Float64)` for number metrics (a
            single number is a list of one), `pl.String` of JSON documents for all others (see
            `tasks/media.py`). Never null: a missing or unreadable prediction does not reach
            `compute`.
        references: `pl.List(pl.String)` for text metrics (one or more alternatives, never empty,
            never null), `pl.List(pl.Float64)` for number metrics, JSON documents for all others.
        task_type: the annotation's `type`, lower-cased; some label metrics split by it.
        corpus: references of all the task's instances, answered or not, for metrics that weigh
            words by how common they are; None when `references` are all there are.
    """

    predictions: pl.Series
    references: pl.Series
    task_type: str = ""
    corpus: pl.Series | None = None

    def silence(self) -> pl.Series:
        """An empty text in place of each prediction: what metrics on text take for nothing said."""
        return pl.Series([""], dtype=pl.String).new_from_index(0, len(self.references))


class Metric(ABC):
    """One metric. Subclasses set the class attributes and implement the three methods.

    `version` is part of every score's key: raise it whenever a change can alter a score.
    """

    id: ClassVar[str]
    version: ClassVar[int] = 1
    payload: ClassVar[Payload] = "text"
    #: Names of the statistics columns, all Float64 and finite (or +inf for an unbounded error); or
    #: `("stats",)` alone, a List(Float64) of as many numbers as the instance needs, if `variable`.
    statistics: ClassVar[tuple[str, ...]]
    variable: ClassVar[bool] = False
    #: True when `aggregate` gives a fraction (0..1) that a task in percent shows times 100.
    is_fraction: ClassVar[bool] = True
    #: True when one instance's statistics depend on the references of the task's others.
    needs_corpus: ClassVar[bool] = False

    @abstractmethod
    def compute(self, batch: Batch) -> pl.DataFrame:
        """Statistics of the answered instances: columns `statistics` (+ `group`), batch order.

        Two more String columns may say which rows could not be taken, null for the others:
        `refused` (the prediction is bad: it will count as wrong) and `reference_refused` (the
        dataset's reference is bad: the instance is left out). Their statistics are ignored.
        """

    @abstractmethod
    def worst(self, batch: Batch) -> pl.DataFrame:
        """Statistics of instances that count as wrong; `batch.predictions` is not to be looked at."""

    @abstractmethod
    def aggregate(self, stats: pl.DataFrame) -> float:
        """The task's score from the statistics of all its instances (at least one row)."""

    @abstractmethod
    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        """One value an instance, Float64, null where the metric has no per-instance value."""

    def resample(self, stats: pl.DataFrame, drawn: Samples) -> Floats | None:
        """What `aggregate` gives for samples drawn from the instances with replacement.

        This one is right for every metric and slow: metrics of which one task has many instances
        do better. None when a score cannot be made anew from what is kept of the instances.

        Args:
            stats: statistics of the instances, shape (instances, statistics).
            drawn: samples of them.

        Returns:
            Scores, shape (samples,).
        """
        return np.array([self.aggregate(stats[sample]) for sample in np.sort(drawn.chosen)])


#: Instances whose files are read ahead together.
_NEAR = 16


class StructureMetric(Metric):
    """A metric on structures or files, looked at one instance after the other.

    Subclasses read both sides (raising `Refused` with a reason), and measure them.
    """

    def read_prediction(self, value: Any) -> Any:
        """The prediction as `measure` takes it. Raises `Refused`."""
        return value

    @abstractmethod
    def read_reference(self, value: Any) -> Any:
        """The reference as `measure` takes it. Raises `Refused`."""

    @abstractmethod
    def measure(self, prediction: Any, reference: Any) -> Sequence[float]:
        """Statistics of one answered instance. Raises `Refused` when the two do not fit."""

    @abstractmethod
    def measure_worst(self, reference: Any) -> Sequence[float]:
        """Statistics of one instance that counts as wrong."""

    def compute(self, batch: Batch) -> pl.DataFrame:
        rows: list[_Measured] = []
        sides = self.decoded(batch.predictions), self.decoded(batch.references)
        pairs = zip(*sides, strict=True)
        while near := list(islice(pairs, _NEAR)):
            with read_ahead(plain_urls(chain.from_iterable(near))):
                rows += [self._measured(*pair) for pair in near]
        return self._frame(rows)

    def _measured(self, value: Any, expected: Any) -> _Measured:
        reference, reason = self._reference(expected)
        if reason is not None:
            return _Measured(reference_refused=reason)
        try:
            return _Measured(self.measure(self.read_prediction(value), reference))
        except Refused as error:
            return _Measured(refused=str(error))

    def worst(self, batch: Batch) -> pl.DataFrame:
        rows: list[_Measured] = []
        for expected in self.decoded(batch.references):
            reference, reason = self._reference(expected)
            if reason is None:
                rows.append(_Measured(self.measure_worst(reference)))
            else:
                rows.append(_Measured(reference_refused=reason))
        return self._frame(rows)

    def decoded(self, documents: pl.Series) -> Iterable[Any]:
        """The values of documents, in their order; to override where many are decoded at once."""
        return map(decode, documents.to_list())

    def _reference(self, value: Any) -> tuple[Any, str | None]:
        try:
            return self.read_reference(value), None
        except Refused as error:
            return None, str(error)

    def _frame(self, rows: Sequence[_Measured]) -> pl.DataFrame:
        columns: dict[str, pl.Series] = {}
        if self.variable:
            values = [None if row.values is None else list(row.values) for row in rows]
            columns["stats"] = pl.Series(values, dtype=pl.List(pl.Float64))
        else:
            nothing = [None] * len(self.statistics)
            found = [nothing if row.values is None else row.values for row in rows]
            for name, column in zip(self.statistics, zip(*found, strict=True), strict=True):
                columns[name] = pl.Series(column, dtype=pl.Float64)
        columns["refused"] = pl.Series([row.refused for row in rows], dtype=pl.String)
        reasons = [row.reference_refused for row in rows]
        columns["reference_refused"] = pl.Series(reasons, dtype=pl.String)
        return pl.DataFrame(columns)


class _Measured(NamedTuple):
    """Statistics of one instance, or why there are none."""

    values: Sequence[float] | None = None
    refused: str | None = None
    reference_refused: str | None = None


class MeanMetric(Metric):
    """A metric that is the mean of one per-instance `score`, worst 0."""

    statistics = ("score",)

    def worst(self, batch: Batch) -> pl.DataFrame:
        return pl.DataFrame({"score": pl.zeros(len(batch.references), pl.Float64, eager=True)})

    def aggregate(self, stats: pl.DataFrame) -> float:
        return float(stats["score"].mean())  # type: ignore[arg-type]

    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        return stats["score"]

    def resample(self, stats: pl.DataFrame, drawn: Samples) -> Floats:
        return drawn.means(stats["score"])


def scored_apart(
    scores: Floats, batch: Batch, one_by_one: Callable[[Batch], pl.DataFrame]
) -> pl.DataFrame:
    """The frame of a batch of which most instances were scored together.

    Args:
        scores: shape (instances,), NaN where an instance is left to `one_by_one`.
        one_by_one: the columns `score`, `refused` and `reference_refused` of a batch.
    """
    left = np.isnan(scores)
    nothing = pl.lit(None, pl.String)
    together = pl.DataFrame({"score": scores[~left]}).with_columns(
        refused=nothing, reference_refused=nothing
    )
    if not left.any():
        return together
    others = one_by_one(Batch(batch.predictions.filter(left), batch.references.filter(left)))
    # The k-th row of either frame goes where the k-th of its kind stood.
    return pl.concat([together, others])[np.argsort(np.argsort(left, kind="stable"))]


class SumsMetric(Metric):
    """A metric whose score is a function of the sums of its statistics over the instances."""

    @abstractmethod
    def score_of(self, sums: Mapping[str, float]) -> float:
        """The score from the sum of each statistic, by name."""

    def aggregate(self, stats: pl.DataFrame) -> float:
        return self.score_of({name: math.fsum(stats[name].to_list()) for name in self.statistics})

    def resample(self, stats: pl.DataFrame, drawn: Samples) -> Floats:
        sums = drawn.sums(np.stack([stats[name].to_numpy() for name in self.statistics], axis=1))
        names = self.statistics
        return np.array(
            [self.score_of(dict(zip(names, row, strict=True))) for row in sums.tolist()]
        )


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
