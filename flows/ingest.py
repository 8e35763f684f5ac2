"""The ingest flow: dataset and submissions, as they arrive, to typed Parquet in the store."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import flow, get_run_logger
from prefect.task_runners import ThreadPoolTaskRunner

from flows.artifacts import tag_run
from flows.options import IngestReport
from flows.runtime import Pool, Work, despite_failures, means, run_all, sole_writer
from tasks.catalog import Catalogue
from tasks.errors import UserError
from tasks.files import is_storage_failure
from tasks.ingest import BatchResult, Plan, finish, ingest_batch, list_submissions, plan
from tasks.ingest.discover import shown
from tasks.storage import Store


@flow(
    name="ingest",
    flow_run_name="ingest into {store_url}",
    task_runner=ThreadPoolTaskRunner(max_workers=64),  # type: ignore[arg-type]
    validate_parameters=False,
    on_running=[tag_run],
)
def ingest(
    store_url: str,
    dataset: str | None = None,
    submissions: str | None = None,
    catalogue_files: Sequence[str] = (),
    base_catalogue: bool = True,
    models: Sequence[str] | None = None,
    workers: int | None = None,
    dask: str | None = None,
    force: bool = False,
) -> list[IngestReport]:
    """Reads what is new or changed of a dataset and of the submissions.

    Args:
        store_url: folder or URL of the store.
        dataset: folder, archive or URL of the dataset shards; None leaves the references alone.
        submissions: folder or URL with one folder or archive a model; None reads none.
        catalogue_files: user catalogue files, later ones win.
        base_catalogue: whether the published catalogue is under them.
        models: read only these models' submissions.
        workers: worker processes, by default one a core.
        dask: address of a Dask scheduler whose workers do it instead; see docs/scale.md.
        force: read again what has not changed.
    """
    with (
        sole_writer(store_url),
        means(catalogue_files, base_catalogue, workers, dask) as use,
    ):
        store, catalogue = Store(store_url), use.catalogue
        sources: list[tuple[str | None, str]] = []
        if dataset is not None:
            sources.append((None, dataset))
        if submissions is not None:
            arrived = despite_failures(list_submissions, submissions)
            sources += [(s.model, s.url) for s in arrived if models is None or s.model in models]
        plans: list[Plan] = []
        refused: list[IngestReport] = []
        for model, url in sources:
            kind = "references" if model is None else "predictions"
            try:
                plans.append(
                    despite_failures(plan, store, kind, model, url, catalogue, force=force)
                )
            except Exception as error:
                # One submission's mistake, or a source whose storage does not come back: the others
                # go on, with what the store has of this one.
                mistake = isinstance(error, UserError) and model is not None
                if not mistake and not is_storage_failure(error):
                    raise
                name = "references" if model is None else shown(model)
                told = str(error) if mistake else f"{name}: {type(error).__name__}: {error}"
                refused.append(IngestReport(name, failures=[told]))
        return _run(store, plans, catalogue, use.pool) + refused


def _run(store: Store, plans: list[Plan], catalogue: Catalogue, pool: Pool) -> list[IngestReport]:
    logger = get_run_logger()
    stages = [_Stage(store, p, catalogue) for p in plans]
    busy = [stage for stage in stages if stage.plan.batches]
    errors = run_all("ingest", [stage.work() for stage in busy], pool)
    for stage, error in zip(busy, errors, strict=True):
        if error is not None:
            stage.report.failures.append(f"{stage.report.name}: {error}")
    for stage in stages:
        manifest = finish(store, stage.plan, stage.done)
        stage.report.quarantined = sum(e.quarantined for e in manifest.tasks.values())
        counts = ", ".join(
            f"{count} {state}" for state, count in stage.plan.counts.items() if count
        )
        logger.info("%s: %s", stage.report.name, counts or "nothing found")
    return [stage.report for stage in stages]


class _Stage:
    """One source on its way into the store."""

    def __init__(self, store: Store, plan: Plan, catalogue: Catalogue) -> None:
        self.store, self.plan, self.catalogue = store, plan, catalogue
        self.done: list[BatchResult] = []
        self.report = IngestReport(plan.model or "references", dict(plan.counts))

    def work(self) -> Work[BatchResult]:
        plan = self.plan
        fixed = (self.store, plan.kind, plan.model)
        calls = [(ingest_batch, (*fixed, batch, self.catalogue)) for batch in plan.batches]
        return Work(f"ingest {self.report.name} ({len(plan.pending)} files)", calls, self._take)

    def _take(self, result: BatchResult) -> None:
        self.done.append(result)
        self.report.rows += result.rows
        # After each batch, so that a kill loses only the batches under way.
        finish(self.store, self.plan, self.done)
