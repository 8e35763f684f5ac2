"""Whatever arrives: a clear refusal, no crash, nothing good lost, nothing outside the store touched."""

from __future__ import annotations

import csv
import itertools
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import load_workbook
from PIL import Image
from typer.testing import CliRunner

from benchmarks import metrics as measured
from flows.cli.app import app
from tasks.catalog import load_catalogue
from tasks.errors import UserError
from tasks.files import StorageFailure
from tasks.ingest import list_submissions
from tasks.metrics import Batch, get_metric
from tasks.report.past_results import import_past_results
from tasks.storage import Store, misfit
from tasks.warehouse import RunInfo, build, connect
from tests.conftest import Bench
from tests.fuzzing import (
    GOOD,
    HOSTILE_TEXTS,
    KINDS,
    SAFE_SCORE,
    TRIED,
    WAYS,
    Kind,
    LyingFileSystem,
    World,
    damaged,
    fuzz,
    hostile,
    members,
    rows_for,
    stored,
    texts,
)

# --- metrics


#: Metrics whose instances have no number of their own.
OF_SETS = {"fid", "fvd", "fad"}


class Few(measured.Inputs):
    """Three instances of each metric."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, quick=True)

    def count(self, instances: int) -> int:
        return 3


@pytest.fixture(scope="module")
def batches(tmp_path_factory) -> dict[str, list[Batch]]:
    """Good batches by metric, as the benchmark makes them, of three instances at most."""
    inputs = Few(tmp_path_factory.mktemp("inputs"))
    found: dict[str, list[Batch]] = {}
    for _, make in measured._MAKERS:
        for line in make(inputs):
            if isinstance(line.ours, measured.Scored):
                batch = line.ours.batch
                few = Batch(batch.predictions.head(3), batch.references.head(3), batch.task_type)
                if all(
                    str(few.predictions) != str(b.predictions) for b in found.get(line.metric, [])
                ):
                    found.setdefault(line.metric, []).append(few)
    return found


@pytest.mark.parametrize("side", ["predictions", "references"])
@fuzz(150)
@given(data=st.data())
def test_no_document_breaks_a_metric_or_touches_its_neighbours(batches, side, data):
    structured = [m for m in sorted(batches) if get_metric(m).payload not in ("text", "number")]
    metric_id = data.draw(st.sampled_from(structured))
    metric = get_metric(metric_id)
    good = data.draw(st.sampled_from(batches[metric_id]))
    documents = getattr(good, side).to_list()
    spot = data.draw(st.integers(0, len(documents) - 1))
    document = stored(data.draw(hostile(json.loads(documents[spot]))))
    if document is None:
        return
    TRIED[f"{side} of metrics"] += 1
    documents[spot] = document
    sides = {
        "predictions": good.predictions,
        "references": good.references,
        side: pl.Series(documents),
    }
    found = metric.compute(Batch(**sides, task_type=good.task_type))
    assert found.height == len(documents)
    others = [i for i in range(len(documents)) if i != spot]
    if metric_id not in OF_SETS:
        assert found[others].equals(metric.compute(good)[others])
    wrong = metric.worst(Batch(**sides, task_type=good.task_type))
    assert wrong.height == len(documents)
    reasons = [c for c in ("refused", "reference_refused") if c in found.columns]
    kept = found.filter(pl.all_horizontal(pl.col(reasons).is_null())) if reasons else found
    if kept.height:
        assert metric.aggregate(kept) is not None


# --- rows and files


@pytest.fixture(scope="module")
def places() -> Iterator[Callable[[], Path]]:
    """Makes an empty folder for each example."""
    numbers = itertools.count()
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))

    def make() -> Path:
        for old in root.iterdir():
            shutil.rmtree(old)
        folder = root / str(next(numbers))
        folder.mkdir()
        return folder

    yield make
    shutil.rmtree(root)


@pytest.mark.parametrize("side", ["predictions", "references"])
@fuzz(12)
@given(data=st.data())
def test_every_row_is_accounted_for(places, side, data):
    """Rows of every kind among good ones: each is stored or refused, and the good ones count."""
    world = World(places())
    attacked = data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4, unique=True))
    written: dict[Kind, list[Any]] = {}
    for kind in attacked:
        field = "output" if side == "references" else "prediction"
        good = [json.dumps({"id": i, field: kind.answer}) for i in GOOD]
        bad = data.draw(st.lists(rows_for(kind, side), min_size=1, max_size=8))
        TRIED[f"rows of {side}"] += len(bad)
        rows = data.draw(st.permutations(good + bad))
        text = data.draw(st.sampled_from(["[{}]", '{{"type": "", "data": [{}]}}', "\ufeff[{}\n]"]))
        world.path(side, kind).write_text(text.format(",".join(rows)), encoding="utf-8")
        written[kind] = [_loaded(row) for row in rows]
    world.arrived()
    scores = world.check_score()
    for kind, rows in written.items():
        told = world.told(side, kind)
        kept_twice = [r for r in told if side == "predictions" and "scored as wrong" in r["reason"]]
        without = [r for r in rows if side == "references" and _has_no_reference(kind, r)]
        found = world.stored(side, kind) + len(told) - len(kept_twice) + len(without)
        assert found >= len(rows)
        if side == "references":
            continue
        times = Counter(_id_of(row) for row in rows)
        assert scores[kind.task_id]["status"] == "scored", scores[kind.task_id]
        statuses = world.statuses(kind)
        assert len(statuses) == len(GOOD)
        for name in GOOD:
            if times[name] == 1:
                assert statuses[name] == "scored", (kind, name)


@pytest.mark.parametrize("side", ["predictions", "references"])
@fuzz(12)
@given(data=st.data())
def test_damaged_files_cost_themselves(places, side, data):
    world = World(places())
    for kind in data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=5, unique=True)):
        path = world.path(side, kind)
        path.write_bytes(data.draw(damaged(path.read_bytes())))
        TRIED[f"files of {side}"] += 1
    world.arrived()
    world.check_score()


@pytest.mark.parametrize("how", ["zip", "", "gz", "xz"])
@fuzz(6)
@given(data=st.data())
def test_members_of_archives_cost_themselves(places, how, data):
    """Paths that lead out, links, devices, names that differ in case or in Unicode's normal form."""
    world = World(places())
    more = data.draw(members())
    TRIED["members of archives"] += len(more)
    named = [name for name, *_ in more] + ["0.png", "frames", "../0.png", "loop", "outside.png"]
    rows = [{"id": i, "prediction": KINDS[5].answer} for i in GOOD]
    rows += [{"id": n, "prediction": name} for n, name in enumerate(named, 10)]
    world.predict(KINDS[5], rows)
    safe = [name for name, *_ in more if "safe" in name.casefold()]
    world.pack(how, more if not safe else [m for m in more if m[0] not in safe])
    world.arrived()
    world.check_score()


