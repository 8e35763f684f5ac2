"""The quick board's instances: a fixed few of each task, for models that are not run on all."""

from __future__ import annotations

import hashlib
import heapq

import polars as pl

#: Instances of a task on the quick board; all of them where there are fewer.
QUICK_INSTANCES = 100


def quick_subset(task_id: str, stats: pl.DataFrame) -> pl.DataFrame:
    """The rows of a task's quick instances, in the order in which they come.

    They are those whose SHA-256 of `<task id>`, a line feed and `<instance id>` (UTF-8) is smallest:
    the same for every model and on every machine, whatever the order of the rows. Statistics that
    belong to the whole set (Frechet distances, word weights of CIDEr) stay those of the whole set.

    Args:
        task_id: canonical task id.
        stats: rows of all instances of the task, with their `instance_id` (String).
    """
    if stats.height <= QUICK_INSTANCES:
        return stats
    # A loop: hashes of column libraries may change with their versions, and DuckDB's are no faster.
    task = hashlib.sha256(f"{task_id}\n".encode())
    digests: list[bytes] = []
    for instance_id in stats["instance_id"]:
        digest = task.copy()
        digest.update(instance_id.encode())
        digests.append(digest.digest())
    last = heapq.nsmallest(QUICK_INSTANCES, digests)[-1]
    return stats.filter([digest <= last for digest in digests])
