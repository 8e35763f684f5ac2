"""The quick board's instances: a fixed few of each task, for models that are not run on all."""

from __future__ import annotations

import hashlib

import polars as pl

#: Instances of a task on the quick board; all of them where there are fewer.
QUICK_INSTANCES = 100


def quick_instances(task_id: str, instance_ids: pl.Series) -> pl.Series:
    """Which of a task's instances are its quick ones.

    They are those whose SHA-256 of `<task id>`, a line feed and `<instance id>` (UTF-8) is smallest:
    the same for every model and on every machine, whatever the order of the rows. Statistics that
    belong to the whole set (Frechet distances, word weights of CIDEr) stay those of the whole set.

    Args:
        task_id: canonical task id.
        instance_ids: ids of all instances of the task, each once (String).

    Returns:
        Boolean, one an id, at most `QUICK_INSTANCES` of them true.
    """
    if len(instance_ids) <= QUICK_INSTANCES:
        return pl.repeat(True, len(instance_ids), dtype=pl.Boolean, eager=True)
    # A loop: hashes of column libraries may change with their versions, and DuckDB's are no faster.
    sha256 = hashlib.sha256
    digests = [sha256(f"{task_id}\n{id_}".encode()).digest() for id_ in instance_ids.to_list()]
    last = sorted(digests)[QUICK_INSTANCES - 1]
    return pl.Series([digest <= last for digest in digests], dtype=pl.Boolean)
