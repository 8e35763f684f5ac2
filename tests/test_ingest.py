"""Ingest: every layout and shape comes in, and bad input costs itself only."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import boto3
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.catalog import load_catalogue
from tasks.errors import UserError
from tasks.ingest import (
    batch,
    discover,
    finish,
    ingest_batch,
    list_submissions,
    plan,
    read_instances,
)
from tasks.ingest.payload import reference
from tasks.ingest.read import DamagedFile, TaskFileReader
from tasks.schema import Manifest
from tasks.storage import Store
from tasks.warehouse import RunInfo, build, leaderboard
from tests.conftest import s3_server

CATALOGUE = load_catalogue()
ROWS = [{"id": n, "prediction": f"answer {n} \u00e9"} for n in range(6)]


def ingest(store: Store, source: Path | str, kind: str = "predictions", catalogue=CATALOGUE):
    model = "m" if kind == "predictions" else None
    todo = plan(store, kind, model, str(source), catalogue)
    done = [ingest_batch(store, kind, model, batch, catalogue) for batch in todo.batches]
    return finish(store, todo, done), todo


def refused(store: Store) -> list[dict]:
    return store.read_table("quarantine", "ingest", "m.parquet").to_pylist()


@pytest.mark.parametrize(
    ("folder", "task_id"),
    [
        (
            "Image/Comprehension/Ball-Image-Classification",
            "image.comprehension.ball-image-classification",
        ),
        (
            "image/comprehension/ball_image_classification",
            "image.comprehension.ball-image-classification",
        ),
        (
            "image/comprehension/comprehension/BallImageClassification",
            "image.comprehension.ball-image-classification",
        ),
        (
            "General-Bench/IMAGE/comprehension/Ball Image Classification",
            "image.comprehension.ball-image-classification",
        ),
        ("audio/comprehension/AccentClassification", "audio.comprehension.accent-classification"),
        ("NLP/Commonsense-Reasoning", "language.commonsense-reasoning"),
        ("nlp/commonsense_reasoning", "language.commonsense-reasoning"),
    ],
)
@pytest.mark.parametrize("packed", ["folder", "zip a task", "zip", "tar.gz"])
def test_layouts(tmp_path, folder, task_id, packed):
    source = tmp_path / "submission"
    text = json.dumps(ROWS)
    if packed == "folder":
        (source / folder / "images").mkdir(parents=True)
        (source / folder / "prediction.json").write_text(text)
    elif packed == "zip a task":
        archive = source / f"{folder}.zip"
        archive.parent.mkdir(parents=True)
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("prediction.json", text)
    elif packed == "zip":
        source = tmp_path / "submission.zip"
        with zipfile.ZipFile(source, "w") as file:
            file.writestr(f"{folder}/prediction.json", text)
    else:
        source = tmp_path / "submission.tar.gz"
        with tarfile.open(source, "w:gz") as file:
            member = tarfile.TarInfo(f"{folder}/prediction.json")
            member.size = len(text.encode())
            file.addfile(member, io.BytesIO(text.encode()))
    manifest, _ = ingest(Store(tmp_path / "store"), source)
    assert list(manifest.tasks) == [task_id]
    assert manifest.tasks[task_id].rows == len(ROWS)
    assert manifest.tasks[task_id].quarantined == 0
    again = plan(Store(tmp_path / "store"), "predictions", "m", str(source), CATALOGUE)
    assert again.batches == [] and again.counts["refused"] == 0


@pytest.mark.parametrize(
    "document",
    [
        ROWS,
        {"task": "Ball Image Classification", "skill": "x", "type": "y", "data": ROWS},
        {"data": ROWS, "task": "Ball Image Classification"},
        [{"id": r["id"], "prediction_final": r["prediction"]} for r in ROWS],
        {str(r["id"]): r["prediction"] for r in ROWS},
    ],
    ids=["list", "envelope", "data first", "older field", "mapping"],
)
def test_prediction_shapes(tmp_path, document):
    folder = tmp_path / "m/image/comprehension/ball-image-classification"
    folder.mkdir(parents=True)
    (folder / "prediction.json").write_text(json.dumps(document))
    store = Store(tmp_path / "store")
    manifest, _ = ingest(store, tmp_path / "m")
    rows = read_instances(
        store, "predictions", "m", "image.comprehension.ball-image-classification", manifest
    )
    assert rows["text"].to_list() == [r["prediction"] for r in ROWS]
    assert rows["instance_id"].to_list() == [str(r["id"]) for r in ROWS]


@pytest.mark.parametrize(
    ("task_type", "output", "kind", "value"),
    [
        ("OpenQA", {"answer": "a", "why": "b"}, "text", "a"),
        ("Summarization", {"highlights": "h"}, "text", "h"),
        ("Translation", "plain", "text", "plain"),
        ("Code Generation", {"response": {"content": "c"}}, "text", "c"),
        ("Code Repair", {"repairCode": "r"}, "text", "r"),
        ("Code Defect Detection", {"target": 1}, "number", "1"),
        (
            "Proof",
            {"proof": {"steps": ["x", "y"], "conclusion": "z"}},
            "text",
            "x\ny\nConclusion: z",
        ),
        ("Mathematical Word Problem Solving", {"solution": {"final_answer": "7"}}, "text", "7"),
        ("Grammar Correction", {"Standard English": "s"}, "text", "s"),
        ("Table-to-Text Generation", {"response": {"text": "t"}}, "text", "t"),
        ("ner", {"entities": "a, b"}, "text", "a, b"),
        ("OpenQA", {"answer": ["a", "b", 3]}, "texts", ["a", "b", "3"]),
    ],
)
def test_reference_fields(task_type, output, kind, value):
    found = reference(output, task_type, numeric=False)
    assert found.kind == kind
    assert (found.texts if kind == "texts" else found.text) == value


def bad_rows() -> list[tuple[str, str]]:
    return [
        ('{"id": null, "prediction": "x"}', "id must be"),
        ('{"id": [9], "prediction": "x"}', "id must be"),
        ('{"id": {"n": 9}, "prediction": "x"}', "id must be"),
        ('{"prediction": "x"}', "no id"),
        ('{"id": 9}', 'no "prediction"'),
        ('{"id": 9, "prediction": null}', "found null"),
        ('{"id": 9, "prediction": NaN}', "finite"),
        ('{"id": 9, "prediction": [NaN]}', "NaN"),
        ('{"id": 9, "prediction": "\\ud800"}', "surrogate"),
        ("17", "must be an object"),
        ('{"id": 1, "prediction": "again"}', "more than once"),
    ]


@pytest.mark.parametrize(("bad", "reason"), bad_rows())
def test_a_bad_row_costs_itself_only_and_is_told(bench, bad, reason):
    task_id = bench.add_task("Quiz", "accuracy", dict.fromkeys(range(3), "A"))
    good = [json.dumps({"id": n, "prediction": "A"}) for n in range(3)]
    path = bench.write_prediction("m", task_id, f"[{good[0]}, {good[1]}, {bad}, {good[2]}]")
    store = Store(bench.store)
    catalogue = load_catalogue([bench.catalogue], base=False)
    manifest, _ = ingest(store, bench.submissions / "m", catalogue=catalogue)
    kept = read_instances(store, "predictions", "m", task_id, manifest)["instance_id"].to_list()
    assert [i for i in ("0", "1", "2") if i in kept] == ["0", "1", "2"]
    (told,) = refused(store)
    assert reason in told["reason"]
    assert told["position"] == 2
    assert told["source"] == str(path)


def rows_of(data: bytes) -> tuple[list, str]:
    reader, found = TaskFileReader(io.BytesIO(data), len(data)), []
    try:
        for row in reader:
            found.append(row)
    except DamagedFile as damage:
        return found, str(damage)
    return found, ""


DOCUMENT = json.dumps({"task": "T", "type": "OpenQA", "data": ROWS}, ensure_ascii=False).encode()


@pytest.mark.parametrize("cut", range(len(DOCUMENT)))
def test_a_truncated_file_keeps_every_row_before_the_damage(cut):
    try:
        found, damage = rows_of(DOCUMENT[:cut])
    except DamagedFile as refused_whole:
        found, damage = [], str(refused_whole)
    assert found == ROWS[: len(found)]
    whole = sum(
        DOCUMENT.find(json.dumps(r, ensure_ascii=False).encode())
        + len(json.dumps(r, ensure_ascii=False).encode())
        <= cut
        for r in ROWS
    )
    assert len(found) == whole
    # Without the envelope's last brace alone nothing is lost, and nothing is told.
    assert damage or cut == len(DOCUMENT) - 1


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_a_damage(data):
    try:
        rows_of(data)
    except DamagedFile as damage:
        assert str(damage)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(json_values.filter(lambda v: v is not None), max_size=6))
def test_both_ways_of_reading_give_the_same_rows(values):
    data = json.dumps(values).encode()
    reader = TaskFileReader(io.BytesIO(data), len(data))
    at_once = list(reader)
    reader = TaskFileReader(io.BytesIO(data), 2**40)  # said to be large: read row by row
    assert list(reader) == at_once == values


def test_unknown_absent_and_repeated_tasks_are_refused_and_the_rest_is_read(tmp_path):
    source = tmp_path / "m"
    for folder in ("Ball-Image-Classification", "ball_image_classification", "no-such-task"):
        (source / "image/comprehension" / folder).mkdir(parents=True)
        (source / "image/comprehension" / folder / "prediction.json").write_text(json.dumps(ROWS))
    (source / "audio/comprehension/AccentClassification").mkdir(parents=True)
    store = Store(tmp_path / "store")
    manifest, todo = ingest(store, source)
    assert list(manifest.tasks) == ["image.comprehension.ball-image-classification"]
    told = "; ".join(row["reason"] for row in refused(store))
    for reason in ("no task of the catalogue", "was already found", "no prediction.json"):
        assert reason in told
    assert todo.counts["refused"] == 3


def test_archives_that_attack_are_refused(tmp_path):
    source = tmp_path / "m.zip"
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("../../nlp/commonsense-reasoning/prediction.json", json.dumps(ROWS))
        file.writestr("nlp/causal-reasoning/prediction.json", b" " * (80 * 2**20))
        file.writestr("nlp/legal-question-answering/prediction.json", json.dumps(ROWS))
    store = Store(tmp_path / "store")
    manifest, _ = ingest(store, source)
    assert list(manifest.tasks) == ["language.legal-question-answering"]
    reasons = " ".join(row["reason"] for row in refused(store))
    assert "leaves the archive" in reasons and "beyond the limit" in reasons
    (tmp_path / "torn.zip").write_bytes(source.read_bytes()[:-40])
    found = discover(str(tmp_path / "torn.zip"), "predictions", CATALOGUE)
    assert found.files == [] and "cannot be read" in found.refused[0]["reason"]


def test_a_submissions_link_that_leads_out_is_refused_and_a_datasets_is_followed(tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps(ROWS))
    with zipfile.ZipFile(tmp_path / "secret.zip", "w") as archive:
        archive.writestr("nlp/causal-reasoning/prediction.json", json.dumps(ROWS))
    folder = tmp_path / "m/nlp/commonsense-reasoning"
    folder.mkdir(parents=True)
    for name in ("prediction.json", "annotation.json"):
        (folder / name).symlink_to(secret)
    (tmp_path / "m/a.zip").symlink_to(tmp_path / "secret.zip")
    ring = tmp_path / "m/nlp/legal-question-answering/prediction.json"
    ring.parent.mkdir()
    ring.symlink_to(ring)
    behind = tmp_path / "m/nlp/abductive-reasoning"
    behind.symlink_to(folder)
    found = discover(str(tmp_path / "m"), "predictions", CATALOGUE)
    assert found.files == []
    reasons = sorted(row["reason"] for row in found.refused)
    told = ("a link leads out", "a link leads out", "it lies behind", "the link leads nowhere")
    assert all(r.startswith(t) for r, t in zip(reasons, told, strict=True))
    references = discover(str(tmp_path / "m"), "references", CATALOGUE)
    assert [file.task_id for file in references.files] == ["language.commonsense-reasoning"]


@pytest.fixture
def picture(bench, tmp_path):
    """A task of images with one good prediction, 0.png; and a picture that is not the model's."""
    task_id = bench.add_task(
        "Denoising",
        "psnr",
        dict.fromkeys(range(3), "0.png"),
        modality="image",
        paradigm="generation",
    )
    secret = tmp_path / "secret.png"
    Image.new("RGB", (16, 12), "red").save(secret)
    folder = bench.predict("m", task_id, {0: "0.png"}).parent
    Image.new("RGB", (16, 12)).save(bench.dataset / "image/generation/denoising/0.png")
    Image.new("RGB", (16, 12)).save(folder / "0.png")
    return task_id, folder, secret


