"""The bundled example: sound, small, made by its script, and scored as outside libraries score it."""

from __future__ import annotations

import csv
import json
import re
import sys
import tarfile
import zipfile
from collections import defaultdict
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from examples.packing import arguments
from tasks.catalog import check_catalogue, load_catalogue
from tasks.metrics import has_metric

MINI = Path(__file__).parent.parent / "examples" / "general-bench-mini"
CATALOGUE = load_catalogue(base=False, extra=[MINI / "catalogue.csv"])
MODELS = ("majority-baseline", "nearest-neighbour", "tuned-ensemble")


@cache
def files(*parts: str) -> dict[str, bytes]:
    """Every file below a folder of the example by path, those inside archives included."""
    found: dict[str, bytes] = {}
    for path in sorted(MINI.joinpath(*parts).rglob("*")):
        name = path.relative_to(MINI.joinpath(*parts))
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                inside = {str(name.parent / n): archive.read(n) for n in archive.namelist()}
            found |= inside
        elif path.name.endswith(".tar.gz"):
            with tarfile.open(path) as archive:
                for member in archive:
                    file = archive.extractfile(member)
                    assert file is not None
                    found[str(name.parent / member.name)] = file.read()
        elif path.is_file():
            found[str(name)] = path.read_bytes()
    return found


@cache
def annotated() -> dict[str, tuple[PurePosixPath, dict[str, Any]]]:
    """Task id -> folder and content of its annotation."""
    found = {}
    for name, data in files("dataset").items():
        path = PurePosixPath(name)
        if path.name == "annotation.json":
            content = json.loads(data)
            modality, *rest = path.parent.parts
            paradigm = rest[0] if len(rest) == 2 else None
            task_id = CATALOGUE.resolve(modality, paradigm, content["task"])
            assert task_id is not None, name
            # Folder and title are two names of one task, as a reader may go by either.
            assert CATALOGUE.resolve(modality, paradigm, path.parent.name) == task_id
            found[task_id] = path.parent, content
    return found


def measured() -> dict[tuple[str, str], float]:
    with open(MINI / "measured.csv", newline="") as file:
        return {(r["model"], r["task_id"]): float(r["score"]) for r in csv.DictReader(file)}


# --- what there is -------------------------------------------------------------------------------


def test_the_catalogue_is_sound_and_holds_every_task():
    assert check_catalogue(CATALOGUE) == []
    assert annotated().keys() == set(CATALOGUE.tasks["task_id"])
    assert len(CATALOGUE) >= 24
    assert CATALOGUE.tasks["specialist_model"].null_count() == 0


def test_every_modality_and_paradigm_is_there():
    groups = set(CATALOGUE.tasks.select("modality", "paradigm").iter_rows())
    sides = ("comprehension", "generation")
    assert groups == {(m, s) for m in ("image", "video", "audio", "3d") for s in sides} | {
        ("language", "language")
    }
    assert CATALOGUE.tasks["metric_id"].n_unique() >= 15
    assert (CATALOGUE.tasks["modality"] == "language").sum() >= 6


@pytest.mark.parametrize("task_id", CATALOGUE.tasks["task_id"])
def test_annotation(task_id):
    folder, content = annotated()[task_id]
    rows = content["data"]
    assert 40 <= len(rows) <= 150
    assert len({str(row["id"]) for row in rows}) == len(rows) == CATALOGUE.task(task_id).n_instances
    assert all(row["output"] not in ({}, "", None) for row in rows)
    delivered = files("dataset")
    for row in rows:
        image = row["input"].get("image") if isinstance(row.get("input"), dict) else None
        if image:
            assert delivered[str(folder / image)].startswith(b"\x89PNG")


def test_committed_size():
    sizes = [path.stat().st_size for path in MINI.rglob("*") if path.is_file()]
    assert sum(sizes) < 3_000_000
    assert max(sizes) < 300_000


def test_every_source_is_told():
    told = (MINI / "SOURCES.md").read_text()
    for source in set(CATALOGUE.tasks["source"]):
        assert re.search(rf"^\| {re.escape(source)} \| .+ \| .+ \| .+ \|$", told, re.MULTILINE), (
            source
        )


