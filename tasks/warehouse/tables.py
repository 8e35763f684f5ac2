"""The tables that the SQL models make of the catalogue and the scores, and how readers see them.

Names repeat in hundreds of thousands of rows, so tables hold them as ENUMs (`sql/keys`): joining and
grouping by a number takes half as long as by text. Such tables stand in the schema `keyed`. In
`main` stand views of the same names whose keys are text, so that no reader has to know.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from tasks.warehouse.models import SQL_FOLDER, Model, in_order, load_models

#: Made of the inputs by the models of these kinds.
KEYED = ("staging", "marts")
_INPUTS = ("raw_tasks", "raw_task_scores", "raw_boards")
_STATEMENTS = {
    "keys": "CREATE TYPE {name} AS ENUM ({sql}\n)",
    "views": "CREATE VIEW {name} AS {sql}",
}


def quote(name: str) -> str:
    """An identifier as SQL spells it, whatever it contains."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string as SQL spells it, whatever it contains."""
    return "'" + text.replace("'", "''") + "'"


def add_table(database: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    database.register("arrow_input", table)
    database.execute(f"CREATE TABLE {name} AS FROM arrow_input")
    database.unregister("arrow_input")


def create(database: duckdb.DuckDBPyConnection, model: Model) -> None:
    """Makes the type, view or table that a model is."""
    statement = _STATEMENTS.get(model.kind, "CREATE TABLE {name} AS {sql}")
    database.execute(statement.format(name=quote(model.name), sql=model.sql))


def add_tables(database: duckdb.DuckDBPyConnection, tasks: pa.Table, scores: pa.Table) -> None:
    """Runs the models of staging and marts.

    Args:
        tasks: the catalogue's.
        scores: `TASK_SCORE_SCHEMA`; those of tasks that the catalogue lacks are left out.
    """
    add_inputs(database, tasks, scores)
    for model in in_order(keyed_models()):
        create(database, model)
    show_tables(database)


def add_inputs(database: duckdb.DuckDBPyConnection, tasks: pa.Table, scores: pa.Table) -> None:
    """Loads what the models are made of. Until `show_tables`, tables are made in `keyed`."""
    for macro in load_models("macros"):
        database.execute(macro.sql)
    database.execute("CREATE SCHEMA keyed")
    database.execute("SET search_path = 'keyed,main'")
    add_table(database, "raw_tasks", tasks)
    add_table(database, "raw_task_scores", scores)
    database.execute(
        "CREATE TABLE raw_boards AS FROM read_csv(?, header = true)",
        [str(SQL_FOLDER / "boards.csv")],
    )


def keyed_models() -> list[Model]:
    """The models of staging and marts, and their keys."""
    return [model for kind in ("keys", *KEYED) for model in load_models(kind)]


def show_tables(database: duckdb.DuckDBPyConnection) -> None:
    """Drops the inputs, and makes the views that readers see."""
    for name in _INPUTS:
        database.execute(f"DROP TABLE {name}")
    database.execute("SET search_path = 'main'")
    columns = "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE schema_name = 'keyed'"
    as_text: dict[str, list[str]] = {}
    for table, column, data_type in database.execute(columns).fetchall():
        texts = as_text.setdefault(table, [])
        if data_type.startswith("ENUM"):
            texts.append(f"{quote(column)}::VARCHAR AS {quote(column)}")
    for table, texts in as_text.items():
        replaced = f" REPLACE ({', '.join(texts)})" if texts else ""
        database.execute(
            f"CREATE VIEW {quote(table)} AS SELECT *{replaced} FROM keyed.{quote(table)}"
        )