@pytest.mark.parametrize("packed", [None, "zip", "gztar"])
def test_a_picture_replaced_under_the_same_rows_is_scored_again(
    bench, picture, packed, monkeypatch
):
    task_id, folder, _ = picture
    bench.predict("m", bench.add_task("Quiz", "accuracy", {0: "A"}), {0: "A"})
    perfect = bench.score("m")[task_id, "corrected"]["raw_score"]

    def arrive(colour: str) -> float:
        Image.new("RGB", (16, 12), colour).save(folder / "0.png")
        if packed:
            path = shutil.make_archive(str(bench.root / "packed"), packed, bench.submissions / "m")
            monkeypatch.setattr(type(bench), "sources", lambda *_: (bench.dataset, path))
        return bench.score("m")[task_id, "corrected"]["raw_score"]

    assert arrive("black") == perfect
    assert bench.plan.jobs == []
    assert arrive("white") < perfect
    assert [job.task_id for job in bench.plan.jobs] == [task_id]


def told(bench, task_id, rows) -> dict[str, str]:
    """Reasons of the refused rows, by instance; the first one is to be good, and scored."""
    bench.predict("m", task_id, {0: "0.png"} | rows)
    found = bench.score("m")[task_id, "corrected"]
    assert (found["status"], found["n_scored"]) == ("scored", 1), found
    assert found["n_unreadable"] == len(rows)
    return {row["instance_id"]: row["reason"] for row in refused(Store(bench.store))}


