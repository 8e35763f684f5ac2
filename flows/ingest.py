"""The ingest flow: dataset and submissions, as they arrive, to typed Parquet in the store."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import flow, get_run_logger
from prefect.task_runners import ThreadPoolTaskRunner

from flows.options import IngestReport
from flows.runtime import Work, WorkerPool, means, run_all
from tasks.ingest import Plan, finish, ingest_batch, list_submissions, plan
from tasks.storage import Store


@flow(
    name="ingest",
    flow_run_name="ingest into {store_url}",
    task_runner=ThreadPoolTaskRunner(max_workers=64),  # type: ignore[arg-type]
    validate_parameters=False,
)
def ingest(
    store_url: str,
    dataset: str | None = None,
    submissions: str | None = None,
    catalogue_files: Sequence[str] = (),
    base_catalogue: bool = True,
    models: Sequence[str] | None = None,
    workers: int | None = None,
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
        force: read again what has not changed.
    """
    with means(catalogue_files, base_catalogue, workers) as use:
        store, catalogue = Store(store_url), use.catalogue
        plans = []
        if dataset is not None:
            plans.append(plan(store, "references", None, dataset, catalogue, force=force))
        if submissions is not None:
            plans += [
                plan(store, "predictions", found.model, found.url, catalogue, force=force)
                for found in list_submissions(submissions)
                if models is None or found.model in models
            ]
        return _run(store, plans, catalogue, use.pool)


def _run(
    store: Store, plans: list[Plan], catalogue: object, pool: WorkerPool
) -> list[IngestReport]:
    logger = get_run_logger()
    reports = [IngestReport(_name(p), dict(p.counts)) for p in plans]
    work, owner = [], []
    for number, p in enumerate(plans):
        for i, batch in enumerate(p.batches, start=1):
            label = f"ingest {_name(p)} {i}/{len(p.batches)} ({len(batch)} files)"
            args = (store, p.kind, p.model, batch, catalogue)
            work.append(Work(label, ingest_batch, args))
            owner.append(number)
    done: dict[int, list] = {number: [] for number in range(len(plans))}
    for outcome in run_all("ingest", work, pool):
        number = owner[outcome.index]
        if outcome.error is not None or outcome.result is None:
            reports[number].failures.append(f"{work[outcome.index].label}: {outcome.error}")
            continue
        done[number].append(outcome.result)
        reports[number].rows += outcome.result.rows
        # After each batch, so that a kill loses only the batches under way.
        finish(store, plans[number], done[number])
    for number, p in enumerate(plans):
        manifest = finish(store, p, done[number])
        reports[number].quarantined = sum(e.quarantined for e in manifest.tasks.values())
        counts = ", ".join(f"{count} {state}" for state, count in p.counts.items() if count)
        logger.info("%s: %s", _name(p), counts or "nothing found")
    return reports


def _name(p: Plan) -> str:
    return p.model if p.model is not None else "references"
