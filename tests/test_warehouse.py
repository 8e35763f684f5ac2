"""The results database: swapped in whole, checked first, commented, and safe to read meanwhile."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest

from tasks.catalog import load_catalogue
from tasks.errors import UserError
from tasks.storage import Store
from tasks.warehouse import RunInfo, StageRun, build, connect, leaderboard, load_models
from tasks.warehouse import build as build_module
from tests.test_levels import TWO_MODALITIES, catalogue_of, publish

HOSTILE = [
    "x'; DROP TABLE levels;--",
    'a "quoted" name',
    "slash/and\\back",
    "😀 emoji",
    "..",
    "%41",
    "CON",
]


@pytest.fixture
def published(tmp_path):
    catalogue = catalogue_of(tmp_path, TWO_MODALITIES)
    return publish(tmp_path, catalogue, {"m": {"image.comprehension.ic1": 90.0}}), catalogue


def test_names_are_data_whatever_they_contain(tmp_path):
    catalogue = catalogue_of(tmp_path, TWO_MODALITIES)
    store = publish(tmp_path, catalogue, {name: {"language.l1": 50.0} for name in HOSTILE})
    assert set(leaderboard(store)["model"]) == set(HOSTILE)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["catalogue.csv", "store"]


def test_every_table_and_column_says_what_it_is(published):
    store, _ = published
    with connect(store) as database:
        models = {m.name: m for kind in ("staging", "marts", "views") for m in load_models(kind)}
        for name, model in models.items():
            assert model.about and model.grain and model.columns, name
            found = [row[0] for row in database.execute(f"DESCRIBE {name}").fetchall()]
            assert found == list(model.columns), name
            for source in model.inputs:
                assert source in model.sql
        commented = dict(
            database.execute(
                "SELECT table_name || '.' || column_name, comment FROM duckdb_columns() "
                "WHERE table_name = 'levels'"
            ).fetchall()
        )
        assert commented["levels.level_2"] == models["levels"].columns["level_2"]


def test_readers_see_names_as_text_and_tables_hold_them_as_numbers(published):
    store, _ = published
    with connect(store) as database:
        columns = database.execute(
            "SELECT schema_name, table_name, column_name, split_part(data_type, '(', 1) "
            "FROM duckdb_columns() WHERE database_name <> 'temp' AND NOT internal"
        ).fetchall()
        types = {(schema, table, column): kind for schema, table, column, kind in columns}
        assert "ENUM" not in {kind for (schema, *_), kind in types.items() if schema == "main"}
        for table, column in (
            *(("task_results", key) for key in ("profile", "model", "task_id", "modality")),
            *(("levels", key) for key in ("profile", "aggregation", "board_id", "model")),
        ):
            assert types["keyed", table, column] == "ENUM", (table, column)
            assert types["main", table, column] == "VARCHAR", (table, column)
        assert database.execute("FROM levels WHERE model = 'no such model'").fetchall() == []


def test_scores_of_tasks_that_the_catalogue_lost_are_left_out(published, tmp_path):
    store, _ = published
    _, *others = TWO_MODALITIES
    build(store, catalogue_of(tmp_path, others), RunInfo.now("second"))
    with connect(store) as database:
        results = database.execute(
            "SELECT task_id, status FROM task_results WHERE profile = 'corrected'"
        ).fetchall()
    assert len(results) == len(others)
    assert {status for _, status in results} == {"unsupported"}


def test_counts_of_halves_are_integers_for_every_reader(published):
    store, _ = published
    with connect(store) as database:
        columns = database.execute("DESCRIBE paradigm_scores").fetchall()
    types = {name: kind for name, kind, *_ in columns if name.startswith("tasks_")}
    assert set(types.values()) == {"BIGINT"}, types


def test_exports_say_where_they_come_from(published):
    store, catalogue = published
    path = store.path("published", "test", "levels.parquet")
    metadata = pq.read_schema(path).metadata
    assert metadata[b"general_level.run_id"] == b"test"
    assert metadata[b"general_level.catalogue_sha256"] == catalogue.fingerprint.encode()
    with connect(store) as database:
        rows = database.sql("SELECT * FROM levels ORDER BY ALL").pl()
    assert pl.read_parquet(path).equals(rows)


def test_history_keeps_every_run_and_a_repeated_one_once(published):
    store, catalogue = published
    for run in ("second", "third", "third"):
        build(store, catalogue, RunInfo.now(run))
    with connect(store) as database:
        runs = database.execute("SELECT run_id FROM runs ORDER BY published_at").fetchall()
        assert [row[0] for row in runs] == ["test", "second", "third"]
        counts = database.execute(
            "SELECT run_id, count(*) FROM level_history GROUP BY ALL"
        ).fetchall()
        assert len({count for _, count in counts}) == 1


def test_a_run_that_changed_nothing_keeps_the_results_and_goes_into_the_history(
    published, monkeypatch
):
    store, catalogue = published
    with connect(store) as database:
        before = all_rows(database)
        comments = "SELECT table_name, column_name, comment FROM duckdb_columns() ORDER BY ALL"
        commented = database.execute(comments).fetchall()
    made = []
    for name in ("add_tables", "create"):
        make = build_module.__globals__[name]
        monkeypatch.setitem(
            build_module.__globals__, name, lambda *of, make=make: made.append(of) or make(*of)
        )
    stages = [StageRun("score", 1.5, tasks=0, unchanged=1)]
    again = build(store, catalogue, RunInfo.now("second", stages))
    assert made == []
    with connect(store) as database:
        after = all_rows(database)
        assert database.execute(comments).fetchall() == commented
    for name in after.keys() - {"runs", "run_stages", "level_history"}:
        assert after[name] == before[name], name
    assert [row[0] for row in after["runs"]] == ["second", "test"]
    assert {row[:2] for row in after["run_stages"]} == {
        *(row[:2] for row in before["run_stages"]),
        ("second", "score"),
        ("second", "publish"),
    }
    assert len(after["level_history"]) == 2 * len(before["level_history"]) > 0
    assert set(store.names("published")) == {"test", "second", "latest.json"}
    for name, rows in again.tables.items():
        exported = pq.read_table(store.path("published", "second", f"{name}.parquet"))
        assert exported.num_rows == rows == len(before[name]), name
        assert exported.schema.metadata[b"general_level.run_id"] == b"second"


@pytest.mark.parametrize("changed", ["score", "specialist", "model of SQL"])
def test_what_the_results_follow_from_makes_them_anew(published, tmp_path, monkeypatch, changed):
    store, catalogue = published
    scored = {"m": {"image.comprehension.ic1": 90.0}}
    if changed == "score":
        scored = {"m": {"image.comprehension.ic1": 91.0}}
    elif changed == "specialist":
        row, *others = TWO_MODALITIES
        catalogue = catalogue_of(tmp_path, [(*row[:-1], row[-1] + 1), *others])
    else:
        good = build_module.__globals__["load_models"]

        def with_another(kind):
            return [
                replace(m, sql=m.sql.replace("WITH", "WITH /* */")) if kind == "marts" else m
                for m in good(kind)
            ]

        monkeypatch.setitem(build_module.__globals__, "load_models", with_another)
    before = last_run(store)
    publish(tmp_path, catalogue, scored)
    after = last_run(store)
    assert after[0] != before[0]
    assert (after[1:] != before[1:]) == (changed != "model of SQL")


def last_run(store):
    """What the last run says that its results follow from, and a result."""
    with connect(store) as database:
        return database.execute(
            "SELECT inputs_sha256, raw_score, specialist_raw FROM task_results, runs "
            "WHERE task_id = 'image.comprehension.ic1' AND profile = 'corrected' "
            "ORDER BY published_at DESC LIMIT 1"
        ).fetchall()[0]


def all_rows(database):
    """The rows of every published table, by its name."""
    names = "SELECT table_name FROM duckdb_tables() WHERE NOT temporary ORDER BY ALL"
    return {
        name: database.execute(f"FROM {name} ORDER BY ALL").fetchall()
        for (name,) in database.execute(names).fetchall()
    }


def test_a_failing_check_leaves_the_last_good_results(published, monkeypatch):
    store, catalogue = published
    before = store.read_bytes("results.duckdb")
    good = build_module.__globals__["load_models"]

    def with_failing_check(kind):
        models = good(kind)
        if kind == "checks":
            bad = models[0]
            models = [
                type(bad)("always", "checks", "Always fails.", "", (), {}, "SELECT 1 AS offence")
            ]
        return models

    monkeypatch.setitem(build_module.__globals__, "load_models", with_failing_check)
    with pytest.raises(UserError, match="check always failed"):
        build(store, catalogue, RunInfo.now("broken"))
    assert store.read_bytes("results.duckdb") == before
    assert "broken" not in store.names("published")


def test_each_check_finds_what_it_is_for(published):
    """A check that cannot fail is no check: each is run on a database spoilt for it."""
    store, _ = published
    spoil = {
        "scores_in_range": "UPDATE keyed.task_results SET score = 101 WHERE task_id = 'language.l1'",
        "levels_ordered": "UPDATE keyed.levels SET level_3 = level_2 + 1",
        "every_model_everywhere": "DELETE FROM keyed.task_results WHERE task_id = 'language.l1'",
        "unsupported_never_wins": "UPDATE keyed.task_results SET wins = true",
        "contributions_sum_up": "UPDATE keyed.levels SET level_4 = level_4 + 1e-6",
    }
    checks = {check.name: check.sql for check in load_models("checks")}
    assert checks.keys() == spoil.keys()
    for name, statement in spoil.items():
        copy = store.path(f"{name}.duckdb")
        with open(copy, "wb") as file:
            file.write(store.read_bytes("results.duckdb"))
        with duckdb.connect(copy) as database:
            assert database.execute(checks[name]).fetchall() == []
            database.execute(statement)
            assert database.execute(checks[name]).fetchall() != [], name


def test_a_reader_keeps_its_results_while_new_ones_are_swapped_in(published):
    store, catalogue = published
    with connect(store) as reader:
        before = reader.execute("SELECT count(*) FROM runs").fetchone()
        build(store, catalogue, RunInfo.now("second"))
        assert reader.execute("SELECT count(*) FROM runs").fetchone() == before
    with connect(store) as reader:
        assert reader.execute("SELECT count(*) FROM runs").fetchone() == (2,)


def test_results_cannot_be_written_through_a_connection(published):
    store, _ = published
    with connect(store) as database, pytest.raises(duckdb.Error, match="read-only"):
        database.execute("DELETE FROM keyed.levels")


def test_a_store_without_results_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="no published results"), connect(Store(tmp_path)):
        pass


def test_ties_share_a_rank(tmp_path):
    catalogue = catalogue_of(tmp_path, TWO_MODALITIES)
    raws = {"image.comprehension.ic1": 90.0, "image.generation.ig1": 70.0}
    scores = {"a": raws, "b": raws, "c": {"image.comprehension.ic1": 10.0}}
    board = leaderboard(publish(tmp_path, catalogue, scores))
    assert dict(board.select("model", "rank").iter_rows()) == {"a": 1, "b": 1, "c": 3}


def test_a_figure_scored_from_predictions_wins_over_an_imported_one(bench):
    task_id = bench.add_task("Quiz", "accuracy", {0: "A"})
    bench.predict("model", task_id, {0: "A"})
    bench.score()
    catalogue = load_catalogue([bench.catalogue], base=False)
    store = publish(bench.root, catalogue, {"model": {task_id: 5.0}})
    with connect(store) as database:
        row = database.execute(
            "SELECT raw_score, origin FROM task_results WHERE profile = 'corrected'"
        ).fetchone()
        assert row == (100.0, "scored")
        stored = database.execute("SELECT instance_id, status FROM instance_scores").fetchall()
        assert stored == [("0", "scored")]
        assert database.execute("SELECT text FROM predictions").fetchall() == [("A",)]
        assert database.execute("SELECT text FROM references_").fetchall() == [("A",)]
