"""Building the results database: load, run the models in order, check, export, swap.

Nothing a reader can see changes before every check has passed: the database is built in a
temporary file, the Parquet files go under a new run id, and `results.duckdb` and
`published/latest.json` are replaced last, each in one atomic step.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.catalog import Catalogue
from tasks.errors import UserError
from tasks.schema import TASK_SCORE_SCHEMA
from tasks.storage import PARQUET_OPTIONS, Store
from tasks.superseded import drop_superseded
from tasks.uncertainty.published import INTERVALS_VERSION, add_intervals
from tasks.version import SCORER_VERSION
from tasks.warehouse.models import SQL_FOLDER, Model, in_order, load_models
from tasks.warehouse.tables import KEYED, add_table, add_tables, create, literal, quote

#: What a stage of a run leaves on record. `publish` ends here when its tables stand.
_STAGE_SCHEMA = pa.schema(
    [
        pa.field("stage", pa.string(), nullable=False),  # ingest | score | publish
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("tasks", pa.int64(), nullable=False),
        pa.field("unchanged", pa.int64(), nullable=False),
        pa.field("instances", pa.int64(), nullable=False),
        pa.field("failures", pa.int64(), nullable=False),
    ]
)

#: Tables that remember earlier runs; they are carried over from the database that is replaced.
#: Levels of the many boards of scope D are not kept: they follow from the task scores, which are.
_HISTORY = {
    "runs": "SELECT * FROM this_run",
    "run_stages": "SELECT run_id, stages.* FROM this_runs_stages AS stages CROSS JOIN this_run",
    "level_history": (
        "SELECT run_id, profile, aggregation, board_id, model, level_2, level_3, level_4, level_5 "
        "FROM levels INNER JOIN boards USING (board_id) CROSS JOIN this_run WHERE scope <> 'D'"
    ),
}

#: Of models that make the results.
_KINDS = ("macros", "keys", "staging", "marts", "intervals", "checks", "history", "views")

#: What the models of intervals are made of; readers get the models.
_INPUTS = ("raw_task_intervals", "raw_level_intervals", "raw_rank_intervals")


@dataclass(frozen=True, slots=True)
class StageRun:
    """What one stage of a run took and did.

    Attributes:
        stage: ingest, score or publish.
        seconds: wall time.
        tasks: files read (ingest), (model, task) pairs scored (score), task results (publish).
        unchanged: files or pairs that needed no work.
        instances: rows read, or instances scored; 0 for publish.
        failures: what failed for good.
    """

    stage: str
    seconds: float
    tasks: int = 0
    unchanged: int = 0
    instances: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a published run is known by, and what its earlier stages took and did."""

    run_id: str
    published_at: datetime
    scorer_version: str = SCORER_VERSION
    stages: tuple[StageRun, ...] = ()

    @classmethod
    def now(cls, run_id: str, stages: Sequence[StageRun] = ()) -> RunInfo:
        return cls(run_id, datetime.now(UTC), stages=tuple(stages))


@dataclass(frozen=True, slots=True)
class Published:
    """Where a run's results are: the database, and rows by table."""

    run_id: str
    database: str
    tables: dict[str, int]


