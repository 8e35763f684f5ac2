"""How much of each board a submission answers, and which level it can reach there at best."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import polars as pl

from tasks.catalog import Catalogue
from tasks.gate.report import BoardCoverage
from tasks.warehouse.models import SQL_FOLDER, load_models, needed_for
from tasks.warehouse.tables import create, keyed_models

_STAGING = ("stg_tasks", "stg_boards", "board_tasks")


def board_coverage(
    catalogue: Catalogue, instances: Mapping[str, int], answered: Mapping[str, int]
) -> list[BoardCoverage]:
    """Coverage of all boards that have tasks, by scope, then as `sql/boards.csv` lists them.

    Args:
        instances: number of instances by task id; a task that is not there has none.
        answered: those with an answer that the metric takes.
    """
    ids = catalogue.tasks["task_id"]
    gate_tasks = pl.DataFrame(
        {
            "task_id": ids,
            "instances": [instances.get(task_id, 0) for task_id in ids],
            "instances_answered": [answered.get(task_id, 0) for task_id in ids],
        },
        schema_overrides={"instances": pl.Int64, "instances_answered": pl.Int64},
    )
    with duckdb.connect() as database:
        for name, table in (("raw_tasks", catalogue.tasks), ("gate_tasks", gate_tasks)):
            database.register(name, table.to_arrow())
        database.execute(
            "CREATE TABLE raw_boards AS SELECT row_number() OVER () AS place, * "
            "FROM read_csv(?, header = true)",
            [str(SQL_FOLDER / "boards.csv")],
        )
        for macro in load_models("macros"):
            database.execute(macro.sql)
        for model in needed_for(_STAGING, keyed_models()):
            create(database, model)
        (coverage,) = load_models("gate")
        rows = database.sql(coverage.sql).to_arrow_table().to_pylist()
        order = "SELECT board_id, place FROM raw_boards"
        places = dict(database.execute(order).fetchall())
    rows.sort(key=lambda row: (row["scope"], places.get(row["board_id"], 0), row["board_id"]))
    return [BoardCoverage(**row) for row in rows]