# --- what the models delivered -------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_submission_answers_every_instance_of_its_tasks_once(model):
    by_folder = dict(annotated().values())
    own = {n: d for n, d in files("submissions").items() if n.startswith(f"{model}/")}
    folders = set()
    for name, data in own.items():
        path = PurePosixPath(name).relative_to(model)
        content = json.loads(data)
        if isinstance(content, dict):
            assert model == "nearest-neighbour"
            assert content.keys() == {"task", "skill", "type", "data"}
            content = content["data"]
        expected = [row["id"] for row in by_folder[path.parent]["data"]]
        assert [row["id"] for row in content] == expected
        folders.add(path.parent)
    supported = {task_id for task_id, (folder, _) in annotated().items() if folder in folders}
    assert supported == {task_id for other, task_id in measured() if other == model}
    missing = {task_id.split(".")[0] for task_id in set(annotated()) - supported}
    assert missing == ({"video", "3d"} if model == "majority-baseline" else set())


def wins(model: str) -> set[str]:
    """Tasks on which a model is at or above the specialist, on raw values."""
    won = set()
    for (other, task_id), score in measured().items():
        task = CATALOGUE.task(task_id)
        sign = -1 if task.direction == "lower" else 1
        if other == model and sign * score >= sign * task.specialist_raw:
            won.add(task_id)
    return won


def test_the_models_differ_as_an_example_should():
    sides = defaultdict(set)
    for task_id in wins("tuned-ensemble"):
        sides[CATALOGUE.task(task_id).modality].add(CATALOGUE.task(task_id).paradigm)
    both = {"comprehension", "generation"}
    assert any(found == both for found in sides.values()), "no level 4"
    assert sides["language"], "no level 5"
    assert not wins("majority-baseline")
    assert wins("nearest-neighbour") - wins("tuned-ensemble")
    assert max(len(wins(model)) for model in MODELS) < len(CATALOGUE) / 2


@pytest.mark.parametrize("model", MODELS)
def test_the_pipeline_finds_what_outside_libraries_measured(bench, model):
    bench.dataset, bench.submissions = MINI / "dataset", MINI / "submissions"
    bench.catalogue = MINI / "catalogue.csv"
    archive = f"{model}.tar.gz"
    delivered = archive if (bench.submissions / archive).exists() else model
    rows = bench.score(delivered)
    for (other, task_id), score in measured().items():
        if other != model or not has_metric(CATALOGUE.task(task_id).metric_id):
            continue
        row = rows[task_id, "corrected"]
        assert row["coverage"] == 1.0
        assert row["raw_score"] == pytest.approx(score, rel=1e-6, abs=2e-6), task_id


# --- how it is made ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    """The example's script as a module."""
    sys.path.insert(0, str(MINI))
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        import make  # type: ignore[import-not-found]

        yield make
    finally:
        sys.path.remove(str(MINI))
        sys.dont_write_bytecode = written


def test_the_script_makes_what_is_committed(maker):
    """One task whose data and learners scikit-learn alone holds; the others need more packages."""
    from mini.generalists import majority, nearest_neighbour  # type: ignore[import-not-found]
    from mini.image import digit_inpainting  # type: ignore[import-not-found]

    task = digit_inpainting()
    made = maker.to_json(maker.annotation(task)).encode()
    assert files("dataset")[f"{task.path}/annotation.json"] == made
    for model, predict in (
        ("majority-baseline", majority),
        ("nearest-neighbour", nearest_neighbour),
    ):
        answers = maker.rounded(predict(task, task.test))
        made = maker.to_json(maker.submission(task, model, answers)).encode()
        assert files("submissions")[f"{model}/{task.path}/prediction.json"] == made


def test_the_broken_submission_is_what_the_script_breaks(maker):
    from mini.broken import NAME, broken  # type: ignore[import-not-found]

    model = maker.ENVELOPE
    sound = {
        name.removeprefix(f"{model}/"): data
        for name, data in files("submissions").items()
        if name.startswith(f"{model}/")
    }
    committed = files("submissions-broken", "broken-model")
    assert committed == broken(sound)
    assert json.loads(committed["model.json"]) == {"name": NAME}


def test_a_part_is_never_made_in_place_of_the_whole(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["make.py", "--only", "room.task"])
    with pytest.raises(SystemExit):
        arguments("Makes it.", {"room.task": None}, MINI)
    assert "name another folder with --out" in capsys.readouterr().err
    sys.argv += ["--out", str(tmp_path)]
    assert arguments("Makes it.", {"room.task": None}, MINI).out == tmp_path
