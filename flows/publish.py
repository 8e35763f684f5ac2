"""The publish flow: task scores joined with specialists, levels and boards, swapped in at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows.runtime import means
from tasks.storage import Store
from tasks.warehouse import RunInfo, build, leaderboard


@flow(name="publish", flow_run_name="publish {run_id}", validate_parameters=False)
def publish(
    store_url: str,
    run_id: str,
    catalogue_files: Sequence[str] = (),
    base_catalogue: bool = True,
) -> dict[str, Any]:
    """Builds the results aside, checks them, and swaps them in. Arguments as in the ingest flow."""

    @task(name="build results", task_run_name="build results", cache_policy=NO_CACHE)
    def build_results() -> dict[str, Any]:
        store = Store(store_url)
        with means(catalogue_files, base_catalogue) as use:
            published = build(store, use.catalogue, RunInfo.now(run_id))
        return {
            "run_id": published.run_id,
            "database": published.database,
            "tables": published.tables,
            "levels": leaderboard(store).to_dicts(),
        }

    published = build_results()
    create_table_artifact(
        table=published["levels"] or [{"model": "no model has been scored yet"}],
        key="leaderboard",
        description=f"General-Level leaderboard, board A, corrected profile (run {run_id})",
    )
    get_run_logger().info(
        "published %s: %d models", published["database"], len(published["levels"])
    )
    return published