def test_files_that_a_submission_only_links_to_are_refused(bench, picture, tmp_path):
    task_id, folder, secret = picture
    (folder / "link.png").symlink_to(secret)
    (folder / "ring.png").symlink_to("ring.png")
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames/0.png").symlink_to(secret)
    (folder / "frames").symlink_to(tmp_path / "frames")
    reasons = told(bench, task_id, {1: "link.png", 2: "frames/0.png"})
    assert len(reasons) == 2 and all("leads out" in reason for reason in reasons.values())
    reasons = told(bench, task_id, {1: "frames", 2: "ring.png"})
    assert reasons.keys() == {"1", "2"}
    (folder / "link.png").unlink()
    (folder / "link.png").symlink_to("0.png")
    bench.predict("m", task_id, {0: "0.png", 1: "link.png"})
    assert bench.score("m")[task_id, "corrected"]["n_scored"] == 2


def test_a_row_cannot_name_a_file_by_its_place(bench, picture):
    task_id, _, secret = picture
    place = {"path": "0.png", "url": str(secret), "member": ""}
    for document in (
        {"$file": place},
        {"path": "0.png", "$file": place},
        {"path": "0.png", "mask": {"$files": [place]}},
    ):
        reasons = told(bench, task_id, {1: document})
        assert list(reasons) == ["1"]
    assert "reserved" in reasons["1"]


