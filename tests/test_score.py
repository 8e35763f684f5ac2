"""Scoring: every instance gets one status, wrong ones count as wrong, and content decides."""

from __future__ import annotations

import json

import polars as pl
import pytest

from tasks.metrics import get_metric
from tasks.score.published import published_metric
from tasks.storage import Store


def test_missing_duplicate_and_unreadable_predictions_count_as_wrong(bench):
    task_id = bench.add_task("Quiz", "accuracy", dict.fromkeys(range(8), "A"))
    bench.predict(
        "model",
        task_id,
        [(0, "A"), (1, "A"), (2, "B"), (3, "A"), (3, "A"), (4, {"box": [1]}), (99, "A")],
    )
    row = bench.score()[task_id, "corrected"]
    # right: 0, 1; wrong: 2; duplicate: 3; unreadable: 4; missing: 5, 6, 7; extra: 99
    assert row["raw_score"] == pytest.approx(100 * 2 / 8)
    assert row["raw_score_answered"] == pytest.approx(100 * 2 / 3)
    counts = {name: row[f"n_{name}"] for name in ("instances", "scored", "missing")}
    assert counts == {"instances": 8, "scored": 3, "missing": 3}
    assert (row["n_duplicate"], row["n_unreadable"], row["n_extra"]) == (1, 1, 1)
    assert row["coverage"] == pytest.approx(3 / 8)


def test_the_published_profile_averages_over_answered_instances(bench):
    task_id = bench.add_task(
        "Quiz", "accuracy", dict.fromkeys(range(10), "A"), task_type="MultipleChoiceQA"
    )
    bench.predict("model", task_id, {0: "A"})
    rows = bench.score()
    assert rows[task_id, "corrected"]["raw_score"] == pytest.approx(10.0)
    assert rows[task_id, "published"]["raw_score"] == pytest.approx(100.0)


def test_an_empty_answer_is_not_a_missing_one(bench):
    task_id = bench.add_task("Blank", "accuracy", {0: "", 1: ""})
    bench.predict("model", task_id, {0: ""})
    row = bench.score()[task_id, "corrected"]
    assert row["raw_score"] == pytest.approx(50.0)
    assert row["n_missing"] == 1


def test_number_and_text_ids_are_the_same_id(bench):
    task_id = bench.add_task("Quiz", "accuracy", {7: "A", "8": "B"})
    bench.predict("model", task_id, {"7": "A", 8: "B"})
    assert bench.score()[task_id, "corrected"]["raw_score"] == pytest.approx(100.0)


def test_a_missing_number_makes_an_unbounded_error_infinite(bench):
    task_id = bench.add_task("Forecast", "mae", {0: 1.0, 1: 2.0}, task_type="Time Series")
    bench.predict("model", task_id, {0: "1.5"})
    row = bench.score()[task_id, "corrected"]
    assert row["raw_score"] == float("inf")
    assert row["raw_score_answered"] == pytest.approx(0.5)


@pytest.mark.parametrize("prediction", ["abc", None, True, [1, "x"], {"a": 1}, [], "nan"], ids=repr)
def test_what_is_no_number_is_unreadable(bench, prediction):
    task_id = bench.add_task("Forecast", "mae", {0: 1.0, 1: 2.0}, task_type="Time Series")
    bench.predict("model", task_id, {0: 1.0, 1: prediction})
    row = bench.score()[task_id, "corrected"]
    assert row["n_unreadable"] == 1
    assert row["n_scored"] == 1


def test_content_decides_what_is_scored_again(bench):
    first = bench.add_task("First", "accuracy", {0: "A"})
    second = bench.add_task("Second", "accuracy", {0: "A"})
    bench.predict("model", first, {0: "A"})
    bench.predict("model", second, {0: "A"})
    bench.score()
    assert {job.reason for job in bench.plan.jobs} == {"new"}

    bench.score()
    assert bench.plan.jobs == []
    assert bench.plan.unchanged == sorted([first, second])

    bench.predict("model", first, {0: "B"})
    rows = bench.score()
    assert [(job.task_id, job.reason) for job in bench.plan.jobs] == [
        (first, "predictions changed")
    ]
    assert rows[first, "corrected"]["raw_score"] == 0.0
    assert rows[second, "corrected"]["raw_score"] == 100.0

    bench.add_task("Second", "accuracy", {0: "C"})
    bench.score()
    assert [(job.task_id, job.reason) for job in bench.plan.jobs] == [
        (second, "references changed")
    ]


def test_a_new_specialist_needs_no_scoring(bench):
    task_id = bench.add_task("Quiz", "accuracy", {0: "A"}, specialist=50.0)
    bench.predict("model", task_id, {0: "A"})
    bench.score()
    bench.add_task("Quiz", "accuracy", {0: "A"}, specialist=60.0)
    bench.score()
    assert bench.plan.jobs == []


