"""Intervals of what is about to be published, into the database that is being built.

Per model they are kept in the store (`uncertainty/<model>/`) under a key of all that they depend on,
so that a night reads and computes them again only for models that changed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from tasks.schema import REPLICATE_SCHEMA
from tasks.score.state import read_task_scores
from tasks.storage import Store, quote_name
from tasks.uncertainty.bootstrap import REPLICATES
from tasks.uncertainty.intervals import interval, standard_error
from tasks.uncertainty.levels import Board, level_replicates, ranks

Floats = npt.NDArray[np.float64]

#: Raise it when intervals are computed otherwise.
INTERVALS_VERSION = "4"
_KEY = b"general_level.key"

TASK_INTERVAL_SCHEMA = pa.schema(
    [
        pa.field("model", pa.string(), nullable=False),
        pa.field("task_id", pa.string(), nullable=False),
        pa.field("raw_low", pa.float64(), nullable=False),
        pa.field("raw_high", pa.float64(), nullable=False),
        pa.field("score_low", pa.float64(), nullable=False),
        pa.field("score_high", pa.float64(), nullable=False),
        pa.field("standard_error", pa.float64(), nullable=False),
        pa.field("p_at_or_above_specialist", pa.float64(), nullable=False),
        pa.field("replicates", pa.int64(), nullable=False),
    ]
)
LEVEL_INTERVAL_SCHEMA = pa.schema(
    [
        pa.field("board_id", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("level", pa.int64(), nullable=False),
        pa.field("low", pa.float64(), nullable=False),
        pa.field("high", pa.float64(), nullable=False),
        pa.field("standard_error", pa.float64(), nullable=False),
    ]
)
RANK_INTERVAL_SCHEMA = pa.schema(
    [
        pa.field("board_id", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("rank_low", pa.int64(), nullable=False),
        pa.field("rank_high", pa.int64(), nullable=False),
        pa.field("p_first", pa.float64(), nullable=False),
    ]
)
#: Kept of a model beside its intervals: replicates of the levels on the boards that have ranks.
_LEVELS_SCHEMA = LEVEL_INTERVAL_SCHEMA.append(pa.field("replicates", pa.list_(pa.float32())))


def add_intervals(database: duckdb.DuckDBPyConnection, store: Store) -> None:
    """Adds `raw_task_intervals`, `raw_level_intervals` and `raw_rank_intervals`.

    Args:
        database: holds the marts of the run (board_tasks, task_results, levels, stg_tasks).
        store: where replicates are read and intervals are kept.
    """
    results = _Results(database)
    tables: dict[str, list[pa.Table]] = {"task": [], "level": []}
    levels: dict[str, pa.Table] = {}
    for model, key in results.keys.items():
        found = _kept(store, model, key)
        if found is None:
            found = _computed(results, store, model)
            _keep(store, model, key, *found)
        tables["task"].append(found[0])
        tables["level"].append(found[1].drop_columns("replicates"))
        levels[model] = found[1]
    _register(database, "raw_task_intervals", tables["task"], TASK_INTERVAL_SCHEMA)
    _register(database, "raw_level_intervals", tables["level"], LEVEL_INTERVAL_SCHEMA)
    ranked = _rank_intervals(results, store, levels)
    _register(database, "raw_rank_intervals", [ranked], RANK_INTERVAL_SCHEMA)


def read_replicates(store: Store, model: str) -> pl.DataFrame:
    """The replicates (`REPLICATE_SCHEMA`) of a model's current scores, corrected profile."""
    scores = read_task_scores(store, model, ["task_id", "profile", "part"])
    scores = scores.filter(profile="corrected").drop_nulls("part")
    found = [pl.DataFrame(pl.from_arrow(REPLICATE_SCHEMA.empty_table()))]
    for (part,), rows in scores.group_by(["part"], maintain_order=True):
        table = store.read_table("scores", quote_name(model), "replicates", str(part))
        drawn = pl.DataFrame(pl.from_arrow(table))
        found.append(drawn.join(rows.select("task_id"), on="task_id", how="semi"))
    return pl.concat(found)


def level_replicates_of(store: Store, model: str, board_id: str) -> dict[int, Floats]:
    """Replicates of a model's published levels on a board of scope A, B or C, by level; empty when
    the model has imported scores alone."""
    try:
        table = store.read_table("uncertainty", quote_name(model), "levels.parquet")
    except FileNotFoundError:
        return {}
    rows = pl.DataFrame(pl.from_arrow(table)).filter(board_id=board_id).drop_nulls("replicates")
    return {
        level: np.array(values, dtype=np.float64)
        for level, values in rows.select("level", "replicates").iter_rows()
    }


