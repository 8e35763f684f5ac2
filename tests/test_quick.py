"""The quick board: the same few instances of each task for every model, under the corrected rules."""

from __future__ import annotations

import random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalog import load_catalogue
from tasks.score.quick import QUICK_INSTANCES, quick_instances
from tasks.storage import Store
from tasks.warehouse import RunInfo, build, connect

#: The quick instances of a store's references, by DuckDB's own SHA-256.
IN_SQL = f"""
    SELECT instance_id FROM references_
    QUALIFY row_number() OVER (
        PARTITION BY task_id ORDER BY sha256(concat(task_id, chr(10), instance_id))
    ) <= {QUICK_INSTANCES}
"""


@given(count=st.integers(0, 300), prefix=st.text(max_size=4), seed=st.integers(0, 1000))
def test_the_quick_instances_do_not_depend_on_the_order(count, prefix, seed):
    ids = pl.Series([f"{prefix}{n}" for n in range(count)], dtype=pl.String)
    shuffled = pl.Series(random.Random(seed).sample(ids.to_list(), count), dtype=pl.String)
    chosen, again = (i.filter(quick_instances("image.comprehension.t", i)) for i in (ids, shuffled))
    assert len(chosen) == min(len(ids), QUICK_INSTANCES)
    assert set(again) == set(chosen)


def test_tasks_do_not_share_their_quick_instances():
    ids = pl.Series([str(i) for i in range(1000)])
    first, second = (set(ids.filter(quick_instances(t, ids))) for t in ("a", "b"))
    assert len(first & second) < 50


@pytest.fixture
def quiz(bench):
    """A task of 250 instances; its quick instances as DuckDB finds them."""
    task_id = bench.add_task(
        "Quiz", "accuracy", dict.fromkeys(range(250), "A"), modality="image",
        paradigm="comprehension", task_type="MultipleChoiceQA",
    )  # fmt: skip
    bench.predict("all", task_id, dict.fromkeys(range(250), "A"))
    bench.score("all")
    catalogue = load_catalogue([bench.catalogue], base=False)
    build(Store(bench.store), catalogue, RunInfo.now("1"))
    with connect(Store(bench.store)) as database:
        chosen = {int(row[0]) for row in database.execute(IN_SQL).fetchall()}
    assert len(chosen) == QUICK_INSTANCES
    return task_id, chosen


def test_a_model_that_answers_the_quick_instances_alone_is_right_there(bench, quiz):
    task_id, chosen = quiz
    right = sorted(chosen)[:60]
    answers = dict.fromkeys(sorted(chosen), "B") | dict.fromkeys(right, "A")
    bench.predict("few", task_id, answers)
    rows = bench.score("few")
    quick, full = rows[task_id, "quick"], rows[task_id, "corrected"]
    assert (quick["raw_score"], quick["coverage"]) == (60.0, 1.0)
    assert (quick["n_instances"], quick["n_missing"]) == (100, 0)
    assert (full["raw_score"], full["n_missing"]) == (100 * 60 / 250, 150)


def test_missing_quick_instances_count_as_wrong(bench, quiz):
    task_id, chosen = quiz
    left_out = sorted(chosen)[:7]
    bench.predict("some", task_id, {i: "A" for i in range(250) if i not in left_out})
    quick = bench.score("some")[task_id, "quick"]
    assert (quick["raw_score"], quick["raw_score_answered"]) == (93.0, 100.0)
    assert (quick["n_missing"], quick["n_scored"]) == (7, 93)


def test_small_tasks_are_on_the_quick_board_whole(bench):
    task_id = bench.add_task("Labels", "micro_f1", {0: "a, b", 1: "c"}, task_type="ner")
    bench.predict("model", task_id, {0: "a<p>x"})
    rows = bench.score()
    same = ("raw_score", "n_instances", "n_missing", "coverage", "raw_score_answered")
    for name in same:
        assert rows[task_id, "quick"][name] == rows[task_id, "corrected"][name]


def test_a_distance_of_sets_is_that_of_the_whole_set(bench):
    """FID keeps nothing of the instances: the quick board shows the distance of the set."""
    rng = random.Random(1)
    made, real = ([[rng.gauss(m, 1) for _ in range(2)] for _ in range(150)] for m in (0, 1))
    task_id = bench.add_task(
        "Faces", "fid", dict(enumerate(real)), modality="image", paradigm="generation"
    )
    bench.predict("model", task_id, dict(enumerate(made)))
    rows = bench.score()
    assert rows[task_id, "corrected"]["raw_score"] > 0
    assert rows[task_id, "quick"]["raw_score"] == rows[task_id, "corrected"]["raw_score"]