@pytest.mark.parametrize("how", ["value", "text", "nested text", "in a list"])
def test_a_structure_cannot_name_a_file(bench, tmp_path, how):
    secret = tmp_path / "secret.npy"
    np.save(secret, np.ones((2, 2)))
    place = {"path": "secret.npy", "url": str(secret), "member": ""}
    named = {"mask": {"$file": place}}
    value = {
        "value": named,
        "text": json.dumps(named).replace("$", "\\u0024"),
        "nested text": json.dumps(json.dumps(named)),
        "in a list": [[1, 0], named],
    }[how]
    good = [[1, 0], [0, 1]]
    task_id = bench.add_task(
        "Masks", "dice", {0: good, 1: good}, modality="image", paradigm="comprehension"
    )
    bench.predict("m", task_id, {0: good, 1: value})
    row = bench.score("m")[task_id, "corrected"]
    assert (row["status"], row["n_scored"], row["n_unreadable"]) == ("scored", 1, 1)
    assert row["raw_score"] == pytest.approx(50.0)
    bench.add_task("Masks", "dice", {0: good, 1: value}, modality="image", paradigm="comprehension")
    bench.predict("m", task_id, {0: good, 1: good})
    row = bench.score("m")[task_id, "corrected"]
    assert (row["status"], row["n_instances"]) == ("scored", 1)  # the bad reference is left out


