"""Samples of a task's instances, drawn with replacement, and sums over them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]

#: Columns up to which it is cheaper to look each drawn value up than to count what was drawn.
_LOOKED_UP = 3


class Samples:
    """Samples of as many instances as there are.

    Attributes:
        chosen: the instances of each sample by their number, shape (samples, instances), int64.
    """

    def __init__(self, chosen: npt.NDArray[np.int64]) -> None:
        self.chosen = chosen

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def instances(self) -> int:
        """Instances that the samples are drawn from, which is also how many each has."""
        return self.chosen.shape[1]

    @cached_property
    def counts(self) -> Floats:
        """How often each sample has each instance: whole numbers, shape (samples, instances)."""
        samples, instances = self.chosen.shape
        cells = self.chosen + instances * np.arange(samples, dtype=np.int64)[:, None]
        counts = np.bincount(cells.ravel(), minlength=samples * instances)
        return counts.reshape(samples, instances).astype(np.float64)

    def sums(self, values: Floats) -> Floats:
        """Sums over samples, shape (samples, columns), of values of shape (instances, columns).

        The values are finite or +inf; a sample that has an infinite one sums to +inf.
        """
        if values.shape[1] <= _LOOKED_UP:
            columns = (np.ascontiguousarray(column) for column in values.T)
            # Clipped, not checked: nothing is out of range, and looking costs half the time again.
            drawn = (column.take(self.chosen, mode="clip") for column in columns)
            return np.stack([values.sum(axis=1) for values in drawn], axis=1)
        endless = np.isinf(values)
        if not endless.any():
            return self.counts @ values
        sums = self.counts @ np.where(endless, 0.0, values)
        sums[self.counts @ endless.astype(np.float64) > 0] = np.inf
        return sums

    def means(self, scores: pl.Series) -> Floats:
        """Mean over samples of one value an instance, nulls left out; 0 where all are. (samples,)"""
        if not scores.null_count():
            return self.sums(scores.to_numpy()[:, None])[:, 0] / self.instances
        values = [scores.fill_null(0.0).to_numpy(), scores.is_not_null().to_numpy()]
        sums, sizes = self.sums(np.stack(values, axis=1)).T
        return np.divide(sums, sizes, out=np.zeros(len(sums)), where=sizes > 0)
