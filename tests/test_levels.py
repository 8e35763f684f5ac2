"""Levels in SQL: golden cases worked out by hand, an independent implementation, the invariants."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tasks.catalog import Catalogue, load_catalogue
from tasks.schema import TASK_SCORE_SCHEMA
from tasks.storage import Store, quote_name
from tasks.warehouse import RunInfo, build, connect
from tests.reference_levels import MODALITIES, Result, levels

AGGREGATIONS = ("modality_mean", "task_mean")


def catalogue_of(folder: Path, tasks: Sequence[tuple[str, str, str, str, float]]) -> Catalogue:
    """A catalogue of (modality, paradigm, title, metric, specialist)."""
    lines = ["modality,paradigm,title,metric_id,specialist_raw,task_id"]
    for modality, paradigm, title, metric, specialist in tasks:
        middle = "" if modality == "language" else f"{paradigm}."
        task_id = f"{modality}.{middle}{title.lower()}"
        lines.append(f"{modality},{paradigm},{title},{metric},{specialist},{task_id}")
    path = folder / "catalogue.csv"
    path.write_text("\n".join(lines) + "\n")
    return load_catalogue([path], base=False)


def publish(folder: Path, catalogue: Catalogue, scores: Mapping[str, Mapping[str, float]]) -> Store:
    """Publishes raw scores (model -> task id -> raw) as past results of both profiles."""
    store = Store(str(folder / "store"))
    for model, raws in scores.items():
        rows = [
            {
                "model": model,
                "task_id": task_id,
                "profile": profile,
                "metric_id": catalogue.task(task_id).metric_id,
                "status": "scored" if task_id in raws else "unsupported",
                "raw_score": raws.get(task_id),
                "origin": "imported",
                "scorer_version": "test",
            }
            # In the order given, then those that the model does not support.
            for task_id in dict.fromkeys([*raws, *catalogue.tasks["task_id"]])
            for profile in ("corrected", "published")
        ]
        table = pa.Table.from_pylist(rows, TASK_SCORE_SCHEMA)
        store.write_table(table, "imported", f"{quote_name(model)}.parquet")
    build(store, catalogue, RunInfo.now("test"))
    return store


def read_levels(store: Store, board: str = "A", profile: str = "corrected") -> pl.DataFrame:
    with connect(store) as database:
        return database.sql(
            "SELECT * FROM levels WHERE board_id = ? AND profile = ?", params=[board, profile]
        ).pl()


def of(frame: pl.DataFrame, model: str, aggregation: str = "modality_mean") -> tuple:
    row = frame.row(
        by_predicate=(pl.col("model") == model) & (pl.col("aggregation") == aggregation), named=True
    )
    return row["level_2"], row["level_3"], row["level_4"], row["level_5"]


TWO_MODALITIES = [
    ("image", "comprehension", "Ic1", "accuracy", 80.0),
    ("image", "comprehension", "Ic2", "accuracy", 50.0),
    ("image", "generation", "Ig1", "accuracy", 60.0),
    ("audio", "comprehension", "Ac1", "accuracy", 70.0),
    ("audio", "generation", "Ag1", "wer", 20.0),
    ("language", "language", "L1", "accuracy", 40.0),
    ("language", "language", "L2", "accuracy", 90.0),
]


def test_golden_case_worked_out_by_hand(tmp_path):
    """Image: C = (90 + 40) / 2 = 65, G = 60; S_C = 90 / 2 = 45, S_G = 60 (a tie wins).
    level 2 = 62.5, level 3 = 52.5, level 4 = 2 * 45 * 60 / 105 = 51.428571...
    Audio: C = 30, G = 100 - 10 = 90 (WER 10 % against 20 %); S_C = 0, S_G = 90.
    level 2 = 60, level 3 = 45, level 4 = 0.
    modality_mean: (62.5 + 60) / 2 = 61.25, (52.5 + 45) / 2 = 48.75, 51.428571 / 2 = 25.714286.
    task_mean: C = (90 + 40 + 30) / 3, G = (60 + 90) / 2 = 75; S_C = 30, S_G = 75.
    level 2 = (53.333 + 75) / 2 = 64.1666..., level 3 = 52.5, level 4 = 2 * 30 * 75 / 105 = 42.857142
    Language: 50 wins, 80 does not: S_L = 25, w_L = 0.25.
    """
    catalogue = catalogue_of(tmp_path, TWO_MODALITIES)
    raws = {
        "image.comprehension.ic1": 90.0,
        "image.comprehension.ic2": 40.0,
        "image.generation.ig1": 60.0,
        "audio.comprehension.ac1": 30.0,
        "audio.generation.ag1": 10.0,
        "language.l1": 50.0,
        "language.l2": 80.0,
    }
    found = read_levels(publish(tmp_path, catalogue, {"m": raws}))
    level_4 = 2 * 45 * 60 / 105 / 2
    assert of(found, "m") == pytest.approx((61.25, 48.75, level_4, level_4 / 4))
    pooled = 2 * 30 * 75 / 105
    assert of(found, "m", "task_mean") == pytest.approx(
        ((160 / 3 + 75) / 2, 52.5, pooled, pooled / 4)
    )
    assert set(found["level_reached"]) == {5}


def test_a_saturated_map_does_not_make_a_win(tmp_path):
    """FID 0.51 and 0.23 are both 100.0 after the map: the comparison must be on raw values."""
    tasks = [
        ("image", "comprehension", "C", "accuracy", 50.0),
        ("image", "generation", "G", "fid", 0.23),
    ]
    catalogue = catalogue_of(tmp_path, tasks)
    raws = {"image.comprehension.c": 60.0, "image.generation.g": 0.51}
    store = publish(tmp_path, catalogue, {"m": raws})
    assert of(read_levels(store), "m") == pytest.approx((80.0, 30.0, 0.0, 0.0))
    # The published scorer compares after the map, and takes it for a win.
    published = read_levels(store, profile="published")
    assert of(published, "m")[1] == pytest.approx(80.0)


def test_a_perfect_error_is_perfect_and_an_infinite_one_is_worst(tmp_path):
    tasks = [
        ("image", "comprehension", "Mae", "mae", 5.0),
        ("image", "generation", "Acc", "accuracy", 50.0),
    ]
    catalogue = catalogue_of(tmp_path, tasks)
    scores = {
        "perfect": {"image.comprehension.mae": 0.0},
        "hopeless": {"image.comprehension.mae": float("inf")},
    }
    found = read_levels(publish(tmp_path, catalogue, scores))
    assert of(found, "perfect")[:2] == (50.0, 50.0)
    assert of(found, "hopeless")[:2] == (0.0, 0.0)


@pytest.mark.parametrize("raw", [float("nan"), -1.0, 100.5, float("inf")])
def test_a_figure_that_the_metric_cannot_give_is_refused_and_seen(tmp_path, raw):
    catalogue = catalogue_of(tmp_path, TWO_MODALITIES)
    store = publish(tmp_path, catalogue, {"m": {"image.comprehension.ic1": raw}})
    with connect(store) as database:
        row = database.execute(
            "SELECT status, score, wins, reason FROM task_results "
            "WHERE task_id = 'image.comprehension.ic1' AND profile = 'corrected'"
        ).fetchone()
    assert row is not None
    assert row[:3] == ("refused", 0.0, False)
    assert "outside" in row[3]


def test_boards_of_one_paradigm_end_at_level_3(tmp_path):
    catalogue = catalogue_of(tmp_path, TWO_MODALITIES)
    raws = {"image.comprehension.ic1": 90.0, "image.comprehension.ic2": 40.0}
    store = publish(tmp_path, catalogue, {"m": raws})
    found = read_levels(store, "C-image-comprehension")
    assert of(found, "m") == pytest.approx((65.0, 45.0, None, None))
    assert of(read_levels(store, "B-image"), "m")[3] is None


# Random tables: many models at once in one build, so that a case costs little.

METRICS = {
    "accuracy": st.floats(0, 100),
    "fid": st.one_of(st.just(0.0), st.floats(1e-3, 500), st.just(float("inf"))),
    "wer": st.floats(0, 300),
    "psnr": st.floats(0, 60),
    "mos": st.floats(1, 5),
    "ms_ssim": st.floats(-1, 1),
}


@st.composite
def tables(draw):
    """A catalogue, and raw scores of several models on some of its tasks."""
    tasks = []
    for modality in MODALITIES:
        for paradigm in ("comprehension", "generation"):
            for n in range(draw(st.integers(1, 3))):
                metric = draw(st.sampled_from(sorted(METRICS)))
                specialist = draw(METRICS[metric].filter(lambda x: x != float("inf")))
                tasks.append((modality, paradigm, f"T{n}", metric, specialist))
    for n in range(draw(st.integers(1, 3))):
        tasks.append(("language", "language", f"T{n}", "accuracy", draw(METRICS["accuracy"])))
    models = {}
    for model in range(8):
        raws = {}
        for modality, paradigm, title, metric, specialist in tasks:
            middle = "" if modality == "language" else f"{paradigm}."
            choice = draw(st.integers(0, 3))
            if choice == 0:
                continue  # unsupported
            raw = specialist if choice == 1 else draw(METRICS[metric])
            raws[f"{modality}.{middle}{title.lower()}"] = raw
        models[f"model {model}"] = raws
    return tasks, models


def expected_results(catalogue: Catalogue, raws: Mapping[str, float]) -> list[Result]:
    results = []
    for row in catalogue.tasks.iter_rows(named=True):
        task = catalogue.task(row["task_id"])
        raw = raws.get(task.task_id)
        if raw is None:
            results.append(Result(task.modality, task.paradigm, 0.0, False))
            continue
        better = (
            raw >= task.specialist_raw if task.direction == "higher" else raw <= task.specialist_raw
        )
        results.append(Result(task.modality, task.paradigm, task.normalise(raw), better))
    return results


slow = settings(
    max_examples=10,
    deadline=None,
    # Each case is a whole build: shrinking a failure would take minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@slow
@given(table=tables())
def test_sql_agrees_with_plain_python_and_keeps_the_invariants(table, tmp_path_factory):
    tasks, models = table
    folder = tmp_path_factory.mktemp("levels")
    catalogue = catalogue_of(folder, tasks)
    specialist = {
        row["task_id"]: row["specialist_raw"] for row in catalogue.tasks.iter_rows(named=True)
    }
    found = read_levels(publish(folder, catalogue, models | {"specialist": specialist}))
    for model, raws in models.items():
        results = expected_results(catalogue, raws)
        for aggregation in AGGREGATIONS:
            two, three, four, five = of(found, model, aggregation)
            expected = levels(results, aggregation)
            assert (two, three, four, five) == pytest.approx(expected, abs=1e-9)
            close = 1 + 1e-12
            assert 0 <= five <= four <= three * close
            assert three <= two * close
            assert two <= 100 * close
    # A model equal to the specialists everywhere wins everything.
    for aggregation in AGGREGATIONS:
        two, three, _, _ = of(found, "specialist", aggregation)
        assert three == two


@slow
@given(table=tables(), data=st.data())
def test_raising_a_score_never_lowers_a_level_and_rows_have_no_order(table, data, tmp_path_factory):
    tasks, models = table
    folder = tmp_path_factory.mktemp("levels")
    catalogue = catalogue_of(folder, tasks)
    base = models["model 0"]
    variants = {
        "base": base,
        "shuffled": dict(random.Random(1).sample(list(base.items()), len(base))),
    }
    for n, task_id in enumerate(sorted(specialist_ids(catalogue))):
        task = catalogue.task(task_id)
        raw = base.get(task_id)
        better = data.draw(METRICS[task.metric_id])
        if raw is not None:
            better = max(raw, better) if task.direction == "higher" else min(raw, better)
        variants[f"raised {n}"] = {**base, task_id: better}
    found = read_levels(publish(folder, catalogue, variants))
    for aggregation in AGGREGATIONS:
        before = of(found, "base", aggregation)
        assert of(found, "shuffled", aggregation) == before
        for name in variants:
            after = of(found, name, aggregation)
            assert all(a >= b * (1 - 1e-12) for a, b in zip(after, before, strict=True)), name


def specialist_ids(catalogue: Catalogue) -> list[str]:
    return catalogue.tasks["task_id"].to_list()


@slow
@given(table=tables())
def test_an_unsupported_task_more_never_raises_a_level(table, tmp_path_factory):
    tasks, models = table
    folder = tmp_path_factory.mktemp("levels")
    before = read_levels(publish(folder, catalogue_of(folder, tasks), models))
    more = [
        *tasks,
        ("image", "generation", "Extra", "accuracy", 1.0),
        ("language", "language", "Extra", "accuracy", 1.0),
    ]
    folder = tmp_path_factory.mktemp("levels")
    after = read_levels(publish(folder, catalogue_of(folder, more), models))
    for model in models:
        for aggregation in AGGREGATIONS:
            pairs = zip(of(after, model, aggregation), of(before, model, aggregation), strict=True)
            assert all(a <= b * (1 + 1e-12) for a, b in pairs)


def test_the_sql_map_is_the_catalogues_map(tmp_path):
    """Every metric of the catalogue, over its whole range: SQL and Python give the same score."""
    catalogue = load_catalogue()
    rng = random.Random(2)
    first = catalogue.tasks.group_by("metric_id").first().sort("metric_id")
    scores: dict[str, dict[str, float]] = {}
    for model in range(20):
        for task_id in first["task_id"]:
            task = catalogue.task(task_id)
            high = min(task.maximum, 300.0)
            raw = [task.minimum, high, rng.uniform(task.minimum, high)][min(model, 2)]
            scores.setdefault(f"m{model}", {})[task_id] = raw
    store = publish(tmp_path, catalogue, scores)
    with connect(store) as database:
        rows = database.execute(
            "SELECT task_id, raw_score, score FROM task_results "
            "WHERE profile = 'corrected' AND status = 'scored'"
        ).fetchall()
    assert len(rows) == 20 * first.height
    for task_id, raw, score in rows:
        assert score == pytest.approx(catalogue.task(task_id).normalise(raw), abs=1e-12)


def test_two_builds_of_the_same_scores_are_the_same_to_the_bit(tmp_path):
    catalogue = load_catalogue()
    rng = random.Random(3)
    scores = {
        f"m{n}": {
            row["task_id"]: rng.uniform(max(row["minimum"], 0), min(row["maximum"], 100.0))
            for row in catalogue.tasks.iter_rows(named=True)
        }
        for n in range(10)
    }
    frames = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        ordered = scores if name == "one" else dict(reversed(scores.items()))
        frames.append(read_levels(publish(folder, catalogue, ordered)).sort("aggregation", "model"))
    assert frames[0].equals(frames[1])
