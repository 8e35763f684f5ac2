"""The gate: broken submissions of each kind, what is told of them, and the page."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from flows.cli.app import app
from tasks.catalog import load_catalogue
from tasks.errors import UserError
from tasks.gate import READY, WITH_LOSSES, WORTHLESS, Report, check_submission, write_page
from tasks.gate.page import render
from tasks.gate.report import Finding, TaskCheck
from tests.conftest import Bench, s3_server

N = 10
IDS = [str(i) for i in range(N)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def check(bench: Bench, source: Any = None, **options: Any) -> Report:
    """The report on the submission `model` of the bench, held against its dataset."""
    options = {"dataset": str(bench.dataset), "store_url": bench.store} | options
    source = bench.submissions / "model" if source is None else source
    return check_submission(str(source), load_catalogue([bench.catalogue], base=False), **options)


def one(report: Report, kind: str) -> Finding:
    (found,) = (finding for finding in report.findings if finding.kind == kind)
    return found


def kinds(report: Report) -> set[str]:
    return {finding.kind for finding in report.findings}


def task_of(report: Report, task_id: str) -> TaskCheck:
    (found,) = (task for task in report.tasks if task.task_id == task_id)
    return found


def text_task(bench: Bench, title: str = "Capital Naming", metric: str = "accuracy") -> str:
    return bench.add_task(title, metric, dict.fromkeys(IDS, "Paris"))


def image_task(bench: Bench, title: str = "Denoising") -> tuple[str, Path, Path]:
    """A task of images; its id, and the folders of its references and of the model's files."""
    task_id = bench.add_task(
        title,
        "psnr",
        {i: f"images/{i}.png" for i in IDS},
        modality="image",
        paradigm="generation",
    )
    rows = bench.predict("model", task_id, {i: f"images/{i}.png" for i in IDS})
    folders = [
        bench.dataset / "image" / "generation" / task_id.split(".")[2] / "images",
        rows.parent / "images",
    ]
    for folder in folders:
        folder.mkdir()
        for number, name in enumerate(IDS):
            pixels = np.random.default_rng(number).integers(0, 255, (12, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}.png")
    return task_id, folders[0], folders[1]


def test_a_good_submission_is_ready(bench):
    task_id = text_task(bench)
    bench.predict("model", task_id, dict.fromkeys(IDS, "Rome"))
    image_task(bench)
    report = check(bench)
    assert (report.verdict, report.findings, report.unchecked) == (READY, [], [])
    assert {(t.n_instances, t.n_answered) for t in report.tasks} == {(N, N)}
    assert report.cost is not None
    files = [p for p in (bench.submissions / "model").rglob("*") if p.is_file()]
    assert report.cost.read_bytes == sum(p.stat().st_size for p in files)
    assert report.cost.seconds is not None and report.cost.seconds > 0
    assert not Path(bench.store).exists()


def test_counts_are_those_of_scoring(bench):
    task_id = text_task(bench)
    answers = [("0", "Paris"), ("1", None), ("2", {"a": 1}), ("3", "x"), ("3", "y"), ("99", "z")]
    bench.predict("model", task_id, [*answers, *((i, "Paris") for i in IDS[4:8])])
    found = task_of(check(bench), task_id)
    scored = bench.score()[task_id, "corrected"]
    for name in ("instances", "missing", "unreadable", "duplicate", "extra"):
        assert getattr(found, f"n_{name}") == scored[f"n_{name}"]
    assert found.n_answered == scored["n_scored"] == 5


def test_missing_extra_and_repeated_ids_are_named(bench):
    task_id = text_task(bench)
    bench.predict("model", task_id, [("0", "a"), ("0", "b"), ("1", "a"), ("zz", "c")])
    report = check(bench)
    assert report.verdict == WITH_LOSSES
    missing, extra, twice = (one(report, kind) for kind in ("missing", "extra", "duplicate"))
    assert (missing.count, [e.instance_id for e in missing.examples]) == (8, IDS[2:7])
    assert (extra.count, extra.first.instance_id, extra.first.position) == (1, "zz", 3)
    assert (twice.count, twice.first.instance_id, twice.first.position) == (1, "0", 1)
    assert missing.lost == pytest.approx(0.8)
    assert extra.is_note and extra.lost == 0


@pytest.mark.parametrize(
    ("metric", "reference", "wrong", "expected", "found"),
    [
        ("accuracy", "Paris", {"answer": "Paris"}, "a text", '{"answer":"Paris"}'),
        ("accuracy", "Paris", ["Paris", "Rome"], "a text", "a list of 2 texts"),
        ("mae", 3, "three", "a number", 'the text "three"'),
        ("mae", 3, None, "a number", "null"),
        ("psnr", "a.png", 7, "the path of a file", "must be the path"),
    ],
)
def test_a_wrong_type_says_what_was_expected_and_found(
    bench, metric, reference, wrong, expected, found
):
    task_id = bench.add_task("Some Task", metric, dict.fromkeys(IDS, reference))
    folder = bench.dataset / "nlp" / "some-task"
    Image.new("RGB", (4, 4)).save(folder / "a.png")
    rows = bench.predict("model", task_id, {i: wrong if i == "3" else reference for i in IDS})
    Image.new("RGB", (4, 4)).save(rows.parent / "a.png")
    report = check(bench)
    finding = one(report, "type")
    assert (finding.count, finding.first.position, finding.first.instance_id) == (1, 3, "3")
    assert expected in finding.reason
    assert found in finding.first.reason
    assert task_of(report, task_id).n_unreadable == 1


def test_media_are_opened_and_decoded(bench):
    task_id, _, folder = image_task(bench)
    (folder / "0.png").unlink()
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:80])
    (folder / "2.png").write_text("no image")
    Image.new("RGB", (9, 9)).save(folder / "3.png")
    report = check(bench)
    finding = one(report, "media")
    reasons = {example.instance_id: example.reason for example in finding.examples}
    assert set(reasons) == {"0", "1", "2", "3"}
    assert "there is no file images/0.png" in reasons["0"]
    assert "no readable image" in reasons["1"] and "no readable image" in reasons["2"]
    assert "expected the shape" in reasons["3"]
    found = task_of(report, task_id)
    # The absent one is no answer that could be opened.
    assert (found.n_answered, found.n_unreadable, found.n_media_read) == (6, 4, 9)


