"""Replicates of a task score: the score again, on instances drawn with replacement.

The nonparametric bootstrap (Efron and Tibshirani 1993, chapter 6): a task's n instances stand for
all that might have been asked, so n of them are drawn with replacement, `REPLICATES` times. Only
the instances vary; a model's outputs, the references and the specialist are taken as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from tasks.metrics import Metric
from tasks.metrics.samples import Floats, Samples

#: Replicates of each task score. A percentile of 1,000 is uncertain by about 0.7 of a percent point.
REPLICATES = 1_000
#: Numbers of one table of draws (samples x instances): it stays in the processor's cache.
_DRAWS_AT_ONCE = 2**16


def draws(task_id: str, instances: int, replicates: int = REPLICATES) -> Iterator[Samples]:
    """Samples of a task's instances, some at a time.

    The task alone decides the draws: replicates of two models on one task are of the same samples,
    so that their difference is a paired one, on whatever machine and in whatever order.

    Args:
        task_id: canonical task id, the seed.
        instances: number of instances, at least 1.
        replicates: samples of all tables together.
    """
    seed = int.from_bytes(hashlib.sha256(task_id.encode()).digest()[:8], "little")
    bits = np.random.SFC64(seed)
    at_once = max(1, _DRAWS_AT_ONCE // instances)
    for start in range(0, replicates, at_once):
        samples = min(at_once, replicates - start)
        chosen = _below(instances, bits, samples * instances)
        yield Samples(chosen.reshape(samples, instances))


def _below(limit: int, bits: np.random.BitGenerator, count: int) -> npt.NDArray[np.int64]:
    """Whole numbers below `limit`, from 32 random bits each, multiplied and shifted (Lemire 2019).

    No number is more likely than another by more than 1 in 2^32 / limit: of 300,000 instances, 1 in
    14,000, which no interval shows. Without Lemire's rejection this is one pass over columns, half
    the time of `Generator.integers`; and NumPy promises the bits to stay what they are, but not
    what its generators make of them.
    """
    numbers = bits.random_raw((count + 1) // 2).view(np.uint32)[:count].astype(np.uint64)
    numbers *= np.uint64(limit)
    numbers >>= np.uint64(32)
    return numbers.view(np.int64)


def replicates_of(
    metric: Metric, stats: pl.DataFrame, task_id: str, replicates: int = REPLICATES
) -> Floats | None:
    """Replicates of `metric.aggregate(stats)`, shape (replicates,); None where there can be none.

    Args:
        metric: the task's metric.
        stats: statistics of all instances, with their `instance_id`; the order does not matter.
        task_id: canonical task id.

    There are none of a task of one instance, nor of a metric that keeps nothing of the instances.
    """
    if stats.height < 2:
        return None
    # In the order of ids, so that all models' tables are drawn from alike.
    if not stats["instance_id"].is_sorted():
        stats = stats.sort("instance_id")
    found: list[Floats] = []
    for drawn in draws(task_id, stats.height, replicates):
        scores = metric.resample(stats, drawn)
        if scores is None:
            return None
        found.append(scores)
    return np.concatenate(found)
