"""The bundled example of media: scored as outside libraries score it, and broken file by file."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.catalog import check_catalogue, load_catalogue
from tasks.ingest import finish, ingest_batch, plan
from tasks.metrics import has_metric
from tasks.schema import QUARANTINE_SCHEMA
from tasks.score import (
    finish_scores,
    plan_scores,
    read_task_scores,
    score_batch,
    scorings,
    unscored_rows,
)
from tasks.storage import Store
from tasks.warehouse import RunInfo, build, connect

MEDIA = Path(__file__).parent.parent / "examples" / "general-bench-media"
CATALOGUE = load_catalogue(base=False, extra=[MEDIA / "catalogue.csv"])
WEAK, MIDDLE, STRONG = MODELS = ("plain-rules", "classic-methods", "fitted-methods")
Rows = dict[str, dict[str, Any]]


def measured() -> dict[tuple[str, str], float]:
    with open(MEDIA / "measured.csv", newline="") as file:
        return {(r["model"], r["task_id"]): float(r["score"]) for r in csv.DictReader(file)}


def run(root: Path, submissions: dict[str, Path]) -> tuple[Store, dict[str, Rows]]:
    """Ingests and scores without Prefect; the store, and each model's rows by task."""
    store = Store(str(root))

    def ingest(kind: str, model: str | None, source: Path) -> Any:
        todo = plan(store, kind, model, str(source), CATALOGUE)
        done = [ingest_batch(store, kind, model, batch, CATALOGUE) for batch in todo.batches]
        return finish(store, todo, done)

    references, scores = ingest("references", None, MEDIA / "dataset"), {}
    for model, source in submissions.items():
        ingest("predictions", model, source)
        todo = plan_scores(store, model, scorings(CATALOGUE, references))
        rows = unscored_rows(store, todo, CATALOGUE)
        finish_scores(store, model, rows, QUARANTINE_SCHEMA.empty_table(), removed=todo.removed)
        for batch in todo.batches:
            result = score_batch(store, model, batch)
            finish_scores(store, model, result.rows, result.quarantine)
        found = read_task_scores(store, model).iter_rows(named=True)
        scores[model] = {r["task_id"]: r for r in found if r["profile"] == "corrected"}
    build(store, CATALOGUE, RunInfo.now("test"))
    return store, scores


def refusals(store: Store) -> list[tuple[str, str, str]]:
    """Task, instance and reason of every refused row."""
    return [
        (row["task_id"], row["instance_id"], row["reason"])
        for stage in store.names("quarantine")
        for name in store.names("quarantine", stage)
        for row in store.read_table("quarantine", stage, name).to_pylist()
    ]


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, dict[str, Rows]]:
    names = {WEAK: f"{WEAK}.zip", MIDDLE: f"{MIDDLE}.tar.gz", STRONG: STRONG}
    submissions = {model: MEDIA / "submissions" / name for model, name in names.items()}
    return run(tmp_path_factory.mktemp("media"), submissions)


def test_the_catalogue_is_sound_and_covers_the_metrics():
    assert check_catalogue(CATALOGUE) == []
    assert len(CATALOGUE) >= 14
    groups = set(CATALOGUE.tasks.select("modality", "paradigm").iter_rows())
    sides = ("comprehension", "generation")
    assert groups == {(m, s) for m in ("image", "video", "audio", "3d") for s in sides}
    metrics = set(CATALOGUE.tasks["metric_id"])
    wanted = "ap50 ap miou dice pq structure_measure success_auc m_viou epe absrel psnr ms_ssim fid"
    wanted += " clip_image_score chamfer_distance normal_rmse mcd fad"
    assert set(wanted.split()) <= metrics
    assert all(map(has_metric, metrics))
    assert CATALOGUE.tasks["specialist_model"].null_count() == 0


def test_committed_size_and_sources():
    sizes = [path.stat().st_size for path in MEDIA.rglob("*") if path.is_file()]
    assert sum(sizes) < 4_000_000
    told = (MEDIA / "SOURCES.md").read_text()
    for source in set(CATALOGUE.tasks["source"]):
        assert re.search(rf"^\| {re.escape(source)} \| .+ \| .+ \| .+ \|$", told, re.MULTILINE)


@pytest.mark.parametrize("model", MODELS)
def test_scores_are_those_that_outside_libraries_measured(scored, model):
    _, scores = scored
    expected = {task_id: score for (m, task_id), score in measured().items() if m == model}
    assert expected.keys() == scores[model].keys() == set(CATALOGUE.tasks["task_id"])
    for task_id, score in expected.items():
        row = scores[model][task_id]
        assert row["raw_score"] == pytest.approx(score, rel=1e-6, abs=1e-6), task_id
        assert (row["status"], row["coverage"]) == ("scored", 1.0), (task_id, row["reason"])
        assert row["n_instances"] == CATALOGUE.task(task_id).n_instances


def test_nothing_is_refused(scored):
    store, _ = scored
    assert refusals(store) == []