def test_without_references_media_are_decoded_all_the_same(bench):
    task_id, _, folder = image_task(bench)
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:80])
    Image.new("RGB", (9, 9)).save(folder / "3.png")
    report = check(bench, dataset=None)
    assert [example.instance_id for example in one(report, "media").examples] == ["1"]
    assert task_of(report, task_id).ground == "nothing"
    assert "no references" in report.held_against
    assert len(report.unchecked) == 1


def test_inputs_without_references_tell_the_ids(bench):
    task_id = text_task(bench)
    bench.predict("model", task_id, {"0": "a", "77": "b"})
    path = bench.dataset / "nlp" / "capital-naming" / "annotation.json"
    document = json.loads(path.read_text())
    for row in document["data"]:
        del row["output"]
    path.write_text(json.dumps(document))
    report = check(bench)
    assert task_of(report, task_id).ground == "ids"
    assert (one(report, "missing").count, one(report, "extra").count) == (9, 1)


def test_quick_media_opens_a_sample(bench):
    task_id, _, folder = image_task(bench)
    for name in IDS:
        (folder / f"{name}.png").write_text("no image")
    report = check(bench, quick_media=3)
    finding = one(report, "media")
    assert finding.count == 3
    assert {example.instance_id for example in finding.examples} == {"0", "4", "9"}
    found = task_of(report, task_id)
    assert (found.n_media, found.n_media_read) == (10, 3)
    assert "3 of 10" in report.unchecked[0]
    # What was not looked at is counted on from what was.
    assert finding.lost == 1.0


def test_files_outside_the_submission_are_told(bench, tmp_path):
    task_id, _, folder = image_task(bench)
    secret = tmp_path / "secret.png"
    Image.new("RGB", (16, 12)).save(secret)
    (folder / "2.png").unlink()
    (folder / "2.png").symlink_to(secret)
    rows = {i: f"images/{i}.png" for i in IDS} | {"0": str(secret), "1": "../../../secret.png"}
    bench.predict("model", task_id, rows)
    report = check(bench)
    finding = one(report, "outside")
    assert [example.instance_id for example in finding.examples] == ["0", "1", "2"]
    assert "link" in finding.examples[2].reason
    assert task_of(report, task_id).n_answered == 7


def test_features_of_another_width_or_type_are_told(bench):
    vectors = np.random.default_rng(1).normal(size=(N, 8))
    pairs = {i: row.tolist() for i, row in zip(IDS, vectors, strict=True)}
    task_id = bench.add_task(
        "Style Transfer", "clip_score", pairs, modality="image", paradigm="generation"
    )
    wrong = {"0": vectors[0, :5].tolist(), "1": {"path": "words.npy"}}
    rows = bench.predict("model", task_id, pairs | wrong)
    np.save(rows.parent / "words.npy", np.array(["a", "b"]))
    report = check(bench)
    finding = one(report, "features")
    reasons = {example.instance_id: example.reason for example in finding.examples}
    assert "expected an embedding of 8 numbers, found 5" in reasons["0"]
    assert "expected numbers" in reasons["1"]
    alone = one(check(bench, dataset=None), "features")
    # Without references the first width is the one to keep to.
    assert alone.count >= 1