def test_a_json_file_of_a_submission_cannot_name_another(bench, tmp_path):
    boxes = [[0, 0, 4, 4]] * 3
    secret = tmp_path / "boxes.npy"
    np.save(secret, np.array(boxes))
    place = {"path": "boxes.npy", "url": str(secret), "member": ""}
    task_id = bench.add_task(
        "Tracks", "success_auc", {0: boxes, 1: boxes}, modality="video", paradigm="comprehension"
    )
    folder = bench.predict("m", task_id, {0: boxes, 1: "boxes.json"}).parent
    (folder / "boxes.json").write_text(json.dumps({"boxes": {"$file": place}}))
    row = bench.score("m")[task_id, "corrected"]
    assert (row["n_scored"], row["n_unreadable"]) == (1, 1)
    (folder / "boxes.json").write_text(json.dumps({"boxes": boxes}))
    bench.predict("m", task_id, {0: boxes, 1: "boxes.json"})
    assert bench.score("m")[task_id, "corrected"]["n_scored"] == 2


def test_deep_nesting_is_a_damage_not_a_crash():
    found, damage = rows_of(b'[{"id": 1, "prediction": "a"}, ' + b"[" * 200_000)
    assert found == [{"id": 1, "prediction": "a"}]
    assert damage


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("[" * 100_000 + '"]"' + "]" * 100_000, "nested too deeply"),
        ('{"a":' * 400 + "1" + "}" * 400, "cannot be stored"),
        ("[" + "9" * 1_000_000 + "]", "infinity"),
        ("[" + "9" * 25 + ", NaN]", "cannot be stored"),
    ],
    ids=["100,000 levels", "400 levels", "a million digits", "25 digits"],
)
def test_rows_behind_one_without_end_are_read(bench, bad, reason):
    good = [[1, 0], [0, 1]]
    task_id = bench.add_task(
        "Masks", "dice", dict.fromkeys(range(3), good), modality="image", paradigm="comprehension"
    )
    rows = [json.dumps({"id": n, "prediction": good}) for n in (0, 2)]
    row = f'{{"id": 1, "prediction": {bad}}}'
    bench.write_prediction("m", task_id, f"[{rows[0]}, {row}, {rows[1]}]")
    found = bench.score("m")[task_id, "corrected"]
    assert (found["n_scored"], found["n_unreadable"] + found["n_missing"]) == (2, 1)
    (told,) = refused(Store(bench.store))
    assert reason in told["reason"] and told["position"] == 1


def test_of_endless_bad_rows_many_are_told_and_all_are_counted(bench, monkeypatch):
    monkeypatch.setattr(batch, "_MOST_TOLD", 250)
    monkeypatch.setattr(batch, "_PACKED_ROWS", 100)
    task_id = bench.add_task("Quiz", "accuracy", {0: "A"})
    bench.write_prediction("m", task_id, "[" + "1," * 1_000 + '{"id": 0, "prediction": "A"}]')
    assert bench.score("m")[task_id, "corrected"]["n_scored"] == 1
    store = Store(bench.store)
    told = refused(store)
    assert [row["position"] for row in told] == [*range(250), None]
    assert told[-1]["reason"].startswith("750 more rows")
    manifest = store.read_struct(Manifest, "predictions", "m", "manifest.json")
    assert manifest is not None and manifest.tasks[task_id].quarantined == 1_000


def test_an_id_may_be_any_whole_number(bench):
    task_id = bench.add_task("Quiz", "accuracy", {0: "A", 10**400: "A"})
    bench.predict("m", task_id, {0: "A", 10**400: "A", -(10**30): "A"})
    found = bench.score("m")[task_id, "corrected"]
    assert (found["n_scored"], found["n_extra"]) == (2, 1)


def test_an_id_that_a_mapping_holds_twice_is_a_duplicate_and_nan_costs_one_row(bench):
    task_id = bench.add_task("Quiz", "accuracy", dict.fromkeys(range(4), "A"))
    bench.write_prediction("m", task_id, '{"0": "A", "1": "A", "1": "B", "2": NaN, "3": "A"}')
    found = bench.score("m")[task_id, "corrected"]
    counts = [found[f"n_{name}"] for name in ("scored", "duplicate", "unreadable", "missing")]
    assert counts == [2, 1, 1, 0]


