"""Errors of numbers and numeric arrays: MAE, MSE, RMSE, RMS; pooled over all values, lower is better."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import polars as pl

from tasks.metrics.base import Batch, Floats, SumsMetric, register


class _PooledError(SumsMetric):
    """Mean over all values of all instances; +inf when an instance is wrong or of another length."""

    version = 2
    payload = "number"
    statistics = ("error", "n")
    is_fraction = False

    @staticmethod
    def _errors(difference: Floats) -> Floats:
        raise NotImplementedError

    def compute(self, batch: Batch) -> pl.DataFrame:
        lengths, given = (
            side.list.len().to_numpy() for side in (batch.references, batch.predictions)
        )
        error = np.where(lengths == given, 0.0, math.inf)
        same = (lengths == given) & (lengths > 0)
        p, r = (
            (side if same.all() else side.filter(pl.Series(same))).explode().to_numpy()
            for side in (batch.predictions, batch.references)
        )
        firsts = np.cumsum(lengths[same], dtype=np.int64) - lengths[same]
        if len(firsts):
            # The difference of two infinities is no number.
            with np.errstate(invalid="ignore", over="ignore"):
                error[same] = np.add.reduceat(self._errors(p - r), firsts)
            error[np.isnan(error)] = math.inf
        return pl.DataFrame({"error": error, "n": lengths.astype(np.float64)})

    def worst(self, batch: Batch) -> pl.DataFrame:
        n = batch.references.list.len().cast(pl.Float64)
        return pl.DataFrame({"error": pl.Series([math.inf]).new_from_index(0, n.len()), "n": n})

    def score_of(self, sums: Mapping[str, float]) -> float:
        return sums["error"] / sums["n"]

    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        return stats["error"] / stats["n"]


@register
class MeanAbsoluteError(_PooledError):
    """MAE in the unit of the values; 0.. ."""

    id = "mae"

    @staticmethod
    def _errors(difference: Floats) -> Floats:
        return np.abs(difference)


@register
class MeanSquaredError(_PooledError):
    """MSE in the squared unit of the values; 0.. ."""

    id = "mse"

    @staticmethod
    def _errors(difference: Floats) -> Floats:
        return difference * difference


@register
class RootMeanSquaredError(MeanSquaredError):
    """RMSE in the unit of the values: the root of the pooled MSE; 0.. ."""

    id = "rmse"

    def score_of(self, sums: Mapping[str, float]) -> float:
        return math.sqrt(super().score_of(sums))

    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        return (stats["error"] / stats["n"]).sqrt()


@register
class RootMeanSquare(RootMeanSquaredError):
    """RMS error: RMSE under the name, and with the map, of the published RMS tasks; 0.. ."""

    id = "rms"
