"""Levels of 1,000 models x 699 tasks: the SQL models against the same computation in pandas.

    python -m benchmarks.levels [--models 1000] [--out benchmarks/results/levels.md]

Both start from the raw scores of every (model, task) and the catalogue, and end with levels 2 to 5
on board A: normalisation, comparison with the specialist, means, harmonic mean. The SQL makes all
boards, profiles and aggregations; pandas makes board A, corrected, modality_mean.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from benchmarks.command import parser, tell
from tasks.catalog import Catalogue, load_catalogue
from tasks.schema import TASK_SCORE_SCHEMA
from tasks.warehouse.models import needed_for
from tasks.warehouse.tables import add_inputs, create, keyed_models, show_tables


def make_scores(catalogue: Catalogue, models: int, seed: int = 3) -> pl.DataFrame:
    """Raw scores around each specialist, a fifth of them unsupported (`TASK_SCORE_SCHEMA`)."""
    rng = np.random.default_rng(seed)
    tasks = catalogue.tasks
    low, high = (tasks[name].to_numpy() for name in ("minimum", "maximum"))
    rows = []
    for number in range(models):
        raw = tasks["specialist_raw"].to_numpy() * rng.uniform(0.4, 1.15, tasks.height)
        raw = np.clip(raw, low, np.where(np.isfinite(high), high, np.inf))
        rows.append(
            pl.DataFrame(
                {
                    "model": pl.Series([f"model-{number}"]).new_from_index(0, tasks.height),
                    "task_id": tasks["task_id"],
                    "metric_id": tasks["metric_id"],
                    "raw_score": raw,
                    "supported": rng.random(tasks.height) < 0.8,
                }
            )
        )
    scores = pl.concat(rows)
    return scores.select(
        "model",
        "task_id",
        pl.lit("corrected").alias("profile"),
        "metric_id",
        pl.when("supported")
        .then(pl.lit("scored"))
        .otherwise(pl.lit("unsupported"))
        .alias("status"),
        pl.when("supported").then("raw_score").alias("raw_score"),
        pl.lit("imported").alias("origin"),
        pl.lit("benchmark").alias("scorer_version"),
    )


def in_sql(scores: pa.Table, catalogue: Catalogue) -> tuple[dict[str, float], int, Any]:
    """Seconds of the load and of each model that the levels need (the rest of the marts describe
    them), how many tables of levels there are, and that of board A."""
    spent: dict[str, float] = {}
    with duckdb.connect() as database:
        began = time.perf_counter()
        add_inputs(database, catalogue.tasks.to_arrow(), scores)
        spent["load"] = time.perf_counter() - began
        for model in needed_for(["levels"], keyed_models()):
            began = time.perf_counter()
            create(database, model)
            spent[model.name] = time.perf_counter() - began
        show_tables(database)
        found = database.sql(
            "SELECT model, level_2, level_3, level_4, level_5 FROM levels WHERE board_id = 'A' "
            "AND profile = 'corrected' AND aggregation = 'modality_mean' ORDER BY model"
        ).df()
        made = "SELECT count(DISTINCT (board_id, profile, aggregation)) FROM levels"
        tables = database.execute(made).fetchall()[0][0]
    return spent, tables, found


def in_pandas(scores: Any, tasks: Any) -> tuple[float, Any]:
    """Seconds, and levels 2 to 5 of board A by model."""
    began = time.perf_counter()
    joined = scores.merge(tasks, on="task_id")
    raw, unit = joined["raw_score"].to_numpy(), joined["unit"].to_numpy()
    percent = np.where(unit == "percent", raw, 100 * raw)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = joined["minimum"].to_numpy(), joined["maximum"].to_numpy()
        score = np.select(
            [
                joined["map"] == name
                for name in ("identity", "one_minus", "tanh_ratio", "tanh_scale")
            ],
            [
                np.minimum(percent, 100),
                np.maximum(100 - percent, 0),
                np.where(raw == 0, 100, 100 * np.tanh(joined["threshold"] / raw / 2)),
                100 * np.tanh(raw / 20),
            ],
            100 * (raw - low) / (high - low),
        )
    joined["score"] = np.where(np.isnan(raw), 0.0, score)
    specialist = joined["specialist_raw"].to_numpy()
    wins = np.where(joined["direction"] == "higher", raw >= specialist, raw <= specialist)
    joined["won"] = np.where(wins, joined["score"], 0.0)
    language = joined[joined["modality"] == "language"].groupby("model")["won"].mean() / 100
    rest = joined[joined["modality"] != "language"]
    halves: Any = (
        rest.groupby(["model", "modality", "paradigm"])[["score", "won"]]
        .mean()
        .unstack(fill_value=0)
    )
    won_c, won_g = halves["won"]["comprehension"], halves["won"]["generation"]
    total = won_c + won_g
    groups = pd.DataFrame(
        {
            "level_2": halves["score"].sum(axis=1) / 2,
            "level_3": total / 2,
            "level_4": (2 * won_c * won_g / total).where((won_c > 0) & (won_g > 0), 0.0),
        }
    )
    levels: Any = groups.groupby("model").mean()
    levels["level_5"] = levels["level_4"] * language
    return time.perf_counter() - began, levels.reset_index().sort_values("model")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--models", type=int, default=1_000)
    options.add_argument("--turns", type=int, default=3, help="runs of each side, by turns")
    arguments = options.parse_args()
    tell(report(arguments.models, arguments.turns), arguments.out)


def report(models: int, turns: int) -> str:
    """The table as Markdown."""
    catalogue = load_catalogue()
    scores = make_scores(catalogue, models)
    columns = ["task_id", "modality", "paradigm", "map", "threshold", "unit", "direction"]
    tasks = catalogue.tasks.select(*columns, "minimum", "maximum", "specialist_raw")
    frame, task_frame = (pd.DataFrame(t.to_dict(as_series=False)) for t in (scores, tasks))
    table = pl.concat(
        [pl.DataFrame(pl.from_arrow(TASK_SCORE_SCHEMA.empty_table())), scores], how="diagonal"
    )
    sql, loads, other, spent, tables = [], [], [], {}, 0
    for _ in range(turns):
        spent, tables, ours = in_sql(table.to_arrow(), catalogue)
        loads.append(spent.pop("load"))
        sql.append(sum(spent.values()))
        seconds, theirs = in_pandas(frame, task_frame)
        other.append(seconds)
    names = ["level_2", "level_3", "level_4", "level_5"]
    worst = float(np.abs(ours[names].to_numpy() - theirs[names].to_numpy()).max())
    dearest = sorted(spent.items(), key=lambda item: -item[1])[:4]
    lines = [
        f"# Levels of {models:,} models x {catalogue.tasks.height} tasks",
        "",
        f"`python -m benchmarks.levels --models {models}`, medians of {turns} turns.",
        "",
        "| what | measured |",
        "|---|---|",
        f"| SQL: all boards, profiles and aggregations, {tables} tables of levels | {median(sql):.2f} s |",
        f"| before it: scores and catalogue into the database | {median(loads):.2f} s |",
        f"| pandas: board A, one profile, one aggregation | {median(other):.2f} s |",
        f"| pandas / SQL | {median(other) / median(sql):.1f}x |",
        f"| pandas / SQL, a table of levels | {tables * median(other) / median(sql):.0f}x |",
        f"| largest difference of a level | {worst:.1e} |",
        f"| dearest models | {', '.join(f'{name} {value:.2f} s' for name, value in dearest)} |",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