@dataclass
class _Results:
    """What the database holds of tasks, boards and scores."""

    database: duckdb.DuckDBPyConnection

    @cached_property
    def keys(self) -> dict[str, str]:
        """Of each model with scores of its own, a hash of all that its intervals depend on."""
        basis = hashlib.sha256(f"{INTERVALS_VERSION}{REPLICATES}".encode())
        for query in ("FROM board_tasks ORDER BY ALL", "FROM stg_tasks ORDER BY ALL"):
            basis.update(_bytes(self.database.sql(query).pl()))
        rows = self.scores
        found = {}
        for (model,), of_model in rows.group_by(["model"], maintain_order=True):
            if (of_model["origin"] == "scored").any():
                own = basis.copy()
                own.update(_bytes(of_model))
                found[str(model)] = own.hexdigest()
        return found

    @cached_property
    def scores(self) -> pl.DataFrame:
        """What the models have scores for, and what these depend on."""
        return self.database.sql(
            "SELECT model, task_id, origin, raw_score, score, wins, n_instances, score_key "
            "FROM task_results INNER JOIN stg_task_scores USING (profile, model, task_id, origin, "
            "raw_score, n_instances) "
            "WHERE profile = 'corrected' AND task_results.status = 'scored' ORDER BY ALL"
        ).pl()

    @cached_property
    def tasks(self) -> dict[str, int]:
        """The place of each task in a table of all."""
        rows = self.database.sql("SELECT task_id FROM stg_tasks ORDER BY task_id").fetchall()
        return {task_id: place for place, (task_id,) in enumerate(rows)}

    @cached_property
    def language(self) -> npt.NDArray[np.int64]:
        rows = self.database.sql("SELECT task_id FROM stg_tasks WHERE modality = 'language'")
        return np.array(sorted(self.tasks[t] for (t,) in rows.fetchall()), dtype=np.int64)

    @cached_property
    def boards(self) -> list[Board]:
        rows = self.database.sql(
            "SELECT board_tasks.*, boards.paradigms FROM board_tasks "
            "INNER JOIN boards ON boards.board_id = board_tasks.board_id ORDER BY ALL"
        ).pl()
        found = []
        for (board_id,), of_board in rows.group_by(["board_id"], maintain_order=True):
            halves: dict[str, dict[str, npt.NDArray[np.int64]]] = {}
            # In a fixed order: sums of floats depend on theirs.
            of_groups = of_board.sort("modality", "paradigm").group_by(
                ["modality", "paradigm"], maintain_order=True
            )
            for (modality, paradigm), half in of_groups:
                places = np.array(sorted(self.tasks[t] for t in half["task_id"]), dtype=np.int64)
                halves.setdefault(str(modality), {})[str(paradigm)] = places
            both = "|" in of_board["paradigms"][0]
            found.append(Board(str(board_id), of_board["max_level"][0], halves, both))
        return found

    @cached_property
    def ranked_boards(self) -> set[str]:
        """Boards of scopes A, B and C; a skill's board (D) has intervals of levels alone."""
        rows = self.database.sql("SELECT board_id FROM boards WHERE scope <> 'D'").fetchall()
        return {board_id for (board_id,) in rows}


def _computed(results: _Results, store: Store, model: str) -> tuple[pa.Table, pa.Table]:
    scored = results.scores.filter(model=model)
    replicates = read_replicates(store, model)
    of_own = scored.filter(origin="scored").select("task_id")
    drawn = normalised(results.database, replicates.join(of_own, on="task_id", how="semi"))
    scores = np.zeros((len(results.tasks), REPLICATES))
    wins = np.zeros(scores.shape, dtype=bool)
    for task_id, score, won in scored.select("task_id", "score", "wins").iter_rows():
        scores[results.tasks[task_id]], wins[results.tasks[task_id]] = score, won
    points, points_won = scores[:, :1].copy(), wins[:, :1].copy()
    instances = dict(scored.select("task_id", "n_instances").iter_rows())
    rows = []
    for task_id, raw, score, won in drawn:
        scores[results.tasks[task_id]], wins[results.tasks[task_id]] = score, won
        raw_low, raw_high = interval(raw, instances[task_id])
        score_low, score_high = interval(score, instances[task_id])
        rows.append(
            {
                "model": model,
                "task_id": task_id,
                "raw_low": raw_low,
                "raw_high": raw_high,
                "score_low": score_low,
                "score_high": score_high,
                "standard_error": standard_error(raw),
                "p_at_or_above_specialist": float(won.mean()),
                "replicates": len(raw),
            }
        )
    level_rows = []
    for board in results.boards:
        levels = level_replicates(board, scores, wins, results.language)
        published = level_replicates(board, points, points_won, results.language)
        for level, values in levels.items():
            low, high = interval(values, score=float(published[level][0]))
            level_rows.append(
                {
                    "board_id": board.board_id,
                    "model": model,
                    "level": level,
                    "low": low,
                    "high": high,
                    "standard_error": standard_error(values),
                    "replicates": values if board.board_id in results.ranked_boards else None,
                }
            )
    return (
        pa.Table.from_pylist(rows, TASK_INTERVAL_SCHEMA),
        pa.Table.from_pylist(level_rows, _LEVELS_SCHEMA),
    )


