"""The nightly flow: ingest what changed, score what changed, publish the whole."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from flows.ingest import ingest
from flows.options import RunReport
from flows.publish import publish
from flows.runtime import means
from flows.score import score
from tasks.report.past_results import import_past_results
from tasks.storage import Store


@flow(
    name="nightly",
    flow_run_name="nightly {store_url}",
    task_runner=ThreadPoolTaskRunner(max_workers=64),  # type: ignore[arg-type]
    validate_parameters=False,
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
    force: bool = False,
) -> RunReport:
    """One run over all stages; see the flows it composes.

    The stages run inside this flow run, as they would in their own: a subflow would cost about
    0.1 s each and split one night over four pages of the dashboard.

    Args:
        results: workbooks or CSV files of past results, imported as they are.
        (the others as in the ingest flow)
    """
    report = RunReport(new_run_id(), store_url)
    catalogue = {"catalogue_files": list(catalogue_files), "base_catalogue": base_catalogue}
    chosen = {"models": models, "workers": workers, "force": force}
    with means(catalogue_files, base_catalogue, workers) as use:
        began = time.perf_counter()
        if dataset is not None or submissions is not None:
            report.ingest = ingest.fn(store_url, dataset, submissions, **catalogue, **chosen)
        for path in results:
            report.imports.append(import_past_results(Store(store_url), path, use.catalogue))
        report.seconds["ingest"] = time.perf_counter() - began

        began = time.perf_counter()
        report.scores = score.fn(store_url, **catalogue, **chosen)
        report.seconds["score"] = time.perf_counter() - began

        began = time.perf_counter()
        report.published = publish.fn(store_url, report.run_id, **catalogue)  # type: ignore[assignment]
        report.seconds["publish"] = time.perf_counter() - began
    return report


def new_run_id() -> str:
    """A sortable run id: the UTC time to the microsecond."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