def test_unknown_folders_get_near_names(bench):
    task_id = text_task(bench)
    bench.predict("model", task_id, dict.fromkeys(IDS, "Paris"))
    folder = bench.submissions / "model" / "nlp"
    shutil.copytree(folder / "capital-naming", folder / "Captial-Nameing")
    report = check(bench)
    finding = one(report, "unknown_task")
    assert finding.nearest == (task_id,)
    assert task_id in finding.remedy
    assert report.place(finding.source) == "nlp/Captial-Nameing/prediction.json"


def test_two_folders_for_a_task_and_files_that_nothing_reads(bench):
    task_id = text_task(bench)
    bench.predict("model", task_id, dict.fromkeys(IDS, "Paris"))
    folder = bench.submissions / "model" / "nlp"
    shutil.copytree(folder / "capital-naming", folder / "CapitalNaming")
    (folder / "capital-naming" / "predictions.json").write_text("[]")
    (folder / "notes.txt").write_text("hello")
    report = check(bench)
    assert "capital" in one(report, "two_folders").reason
    ignored = one(report, "ignored")
    assert ignored.is_note
    names = [example.instance_id for example in ignored.examples]
    assert names == ["nlp/capital-naming/predictions.json", "nlp/notes.txt"]


def test_a_damaged_file_says_where(bench):
    task_id = text_task(bench)
    path = bench.predict("model", task_id, dict.fromkeys(IDS, "Paris"))
    path.write_text(path.read_text()[:130])
    report = check(bench)
    finding = one(report, "file")
    answered = task_of(report, task_id).n_answered
    assert 0 < answered < N
    assert finding.first.position == answered
    assert finding.lost == pytest.approx(1 - answered / N)
    assert report.to_mend[0] == finding


def test_nothing_can_be_scored(bench):
    task_id = text_task(bench)
    bench.write_prediction("model", task_id, "")
    report = check(bench)
    assert report.verdict == WORTHLESS
    assert one(report, "file").lost == 1.0
    (bench.submissions / "empty").mkdir()
    assert check(bench, bench.submissions / "empty").verdict == WORTHLESS


def test_boards_tell_what_can_be_reached(bench):
    made = {}
    for modality, paradigm in (("image", "comprehension"), ("video", "generation")):
        made[modality] = bench.add_task(
            f"{modality} {paradigm}",
            "accuracy",
            dict.fromkeys(IDS, "a"),
            modality=modality,
            paradigm=paradigm,
        )
    made["other half"] = bench.add_task(
        "image making", "accuracy", dict.fromkeys(IDS, "a"), modality="image", paradigm="generation"
    )
    made["language"] = text_task(bench)

    def reached() -> dict[str, tuple[int, str | None]]:
        boards = check(bench).boards
        return {board.board_id: (board.reachable_level, board.limited_by) for board in boards}

    bench.predict("model", made["image"], {"0": "a"})
    bench.predict("model", made["video"], {"0": "a"})
    boards = reached()
    assert boards["A"][0] == 3 and "both comprehension and generation" in (boards["A"][1] or "")
    assert boards["C-image-generation"] == (1, "no task of it is answered")
    assert boards["C-image-comprehension"] == (3, None)
    bench.predict("model", made["other half"], {"0": "a"})
    boards = reached()
    assert boards["A"] == (4, "no language task is answered")
    assert boards["B-image"] == (4, None)
    bench.predict("model", made["language"], {"0": "a"})
    assert reached()["A"] == (5, None)
    board = next(b for b in check(bench).boards if b.board_id == "A")
    assert (board.tasks, board.tasks_answered) == (3, 3)
    assert (board.instances, board.instances_answered) == (30, 3)


def test_references_of_a_store_serve_as_well(bench):
    task_id = text_task(bench)
    bench.predict("model", task_id, {"0": "Paris"})
    bench.score()
    before = sorted(Path(bench.store).rglob("*"))
    report = check(bench, dataset=None)
    assert task_of(report, task_id).ground == "references"
    assert one(report, "missing").count == 9
    assert sorted(Path(bench.store).rglob("*")) == before