def build(store: Store, catalogue: Catalogue, run: RunInfo) -> Published:
    """Builds, checks and publishes the results of everything that has been scored or imported.

    Where nothing changed that they follow from, the last run's stand, and this run is added to their
    history.

    Raises:
        UserError: when a check fails; what was published before stays as it is.
    """
    began = time.perf_counter()
    scores = _task_scores(store)
    this_run = _this_run(catalogue, scores, run)
    with tempfile.TemporaryDirectory(prefix="general-level-") as folder:
        path = Path(folder, "results.duckdb")
        previous = _previous(store, Path(folder, "previous.duckdb"))
        same = previous is not None and _inputs_of(previous) == this_run["inputs_sha256"]
        if previous is not None and same:
            previous.rename(path)
        with duckdb.connect(str(path)) as database:
            add_table(database, "this_run", pa.Table.from_pylist([this_run]))
            if not same:
                _add_results(database, store, catalogue, scores)
            _add_stages(database, run, time.perf_counter() - began)
            if same:
                _continue_history(database)
            else:
                _add_history(database, previous)
                for model in in_order(load_models("views")):
                    create(database, model)
                _check(database)
                _describe_all(database)
            tables = _export(database, store, catalogue, run)
            database.execute("DROP TABLE this_run; DROP TABLE this_runs_stages")
            runs = database.execute("SELECT run_id FROM runs").fetchall()
            database.execute("CHECKPOINT")
        store.write(lambda file: file.write(path.read_bytes()), "results.duckdb")
    store.write_struct(
        {"run_id": run.run_id, "published_at": run.published_at.isoformat(), "tables": tables},
        *("published", "latest.json"),
    )
    _drop_unpublished(store, {run_id for (run_id,) in runs})
    database_url = store.path("results.duckdb")
    if not store.is_local:
        database_url = store.fs.unstrip_protocol(database_url)
    return Published(run.run_id, database_url, tables)


def _drop_unpublished(store: Store, runs: set[str]) -> None:
    """Removes, after their time, the tables of runs that were killed before they were published.

    Those of before the first run that the database knows stay: its history may have been lost.
    """
    older = {name for name in store.names("published") if name < min(runs)}
    live = runs | older | {"latest.json"}
    drop_superseded(store, live, "published", delete=store.delete_folder)


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
    # A column that an earlier version did not write is null.
    tables = [TASK_SCORE_SCHEMA.empty_table(), *tables]
    return pa.concat_tables(tables, promote_options="default")


def _this_run(catalogue: Catalogue, scores: pa.Table, run: RunInfo) -> dict[str, Any]:
    """The run's row of the table `runs`. `inputs_sha256` is over all that the results follow from."""
    versions = (catalogue.fingerprint, run.scorer_version, INTERVALS_VERSION, duckdb.__version__)
    inputs = hashlib.sha256("\n".join((*versions, str(_HISTORY), str(_STAGE_SCHEMA))).encode())
    inputs.update((SQL_FOLDER / "boards.csv").read_bytes())
    for kind in _KINDS:
        for model in load_models(kind):
            inputs.update(model.sql.encode())
    inputs.update(pl.DataFrame(pl.from_arrow(scores)).write_csv().encode())
    return {
        "run_id": run.run_id,
        "published_at": run.published_at,
        "scorer_version": run.scorer_version,
        "catalogue_sha256": catalogue.fingerprint,
        "inputs_sha256": inputs.hexdigest(),
    }


def _inputs_of(previous: Path) -> str | None:
    """What the last run in a database says that its results were made of; None when it does not, or
    lacks a table of the history, as those of earlier versions."""
    last = "SELECT inputs_sha256 FROM runs ORDER BY published_at DESC, run_id DESC LIMIT 1"
    with duckdb.connect(str(previous), read_only=True) as database, suppress(duckdb.Error):
        for name in _HISTORY:
            database.execute(f"DESCRIBE {name}")
        return database.execute(last).fetchall()[0][0]
    return None


def _add_results(
    database: duckdb.DuckDBPyConnection, store: Store, catalogue: Catalogue, scores: pa.Table
) -> None:
    """Runs the models on the scores."""
    add_tables(database, catalogue.tasks.to_arrow(), scores)
    add_intervals(database, store)
    for model in in_order(load_models("intervals")):
        create(database, model)


def _describe_all(database: duckdb.DuckDBPyConnection) -> None:
    """Says of every table and column what it is; what the tables were made of goes."""
    # One transaction: hundreds of small ones take three times as long.
    database.begin()
    for kind in ("staging", "marts", "intervals", "history", "views"):
        for model in load_models(kind):
            _describe(database, model)
    for name in _INPUTS:
        database.execute(f"DROP TABLE {name}")
    database.commit()


