"""The published leaderboard as data: complete rows, believable figures, and levels that follow."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from examples.published import page as published
from tasks.catalog import load_catalogue
from tasks.report.audit import audit

CATALOGUE = load_catalogue()
FOLDER = Path(published.__file__).parent
RESULTS = pl.read_csv(FOLDER / "results.csv", schema_overrides={"raw_score": pl.String})
SECOND = pl.read_csv(FOLDER / "second_rows.csv", schema_overrides={"raw_score": pl.String})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return published.store_of(tmp_path_factory.mktemp("published"), [])


@pytest.fixture(scope="module")
def levels(store):
    return audit(store, "published_levels", FOLDER / "published_levels.csv")


def test_every_row_of_every_table_has_its_full_length():
    tasks_of = RESULTS.group_by("table").agg(pl.col("task_id").n_unique().alias("tasks"))
    for rows in (RESULTS, SECOND):
        lengths = rows.group_by("model", "table").len().join(tasks_of, on="table")
        assert lengths.filter(pl.col("len") != pl.col("tasks")).is_empty()
    assert set(RESULTS["task_id"]) == set(CATALOGUE.tasks["task_id"])
    assert RESULTS.select("model", "task_id").is_duplicated().sum() == 0


def test_a_second_row_is_of_a_system_that_has_a_first():
    firsts = set(RESULTS.select("model", "table").rows())
    assert set(SECOND.select("model", "table").rows()) <= firsts
    assert set(SECOND["model"]) == {"AnyGPT", "InternVL-2-26B", "Qwen2-VL-72B"}


def test_every_figure_is_a_mark_or_inside_its_metrics_range():
    for task_id, raw in RESULTS.select("task_id", "raw_score").rows():
        task = CATALOGUE.task(task_id)
        if raw == "∞":
            assert task.direction == "lower", (task_id, raw)
        elif float(raw) != 0 or task.direction == "lower":
            task.normalise(float(raw))  # raises outside the range


def test_the_specialists_of_the_tables_are_the_catalogues_or_listed():
    rows = pl.read_csv(FOLDER / "specialist_rows.csv")
    listed = dict(
        pl.read_csv(FOLDER / "specialists_printed.csv").select("task_id", "specialist_raw").rows()
    )
    assert rows.height == len(CATALOGUE) == 699
    for task_id, printed, _ in rows.rows():
        own = CATALOGUE.task(task_id).specialist_raw
        differs = abs(float(printed) - own) > 0.005 + 1e-9 * abs(float(printed))
        assert differs == (task_id in listed), task_id
        if differs:
            assert listed[task_id] == float(printed)
    by_modality = Counter(task_id.split(".")[0] for task_id in listed)
    assert by_modality == {"language": 63, "3d": 1}


def test_names_are_reconciled():
    names = pl.read_csv(FOLDER / "systems.csv")
    known = set(names["model"])
    for file in ("published_levels.csv", "published_counts.csv"):
        told = pl.read_csv(FOLDER / file)
        assert set(told.select("model", "printed_as").rows()) <= set(
            names.select("model", "printed_as").rows()
        )
    assert set(RESULTS["model"]) <= known


def test_levels_follow_from_the_printed_results(levels):
    """Counts found when the tables were read; a mistyped figure would move them."""
    one_modality = levels.filter(pl.col("modality") != "all")
    level_2 = one_modality.filter((pl.col("level") == 2) & (pl.col("printed") > 0))
    verdicts = dict(level_2["verdict"].value_counts().rows())
    assert verdicts["agrees"] == 66
    assert verdicts["an unsupported MS-SSIM counted 50"] == 12
    assert verdicts["mean over all tasks instead of two halves"] == 6
    assert verdicts["not explained"] == 10
    agree = dict(one_modality.filter(pl.col("verdict") == "agrees").group_by("level").len().rows())
    assert agree[2] == 354
    assert agree[3] == 368


def test_level_4_is_the_printed_one_where_results_are_printed(levels):
    found = {
        (model, modality): (printed, recomputed, verdict)
        for model, _, modality, level, printed, recomputed, verdict in levels.rows()
        if level == 4 and printed > 0
    }
    assert found["Vitron-V1", "image"][2] == found["Emu2-32B", "image"][2] == "agrees"
    assert found["Mini-Gemini", "image"][2] == "no task results printed"


def test_supported_tasks_are_counted_as_printed(store):
    counts = audit(store, "published_counts", FOLDER / "published_counts.csv")
    same = counts.filter(pl.col("printed_supported") == pl.col("supported"))
    assert (same.height, counts.height) == (61, 77)
    assert counts["supported"].null_count() == 0


def test_no_system_without_results_and_no_result_without_its_system(store):
    with published.connect(store) as database:
        models = {row[0] for row in database.sql("SELECT model FROM leaderboard").fetchall()}
    assert models == set(RESULTS["model"])


def test_the_page_is_current():
    assert published.PAGE.read_text(encoding="utf-8") == published.page(), (
        "python -m examples.published.page writes it anew"
    )