def test_the_stronger_model_is_better_on_most_tasks():
    def ahead(first: str, second: str) -> int:
        """Tasks on which the second model is at least as good as the first."""
        found = measured()
        signs = {t: -1 if CATALOGUE.task(t).direction == "lower" else 1 for _, t in found}
        return sum(s * found[first, t] <= s * found[second, t] for t, s in signs.items())

    assert ahead(WEAK, MIDDLE) > 0.8 * len(CATALOGUE)
    assert ahead(WEAK, STRONG) > 0.9 * len(CATALOGUE)
    assert ahead(MIDDLE, STRONG) > 0.6 * len(CATALOGUE)


def test_the_strong_model_wins_some_tasks_and_reaches_levels_2_and_3(scored):
    store, _ = scored
    with connect(store) as database:
        found = {
            row["model"]: row
            for row in database.sql("SELECT * FROM leaderboard").pl().iter_rows(named=True)
        }
    assert found[STRONG]["level_2"] > found[MIDDLE]["level_2"] > found[WEAK]["level_2"] > 0
    assert found[STRONG]["level_3"] > 0


# --- a submission broken file by file ------------------------------------------------------------


@cache
def _folder(task_id: str) -> str:
    """The task's folder in a submission."""
    for path in sorted((MEDIA / "submissions" / STRONG).rglob("prediction.json")):
        name = path.parent.relative_to(MEDIA / "submissions" / STRONG)
        if CATALOGUE.resolve(*name.parts[:2], name.name) == task_id:
            return str(name)
    raise LookupError(task_id)


def _pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{"not": "numbers"}], dtype=object), allow_pickle=True)
    return file.getvalue()


def _array(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _prediction_of(folder: Path, number: int, value: Any) -> None:
    path = folder / "prediction.json"
    rows = json.loads(path.read_text())
    rows[number - 1]["prediction"] = value
    path.write_text(json.dumps(rows))


#: Task, instance, what is done to it, and a word of the reason.
BREAKS: list[tuple[str, int, str, str]] = [
    ("image.generation.photograph-denoising", 1, "truncate images/001.png", "readable"),
    ("image.generation.photograph-deblurring", 2, "delete images/002.png", "no file"),
    ("image.comprehension.texture-segmentation", 3, "outside labels/003.png", "inside"),
    ("image.comprehension.handwriting-ink-segmentation", 4, "truncate masks/004.png", "readable"),
    ("image.comprehension.handwritten-digit-detection", 5, "value nonsense", "no file"),
    ("video.generation.video-denoising", 1, "delete films/001/02.png", "missing"),
    ("video.comprehension.handwritten-digit-tracking", 2, "pickle boxes/002.npy", "pickle"),
    ("video.comprehension.camouflaged-horse-segmentation", 3, "shape maps/003.npy", "frames"),
    ("3d.comprehension.terrain-normal-estimation", 6, "shape normals/006.npy", "expected"),
    ("3d.generation.terrain-point-completion", 7, "truncate clouds/007.ply", "readable"),
    ("audio.generation.packet-loss-concealment", 8, "pickle filled/008.npy", "pickle"),
]


def test_a_broken_file_costs_its_own_instance(tmp_path, scored):
    _, sound = scored
    broken = tmp_path / "broken"
    shutil.copytree(MEDIA / "submissions" / STRONG, broken)
    for task_id, number, what, _ in BREAKS:
        folder, (kind, name) = broken / _folder(task_id), what.split()
        file = folder / name
        if kind == "truncate":
            file.write_bytes(file.read_bytes()[:-60])
        elif kind == "delete":
            file.unlink()
        elif kind == "outside":
            _prediction_of(folder, number, f"../../../../{STRONG}/{_folder(task_id)}/{name}")
        elif kind == "value":
            _prediction_of(folder, number, name)
        elif kind == "pickle":
            file.write_bytes(_pickled())
        else:
            file.write_bytes(_array(np.zeros((2, 3), dtype=np.float32)))
    store, found = run(tmp_path / "store", {"broken": broken})
    scores = found["broken"]
    for task_id, _, what, _ in BREAKS:
        row, before = scores[task_id], sound[STRONG][task_id]
        assert row["n_instances"] == before["n_instances"]
        assert (row["n_scored"], row["n_unreadable"] + row["n_missing"]) == (
            row["n_instances"] - 1,
            1,
        ), (task_id, what)
        lower = CATALOGUE.task(task_id).direction == "lower"
        assert (row["raw_score"] > before["raw_score"]) == lower, task_id
    for task_id, row in scores.items():
        if task_id not in {b[0] for b in BREAKS}:
            assert row["raw_score"] == sound[STRONG][task_id]["raw_score"], task_id
            assert row["coverage"] == 1.0
    refused = refusals(store)
    assert Counter(task_id for task_id, *_ in refused) == Counter(b[0] for b in BREAKS)
    reasons = {(task_id, instance): reason for task_id, instance, reason in refused}
    for task_id, number, what, word in BREAKS:
        assert word in reasons[task_id, str(number)], (what, reasons[task_id, str(number)])
