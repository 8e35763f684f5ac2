"""Intervals: replicates are paired and stored with scores, levels follow the SQL, truth is held."""

from __future__ import annotations

import json
import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.coverage import POPULATIONS, cover_levels, cover_task
from flows.cli.app import app
from tasks.metrics import get_metric
from tasks.storage import Store
from tasks.uncertainty.bootstrap import REPLICATES, draws, replicates_of
from tasks.uncertainty.compare import compare
from tasks.uncertainty.intervals import _expanded, interval
from tasks.uncertainty.levels import level_replicates, ranks
from tasks.uncertainty.published import _Results, read_replicates
from tasks.warehouse import connect
from tests.conftest import Bench


@pytest.mark.parametrize("instances", [1, 2, 465, 300_000])
def test_draws_are_samples_of_the_instances_and_the_same_each_time(instances: int) -> None:
    def drawn(task_id: str) -> np.ndarray:
        return np.concatenate([samples.chosen for samples in draws(task_id, instances, 20)])

    found = drawn("a task")
    assert found.shape == (20, instances)
    assert found.max() < instances
    assert np.array_equal(found, drawn("a task"))
    if instances > 2:
        assert not np.array_equal(found, drawn("another"))


def test_replicates_do_not_depend_on_the_order_of_the_rows() -> None:
    rng = np.random.default_rng(1)
    stats = pl.DataFrame({"instance_id": [f"{i}" for i in range(50)], "score": rng.random(50)})
    metric = get_metric("accuracy")
    found = replicates_of(metric, stats, "t")
    again = replicates_of(metric, stats.sample(fraction=1.0, shuffle=True, seed=3), "t")
    assert found is not None and again is not None
    assert np.array_equal(found, again)
    # Their spread is that of a mean of 50.
    expected = stats["score"].std(ddof=0) / 50**0.5
    assert found.std() == pytest.approx(expected, rel=0.1)


def test_one_instance_says_nothing_of_others() -> None:
    stats = pl.DataFrame({"instance_id": ["0"], "score": [1.0]})
    assert replicates_of(get_metric("accuracy"), stats, "t") is None


def test_an_interval_of_an_unbounded_error_is_unbounded_not_nan() -> None:
    replicates = np.array([1.0, 2.0, 3.0] + [np.inf] * 97)
    low, high = interval(replicates, 10)
    assert low in (1.0, 2.0, 3.0) and high == np.inf


@given(st.lists(st.floats(0, 1e6) | st.just(np.inf), min_size=2, max_size=60), st.integers(2, 500))
def test_interval_ends_are_numpys_quantiles(replicates: list[float], instances: int) -> None:
    drawn = np.array(replicates)
    for found, tail in (
        (interval(drawn), 0.025),
        (interval(drawn, instances), _expanded(0.025, instances)),
    ):
        assert found[0] == np.quantile(drawn, tail, method="lower")
        assert found[1] == np.quantile(drawn, 1 - tail, method="higher")


@pytest.mark.parametrize("name", list(POPULATIONS))
def test_intervals_of_task_scores_hold_the_truth(name: str) -> None:
    # 200 trials: 95 % +- 4.6 points is three standard errors. benchmarks/coverage.py does more.
    assert 0.90 <= cover_task(name, 200, 200) <= 0.995


def test_intervals_of_levels_hold_the_truth() -> None:
    shares = cover_levels(5, 200, 1_000)
    assert all(0.92 <= share <= 0.975 for share in shares.values()), shares


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.sampled_from([0.0, 1.0, 2.5, 7.0])] * 3), min_size=1, max_size=8))
def test_ranks_are_those_of_sorting(models: list[tuple[float, float, float]]) -> None:
    levels = [np.array([[m[i]] for m in models]) for i in range(3)]
    found = ranks(levels)[:, 0]
    keys = [tuple(reversed(m)) for m in models]
    assert list(found) == [1 + sum(other > key for other in keys) for key in keys]


@pytest.fixture
def scored(tmp_path) -> tuple[Store, Bench]:
    """Three models on tasks of two modalities and language, scored and published."""
    bench = Bench(tmp_path)
    rng = random.Random(4)
    skills = {"weak": 0.3, "middle": 0.6, "strong": 0.9}
    for modality, paradigm in (
        ("image", "comprehension"),
        ("image", "generation"),
        ("audio", "comprehension"),
        ("audio", "generation"),
        ("language", "language"),
    ):
        for number in range(3):
            references = {str(i): rng.choice("ABCD") for i in range(60)}
            task_id = bench.add_task(
                f"{modality} {paradigm} {number}",
                "accuracy",
                references,
                modality=modality,
                paradigm=paradigm,
                specialist=40.0 + 20 * number,
            )
            for model, skill in skills.items():
                answers = {
                    i: r if rng.random() < skill else rng.choice("ABCD")
                    for i, r in references.items()
                }
                bench.predict(model, task_id, answers)
    return bench.publish(), bench


