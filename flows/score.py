"""The score flow: what changed, over (model, task), to per-instance statistics and task scores."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from prefect import flow, get_run_logger
from prefect.task_runners import ThreadPoolTaskRunner

from flows.options import ScoreReport
from flows.runtime import Work, WorkerPool, means, run_all
from tasks.errors import UserError
from tasks.schema import QUARANTINE_SCHEMA, Manifest
from tasks.score import (
    ScorePlan,
    drop_stale_parts,
    finish_scores,
    plan_scores,
    score_batch,
    unscored_rows,
)
from tasks.storage import Store, unquote_name


@flow(
    name="score",
    flow_run_name="score into {store_url}",
    task_runner=ThreadPoolTaskRunner(max_workers=64),  # type: ignore[arg-type]
    validate_parameters=False,
)
def score(
    store_url: str,
    catalogue_files: Sequence[str] = (),
    base_catalogue: bool = True,
    models: Sequence[str] | None = None,
    workers: int | None = None,
    force: bool = False,
) -> list[ScoreReport]:
    """Scores what changed since the last time. Arguments as in the ingest flow.

    Raises:
        UserError: when the store holds predictions but no references to score them against.
    """
    store = Store(store_url)
    found = [unquote_name(name) for name in store.names("predictions")]
    chosen = [model for model in found if models is None or model in models]
    references = store.read_struct(Manifest, "references", "manifest.json")
    if chosen and references is None:
        raise UserError(
            f"the store {store_url} holds predictions but no references",
            "ingest the dataset first: general-level ingest --dataset DATASET",
        )
    references = references or Manifest(kind="references")
    with means(catalogue_files, base_catalogue, workers) as use:
        plans = [
            plan_scores(store, model, use.catalogue, references, force=force) for model in chosen
        ]
        reports = [
            ScoreReport(p.model, unchanged=len(p.unchanged), removed=len(p.removed)) for p in plans
        ]
        for p, report in zip(plans, reports, strict=True):
            rows = unscored_rows(store, p, use.catalogue)
            report.refused = {row["task_id"]: row["reason"] for row in rows}
            finish_scores(store, p.model, rows, QUARANTINE_SCHEMA.empty_table(), removed=p.removed)
        _run(store, plans, reports, use.pool)
    logger = get_run_logger()
    for report in reports:
        why = ", ".join(f"{count} {reason}" for reason, count in report.scored.items())
        logger.info("%s: scored %s; %d unchanged", report.model, why or "nothing", report.unchanged)
    return reports


def _run(
    store: Store, plans: list[ScorePlan], reports: list[ScoreReport], pool: WorkerPool
) -> None:
    work, owner = [], []
    for number, p in enumerate(plans):
        for i, batch in enumerate(p.batches, start=1):
            label = f"score {p.model} {i}/{len(p.batches)} ({len(batch)} tasks)"
            work.append(Work(label, score_batch, (store, p.model, batch)))
            owner.append((number, batch))
    for outcome in run_all("score", work, pool):
        number, batch = owner[outcome.index]
        report = reports[number]
        if outcome.error is not None or outcome.result is None:
            report.failures.append(f"{work[outcome.index].label}: {outcome.error}")
            continue
        result = outcome.result
        for row in result.rows:
            if row["status"] == "refused":
                report.refused[row["task_id"]] = row["reason"]
                report.failures.append(f"{report.model}: {row['task_id']}: {row['reason']}")
        report.scored.update(job.reason for job in batch if job.task_id not in report.refused)
        report.instances += result.instances
        report.worker_seconds += result.seconds
        quarantine: pa.Table = result.quarantine
        # After each batch, so that a kill loses only the batches under way.
        finish_scores(store, report.model, result.rows, quarantine)
    for p in plans:
        drop_stale_parts(store, p.model)