def _loaded(row: str) -> Any:
    try:
        return json.loads(row, parse_int=lambda d: int(d) if len(d) < 4_300 else float(d))
    except RecursionError:
        return {"output": "deep"}


def _id_of(row: Any) -> str:
    found = row.get("id") if isinstance(row, dict) else None
    if isinstance(found, bool) or not isinstance(found, (str, int, float)):
        return ""
    return (
        found
        if isinstance(found, str)
        else "endless"
        if found != found or abs(found) > 1e300
        else str(found)
    )


def _has_no_reference(kind: Kind, row: Any) -> bool:
    return isinstance(row, dict) and row.get("output") is None


# --- names


@pytest.fixture(scope="module")
def named(tmp_path_factory) -> tuple[Bench, list[str]]:
    """A published store in which every name is a hostile one; and the models that it has."""
    bench = Bench(tmp_path_factory.mktemp("named"))
    where: dict[str, Any] = {"modality": "image", "paradigm": "comprehension"}
    answers = dict.fromkeys(filter(_is_storable, HOSTILE_TEXTS), "A") | {"": "A"}
    task_ids = [
        bench.add_task("Quiz", "accuracy", answers, **where),
        bench.add_task("Labels", "accuracy", {n: n for n in answers}),
    ]
    rows = list(csv.DictReader(bench.catalogue.open(newline="")))
    for number, title in enumerate(HOSTILE_TEXTS):
        task_id = f"language.hostile-{number}"
        row = rows[-1] | {"task_id": task_id, "modality": "language", "paradigm": "language"}
        _write_catalogue(bench, [*rows, row | {"title": title, "skill": title}])
        with suppress(UserError):  # told, and left out
            load_catalogue([bench.catalogue], base=False)
            rows.append(row | {"title": title, "skill": title})
    assert len(rows) > 2 + len(HOSTILE_TEXTS) // 2
    _write_catalogue(bench, rows)
    for number, model in list(enumerate(HOSTILE_TEXTS))[::3]:
        folder = bench.submissions / str(number)
        for task_id in task_ids:
            bench.predict(str(number), task_id, {n: n if n else "A" for n in answers})
        (folder / "model.json").write_text(json.dumps({"name": model}))
        (folder / "nlp" / f"odd {number} <img src=x onerror=pwned()>").mkdir()
    TRIED["names"] = 3 * len(HOSTILE_TEXTS)  # the same in each round
    store, catalogue = Store(bench.store), load_catalogue([bench.catalogue], base=False)
    bench.sources = lambda model: (bench.dataset, places[model])
    places = {s.model: s.url for s in list_submissions(str(bench.submissions))}
    models = [model for model in places if not misfit(model)]
    for model in models:
        bench.score(model)
    past = bench.root / "past '; DROP TABLE levels; --.csv"
    with past.open("w", newline="", encoding="utf-8", errors="replace") as file:
        csv.writer(file).writerows([["task_id", "model", "raw_score"]])
        csv.writer(file).writerows([[task_ids[0], f"past {m}", "40"] for m in HOSTILE_TEXTS[1::3]])
    import_past_results(store, past, catalogue)
    build(store, catalogue, RunInfo.now("hostile"))
    return bench, models


