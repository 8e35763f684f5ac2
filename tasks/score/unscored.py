"""Tasks that arrived and got no score: their rows say why, so that nothing vanishes."""

from __future__ import annotations

from typing import Any

import polars as pl

from tasks.catalog import Catalogue
from tasks.score.batch import refused_row
from tasks.score.plan import ScorePlan
from tasks.storage import Store, quote_name


def unscored_rows(store: Store, plan: ScorePlan, catalogue: Catalogue) -> list[dict[str, Any]]:
    """Task score rows of what could not be scored, each with its reason.

    These are tasks without references or without a scorer, and files refused whole at ingest.
    """
    rows = [
        refused_row(plan.model, task_id, catalogue.task(task_id).metric_id, reason, status)
        for task_id, (status, reason) in plan.unscorable.items()
    ]
    seen = {*plan.unscorable, *plan.unchanged, *(job.task_id for job in plan.jobs)}
    for task_id, reason in _refused_files(store, plan.model):
        if task_id not in seen and task_id in catalogue:
            seen.add(task_id)
            metric_id = catalogue.task(task_id).metric_id
            rows.append(refused_row(plan.model, task_id, metric_id, reason))
    return rows


def _refused_files(store: Store, model: str) -> list[tuple[str, str]]:
    """(task id, reason) of the model's files that were refused whole."""
    try:
        table = store.read_table("quarantine", "ingest", f"{quote_name(model)}.parquet")
    except FileNotFoundError:
        return []
    files = pl.DataFrame(pl.from_arrow(table)).filter(
        pl.col("position").is_null() & pl.col("task_id").is_not_null()
    )
    return [(task_id, reason) for task_id, reason in files.select("task_id", "reason").iter_rows()]
