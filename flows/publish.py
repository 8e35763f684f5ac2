"""The publish flow: task scores joined with specialists, levels and boards, swapped in at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import show_leaderboard, tag_run
from flows.runtime import means, sole_writer, still_sole_writer
from tasks.storage import Store
from tasks.warehouse import RunInfo, StageRun, build, leaderboard


@flow(
    name="publish",
    flow_run_name="publish {run_id}",
    validate_parameters=False,
    on_running=[tag_run],
)
def publish(
    store_url: str,
    run_id: str,
    catalogue_files: Sequence[str] = (),
    base_catalogue: bool = True,
    stages: Sequence[StageRun] = (),
) -> dict[str, Any]:
    """Builds the results aside, checks them, and swaps them in. Arguments as in the ingest flow.

    Args:
        stages: what the run's earlier stages took and did, for the table `run_stages`.
    """

    @task(name="build results", task_run_name="build results", cache_policy=NO_CACHE)
    def build_results() -> dict[str, Any]:
        store = Store(store_url)
        with sole_writer(store_url, run_id), means(catalogue_files, base_catalogue) as use:
            still_sole_writer()
            published = build(store, use.catalogue, RunInfo.now(run_id, stages))
        return {
            "run_id": published.run_id,
            "database": published.database,
            "tables": published.tables,
            "levels": leaderboard(store).to_dicts(),
        }

    published = build_results()
    show_leaderboard(run_id, published["levels"])
    get_run_logger().info(
        "published %s: %d models", published["database"], len(published["levels"])
    )
    return published
