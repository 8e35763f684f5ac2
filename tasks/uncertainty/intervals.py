"""Intervals from replicates."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: Share of cases in which a 95 % interval should hold the true score.
CONFIDENCE = 0.95
#: Percentiles that a level's interval lies between, calibrated by simulation (benchmarks/coverage.py):
#: with 2.5 % at each end the intervals of level 3 held the truth in 92.4 to 94.5 % of the trials, as
#: models miss specialists more often than they pass them, which draws around a score do not know.
LEVEL_TAIL = 0.02


def interval(
    replicates: Floats, instances: int | None = None, score: float | None = None
) -> tuple[float, float]:
    """The percentile interval of `CONFIDENCE`.

    Args:
        replicates: shape (replicates,); +inf is allowed.
        instances: number of instances of a task. The plain percentile interval of a mean is too
            narrow by about sqrt((n - 1) / n) and by taking the normal quantile for Student's; with
            n the percentiles are moved out by as much (the expanded percentile interval, Hesterberg,
            arXiv:1411.5279).
        score: of a level, the level itself: the interval lies between the percentiles of `LEVEL_TAIL`,
            widened to hold the level. A level is a step where a task is won, so that most draws can
            lie on one side of it.
    """
    tail = (1 - CONFIDENCE) / 2 if score is None else LEVEL_TAIL
    if instances is not None:
        tail = _expanded(tail, instances)
    # Of two replicates the lower or higher one: nothing is interpolated with an infinity.
    # This is `numpy.quantile` with the methods "lower" and "higher", in a tenth of its time.
    ordered, last = np.sort(replicates), len(replicates) - 1
    found = [float(ordered[math.floor(last * tail)]), float(ordered[math.ceil(last * (1 - tail))])]
    if score is not None:
        found.append(score)
    return min(found), max(found)


@lru_cache(maxsize=10_000)
def _expanded(tail: float, instances: int) -> float:
    from scipy.special import ndtr, stdtrit

    quantile: Any = stdtrit(instances - 1, tail)
    return float(ndtr(np.sqrt(instances / (instances - 1)) * quantile))


def standard_error(replicates: Floats) -> float:
    """The replicates' standard deviation; +inf when one of them is unbounded."""
    if np.isinf(replicates).any():
        return float("inf")
    return float(replicates.std(ddof=1))