def _describe(database: duckdb.DuckDBPyConnection, model: Model) -> None:
    kind = _kind(model)
    about = f"{model.about} Grain: {model.grain}."
    database.execute(f"COMMENT ON {kind} {quote(model.name)} IS {literal(about)}")
    for column, meaning in model.columns.items():
        where = f"{quote(model.name)}.{quote(column)}"
        database.execute(f"COMMENT ON COLUMN {where} IS {literal(meaning)}")


def _kind(model: Model) -> str:
    return "VIEW" if model.kind in ("views", *KEYED) else "TABLE"


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


def _add_stages(database: duckdb.DuckDBPyConnection, run: RunInfo, seconds: float) -> None:
    """The stages of this run on record, this one included."""
    (results,) = database.execute("SELECT count(*) FROM task_results").fetchall()[0]
    stages = (*run.stages, StageRun("publish", seconds, tasks=results))
    table = pa.Table.from_pylist([asdict(stage) for stage in stages], _STAGE_SCHEMA)
    add_table(database, "this_runs_stages", table)


def _add_history(database: duckdb.DuckDBPyConnection, previous: Path | None) -> None:
    """Adds this run to what earlier ones left: whole tables, and of the scores what changed."""
    (score_history,) = load_models("history")
    for name, query in _HISTORY.items():
        database.execute(f"CREATE TABLE {name} AS {query}")
    known: set[str] = set()
    if previous is not None:
        database.execute(f"ATTACH {literal(str(previous))} AS previous (READ_ONLY)")
        tables = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'previous'"
        known = {row[0] for row in database.execute(tables).fetchall()}
    earlier = "WHERE run_id NOT IN (SELECT run_id FROM this_run)"
    before = (
        f"FROM previous.score_history {earlier}"
        if "score_history" in known
        else "SELECT run_id, profile, model, task_id, status, raw_score, score, specialist_raw, "
        "wins, coverage FROM task_results CROSS JOIN this_run LIMIT 0"
    )
    database.execute(f"CREATE TEMP TABLE previous_scores AS {before}")
    create(database, score_history)
    database.execute("INSERT INTO score_history BY NAME FROM previous_scores")
    # A database of an earlier version may lack a table; a column that it lacks stays NULL.
    for name in [name for name in _HISTORY if name in known]:
        database.execute(f"INSERT INTO {name} BY NAME SELECT * FROM previous.{name} {earlier}")
    if previous is not None:
        database.execute("DETACH previous")


def _continue_history(database: duckdb.DuckDBPyConnection) -> None:
    """Adds this run to the history in a database that already holds its results."""
    for name, query in _HISTORY.items():
        database.execute(f"DELETE FROM {name} WHERE run_id IN (SELECT run_id FROM this_run)")
        database.execute(f"INSERT INTO {name} BY NAME {query}")


def _export(
    database: duckdb.DuckDBPyConnection,
    store: Store,
    catalogue: Catalogue,
    run: RunInfo,
) -> dict[str, int]:
    """Writes each mart as Parquet under the run's own folder; rows by table."""
    origin = {
        "general_level.run_id": run.run_id,
        "general_level.published_at": run.published_at.isoformat(),
        "general_level.scorer_version": run.scorer_version,
        "general_level.catalogue_sha256": catalogue.fingerprint,
    }
    tables: dict[str, int] = {}
    for model in load_models("marts") + load_models("intervals"):
        table = database.sql(f"FROM {quote(model.name)} ORDER BY ALL").to_arrow_table()
        table = table.replace_schema_metadata(origin)
        where = ("published", run.run_id, f"{model.name}.parquet")
        store.write(lambda file, t=table: pq.write_table(t, file, **PARQUET_OPTIONS), *where)
        tables[model.name] = table.num_rows
    return tables