def test_scores_of_removed_predictions_go(bench):
    first = bench.add_task("First", "accuracy", {0: "A"})
    second = bench.add_task("Second", "accuracy", {0: "A"})
    bench.predict("model", first, {0: "A"})
    path = bench.predict("model", second, {0: "A"})
    bench.score()
    path.unlink()
    path.parent.rmdir()
    rows = bench.score()
    assert {task_id for task_id, _ in rows} == {first}


def test_the_stored_statistics_make_up_the_score(bench):
    task_id = bench.add_task("Labels", "micro_f1", {0: "a, b", 1: "c", 2: "d"}, task_type="ner")
    bench.predict("model", task_id, {0: "a<p>x", 1: "c"})
    row = bench.score()[task_id, "corrected"]
    # tp: a, c; fp: x; fn: b, d
    assert row["raw_score"] == pytest.approx(100 * 2 * 2 / (2 * 2 + 1 + 2))
    store = Store(bench.store)
    stored = pl.DataFrame(
        pl.from_arrow(
            store.read_row_groups(
                (row["row_group_start"], row["row_group_end"]),
                *("scores", "model", "instances", row["part"]),
            )
        )
    ).filter(metric_id="micro_f1")
    metric = get_metric("micro_f1")
    stats = stored.select(
        pl.col("stats").list.get(i).alias(name) for i, name in enumerate(metric.statistics)
    )
    assert 100 * metric.aggregate(stats) == row["raw_score"]
    assert dict(stored.select("instance_id", "status").iter_rows())["2"] == "missing"


def test_a_task_without_references_says_so(bench):
    bench.add_task("Known", "accuracy", {0: "A"})
    task_id = bench.add_task("Closed", "accuracy", {0: "A"})
    annotation = bench.dataset / "nlp" / "closed" / "annotation.json"
    annotation.write_text(
        json.dumps({"task": "Closed", "type": "OpenQA", "data": [{"id": 0, "input": {}}]})
    )
    bench.predict("model", task_id, {0: "A"})
    row = bench.score()[task_id, "corrected"]
    assert row["status"] == "refused"
    assert "no references" in row["reason"]


def test_the_published_scorer_drops_a_task_whose_metric_name_differs():
    assert published_metric("language", "Time Series", "rmse") is None
    assert published_metric("language", "ner", "micro_f1") == "micro_f1_published"
    assert published_metric("language", "something else", "token_f1") == "token_f1"
    assert published_metric("audio", "OpenQA", "accuracy") == "accuracy"


def test_a_part_written_before_another_batch_is_merged_stays(bench, monkeypatch):
    """Batches run side by side: merging one must not drop what another has just written."""
    from tasks.catalog import load_catalogue
    from tasks.ingest import finish, ingest_batch, plan
    from tasks.schema import Manifest
    from tasks.score import drop_stale_parts, finish_scores, plan_scores, score_batch, scorings

    ids = [bench.add_task(f"Task {n}", "accuracy", {0: "A"}) for n in range(2)]
    for task_id in ids:
        bench.predict("model", task_id, {0: "A"})
    store, catalogue = Store(bench.store), load_catalogue([bench.catalogue], base=False)
    for kind, model, source in zip(
        ("references", "predictions"), (None, "model"), bench.sources("model"), strict=True
    ):
        todo = plan(store, kind, model, str(source), catalogue)
        finish(store, todo, [ingest_batch(store, kind, model, b, catalogue) for b in todo.batches])
    references = store.read_struct(Manifest, "references", "manifest.json")
    assert references is not None
    jobs = plan_scores(store, "model", scorings(catalogue, references)).jobs
    results = [score_batch(store, "model", [job]) for job in jobs]
    for result in results:
        finish_scores(store, "model", result.rows, result.quarantine)
    drop_stale_parts(store, "model")
    parts = store.names("scores", "model", "instances")
    assert len(parts) == 2
    assert {row["part"] for result in results for row in result.rows} == set(parts)

    again = score_batch(store, "model", jobs)  # both tasks in one new part
    finish_scores(store, "model", again.rows, again.quarantine)
    monkeypatch.setattr("tasks.superseded.GRACE_SECONDS", 0)
    drop_stale_parts(store, "model")
    assert store.names("scores", "model", "instances") == [again.rows[0]["part"]]


def test_a_task_whose_references_the_metric_refuses_leaves_its_neighbours_scored(bench):
    """Tasks alike are scored together; one whose boxes are no boxes must not take the others along."""
    box = [{"bbox": [0, 0, 10, 10]}]
    good = bench.add_task("Good", "ap50", {0: box})
    bad = bench.add_task("Bad", "ap50", {0: ["no box"]})
    for task_id in (good, bad):
        bench.predict("model", task_id, {0: box})
    rows = bench.score()
    assert rows[good, "corrected"]["raw_score"] == 100.0
    assert rows[bad, "corrected"]["status"] == "refused"
    assert bad in rows[bad, "corrected"]["reason"]
