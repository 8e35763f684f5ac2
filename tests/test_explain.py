"""`explain` on the mini example: every figure that it shows follows from those before it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from flows.cli.app import app
from tasks.catalog import load_catalogue
from tasks.errors import UserError, near
from tasks.report.explain import FEW, explain, mapped
from tasks.storage import Store
from tasks.warehouse import RunInfo, build, connect
from tests.conftest import Bench

MINI = Path(__file__).parent.parent / "examples" / "general-bench-mini"
SUBMISSIONS = {
    "majority-baseline": MINI / "submissions" / "majority-baseline",
    "nearest-neighbour": MINI / "submissions" / "nearest-neighbour",
    "tuned-ensemble": MINI / "submissions" / "tuned-ensemble.tar.gz",
    "broken-model": MINI / "submissions-broken" / "broken-model",
}
WON, LOST = "video.generation.hand-track-inpainting", "language.employment-forecasting"


class Mini(Bench):
    def sources(self, model):
        return MINI / "dataset", SUBMISSIONS[model]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    mini = Mini(tmp_path_factory.mktemp("explain"))
    mini.catalogue = MINI / "catalogue.csv"
    for model in SUBMISSIONS:
        mini.score(model)
    build(Store(mini.store), load_catalogue([mini.catalogue], base=False), RunInfo.now("1"))
    return Store(mini.store)


def evaluated(formula: str) -> float:
    names = {"tanh": math.tanh, "min": min, "max": max, "inf": math.inf}
    return eval(formula, {"__builtins__": {}}, names)


def all_results(store, columns: str) -> list[tuple]:
    with connect(store) as database:
        return database.execute(
            f"SELECT {columns} FROM task_results WHERE profile = 'corrected'"
        ).fetchall()


def test_every_score_of_the_example_is_explained(store):
    pairs = all_results(store, "model, task_id, score, specialist_score")
    assert len(pairs) >= 90
    for model, task_id, score, specialist in pairs:
        found = explain(store, model, task_id)
        if found["result"]["raw_score"] is not None:
            assert evaluated(found["normalisation"]["formula"]) == pytest.approx(score, abs=1e-6)
        assert evaluated(found["specialist"]["formula"]) == pytest.approx(specialist, abs=1e-6)
        assert [row["figure"] for row in found["contributions"]] == [
            *("level_2", "level_3", "level_4", "level_5", "language_weight")
        ]
        assert all(row["adds_up"] for row in found["contributions"])
        assert (found["gains"] is None) == found["result"]["wins"]
        assert {row["profile"] for row in found["other_profiles"]} == {"published", "quick"}
        json.dumps(found, default=str)


def test_instances_of_a_score_are_summed_up(store):
    """MAE is the mean of its instances' errors, and a large one is a bad one."""
    found = explain(store, "tuned-ensemble", LOST)
    with connect(store) as database:
        errors = database.sql(
            "SELECT DISTINCT instance_id, score FROM instance_scores "
            "WHERE model = 'tuned-ensemble' AND task_id = ?",
            params=[LOST],
        ).pl()
    statistics = found["statistics"]
    assert statistics["instances"] == found["instances"]["n_instances"] == errors.height
    assert statistics["mean"] == pytest.approx(found["result"]["raw_score"], rel=1e-12)
    ordered = errors.sort("score", descending=True)["score"].to_list()
    assert [row["score"] for row in statistics["worst"]] == ordered[:FEW]
    assert [row["score"] for row in statistics["best"]] == ordered[: -FEW - 1 : -1]
    assert (statistics["minimum"], statistics["maximum"]) == (ordered[-1], ordered[0])


def test_a_win_and_a_loss_are_told_in_the_metrics_direction(store):
    won, lost = (explain(store, "tuned-ensemble", task) for task in (WON, LOST))
    assert (won["result"]["wins"], lost["result"]["wins"]) == (True, False)
    for found, sign in ((won, 1), (lost, -1)):
        # Both are errors, of which the lower is the better.
        better_by = found["specialist"]["raw_score"] - found["result"]["raw_score"]
        assert found["result"]["better_than_specialist_by"] == better_by
        assert better_by * sign > 0
    assert lost["gains"]["level_5_gain"] > 0
    assert lost["gains"]["level_2_gain"] == 0


