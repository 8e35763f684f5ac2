"""Errors of numbers and numeric arrays: MAE, MSE, RMSE, RMS; pooled over all values, lower is better."""

from __future__ import annotations

import math
from collections.abc import Mapping

import polars as pl

from tasks.metrics.base import Batch, SumsMetric, register


class _PooledError(SumsMetric):
    """Mean over all values of all instances; +inf when an instance is wrong or of another length."""

    payload = "number"
    statistics = ("error", "n")
    is_fraction = False

    @staticmethod
    def _error(difference: pl.Expr) -> pl.Expr:
        raise NotImplementedError

    def compute(self, batch: Batch) -> pl.DataFrame:
        frame = pl.DataFrame({"p": batch.predictions, "r": batch.references}).with_row_index("row")
        same = pl.col("p").list.len() == pl.col("r").list.len()
        values = (
            frame.lazy()
            .filter(same)
            .explode("p", "r")
            .group_by("row", maintain_order=True)
            .agg(error=self._error(pl.col("p") - pl.col("r")).sum())
        )
        return (
            frame.lazy()
            .select("row", n=pl.col("r").list.len().cast(pl.Float64))
            .join(values, on="row", how="left", maintain_order="left")
            .select(pl.col("error").fill_nan(math.inf).fill_null(math.inf), "n")
            .collect()
        )

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
    def _error(difference: pl.Expr) -> pl.Expr:
        return difference.abs()


@register
class MeanSquaredError(_PooledError):
    """MSE in the squared unit of the values; 0.. ."""

    id = "mse"

    @staticmethod
    def _error(difference: pl.Expr) -> pl.Expr:
        return difference**2


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
