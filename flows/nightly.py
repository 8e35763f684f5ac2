"""The nightly flow: ingest what changed, score what changed, publish the whole."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from prefect import flow

from flows.ingest import ingest
from flows.options import RunReport
from flows.publish import publish
from flows.score import score
from tasks.catalog import load_catalogue
from tasks.report.past_results import import_past_results
from tasks.storage import Store


@flow(name="nightly", flow_run_name="nightly {store_url}", validate_parameters=False)
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

    Args:
        results: workbooks or CSV files of past results, imported as they are.
        (the others as in the ingest flow)
    """
    report = RunReport(new_run_id(), store_url)
    catalogue = {"catalogue_files": list(catalogue_files), "base_catalogue": base_catalogue}
    chosen = {"models": models, "workers": workers, "force": force}

    began = time.perf_counter()
    if dataset is not None or submissions is not None:
        report.ingest = ingest(store_url, dataset, submissions, **catalogue, **chosen)
    for path in results:
        loaded = load_catalogue(catalogue_files, base=base_catalogue)
        report.imports.append(import_past_results(Store(store_url), path, loaded))
    report.seconds["ingest"] = time.perf_counter() - began

    began = time.perf_counter()
    report.scores = score(store_url, **catalogue, **chosen)
    report.seconds["score"] = time.perf_counter() - began

    began = time.perf_counter()
    report.published = publish(store_url, report.run_id, **catalogue)  # type: ignore[assignment]
    report.seconds["publish"] = time.perf_counter() - began
    return report


def new_run_id() -> str:
    """A sortable run id: the UTC time to the microsecond."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