def _write_catalogue(bench: Bench, rows: list[dict[str, Any]]) -> None:
    with bench.catalogue.open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.DictWriter(file, [*rows[0], "skill"])
        writer.writeheader()
        writer.writerows(rows)


def _is_storable(text: str) -> bool:
    return bool(text) and not misfit(text)


def test_names_are_data_in_the_database(named):
    bench, models = named
    with connect(Store(bench.store)) as database:
        found = database.execute("SELECT DISTINCT model FROM levels").fetchall()
        assert {row[0] for row in found} >= set(models)
        for (view,) in database.execute(
            "SELECT view_name FROM duckdb_views() WHERE NOT internal"
        ).fetchall():
            database.execute(f'FROM "{view}"').fetchall()
        scores = database.execute(
            "SELECT DISTINCT raw_score FROM task_results WHERE task_id = 'language.labels' "
            "AND model = ANY(?) AND profile = 'corrected'",
            [models],
        ).fetchall()
    assert scores == [(100.0,)]


COMMANDS = [
    ["explain", "--", "NAME", "NAME"],
    ["task", "--", "NAME"],
    ["compare", "--", "NAME", "MODEL"],
    ["levels", "--board=NAME"],
    ["export", "--model=NAME", "--board=NAME"],
    ["export", "--table=NAME"],
    ["explain", "--json", "--", "MODEL", "language.labels"],
    ["compare", "--json", "--", "MODEL", "MODEL"],
]


@fuzz(25)
@given(st.sampled_from(COMMANDS), texts, st.integers(0, 10**6))
def test_commands_take_any_name(named, words, name, number):
    bench, models = named
    name = name.encode("utf-8", "replace").decode().replace("\x00", "")
    values = {"NAME": name, "MODEL": models[number % len(models)]}
    command, *words = [w.replace("NAME", values["NAME"]) for w in words]
    words = [values["MODEL"] if w == "MODEL" else w for w in words]
    database = Path(bench.store, "results.duckdb")
    before, around = database.stat().st_mtime_ns, sorted(Path().iterdir())
    printed = _run([command, "--store", bench.store, *words])
    TRIED["arguments of commands"] += 1
    assert "language.labels" in printed or "language.labels" not in words
    assert database.stat().st_mtime_ns == before and sorted(Path().iterdir()) == around


