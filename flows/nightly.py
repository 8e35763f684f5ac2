"""The nightly flow: ingest what changed, score what changed, publish the whole."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from flows.alerts import alert_end, alert_night
from flows.artifacts import show_night, show_stages, show_tags, show_work, shown_meanwhile
from flows.ingest import ingest
from flows.options import RunReport
from flows.publish import publish
from flows.runtime import means, new_run_id, sole_writer
from flows.score import score
from tasks.report.night import read_standing
from tasks.report.past_results import import_past_results
from tasks.storage import Store


@flow(
    name="nightly",
    flow_run_name="nightly {store_url}",
    task_runner=ThreadPoolTaskRunner(max_workers=64),  # type: ignore[arg-type]
    validate_parameters=False,
    # Nothing is kept of what a run returns; with a place named, the server is not asked for one.
    persist_result=False,
    result_storage=Path(tempfile.gettempdir()),
    on_failure=[alert_end],
    on_crashed=[alert_end],
)
def nightly(
    store_url: str,
    dataset: str | None = None,
    submissions: str | None = None,
    results: Sequence[str] = (),
    catalogue_files: Sequence[str] = (),
    base_catalogue: bool = True,
    models: Sequence[str] | None = None,
    workers: int | None = None,
    dask: str | None = None,
    force: bool = False,
    webhook: str | None = None,
) -> RunReport:
    """One run over all stages; see the flows it composes.

    The stages run inside this flow run, as they would in their own: a subflow would cost about
    0.1 s each and split one night over four pages of the dashboard.

    Args:
        store_url: folder or URL of the store.
        dataset: folder, archive or URL of the dataset shards; None leaves the references alone.
        submissions: folder or URL with one folder or archive a model; None reads none.
        results: workbooks or CSV files of past results, imported as they are.
        catalogue_files: user catalogue files, later ones win.
        base_catalogue: whether the published catalogue is under them.
        models: only these models' submissions; None takes all.
        workers: worker processes, by default one a core.
        dask: address of a Dask scheduler whose workers do it instead.
        force: read and score again what has not changed.
        webhook: URL that alerts are posted to, by default that in `GENERAL_LEVEL_WEBHOOK`. A
            parameter is shown on the flow run's page: keep a secret URL in the environment.
    """
    report = RunReport(new_run_id(), store_url)
    catalogue = {"catalogue_files": list(catalogue_files), "base_catalogue": base_catalogue}
    chosen = {"models": models, "workers": workers, "dask": dask, "force": force}
    with shown_meanwhile():
        show_tags()
        with (
            sole_writer(store_url, report.run_id),
            means(catalogue_files, base_catalogue, workers, dask) as use,
        ):
            began = time.perf_counter()
            if dataset is not None or submissions is not None:
                report.ingest = ingest.fn(store_url, dataset, submissions, **catalogue, **chosen)
            for path in results:
                report.imports.append(import_past_results(Store(store_url), path, use.catalogue))
            report.seconds["ingest"] = time.perf_counter() - began

            began = time.perf_counter()
            report.scores = score.fn(store_url, **catalogue, **chosen)
            report.seconds["score"] = time.perf_counter() - began
            show_work(report)

            began = time.perf_counter()
            report.published = publish.fn(  # type: ignore[assignment]
                store_url, report.run_id, **catalogue, stages=report.stages
            )
            report.seconds["publish"] = time.perf_counter() - began
            show_stages(report)
            standing = read_standing(Store(store_url))
            show_night(report, standing)  # sent while the workers end
        alert_night(report, standing, webhook)
    return report