def test_levels_of_replicates_follow_the_sql(scored) -> None:
    """The published scores, taken as replicates, give the published levels on every board."""
    store, _ = scored
    with connect(store) as database:
        results = _Results(database)
        rows = database.sql(
            "FROM levels WHERE profile = 'corrected' AND aggregation = 'modality_mean'"
        ).pl()
        for model in ("weak", "middle", "strong"):
            scores = np.zeros((len(results.tasks), 1))
            wins = np.zeros(scores.shape, dtype=bool)
            of_model = results.scores.filter(model=model)
            for task_id, score, won in of_model.select("task_id", "score", "wins").iter_rows():
                scores[results.tasks[task_id]], wins[results.tasks[task_id]] = score, won
            assert len(results.boards) > 8
            for board in results.boards:
                found = level_replicates(board, scores, wins, results.language)
                row = rows.row(
                    by_predicate=(pl.col("model") == model)
                    & (pl.col("board_id") == board.board_id),
                    named=True,
                )
                for level in (2, 3, 4, 5):
                    if row[f"level_{level}"] is None:
                        assert level not in found
                    else:
                        assert found[level][0] == pytest.approx(row[f"level_{level}"], abs=1e-9)


def test_published_intervals_surround_the_scores(scored) -> None:
    store, _ = scored
    with connect(store) as database:
        tasks = database.sql(
            "SELECT i.*, r.raw_score, r.score, r.specialist_raw FROM task_intervals AS i "
            "INNER JOIN task_results AS r ON r.model = i.model AND r.task_id = i.task_id "
            "AND r.profile = 'corrected'"
        ).pl()
        assert tasks.height == 45
        assert (tasks["raw_low"] <= tasks["raw_score"]).all()
        assert (tasks["raw_high"] >= tasks["raw_score"]).all()
        assert (tasks["score_low"] == tasks["raw_low"]).all()
        clear = tasks.filter(pl.col("raw_low") > pl.col("specialist_raw"))
        assert clear.height and (clear["p_at_or_above_specialist"] > 0.97).all()
        levels = database.sql("FROM level_intervals WHERE level = 2").pl()
        assert (levels["low"] <= levels["score"]).all()
        assert (levels["score"] <= levels["high"]).all()
        assert (levels["share_bootstrapped"] == 1).all()
        places = database.sql("FROM rank_intervals WHERE board_id = 'A' ORDER BY rank").pl()
        assert places["model"].to_list() == ["strong", "middle", "weak"]
        assert places["rank_low"].to_list() == places["rank_high"].to_list() == [1, 2, 3]


def test_intervals_are_made_again_only_for_what_changed(scored) -> None:
    store, bench = scored
    kept = {
        name: store.read_bytes("uncertainty", name, "levels.parquet")
        for name in ("weak", "middle", "strong")
    }
    times = {
        name: store.fs.modified(store.path("uncertainty", name, "levels.parquet")) for name in kept
    }
    bench.publish()
    for name, before in times.items():
        assert store.fs.modified(store.path("uncertainty", name, "levels.parquet")) == before
    bench.predict("weak", "image.comprehension.image-comprehension-0", {"0": "A"})
    bench.publish()
    changed = {
        name
        for name in kept
        if store.read_bytes("uncertainty", name, "levels.parquet") != kept[name]
    }
    assert changed == {"weak"}


def test_replicates_are_the_same_on_another_machine(scored, tmp_path) -> None:
    store, bench = scored
    again = bench.publish(str(tmp_path / "elsewhere"))
    for model in ("weak", "strong"):
        ours, theirs = (read_replicates(s, model).sort("task_id") for s in (store, again))
        assert ours.height == 15 and ours.equals(theirs)
        assert (ours["replicates"].list.len() == REPLICATES).all()


def test_a_comparison_tells_the_better_model(scored) -> None:
    store, _ = scored
    found = compare(store, "strong", "weak")
    assert set(found.tasks["better"]) == {"strong"}
    assert (found.levels["difference"] > 0).all() and (found.levels["p"] < 0.05).all()
    swapped = compare(store, "weak", "strong")
    assert swapped.tasks["difference"].to_list() == [-d for d in found.tasks["difference"]]
    assert swapped.tasks["p"].to_list() == found.tasks["p"].to_list()
    same = compare(store, "weak", "weak")
    assert (same.tasks["p"] == 1).all() and same.tasks["better"].null_count() == same.tasks.height


def test_models_that_are_alike_are_seldom_told_apart(tmp_path) -> None:
    """Under the null hypothesis of equal skill, about 5 % of the p-values are at most 0.05."""
    bench = Bench(tmp_path)
    rng = random.Random(9)
    for number in range(300):
        references = {str(i): rng.choice("ABCD") for i in range(80)}
        task_id = bench.add_task(f"t {number}", "accuracy", references)
        for model in ("one", "two"):
            answers = {
                i: r if rng.random() < 0.6 else rng.choice("ABCD") for i, r in references.items()
            }
            bench.predict(model, task_id, answers)
    found = compare(bench.publish(), "one", "two")
    share = found.tasks.filter(pl.col("p") <= 0.05).height / found.tasks.height
    assert 0.01 <= share <= 0.09  # three standard errors of 300 tasks
    assert found.tasks["better"].drop_nulls().len() <= 2


def test_the_command_compares(scored, capsys) -> None:
    store, _ = scored
    app(["compare", "strong", "weak", "--store", store.url, "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert [row["level"] for row in found["levels"]] == [2, 3, 4, 5]
    app(["compare", "strong", "weak", "--store", store.url], standalone_mode=False)
    assert "strong is better on" in capsys.readouterr().out
