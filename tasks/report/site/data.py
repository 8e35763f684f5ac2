"""What the site shows, read from the published results as columns.

A table that an earlier version has not published is read as an empty one: its part of the site is
left out.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import duckdb
import polars as pl

from tasks.catalog import load_catalogue
from tasks.metrics import get_metric
from tasks.report.site.names import slug
from tasks.storage import Store
from tasks.warehouse import connect, load_models
from tasks.warehouse.tables import quote

#: What pages of models and tasks show; boards show every profile and aggregation.
PROFILE, AGGREGATION = "corrected", "modality_mean"
LEVELS = (2, 3, 4, 5)

_MODALITIES = pl.Enum(["image", "video", "audio", "3d", "language"])
#: Tables that a store of an earlier version lacks: the columns that are read of them.
_EMPTY = {
    "boards": "board_id VARCHAR, scope VARCHAR, title VARCHAR, max_level BIGINT, tasks BIGINT",
    "task_intervals": (
        "model VARCHAR, task_id VARCHAR, raw_low DOUBLE, raw_high DOUBLE, "
        "p_at_or_above_specialist DOUBLE"
    ),
    "level_intervals": (
        "board_id VARCHAR, model VARCHAR, level BIGINT, low DOUBLE, high DOUBLE, "
        "share_bootstrapped DOUBLE"
    ),
    "rank_intervals": "board_id VARCHAR, model VARCHAR, rank_low BIGINT, rank_high BIGINT",
    "synergy_map": (
        "model VARCHAR, modality VARCHAR, paradigm VARCHAR, skill VARCHAR, tasks_total BIGINT, "
        "tasks_supported BIGINT, tasks_won BIGINT, mean_score DOUBLE, mean_specialist_score DOUBLE"
    ),
    "level_gains": (
        "model VARCHAR, task_id VARCHAR, gap DOUBLE, level_2_gain DOUBLE, level_3_gain DOUBLE, "
        "level_4_gain DOUBLE, level_5_gain DOUBLE"
    ),
    "path_to_next_level": (
        "model VARCHAR, next_level BIGINT, step BIGINT, task_id VARCHAR, gap DOUBLE, "
        "total_gap DOUBLE"
    ),
    "score_changes": (
        "profile VARCHAR, model VARCHAR, task_id VARCHAR, raw_score DOUBLE, "
        "raw_score_before DOUBLE, change DOUBLE"
    ),
}


@dataclass(frozen=True, slots=True)
class SiteData:
    """The published results as the site shows them.

    Attributes:
        run: run_id, published_at, scorer_version, catalogue_sha256 of the last run, and runs, how
            many there were.
        models: a row a model, by name: model, slug, and the columns of the view `coverage`.
        tasks: a row a task: the columns of `stg_tasks`, slug, metric_title, metric_source,
            definition.
        results: as `sql/site/site_results.sql`, every model on every task, in the order of
            `models` and, within, of `tasks`.
        boards: a row a board: board_id, scope, title, max_level, tasks, slug.
        places, synergy, gains, history: as the models of these names in `sql/site/`, in order.
        path, changes: as the views path_to_next_level and score_changes, in order. They and `gains`
            name tasks by `task` too, the row in `tasks` (null for one that is no longer there).
    """

    run: dict[str, object]
    models: pl.DataFrame
    tasks: pl.DataFrame
    results: pl.DataFrame
    boards: pl.DataFrame
    places: pl.DataFrame
    synergy: pl.DataFrame
    gains: pl.DataFrame
    path: pl.DataFrame
    changes: pl.DataFrame
    history: pl.DataFrame


def read(store: Store) -> SiteData:
    """Reads all of it from the last published run.

    Raises:
        UserError: when nothing has been published in this store.
    """
    with connect(store, rows=False) as database:
        _add_absent(database)
        for model in load_models("site"):
            database.execute(f"CREATE TEMP VIEW {quote(model.name)} AS {model.sql}")
        models = database.sql("FROM coverage").pl()
        models = _with_slugs(models.sort(pl.col("model").str.to_lowercase(), "model"), "model")
        tasks = _tasks(database)
        rows = tasks.select("task_id").with_row_index("task")

        def of_tasks(query: str) -> pl.DataFrame:
            found = database.sql(query).pl()
            return found.join(rows, on="task_id", how="left", maintain_order="left")

        by_model = models.select("model").with_row_index("model_row")
        return SiteData(
            run=database.sql(_LAST_RUN).pl().row(0, named=True),
            models=models,
            tasks=tasks,
            results=of_tasks("FROM site_results")
            .join(by_model, on="model", how="left")
            .sort("model_row", "task"),
            boards=_with_slugs(database.sql(_BOARDS).pl(), "board_id"),
            places=database.sql("FROM site_places").pl(),
            synergy=database.sql("FROM site_synergy").pl(),
            gains=of_tasks("FROM site_gains"),
            path=of_tasks("FROM path_to_next_level ORDER BY model, step"),
            changes=of_tasks(
                "FROM score_changes WHERE profile = 'corrected' "
                "ORDER BY model, abs(change) DESC, task_id"
            ),
            history=database.sql("FROM site_history").pl(),
        )


_LAST_RUN = """
SELECT *, (SELECT count(*) FROM runs) AS runs FROM runs
ORDER BY published_at DESC, run_id DESC LIMIT 1
"""

#: In a store of an earlier version boards go by their ids.
_BOARDS = """
SELECT
    board_id, coalesce(scope, left(board_id, 1)) AS scope, coalesce(title, board_id) AS title,
    coalesce(boards.max_level, found.max_level) AS max_level,
    coalesce(boards.tasks, found.tasks) AS tasks
FROM (
    SELECT board_id, max(max_level) AS max_level, count(*) AS tasks FROM board_tasks
    GROUP BY board_id
) AS found
LEFT JOIN boards USING (board_id)
WHERE board_id IN (SELECT board_id FROM leaderboards)
ORDER BY scope, lower(title), board_id
"""


def _add_absent(database: duckdb.DuckDBPyConnection) -> None:
    """Makes each table of `_EMPTY` that the database lacks, for this connection only."""
    names = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main'"
    known = {row[0] for row in database.execute(names).fetchall()}
    for name, columns in _EMPTY.items():
        if name not in known:
            database.execute(f"CREATE TEMP TABLE {quote(name)} ({columns})")


def _tasks(database: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """The catalogue of the published run, with what its metrics mean."""
    tasks = database.sql("FROM stg_tasks").pl()
    tasks = tasks.sort(
        pl.col("modality").cast(_MODALITIES, strict=False), "paradigm", "task_id", nulls_last=True
    )
    metrics = load_catalogue(base=False).metrics.join(tasks, on="metric_id", how="semi")
    definitions = [_definition(metric_id) for metric_id in metrics["metric_id"]]
    about = metrics.select(
        "metric_id",
        metric_title="title",
        metric_source="source",
        definition=pl.Series(definitions, dtype=pl.String),
    )
    tasks = tasks.join(about, on="metric_id", how="left", maintain_order="left")
    return _with_slugs(tasks, "task_id")


def _definition(metric_id: str) -> str:
    """The first paragraph of the metric's own definition."""
    text = inspect.getdoc(type(get_metric(metric_id))) or ""
    return " ".join(text.split("\n\n")[0].split()).replace("`", "")


def _with_slugs(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    return frame.with_columns(
        pl.Series("slug", [slug(text) for text in frame[name]], dtype=pl.String)
    )