def test_a_task_that_is_not_supported_says_what_it_would_bring(store):
    found = explain(store, "majority-baseline", WON)
    assert found["result"]["status"] == "unsupported"
    assert (found["statistics"], found["interval"]) == (None, None)
    assert found["gains"]["level_3_gain"] > 0


def test_refused_rows_are_shown_with_their_reasons(store):
    with connect(store) as database:
        (task_id, reason) = database.execute(
            "SELECT task_id, min(quarantine.reason) FROM quarantine JOIN task_results USING (model, task_id) "
            "WHERE model = 'broken-model' AND profile = 'corrected' AND n_unreadable > 0 "
            "GROUP BY ALL HAVING count(DISTINCT quarantine.reason) = 1 ORDER BY ALL"
        ).fetchall()[0]
    found = explain(store, "broken-model", task_id)
    assert found["instances"]["n_unreadable"] > 0
    assert {row["reason"] for row in found["instances"]["refused_rows"]} == {reason}


@pytest.mark.parametrize(
    ("model", "task", "told"),
    [
        ("tuned", WON, "tuned-ensemble"),
        ("Tuned-Ensemble", WON, "tuned-ensemble"),
        ("tuned-ensemble", "Hand Trak Inpainting", WON),
        ("tuned-ensemble", "employment", LOST),
    ],
)
def test_an_unknown_name_is_answered_with_those_near_it(store, model, task, told):
    with pytest.raises(UserError) as caught:
        explain(store, model, task)
    assert told in caught.value.remedy


def test_results_of_an_earlier_version_say_what_to_do(store, tmp_path):
    old = Store(str(tmp_path / "old"))
    old.write(lambda file: file.write(store.read_bytes("results.duckdb")), "results.duckdb")
    with duckdb.connect(old.path("results.duckdb")) as database:
        database.execute("DROP VIEW level_contributions")
    with pytest.raises(UserError, match="earlier version"):
        explain(old, "tuned-ensemble", WON)


def test_the_command_prints_and_speaks_json(store):
    url = store.url
    for task in (WON, LOST):
        printed = CliRunner().invoke(app, ["explain", "tuned-ensemble", task, "--store", url])
        assert printed.exit_code == 0, printed.output
        assert "100 * tanh(" in printed.output
        assert "adds up" in printed.output
    spoken = CliRunner().invoke(app, ["explain", "tuned-ensemble", WON, "--store", url, "--json"])
    assert json.loads(spoken.stdout)["result"]["wins"] is True


def test_boards_are_listed_and_an_unknown_one_names_those_near_it(store):
    runner = CliRunner()
    spoken = runner.invoke(app, ["levels", "--boards", "--store", store.url, "--json"])
    boards = {row["board_id"]: row["tasks"] for row in json.loads(spoken.stdout)}
    assert boards["A"] == 19
    (skill,) = (board for board in boards if board.startswith("D-image-generation-"))
    shown = runner.invoke(app, ["levels", "--board", skill, "--store", store.url, "--json"])
    assert {row["tasks_total"] for row in json.loads(shown.stdout)} == {boards[skill]}
    wrong = runner.invoke(app, ["levels", "--board", "C-imge-generation", "--store", store.url])
    assert isinstance(wrong.exception, UserError)
    assert "C-image-generation" in wrong.exception.remedy
    assert len(wrong.exception.remedy) < 500
    wrong = runner.invoke(app, ["levels", "--profile", "fast", "--store", store.url])
    assert isinstance(wrong.exception, UserError)
    assert "quick" in wrong.exception.remedy


def test_the_formula_of_every_metric_gives_its_score():
    catalogue = load_catalogue()
    first = catalogue.tasks.group_by("metric_id").first()
    for task_id in first["task_id"]:
        task = catalogue.task(task_id)
        about = {
            name: getattr(task, name) for name in ("map", "threshold", "unit", "minimum", "maximum")
        }
        high = min(task.maximum, 300.0)
        for raw in (task.minimum, high, (task.minimum + high) / 3, task.maximum):
            if task.minimum <= raw:
                found = evaluated(mapped(about, raw))
                assert found == pytest.approx(task.normalise(raw), abs=1e-6), (task_id, raw)


@given(known=st.lists(st.text(max_size=8), max_size=30), wanted=st.text(max_size=8))
def test_near_names_are_few_and_known(known, wanted):
    found = near(wanted, known)
    assert len(found) <= 8
    assert set(found) <= set(known)
    if wanted in known:
        assert wanted.casefold() in {name.casefold() for name in near(wanted, known, len(known))}
