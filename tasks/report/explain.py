"""How a score came about: from the instances to the levels, out of the published results."""

from __future__ import annotations

import inspect
from typing import Any

import duckdb

from tasks.errors import UserError, near
from tasks.metrics import get_metric, has_metric
from tasks.storage import Store
from tasks.warehouse import connect

#: Instances shown of the worst and of the best, and refused rows.
FEW = 5
LEVELS = (2, 3, 4, 5)

_COUNTS = (
    *("n_instances", "n_scored", "n_missing", "n_unreadable", "n_duplicate", "n_extra"),
    "coverage",
)


def explain(store: Store, model: str, task: str) -> dict[str, Any]:
    """All that led to a model's score on a task (corrected profile), and what it does to the levels.

    Args:
        store: where results have been published.
        model: model name.
        task: task id, title or short title.

    Returns:
        A document of these parts (raw scores in the task's unit, scores 0..100): `task`, `metric`,
        `instances` (counts and a few refused rows), `statistics` (of the instances' scores; None
        where none are kept), `result`, `normalisation`, `specialist`, `interval` (95 %, or None),
        `contributions` (to each level of board A, beside the sum over all tasks), `gains` (of each
        level if the score became the specialist's; None when it is won), `other_profiles`.

    Raises:
        UserError: when nothing is published, the model or the task is unknown, or the results were
            published by a version that knew no contributions.
    """
    with connect(store) as database:
        try:
            return _explain(database, model, task)
        except duckdb.CatalogException as error:
            raise UserError(
                f"the results in {store.url} are of an earlier version: {error}",
                f"publish them again: general-level publish --store {store.url}",
            ) from None


def mapped(task: dict[str, Any], raw: float) -> str:
    """The task's map with the numbers put in, e.g. `100 * tanh(25 / (2 * 12.3))`.

    Args:
        task: its row of `stg_tasks`: map, threshold, unit, minimum, maximum.
        raw: a score in the task's unit, inside its range.
    """
    x = f"{raw:.10g}"
    percent = task["unit"] == "percent"
    match task["map"]:
        case "identity":
            return f"min(100, {x})" if percent else f"min(100, 100 * {x})"
        case "one_minus":
            return f"max(0, 100 - {x})" if percent else f"max(0, 100 * (1 - {x}))"
        case "tanh_ratio" if raw == 0:
            return "100"
        case "tanh_ratio":
            return f"100 * tanh({task['threshold']:g} / (2 * {x}))"
        case "tanh_scale":
            return f"100 * tanh({x} / 20)"
        case _:
            low, high = task["minimum"], task["maximum"]
            return f"100 * ({x} - {low:g}) / ({high:g} - {low:g})"


def _explain(database: duckdb.DuckDBPyConnection, model: str, name: str) -> dict[str, Any]:
    task = _task(database, name)
    keys = {"model": _model(database, model), "task_id": task["task_id"]}
    profiles = _rows(
        database, "FROM task_results WHERE model = $model AND task_id = $task_id", keys
    )
    (result,) = (row for row in profiles if row["profile"] == "corrected")
    metric_id = task["metric_id"]
    about = inspect.getdoc(get_metric(metric_id)) if has_metric(metric_id) else None
    raw, specialist = result["raw_score"], task["specialist_raw"]
    sign = 1 if task["direction"] == "higher" else -1
    return {
        "model": keys["model"],
        "task": {
            key: task[key]
            for key in ("task_id", "title", "modality", "paradigm", "skill", "domain")
        },
        "metric": {
            "metric_id": metric_id,
            "definition": about and about.split("\n\n")[0].replace("\n", " "),
            **{key: task[key] for key in ("unit", "direction", "minimum", "maximum")},
        },
        "instances": {key: result[key] for key in _COUNTS}
        | {"refused_rows": _refused_rows(database, keys)},
        "statistics": _statistics(database, keys | {"metric_id": metric_id}, sign),
        "result": {
            key: result[key]
            for key in (
                *("status", "reason", "raw_score", "raw_score_answered", "score", "wins"),
                *("origin", "source", "scorer_version", "stale_since"),
            )
        }
        | {
            "better_than_specialist_by": None
            if raw is None
            else _difference(raw, specialist, sign),
            "score_above_specialist": result["score"] - result["specialist_score"],
        },
        "normalisation": {
            "map": task["map"],
            "formula": None if raw is None else mapped(task, raw),
            "score": result["score"],
        },
        "specialist": {
            "model": task["specialist_model"],
            "raw_score": specialist,
            "formula": mapped(task, specialist),
            "score": result["specialist_score"],
        },
        "interval": _only(
            database,
            "SELECT * EXCLUDE (model, task_id) FROM task_intervals "
            "WHERE model = $model AND task_id = $task_id",
            keys,
        ),
        "contributions": _rows(database, _CONTRIBUTIONS, keys),
        "gains": _only(
            database,
            "SELECT gap, level_2_gain, level_3_gain, level_4_gain, level_5_gain FROM level_gains "
            "WHERE model = $model AND task_id = $task_id",
            keys,
        ),
        "other_profiles": [
            {key: row[key] for key in ("profile", "status", "raw_score", "score", "wins")}
            for row in sorted(profiles, key=lambda row: row["profile"])
            if row["profile"] != "corrected"
        ],
    }