def test_a_heading_that_is_no_text_costs_nothing_else():
    found, damage = rows_of(b'{"task": "a\tb", "type": "\\x", "data": [{"id": 1}]}')
    assert (found, damage) == ([{"id": 1}], "")


def test_a_heading_that_is_no_unicode_can_be_stored(bench):
    task_id = bench.add_task("Quiz", "accuracy", {0: "A"})
    path = bench.predict("m", task_id, {0: "A"})
    path.write_bytes(b'{"task": "\x86", "type": "\\ud800", "data": ' + path.read_bytes() + b"}")
    assert bench.score("m")[task_id, "corrected"]["n_scored"] == 1


def test_utf_16_is_told():
    with pytest.raises(DamagedFile, match="UTF-16"):
        list(TaskFileReader(io.BytesIO(json.dumps(ROWS).encode("utf-16")), 1000))


def test_sources_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        discover(str(tmp_path / "absent"), "predictions", CATALOGUE)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no submission"):
        list_submissions(str(tmp_path / "empty"))


def test_a_model_may_be_called_anything(tmp_path):
    (tmp_path / "subs/folder").mkdir(parents=True)
    name = "evil'; DROP TABLE levels;--/../x"
    (tmp_path / "subs/folder/model.json").write_text(json.dumps({"name": name}))
    assert [s.model for s in list_submissions(str(tmp_path / "subs"))] == [name]


def test_results_of_batches_before_a_kill_stay(bench):
    ids = [bench.add_task(f"Task {n}", "accuracy", {0: "A"}) for n in range(3)]
    for task_id in ids:
        bench.predict("m", task_id, {0: "A"})
    store, catalogue = Store(bench.store), load_catalogue([bench.catalogue], base=False)
    todo = plan(store, "predictions", "m", str(bench.submissions / "m"), catalogue)
    (batch,) = todo.batches
    finish(store, todo, [ingest_batch(store, "predictions", "m", batch[:1], catalogue)])
    resumed = plan(store, "predictions", "m", str(bench.submissions / "m"), catalogue)
    assert resumed.counts["unchanged"] == 1 and resumed.counts["new"] == 2
    manifest, _ = ingest(store, bench.submissions / "m", catalogue=catalogue)
    assert list(manifest.tasks) == ids
    live = {entry.part for entry in manifest.tasks.values()}
    assert set(store.names("predictions", "m", "parts")) == live


@pytest.mark.parametrize("packed", ["folder", "zip", "tar.gz"])
def test_a_source_that_is_listed_as_before_is_not_placed_again(tmp_path, packed):
    folder = "image/comprehension/ball-image-classification"
    source = tmp_path / ("submission" if packed == "folder" else f"submission.{packed}")

    def submit(answer: str) -> None:
        text = json.dumps([{"id": 0, "prediction": answer}]).encode()
        if packed == "folder":
            (source / folder).mkdir(parents=True, exist_ok=True)
            (source / folder / "prediction.json").write_bytes(text)
        elif packed == "zip":
            with zipfile.ZipFile(source, "w") as file:
                file.writestr(f"{folder}/prediction.json", text)
        else:
            with tarfile.open(source, "w:gz") as file:
                member = tarfile.TarInfo(f"{folder}/prediction.json")
                member.size = len(text)
                file.addfile(member, io.BytesIO(text))

    store = Store(tmp_path / "store")
    submit("A")
    first, _ = ingest(store, source)
    again, todo = ingest(store, source)
    assert todo.stored == again == first
    assert todo.counts == {"unchanged": 1, "refused": 0}
    submit("another answer")
    changed, todo = ingest(store, source)
    assert todo.stored is None and todo.counts["changed"] == 1
    (before,), (after,) = first.tasks.values(), changed.tasks.values()
    assert before.content_sha256 != after.content_sha256
    forced = plan(store, "predictions", "m", str(source), CATALOGUE, force=True)
    assert forced.stored is None and forced.counts["changed"] == 1