def normalised(
    database: duckdb.DuckDBPyConnection, replicates: pl.DataFrame
) -> list[tuple[str, Floats, Floats, npt.NDArray[np.bool_]]]:
    """Task id, raw replicates, normalised replicates (0..100), and which reach the specialist."""
    database.register("drawn", replicates.to_arrow())
    rows = database.sql(
        "SELECT drawn.task_id, drawn.replicates AS raw, "
        "list_transform(drawn.replicates, lambda x: normalise(tasks.map, tasks.threshold, "
        "tasks.unit, tasks.minimum, tasks.maximum, x)) AS score, "
        "list_transform(drawn.replicates, lambda x: CASE WHEN tasks.direction = 'higher' "
        "THEN x >= tasks.specialist_raw ELSE x <= tasks.specialist_raw END) AS wins "
        "FROM drawn INNER JOIN stg_tasks AS tasks ON tasks.task_id = drawn.task_id "
        "ORDER BY drawn.task_id"
    ).to_arrow_table()
    database.unregister("drawn")
    flat = [rows[name].combine_chunks().flatten() for name in ("raw", "score", "wins")]
    raw, score, wins = (
        column.to_numpy(zero_copy_only=False).reshape(rows.num_rows, REPLICATES) for column in flat
    )
    return list(zip(rows["task_id"].to_pylist(), raw, score, wins, strict=True))


def _rank_intervals(results: _Results, store: Store, levels: dict[str, pa.Table]) -> pa.Table:
    """Of every model on every ranked board; models without replicates count with what they have."""
    if not levels:
        return RANK_INTERVAL_SCHEMA.empty_table()
    points = results.database.sql(
        "SELECT board_id, model, level_2, level_3, level_4, level_5 FROM levels "
        "WHERE profile = 'corrected' AND aggregation = 'modality_mean' ORDER BY ALL"
    ).pl()
    points = points.filter(pl.col("board_id").is_in(list(results.ranked_boards)))
    key = hashlib.sha256("".join(results.keys.values()).encode() + _bytes(points))
    kept = _read_kept(store, key.hexdigest(), "ranks.parquet")
    if kept is not None:
        return kept
    drawn: dict[tuple[str, str, int], Floats] = {}
    for model, table in levels.items():
        columns = (table[name] for name in ("board_id", "level", "replicates"))
        for board_id, level, values in zip(*columns, strict=True):
            if values.is_valid:
                drawn[board_id.as_py(), model, level.as_py()] = values.values.to_numpy()
    rows: list[dict[str, Any]] = []
    for (board_id,), board in points.group_by(["board_id"], maintain_order=True):
        models = board["model"].to_list()
        known = [level for level in (2, 3, 4, 5) if board[f"level_{level}"].null_count() == 0]
        tables = [np.zeros((len(models), REPLICATES)) for _ in known]
        for level, table in zip(known, tables, strict=True):
            for place, (model, score) in enumerate(board.select("model", f"level_{level}").rows()):
                table[place] = drawn.get((str(board_id), model, level), score)
        for model, places in zip(models, ranks(tables), strict=True):
            low, high = interval(places.astype(np.float64))
            rows.append(
                {
                    "board_id": board_id,
                    "model": model,
                    "rank_low": int(low),
                    "rank_high": int(high),
                    "p_first": float((places == 1).mean()),
                }
            )
    found = pa.Table.from_pylist(rows, RANK_INTERVAL_SCHEMA)
    _write_kept(store, key.hexdigest(), found, "ranks.parquet")
    return found


def _kept(store: Store, model: str, key: str) -> tuple[pa.Table, pa.Table] | None:
    """A model's intervals of tasks and levels, if they are those of the key."""
    levels = _read_kept(store, key, quote_name(model), "levels.parquet")
    tasks = _read_kept(store, key, quote_name(model), "tasks.parquet")
    return None if tasks is None or levels is None else (tasks, levels)


def _keep(store: Store, model: str, key: str, tasks: pa.Table, levels: pa.Table) -> None:
    _write_kept(store, key, tasks, quote_name(model), "tasks.parquet")
    _write_kept(store, key, levels, quote_name(model), "levels.parquet")


def _read_kept(store: Store, key: str, *where: str) -> pa.Table | None:
    try:
        table = store.read_table("uncertainty", *where)
    except FileNotFoundError:
        return None
    stored = (table.schema.metadata or {}).get(_KEY)
    return table.replace_schema_metadata(None) if stored == key.encode() else None


def _write_kept(store: Store, key: str, table: pa.Table, *where: str) -> None:
    store.write_table(table.replace_schema_metadata({_KEY: key}), "uncertainty", *where)


def _register(
    database: duckdb.DuckDBPyConnection, name: str, tables: list[pa.Table], schema: pa.Schema
) -> None:
    database.register("arrow_input", pa.concat_tables([schema.empty_table(), *tables]))
    database.execute(f"CREATE TABLE {name} AS FROM arrow_input")
    database.unregister("arrow_input")


def _bytes(table: pl.DataFrame) -> bytes:
    """A table as bytes, for a hash."""
    return table.write_csv().encode()