def _difference(raw: float, specialist: float, sign: int) -> float:
    """How much better the raw score is; 0 where both are infinite."""
    return 0.0 if raw == specialist else sign * (raw - specialist)


def _task(database: duckdb.DuckDBPyConnection, name: str) -> dict[str, Any]:
    found = _rows(
        database,
        "FROM stg_tasks WHERE task_id = $name OR lower(title) = lower($name) "
        "OR lower(short_title) = lower($name) ORDER BY task_id",
        {"name": name},
    )
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(row["task_id"] for row in found)
        raise UserError(f"{name!r} is the title of {len(found)} tasks", f"name one: {ids}")
    ids = {}
    for row in _rows(database, "SELECT task_id, title FROM stg_tasks", {}):
        ids |= {row["task_id"]: row["task_id"], row["title"]: row["task_id"]}
    alike = dict.fromkeys(ids[one] for one in near(name, ids))
    raise UserError(
        f"no task is called {name!r}",
        f"near it: {', '.join(alike)}" if alike else "general-level sql 'FROM tasks' lists them",
    )


def _model(database: duckdb.DuckDBPyConnection, name: str) -> str:
    query = "SELECT model FROM language_scores WHERE profile = 'corrected'"
    models = [row["model"] for row in _rows(database, query, {})]
    if name in models:
        return name
    alike = near(name, models)
    raise UserError(
        f"no model is called {name!r}",
        f"near it: {', '.join(alike)}"
        if alike
        else "general-level sql 'SELECT model FROM leaderboard' lists them",
    )


def _statistics(
    database: duckdb.DuckDBPyConnection, keys: dict[str, Any], sign: int
) -> dict[str, Any] | None:
    """Of the instances' own scores; None where none are stored, or the metric gives none."""
    if not _has_view(database, "instance_scores"):
        return None
    of_task = (
        "FROM instance_scores WHERE model = $model AND task_id = $task_id "
        "AND metric_id = $metric_id AND score IS NOT NULL"
    )
    summary = _only(
        database,
        "SELECT count(*) AS instances, avg(score) AS mean, min(score) AS minimum, "
        "quantile_disc(score, 0.25) AS lower_quartile, quantile_disc(score, 0.5) AS median, "
        f"quantile_disc(score, 0.75) AS upper_quartile, max(score) AS maximum {of_task}",
        keys,
    )
    if not summary or not summary["instances"]:
        return None
    extremes = {}
    for which, order in (("worst", sign), ("best", -sign)):
        extremes[which] = _rows(
            database,
            f"SELECT instance_id, status, score {of_task} "
            f"ORDER BY score * {order}, instance_id LIMIT {FEW}",
            keys,
        )
    return summary | extremes


def _refused_rows(
    database: duckdb.DuckDBPyConnection, keys: dict[str, Any]
) -> list[dict[str, Any]]:
    """A few rows of the task's predictions that were refused."""
    if not _has_view(database, "quarantine"):
        return []
    return _rows(
        database,
        "SELECT stage, source, position, instance_id, reason FROM quarantine "
        "WHERE model = $model AND task_id = $task_id ORDER BY ALL LIMIT $few",
        keys | {"few": FEW},
    )


#: To each level of board A and to w_L: the task's summand, the sum of all tasks', the figure itself.
_CONTRIBUTIONS = """
WITH summands AS (
    UNPIVOT (FROM level_contributions WHERE board_id = 'A' AND model = $model)
    ON level_2, level_3, level_4, level_5, language_weight INTO NAME figure VALUE summand
),

published AS (
    UNPIVOT (
        FROM levels
        WHERE
            board_id = 'A' AND model = $model
            AND profile = 'corrected' AND aggregation = 'modality_mean'
    )
    ON level_2, level_3, level_4, level_5, language_weight INTO NAME figure VALUE published
)

SELECT
    figure,
    sum(summand) FILTER (task_id = $task_id) AS summand,
    sum(summand) AS sum_of_all,
    any_value(published) AS published,
    abs(sum(summand) - any_value(published)) <= 1e-9 AS adds_up
FROM summands INNER JOIN published USING (figure)
GROUP BY figure ORDER BY figure = 'language_weight', figure
"""


def _has_view(database: duckdb.DuckDBPyConnection, name: str) -> bool:
    query = "SELECT 1 AS found FROM duckdb_views() WHERE view_name = $name"
    return bool(_rows(database, query, {"name": name}))


def _only(
    database: duckdb.DuckDBPyConnection, query: str, values: dict[str, Any]
) -> dict[str, Any] | None:
    rows = _rows(database, query, values)
    return rows[0] if rows else None


def _rows(
    database: duckdb.DuckDBPyConnection, query: str, values: dict[str, Any]
) -> list[dict[str, Any]]:
    # DuckDB takes no value that the query does not name.
    named = {key: value for key, value in values.items() if f"${key}" in query}
    result = database.execute(query, named)
    columns = [column[0] for column in result.description or []]
    return [dict(zip(columns, row, strict=True)) for row in result.fetchall()]