def test_a_source_is_placed_again_by_another_catalogue_or_after_a_refusal(bench):
    ids = [bench.add_task(f"Task {n}", "accuracy", {0: "A"}) for n in range(2)]
    for task_id in ids:
        bench.predict("m", task_id, {0: "A"})
    store, source = Store(bench.store), bench.submissions / "m"
    catalogue = load_catalogue([bench.catalogue], base=False)
    ingest(store, source, catalogue=catalogue)
    assert plan(store, "predictions", "m", str(source), catalogue).stored is not None
    bench.add_task("Task 2", "accuracy", {0: "A"})
    larger = load_catalogue([bench.catalogue], base=False)
    assert plan(store, "predictions", "m", str(source), larger).stored is None
    # What was refused is looked at by each run: it may be a matter of rights that were given since.
    unknown = source / "unknown task"
    unknown.mkdir()
    (unknown / "prediction.json").write_text("[]")
    for _ in range(2):
        _, todo = ingest(store, source, catalogue=catalogue)
        assert todo.stored is None and todo.counts == {"unchanged": 2, "refused": 1, "removed": 0}
    (unknown / "prediction.json").unlink()
    unknown.rmdir()
    ingest(store, source, catalogue=catalogue)
    assert plan(store, "predictions", "m", str(source), catalogue).stored is not None
    assert refused(store) == []


def test_a_killed_run_leaves_no_listing_that_would_hide_what_it_did_not_read(bench):
    for n in range(2):
        bench.predict("m", bench.add_task(f"Task {n}", "accuracy", {0: "A"}), {0: "A"})
    store, catalogue = Store(bench.store), load_catalogue([bench.catalogue], base=False)
    todo = plan(store, "predictions", "m", str(bench.submissions / "m"), catalogue)
    (batch,) = todo.batches
    left = finish(store, todo, [ingest_batch(store, "predictions", "m", batch[:1], catalogue)])
    assert left.listing == ""
    manifest, todo = ingest(store, bench.submissions / "m", catalogue=catalogue)
    assert len(manifest.tasks) == 2 and manifest.listing == todo.listing != ""


def test_everything_on_s3_scores_as_on_disk(bench, monkeypatch):
    task_id = bench.add_task("Quiz", "accuracy", dict.fromkeys(range(4), "A"))
    bench.predict("m", task_id, {0: "A", 1: "A", 2: "B"})
    local = bench.score("m")[task_id, "corrected"]
    with s3_server(monkeypatch, "bench"):
        client = boto3.client("s3")
        for path in bench.root.rglob("*.json"):
            if "store" not in path.parts:
                key = path.relative_to(bench.root).as_posix()
                client.put_object(Bucket="bench", Key=key, Body=path.read_bytes())
        bench.dataset, bench.submissions = "s3://bench/dataset", "s3://bench/submissions"
        (found,) = list_submissions(bench.submissions)
        assert found.model == "m"
        bench.store = "s3://bench/store"
        monkeypatch.setattr(type(bench), "sources", lambda self, model: (self.dataset, found.url))
        remote = bench.score("m")[task_id, "corrected"]
        same = ("raw_score", "n_instances", "n_scored", "n_missing", "score_key")
        assert {k: remote[k] for k in same} == {k: local[k] for k in same}
        store, catalogue = Store(bench.store), load_catalogue([bench.catalogue], base=False)
        build(store, catalogue, RunInfo.now("on-s3"))
        assert leaderboard(store)["model"].to_list() == []  # language tasks are on no board
        bench.score("m")
        assert bench.plan.jobs == []


def test_memory_stays_flat_on_a_large_annotation(tmp_path):
    path = tmp_path / "annotation.json"
    row = json.dumps({"id": "x" * 20, "input": {"q": "?" * 900}, "output": {"answer": "A"}})
    with open(path, "w") as file:
        file.write('{"task": "T", "type": "OpenQA", "data": [')
        file.write(",".join([row] * 1000))
        for _ in range(119):
            file.write("," + ",".join([row] * 1000))
        file.write("]}")
    script = (
        "import resource, sys\n"
        "from tasks.ingest.read import TaskFileReader\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with open(sys.argv[1], 'rb') as f: n = sum(1 for _ in TaskFileReader(f, 2**30))\n"
        "print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    ).stdout
    rows, grown = map(int, output.split())
    assert rows == 120_000
    assert path.stat().st_size > 110e6
    assert grown < 60_000  # kilobytes