def test_an_archive_is_as_good_as_a_folder(bench, tmp_path):
    _, _, folder = image_task(bench)
    (folder / "1.png").write_text("no image")
    root = bench.submissions / "model"
    packed = tmp_path / "model.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in root.rglob("*"):
            archive.write(path, path.relative_to(root))
        archive.writestr("__MACOSX/._x", b"")
    report, plain = check(bench, packed), check(bench)
    assert report.model == "model"
    assert [t.n_answered for t in report.tasks] == [t.n_answered for t in plain.tasks] == [9]
    assert report.tasks[0].files_bytes == plain.tasks[0].files_bytes
    assert one(report, "media").examples == one(plain, "media").examples
    assert one(report, "ignored").first.instance_id == "__MACOSX/._x"


def test_a_submission_in_a_bucket(bench, monkeypatch):
    _, _, folder = image_task(bench)
    (folder / "0.png").unlink()
    (folder / "1.png").write_text("no image")
    plain = check(bench)
    with s3_server(monkeypatch, "gate"):
        client = boto3.client("s3")
        for root in (bench.submissions / "model", bench.dataset):
            for path in root.rglob("*"):
                if path.is_file():
                    client.upload_file(
                        str(path), "gate", str(path.relative_to(bench.submissions.parent))
                    )
        report = check(
            bench,
            "s3://gate/submissions/model",
            dataset="s3://gate/dataset",
            store_url="s3://gate/store",
        )
        stored = client.list_objects_v2(Bucket="gate", Prefix="store")
    assert stored["KeyCount"] == 0
    assert [e.reason for e in one(report, "media").examples] == [
        e.reason for e in one(plain, "media").examples
    ]
    assert report.tasks[0].files_bytes == plain.tasks[0].files_bytes


def test_no_such_submission_is_a_users_mistake(bench):
    text_task(bench)
    with pytest.raises(UserError, match="does not exist"):
        check(bench, bench.root / "absent")


HOSTILE = ['<script>alert("x")</script>', "a\x1b[2Jb", "x\u202ey", "'\"&{{ 7*7 }}"]


def test_names_are_harmless_on_the_page(bench):
    task_id = text_task(bench)
    bench.predict("model", task_id, [*((name, "Paris") for name in HOSTILE), ("0", "Paris")])
    folder = bench.submissions / "model" / "nlp" / "<img src=x onerror=alert(1)>"
    folder.mkdir()
    (folder / "prediction.json").write_text("[]")
    page = render(check(bench))
    assert "<script" not in page and "<img" not in page
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;" in page
    assert "{{ 7*7 }}" in page
    assert "\x1b" not in page and "\\u001b[2J" in page
    assert "\u202e" not in page and "\\u202e" in page
    for asked in ("http://", "https://", "url(", "@import", "<link"):
        assert asked not in page


def test_the_page_goes_into_a_folder_that_is_there(bench, tmp_path):
    task_id = text_task(bench)
    bench.predict("model", task_id, {"0": "Paris"})
    report = check(bench)
    write_page(report, str(tmp_path / "report.html"))
    assert (tmp_path / "report.html").read_text() == render(report)
    for path in (str(tmp_path), str(tmp_path / "no" / "x.html"), "s3://bucket/x.html"):
        with pytest.raises(UserError, match="cannot be a page"):
            write_page(report, path)


def validate(bench: Bench, *arguments: str) -> Any:
    where = ["--dataset", str(bench.dataset), "--store", bench.store]
    where += ["--catalogue", str(bench.catalogue), "--only-catalogue"]
    command = ["validate", str(bench.submissions / "model"), *where, *arguments]
    return CliRunner().invoke(app, command)


def test_exit_codes_and_outputs(bench, capsys):
    task_id = text_task(bench)
    bench.predict("model", task_id, dict.fromkeys(IDS, "Paris"))
    page = bench.root / "page.html"
    good = validate(bench, "--json", "--page", str(page))
    assert good.exit_code == 0
    document = json.loads(good.stdout)
    assert (document["verdict"], document["exit_code"]) == (READY, 0)
    assert document["tasks"][0]["n_answered"] == N
    assert document["cost"]["instances"] == N
    assert "Ready" in page.read_text()

    bench.predict("model", task_id, {"0": "Paris", "\x1b[31mred": "x"})
    wanting = validate(bench, "--json")
    assert wanting.exit_code == 3
    (mend,) = json.loads(wanting.stdout)["to_mend"]
    assert (mend["kind"], mend["count"]) == ("missing", 9)
    assert mend["remedy"] == "answer every instance"

    bench.write_prediction("model", task_id, "[")
    assert validate(bench, "--json").exit_code == 1
    assert not Path(bench.store).exists()
