"""The score flow: what changed, over (model, task), to per-instance statistics and task scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from prefect import flow, get_run_logger
from prefect.task_runners import ThreadPoolTaskRunner

from flows.artifacts import tag_run
from flows.options import ScoreReport
from flows.runtime import Means, Work, means, run_all, sole_writer
from tasks.errors import UserError
from tasks.files import StorageFailure
from tasks.schema import QUARANTINE_SCHEMA, Manifest
from tasks.score import (
    BatchScores,
    ScorePlan,
    drop_stale_parts,
    finish_scores,
    plan_scores,
    refused_row,
    score_batch,
    scorings,
    unscored_rows,
)
from tasks.storage import Store, unquote_name


@flow(
    name="score",
    flow_run_name="score into {store_url}",
    task_runner=ThreadPoolTaskRunner(max_workers=64),  # type: ignore[arg-type]
    validate_parameters=False,
    on_running=[tag_run],
)
def score(
    store_url: str,
    catalogue_files: Sequence[str] = (),
    base_catalogue: bool = True,
    models: Sequence[str] | None = None,
    workers: int | None = None,
    dask: str | None = None,
    force: bool = False,
) -> list[ScoreReport]:
    """Scores what changed since the last time. Arguments as in the ingest flow.

    Raises:
        UserError: when the store holds predictions but no references to score them against.
    """
    with (
        sole_writer(store_url),
        means(catalogue_files, base_catalogue, workers, dask) as use,
    ):
        return _run(Store(store_url), use, models, force)


def _run(store: Store, use: Means, models: Sequence[str] | None, force: bool) -> list[ScoreReport]:
    found = [unquote_name(name) for name in store.names("predictions")]
    chosen = [model for model in found if models is None or model in models]
    references = store.read_struct(Manifest, "references", "manifest.json")
    if chosen and references is None:
        raise UserError(
            f"the store {store.url} holds predictions but no references",
            "ingest the dataset first: general-level ingest --dataset DATASET",
        )
    references = references or Manifest(kind="references")
    how = scorings(use.catalogue, references)
    plans = [plan_scores(store, model, how, force=force) for model in chosen]
    stages = [_Stage(store, p) for p in plans]
    for stage in stages:
        rows = unscored_rows(store, stage.plan, use.catalogue)
        stage.report.refused = {row["task_id"]: row["reason"] for row in rows}
        stage.finish(rows, QUARANTINE_SCHEMA.empty_table(), removed=stage.plan.removed)
    busy = [stage for stage in stages if stage.plan.batches]
    errors = run_all("score", [stage.work() for stage in busy], use.pool)
    for stage, error in zip(busy, errors, strict=True):
        if error is not None:
            stage.give_up(error)
    for stage in stages:
        drop_stale_parts(store, stage.report.model)
    reports = [stage.report for stage in stages]
    logger = get_run_logger()
    for report in reports:
        why = ", ".join(f"{count} {reason}" for reason, count in report.scored.items())
        logger.info("%s: scored %s; %d unchanged", report.model, why or "nothing", report.unchanged)
    return reports


class _Stage:
    """One model on its way to its scores."""

    def __init__(self, store: Store, plan: ScorePlan) -> None:
        self.store, self.plan = store, plan
        self.report = ScoreReport(
            plan.model, unchanged=len(plan.unchanged), removed=len(plan.removed)
        )
        self._reasons = {job.task_id: job.reason for job in plan.jobs}
        self._waiting = {job.task_id: job for job in plan.jobs}
        #: Why the storage failed a task, the last time that it was tried.
        self._failed: dict[str, str] = {}

    def work(self) -> Work[BatchScores]:
        model = self.plan.model
        calls = [(score_batch, (self.store, model, batch)) for batch in self.plan.batches]
        return Work(f"score {model} ({len(self._reasons)} tasks)", calls, self._take)

    def finish(
        self, rows: list[dict[str, Any]], quarantine: pa.Table, removed: Sequence[str] = ()
    ) -> None:
        """Brings scores into the model's state: after each batch, so that a kill loses only those
        under way."""
        finish_scores(self.store, self.plan.model, rows, quarantine, removed=removed)

    def give_up(self, error: BaseException) -> None:
        """Says of each task whose batch failed for good why it has no new score."""
        reason = f"{type(error).__name__}: {error}".strip()
        self.report.failures.append(f"{self.plan.model}: {reason}")
        reasons = {task_id: self._failed.get(task_id, reason) for task_id in self._waiting}
        rows = [
            refused_row(self.plan.model, task_id, job.metrics["corrected"], reasons[task_id])
            for task_id, job in self._waiting.items()
        ]
        self.report.refused |= reasons
        self.finish(rows, QUARANTINE_SCHEMA.empty_table())

    def _take(self, result: BatchScores) -> None:
        """Brings a batch in, all that could be scored of it.

        Raises:
            StorageFailure: when the batch is to be made again for the rest.
        """
        self.finish(result.rows, result.quarantine)
        # Of a batch that was made again, what was scored before has been counted before.
        rows = [row for row in result.rows if row["task_id"] in self._waiting]
        for row in rows:
            self._waiting.pop(row["task_id"], None)
        refused = {r["task_id"]: r["reason"] for r in rows if r["status"] == "refused"}
        self.report.refused |= refused
        for task_id, reason in refused.items():
            self.report.failures.append(f"{self.plan.model}: {task_id}: {reason}")
        tasks = {row["task_id"] for row in rows} - refused.keys()
        for reason in (self._reasons[task_id] for task_id in tasks):
            self.report.scored[reason] = self.report.scored.get(reason, 0) + 1
        self.report.instances += sum(
            row.get("n_instances") or 0 for row in rows if row["profile"] == "corrected"
        )
        self.report.worker_seconds += result.seconds
        self._failed |= result.failed
        if result.failed:
            raise StorageFailure(next(iter(result.failed.values())))