def test_pages_and_files_show_names_and_run_none(named, tmp_path):
    bench, models = named
    store = ["--store", bench.store]
    _run(["site", *store, "--out", str(tmp_path / "site")])
    source = next(s.url for s in list_submissions(str(bench.submissions)) if s.model == models[0])
    page = tmp_path / "page.html"
    dataset = [
        "--dataset",
        str(bench.dataset),
        "--catalogue",
        str(bench.catalogue),
        "--only-catalogue",
    ]
    _run(["validate", source, *dataset, "--page", str(page)])
    pages = [page, *(tmp_path / "site").rglob("*.html")]
    assert len(pages) > len(models)
    for path in pages:
        text = path.read_text()
        assert "<script>pwned" not in text and "<img src=x" not in text, path
        assert "</script><script>pwned" not in text, path
        TRIED["pages"] += 1
    for format in ("csv", "md", "latex", "xlsx"):
        _run(["export", *store, "--all", str(tmp_path / format), "--format", format])
        assert len(list((tmp_path / format).iterdir())) > 20, format
    for path in (tmp_path / "xlsx").glob("*.xlsx"):
        for sheet in load_workbook(path):
            assert all(cell.data_type != "f" for row in sheet for cell in row), path
    for path in (tmp_path / "md").glob("*.md"):
        assert "<script>" not in path.read_text() and "<img" not in path.read_text(), path
    assert not {p.name for p in tmp_path.rglob("*")} & {"pwned", "pwned.csv", "pwned.db"}
    assert not list(Path().glob("pwned*"))


def _run(words: list[str]) -> str:
    """What a command prints; a user's mistake may end it, nothing else."""
    result = CliRunner().invoke(app, words)
    if not isinstance(result.exception, (type(None), SystemExit, UserError)):
        raise result.exception
    assert "Traceback" not in result.output
    return result.output


# --- bombs

#: Scores one submission, and prints whether the good task has its score and the memory that it took.
CHILD = """
import json, resource, sys
from pathlib import Path
from tests.fuzzing import SAFE, World
world = World.standing(Path(sys.argv[1]))
world.bench.sources = lambda model: (world.bench.dataset, sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = {task: r for (task, p), r in world.bench.score().items() if p == "corrected"}
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
counts = {t: [r["n_scored"], r["n_unreadable"]] for t, r in rows.items()}
print(json.dumps([rows[SAFE.task_id]["raw_score"], grown, counts]))
"""
#: Seconds and kilobytes that a submission of bombs may take.
BOMB_SECONDS, BOMB_KILOBYTES = 100, 1_500_000


def test_bombs_cost_neither_time_nor_memory(places):
    world = World(places())
    folder = world.bench.submissions / "model"
    files = bombs(folder / KINDS[5].folder)
    for number, good in ((3, [[1, 0], [0, 1]]), (5, "0.png"), (7, {"path": "0.npy", "row": 0})):
        kind = KINDS[number]
        answers: dict[str, Any] = dict.fromkeys(GOOD, good) | {
            f.name: {"path": f.name} for f in files
        }
        if number == 3:
            answers |= {"huge": {"size": [10**9, 10**9], "counts": [10**18]}}
            answers |= {"long": {"size": [2, 2], "counts": "P" * 10**6}}
        ours: dict[str, Any] = {"modality": kind.modality, "paradigm": kind.paradigm}
        world.bench.add_task(
            kind.title, kind.metric_id, dict.fromkeys(answers, kind.answer), **ours
        )
        world.predict(kind, [{"id": i, "prediction": a} for i, a in answers.items()])
        for file in files:
            if not (folder / kind.folder / file.name).exists():
                os.link(file, folder / kind.folder / file.name)
        TRIED["bombs"] += len(answers) - len(GOOD)
    words, labels, numbers = (world.path("predictions", KINDS[n]) for n in range(3))
    words.write_text('[{"id": 0, "prediction": ' + "[" * 100_000 + "]" * 100_000 + "}]")
    labels.write_text('{"0": "a, b"' + ',"1": "a, b"' * 10**6 + "}")
    numbers.write_text(
        '[{"id": 0, "prediction": ' + "9" * 10**6 + '}, {"id": 1, "prediction": 1.5}]'
    )
    boxes = folder / "image-comprehension-boxes.zip"
    with zipfile.ZipFile(boxes, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image/comprehension/boxes/prediction.json", bytes(200 * 2**20))
    with zipfile.ZipFile(folder / "nested.zip", "w") as archive:
        archive.writestr("nested.zip", boxes.read_bytes())
    TRIED["bombs"] += 5
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(world.root), str(folder)],
        capture_output=True,
        text=True,
        timeout=BOMB_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    safe, kilobytes, counts = json.loads(done.stdout)
    assert safe == SAFE_SCORE
    assert kilobytes < BOMB_KILOBYTES
    for number, more in ((3, 2), (5, 0), (7, 0)):
        assert counts[KINDS[number].task_id] == [len(GOOD), len(files) + more], KINDS[number].title


