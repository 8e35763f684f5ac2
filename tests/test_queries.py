"""The queries of docs/queries.md run, on a store with two runs behind it, and answer."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tasks.catalog import load_catalogue
from tasks.storage import Store
from tasks.warehouse import RunInfo, build, connect
from tests.conftest import Bench

PAGE = Path(__file__).parent.parent / "docs" / "queries.md"
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """Two published runs of one model on two tasks of one modality; one score fell meanwhile."""
    bench = Bench(tmp_path_factory.mktemp("queries"))
    answers = {0: "A", 1: "B"}
    for title in ("Quiz", "Riddle"):
        task_id = bench.add_task(
            title, "accuracy", answers, modality="image", paradigm="comprehension", specialist=90.0
        )
        bench.predict("model", task_id, answers)
    for run_id in ("first", "second"):
        bench.score()
        catalogue = load_catalogue([bench.catalogue], base=False)
        build(Store(bench.store), catalogue, RunInfo.now(run_id))
        bench.predict("model", task_id, {0: "A", 1: "wrong"})
    with connect(Store(bench.store)) as opened:
        yield opened


@pytest.mark.parametrize("query", QUERIES)
def test_query_runs_as_it_stands(database, query):
    result = database.execute(query)
    assert result.description


def test_every_view_is_in_the_page(database):
    views = {
        row[0]
        for row in database.execute(
            "SELECT view_name FROM duckdb_views() WHERE NOT internal AND NOT temporary "
            "AND view_name NOT IN (SELECT table_name FROM duckdb_tables())"
        ).fetchall()
    }
    told = PAGE.read_text(encoding="utf-8")
    assert {view for view in views if view not in told} == set()


def test_what_changed_is_found(database):
    rows = database.execute(
        "SELECT model, raw_score, raw_score_before FROM score_changes WHERE profile = 'corrected'"
    ).fetchall()
    assert rows == [("model", 50.0, 100.0)]
    (worst,) = database.execute(
        "SELECT DISTINCT model FROM level_changes WHERE change < 0 AND level = 2"
    ).fetchall()
    assert worst == ("model",)


def test_gain_of_passing_a_specialist_is_exact(database):
    """Raising a lost task to the specialist raises levels 2 and 3 by what the view says."""
    rows = database.execute(
        "SELECT gap, level_2_gain, level_3_gain FROM level_gains WHERE model = 'model'"
    ).fetchall()
    # One task of two in image comprehension, one modality in the catalogue, specialist 90.
    assert rows == [(40.0, 40.0 / 4, 90.0 / 4)]


def test_score_history_holds_what_changed_and_nothing_else(bench):
    """A year of nights without change must not grow the database."""

    def night(run_id):
        bench.score()
        catalogue = load_catalogue([bench.catalogue], base=False)
        build(Store(bench.store), catalogue, RunInfo.now(run_id))
        with connect(Store(bench.store)) as opened:
            return opened.execute(
                "SELECT run_id, status, raw_score FROM score_history "
                "WHERE profile = 'corrected' ORDER BY run_id, status"
            ).fetchall()

    task_id = bench.add_task("Quiz", "accuracy", {0: "A", 1: "B"})
    path = bench.predict("model", task_id, {0: "A", 1: "B"})
    first = [("1", "scored", 100.0)]
    assert night("1") == night("2") == first
    bench.predict("model", task_id, {0: "A", 1: "wrong"})
    second = [*first, ("3", "scored", 50.0)]
    assert night("3") == night("4") == second
    shutil.rmtree(path.parent)  # an empty folder would be a refusal, which keeps the last score
    bench.predict("model", bench.add_task("Other", "accuracy", {0: "A"}), {0: "A"})
    assert night("5") == [*second, ("5", "gone", None), ("5", "scored", 100.0)]
