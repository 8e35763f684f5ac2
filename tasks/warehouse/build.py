"""Building the results database: load, run the models in order, check, export, swap.

Nothing a reader can see changes before every check has passed: the database is built in a
temporary file, the Parquet files go under a new run id, and `results.duckdb` and
`published/latest.json` are replaced last, each in one atomic step.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.catalog import Catalogue
from tasks.errors import UserError
from tasks.schema import TASK_SCORE_SCHEMA
from tasks.storage import PARQUET_OPTIONS, Store
from tasks.version import SCORER_VERSION
from tasks.warehouse.models import SQL_FOLDER, Model, in_order, load_models

#: Tables that remember earlier runs; they are carried over from the database that is replaced.
_HISTORY = {
    "runs": "SELECT * FROM this_run",
    "score_history": (
        "SELECT run_id, profile, model, task_id, status, raw_score, score, specialist_raw, wins, "
        "coverage FROM task_results CROSS JOIN this_run WHERE status <> 'unsupported'"
    ),
    "level_history": (
        "SELECT run_id, profile, aggregation, board_id, model, level_2, level_3, level_4, level_5 "
        "FROM levels CROSS JOIN this_run"
    ),
}


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a published run is known by."""

    run_id: str
    published_at: datetime
    scorer_version: str = SCORER_VERSION

    @classmethod
    def now(cls, run_id: str) -> RunInfo:
        return cls(run_id, datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Published:
    """Where a run's results are: the database, and rows by table."""

    run_id: str
    database: str
    tables: dict[str, int]


def build(store: Store, catalogue: Catalogue, run: RunInfo) -> Published:
    """Builds, checks and publishes the results of everything that has been scored or imported.

    Raises:
        UserError: when a check fails; what was published before stays as it is.
    """
    with tempfile.TemporaryDirectory(prefix="general-level-") as folder:
        path = Path(folder, "results.duckdb")
        previous = _previous(store, Path(folder, "previous.duckdb"))
        with duckdb.connect(str(path)) as database:
            _load(database, store, catalogue, run)
            models = in_order(load_models("staging") + load_models("marts"))
            for model in models:
                _create(database, model)
            _check(database)
            _add_history(database, previous)
            for model in load_models("views"):
                _create(database, model)
            tables = _export(database, store, catalogue, run, models)
            for name in ("raw_tasks", "raw_task_scores", "raw_boards", "this_run"):
                database.execute(f"DROP TABLE {name}")
            database.execute("CHECKPOINT")
        store.write(lambda file: file.write(path.read_bytes()), "results.duckdb")
    store.write_struct(
        {"run_id": run.run_id, "published_at": run.published_at.isoformat(), "tables": tables},
        *("published", "latest.json"),
    )
    return Published(run.run_id, store.path("results.duckdb"), tables)


def quote(name: str) -> str:
    """An identifier as SQL spells it, whatever it contains."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string as SQL spells it, whatever it contains."""
    return "'" + text.replace("'", "''") + "'"


def _load(
    database: duckdb.DuckDBPyConnection, store: Store, catalogue: Catalogue, run: RunInfo
) -> None:
    raw_tasks = catalogue.tasks.to_arrow()
    raw_task_scores = _task_scores(store)
    this_run = pa.Table.from_pylist(
        [
            {
                "run_id": run.run_id,
                "published_at": run.published_at,
                "scorer_version": run.scorer_version,
                "catalogue_sha256": catalogue.fingerprint,
            }
        ]
    )
    for name, table in (
        ("raw_tasks", raw_tasks),
        ("raw_task_scores", raw_task_scores),
        ("this_run", this_run),
    ):
        database.register("arrow_input", table)
        database.execute(f"CREATE TABLE {name} AS FROM arrow_input")
        database.unregister("arrow_input")
    database.execute(
        "CREATE TABLE raw_boards AS FROM read_csv(?, header = true)",
        [str(SQL_FOLDER / "boards.csv")],
    )
    for macro in load_models("macros"):
        database.execute(macro.sql)


def _task_scores(store: Store) -> pa.Table:
    """Task scores of all models, scored and imported."""
    names = TASK_SCORE_SCHEMA.names
    tables = [
        store.read_table("scores", model, "task_scores.parquet", columns=names)
        for model in store.names("scores")
        if store.exists("scores", model, "task_scores.parquet")
    ]
    tables += [
        store.read_table("imported", file, columns=names) for file in store.names("imported")
    ]
    return pa.concat_tables([TASK_SCORE_SCHEMA.empty_table(), *tables])


def _create(database: duckdb.DuckDBPyConnection, model: Model) -> None:
    kind = "VIEW" if model.kind == "views" else "TABLE"
    database.execute(f"CREATE {kind} {quote(model.name)} AS {model.sql}")
    about = f"{model.about} Grain: {model.grain}."
    database.execute(f"COMMENT ON {kind} {quote(model.name)} IS {literal(about)}")
    for column, meaning in model.columns.items():
        where = f"{quote(model.name)}.{quote(column)}"
        database.execute(f"COMMENT ON COLUMN {where} IS {literal(meaning)}")


def _check(database: duckdb.DuckDBPyConnection) -> None:
    for check in load_models("checks"):
        result = database.execute(check.sql)
        offences = result.fetchmany(3)
        if offences:
            columns = [column[0] for column in result.description or []]
            shown = "; ".join(str(dict(zip(columns, row, strict=True))) for row in offences)
            raise UserError(
                f"check {check.name} failed ({check.about}): {shown}",
                "nothing was published; the previous results stay as they are",
            )


def _previous(store: Store, path: Path) -> Path | None:
    """A local copy of the published database, for its history; None before the first run."""
    try:
        path.write_bytes(store.read_bytes("results.duckdb"))
    except FileNotFoundError:
        return None
    return path


def _add_history(database: duckdb.DuckDBPyConnection, previous: Path | None) -> None:
    for name, query in _HISTORY.items():
        database.execute(f"CREATE TABLE {name} AS {query}")
    if previous is None:
        return
    database.execute(f"ATTACH {literal(str(previous))} AS previous (READ_ONLY)")
    for name in _HISTORY:
        database.execute(
            f"INSERT INTO {name} BY NAME SELECT * FROM previous.{name} "
            "WHERE run_id NOT IN (SELECT run_id FROM this_run)"
        )
    database.execute("DETACH previous")


def _export(
    database: duckdb.DuckDBPyConnection,
    store: Store,
    catalogue: Catalogue,
    run: RunInfo,
    models: list[Model],
) -> dict[str, int]:
    """Writes each mart as Parquet under the run's own folder; rows by table."""
    origin = {
        "general_level.run_id": run.run_id,
        "general_level.published_at": run.published_at.isoformat(),
        "general_level.scorer_version": run.scorer_version,
        "general_level.catalogue_sha256": catalogue.fingerprint,
    }
    tables: dict[str, int] = {}
    for model in models:
        if model.kind != "marts":
            continue
        table = database.sql(f"FROM {quote(model.name)} ORDER BY ALL").to_arrow_table()
        table = table.replace_schema_metadata(origin)
        where = ("published", run.run_id, f"{model.name}.parquet")
        store.write(lambda file, t=table: pq.write_table(t, file, **PARQUET_OPTIONS), *where)
        tables[model.name] = table.num_rows
    return tables