def bombs(folder: Path) -> list[Path]:
    """Small files that are large once they are read, or say so."""
    line = zlib.compress(bytes(2**20))
    pixels = np.zeros((10_001, 10_000), np.uint8)
    Image.fromarray(pixels).save(folder / "bomb.png", compress_level=1)
    header = (folder / "bomb.png").read_bytes()[:8]
    size = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", size), (b"IDAT", line), (b"IEND", b""))
    (folder / "said.png").write_bytes(
        header
        + b"".join(
            struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d))
            for t, d in chunks
        )
    )
    arrays = {"said.npy": (10**12,), "more.npy": (2**62, 4), "none.npy": (0, 2**62)}
    for name, shape in arrays.items():
        with (folder / name).open("wb") as file:
            told = {"descr": "<f8", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, told)
    np.savez_compressed(folder / "bomb.npz", np.zeros((8, 8)))
    with zipfile.ZipFile(folder / "bomb.npz", "a") as archive:
        archive.filelist[0].file_size = 3 * 2**30
        archive._didModify = True  # type: ignore[attr-defined]
    many = pa.table({f"c{n}": pa.nulls(10_000_000, pa.bool_()) for n in range(60)})
    pq.write_table(many, folder / "bomb.parquet", compression="zstd")
    return [folder / name for name in ("bomb.png", "said.png", *arrays, "bomb.npz", "bomb.parquet")]


# --- a storage that fails and lies


@fuzz(12)
@given(
    ways=st.lists(st.sampled_from(WAYS), min_size=1, max_size=3, unique=True),
    share=st.sampled_from([0.02, 0.1, 0.5]),
    seed=st.integers(0, 10**6),
)
def test_a_storage_that_lies_costs_no_score_for_good(places, ways, share, seed):
    world = World(places())
    right = _figures(world.check_score())
    world.bench.store += "-lied-to"
    dataset, submission = world.bench.sources("model")
    world.bench.sources = lambda model: (f"lying://{dataset}", f"lying://{submission}")
    storage, before = LyingFileSystem, LyingFileSystem.went_wrong
    storage.ways, storage.rng = tuple(ways), random.Random(seed)
    try:
        storage.share = share
        for _ in range(3):
            with suppress(UserError, StorageFailure, OSError):
                scored = _figures(world.bench.score())
                assert all(
                    right[task] == row
                    for task, row in scored.items()
                    if _is_whole(row, right[task])
                )
    finally:
        storage.share = 0.0
    TRIED["calls of a storage that went wrong"] += storage.went_wrong - before
    world.bench.score()
    assert _figures(world.bench.score()) == right


def _figures(rows: dict[Any, dict[str, Any]]) -> dict[Any, tuple[Any, ...]]:
    names = ("status", "raw_score", "n_instances", "n_scored", "n_missing", "n_unreadable")
    return {
        task[0] if isinstance(task, tuple) else task: tuple(row[n] for n in names)
        for task, row in rows.items()
        if row["profile"] == "corrected"
    }


def _is_whole(row: tuple[Any, ...], right: tuple[Any, ...]) -> bool:
    return row[2:] == right[2:]
