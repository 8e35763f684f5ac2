"""Two models compared: paired differences of their replicates, which are of the same draws."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import stdtr
from scipy.stats import false_discovery_control

from tasks.errors import UserError
from tasks.storage import Store
from tasks.uncertainty.intervals import interval, standard_error
from tasks.uncertainty.published import level_replicates_of, normalised, read_replicates
from tasks.warehouse import connect

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What tells two models apart. Differences are those of `model` minus those of `other`.

    Attributes:
        levels: one row a level of the board: level, score, other_score, difference, low, high, p.
        tasks: one row a task that either supports: task_id, score, other_score (normalised, null
            where it does not support the task), difference (points of 0..100, absent counts 0),
            low, high, p, q, better (the model's name when q is at most `rate`).
        rate: the false discovery rate.
    """

    model: str
    other: str
    board: str
    rate: float
    levels: pl.DataFrame
    tasks: pl.DataFrame


def compare(
    store: Store, model: str, other: str, board: str = "A", rate: float = 0.05
) -> Comparison:
    """Compares two models on the tasks that both were scored on, and their levels on a board.

    A task's p is that of a paired difference of 0: Student's t with the bootstrap's standard error.
    Where no draw differs in its difference, all instances differ alike, and p is that of n signs
    being equal, 2^(1 - n). The q beside it controls the false discovery rate over the tasks
    (Benjamini and Hochberg 1995): of the tasks with q <= 0.05 one in twenty is expected to be chance.
    A level's p is the share of the replicates on the other side of 0, doubled. Imported scores have
    no replicates, hence no p.

    Raises:
        UserError: when nothing is published, or one of the models or the board is unknown.
    """
    with connect(store, rows=False) as database:
        models, boards = (
            [name for (name,) in database.sql(query).fetchall()]
            for query in ("SELECT DISTINCT model FROM task_results", "SELECT board_id FROM boards")
        )
        for kind, name, known in (
            ("model", model, models),
            ("model", other, models),
            ("board", board, boards),
        ):
            if name not in known:
                near = get_close_matches(name, known, 8, 0.3) or sorted(known)[:8]
                raise UserError(f"no {kind} {name!r} is published", f"near it: {', '.join(near)}")
        tasks = _tasks(database, store, model, other)
        levels = _levels(database, store, model, other, board)
    drawn = tasks["p"].is_not_null()
    adjusted = tasks["p"].drop_nulls().to_numpy()
    q = pl.Series("q", [None] * tasks.height, dtype=pl.Float64)
    if len(adjusted):
        q = q.scatter(drawn.arg_true(), false_discovery_control(adjusted))
    better = (
        pl.when(q > rate)
        .then(None)
        .when(pl.col("difference") > 0)
        .then(pl.lit(model))
        .when(pl.col("difference") < 0)
        .then(pl.lit(other))
    )
    tasks = tasks.with_columns(q, better.alias("better"))
    return Comparison(model, other, board, rate, levels, tasks)


def _tasks(
    database: duckdb.DuckDBPyConnection, store: Store, model: str, other: str
) -> pl.DataFrame:
    found = database.sql(
        "SELECT task_id, max(score) FILTER (model = $model) AS score, "
        "max(score) FILTER (model = $other) AS other_score, max(n_instances) AS n_instances "
        "FROM task_results WHERE profile = 'corrected' AND status = 'scored' "
        "AND model IN ($model, $other) GROUP BY task_id ORDER BY task_id",
        params={"model": model, "other": other},
    ).pl()
    ours, theirs = (
        {task_id: score for task_id, _, score, _ in normalised(database, read_replicates(store, m))}
        for m in (model, other)
    )
    rows = []
    for task_id, score, other_score, instances in found.iter_rows():
        row = {"difference": (score or 0.0) - (other_score or 0.0), "low": None, "high": None}
        row["p"] = None
        both = score is not None and other_score is not None
        if both and task_id in ours and task_id in theirs:
            drawn = ours[task_id] - theirs[task_id]
            row["low"], row["high"] = interval(drawn, instances)
            row["p"] = _p(row["difference"], standard_error(drawn), instances)
        rows.append(row)
    columns = ("difference", "low", "high", "p")
    schema: dict[str, Any] = dict.fromkeys(columns, pl.Float64)
    return pl.concat(
        [found.drop("n_instances"), pl.DataFrame(rows, schema=schema)], how="horizontal"
    )


def _p(difference: float, error: float, instances: int) -> float:
    # Equal but for rounding: sums of the same numbers in another order.
    if abs(difference) < 1e-9:
        return 1.0
    if error < 1e-9:
        return 2.0 ** (1 - instances)
    return float(2 * stdtr(instances - 1, -abs(difference) / error))


def _levels(
    database: duckdb.DuckDBPyConnection, store: Store, model: str, other: str, board: str
) -> pl.DataFrame:
    scores = {
        name: row
        for name, *row in database.sql(
            "SELECT model, level_2, level_3, level_4, level_5 FROM levels WHERE board_id = $board "
            "AND profile = 'corrected' AND aggregation = 'modality_mean' "
            "AND model IN ($model, $other)",
            params={"board": board, "model": model, "other": other},
        ).fetchall()
    }
    drawn = {name: level_replicates_of(store, name, board) for name in (model, other)}
    rows = []
    for place, level in enumerate((2, 3, 4, 5)):
        # A catalogue of language tasks alone has no board.
        ours, theirs = (scores[name][place] if scores else None for name in (model, other))
        if ours is None or theirs is None:
            continue
        row = {"level": level, "score": ours, "other_score": theirs, "difference": ours - theirs}
        given, against = (
            drawn[name].get(level, np.array([scores[name][place]])) for name in (model, other)
        )
        differences = given - against
        if len(differences) > 1:
            row["low"], row["high"] = interval(differences)
            tail = min((differences <= 0).mean(), (differences >= 0).mean())
            row["p"] = max(min(1.0, 2 * float(tail)), 1 / len(differences))
        rows.append(row)
    names = ("score", "other_score", "difference", "low", "high", "p")
    return pl.DataFrame(rows, schema={"level": pl.Int64} | dict.fromkeys(names, pl.Float64))
