"""The same outputs give the same scores to the bit: whoever computes them, in whatever order, wherever."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import polars as pl
import pytest
from PIL import Image
from polars.testing import assert_frame_equal

from flows.nightly import nightly
from tasks.ingest import state
from tasks.score import plan
from tasks.storage import Store
from tasks.warehouse import connect
from tests.conftest import Bench, s3_server

pytestmark = pytest.mark.server

#: What is published of the scores, and the statistics that they are made of.
TABLES = (
    *("task_results", "levels", "leaderboards", "group_levels", "level_contributions"),
    *("task_intervals", "level_intervals", "rank_intervals", "instance_scores"),
)
#: What tells of the place or the time.
OWN = {"source", "duration_s", "prediction_source", "score_key", "prediction_sha256", "part"}
INSTANCES = 40
WORDS = "the red house stands by a quiet river where nobody lives".split()


def mixed(root: Path) -> Bench:
    """Two models on text, labels, numbers, boxes, masks, images and features, in many fractions."""
    bench, rng = Bench(root), random.Random(4)
    arrays = np.random.default_rng(4)

    def sentence() -> str:
        return " ".join(rng.choices(WORDS, k=rng.randint(3, 9)))

    def boxes() -> list[dict[str, Any]]:
        return [
            {"bbox": [x, y, x + 9 * rng.random(), y + 7], "label": "a", "score": rng.random()}
            for x, y in ((rng.random() * 9, rng.random() * 9) for _ in range(3))
        ]

    def mask() -> list[list[int]]:
        return [[rng.randint(0, 1) for _ in range(5)] for _ in range(4)]

    def features() -> list[float]:
        return arrays.normal(size=7).tolist()

    kinds: dict[str, tuple[str, str, Any]] = {
        "Answers": ("language", "accuracy", lambda: rng.choice(WORDS)),
        "Labels": ("language", "micro_f1", sentence),
        "Stories": ("language", "bleu_1", sentence),
        "Summaries": ("language", "rouge_l", sentence),
        "Forecasts": ("language", "mae", lambda: rng.gauss(0, 1)),
        "Captions": ("image.comprehension", "cider", sentence),
        "Boxes": ("image.comprehension", "ap", boxes),
        "Masks": ("image.comprehension", "dice", mask),
        "Pictures": ("image.generation", "psnr", None),
        "Styles": ("video.generation", "clip_score", features),
        "Faces": ("video.comprehension", "fid", features),
        "Sounds": ("audio.generation", "wer", sentence),
    }
    for title, (group, metric_id, make) in kinds.items():
        modality, paradigm = (group.split(".") * 2)[:2]
        where = {"modality": modality, "paradigm": paradigm, "specialist": 1.0}
        if make is None:
            wanted = {i: f"{i}.png" for i in range(INSTANCES)}
        else:
            wanted = {i: make() for i in range(INSTANCES)}
        task_id = bench.add_task(title, metric_id, wanted, **where)
        for model in ("first", "second"):
            given = {
                i: w if make is None or rng.random() < 0.4 else make() for i, w in wanted.items()
            }
            folder = bench.predict(model, task_id, given).parent
            if make is None:
                for place in (
                    folder,
                    bench.dataset / folder.relative_to(bench.submissions / model),
                ):
                    for name in wanted.values():
                        pixels = arrays.integers(0, 255, (9, 11, 3), dtype=np.uint8)
                        Image.fromarray(pixels).save(place / name)
    return bench


def reordered(bench: Bench, root: Path) -> Path:
    """The same submissions, as archives whose members and rows stand in another order."""
    root.mkdir()
    rng = random.Random(5)
    for model in sorted(bench.submissions.iterdir()):
        files = sorted(path for path in model.rglob("*") if path.is_file())
        rng.shuffle(files)
        with zipfile.ZipFile(root / f"{model.name}.zip", "w") as archive:
            for path in files:
                data = path.read_bytes()
                if path.suffix == ".json":
                    rows = json.loads(data)
                    rng.shuffle(rows)
                    data = json.dumps(rows).encode()
                archive.writestr(path.relative_to(model).as_posix(), data)
    return root


def upload(bench: Bench) -> None:
    client = boto3.client("s3")
    for folder in (bench.dataset, bench.submissions):
        for path in folder.rglob("*.*"):
            key = path.relative_to(bench.root).as_posix()
            client.put_object(Bucket="bits", Key=key, Body=path.read_bytes())


def results(store: str) -> dict[str, pl.DataFrame]:
    """The tables, without what tells of place and time."""
    with connect(Store(store)) as database:
        found = {name: database.sql(f"FROM {name}").pl() for name in TABLES}
    tables = {}
    for name, table in found.items():
        kept = table.drop([c for c in table.columns if c in OWN])
        keys = [c for c in kept.columns if not kept[c].dtype.is_nested()]
        tables[name] = kept.sort(keys, nulls_last=True)
    return tables


def test_scores_are_the_same_to_the_bit(tmp_path, server, monkeypatch):
    bench = mixed(tmp_path / "inputs")
    arguments = bench.arguments()
    copied = tmp_path / "copied"
    for path in sorted(bench.submissions.rglob("*"), reverse=True):  # made in another order
        if path.is_file():
            place = copied / path.relative_to(bench.submissions)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    whole = {"submissions": str(bench.submissions)}
    archives = {"submissions": str(reordered(bench, tmp_path / "archives"))}
    found: dict[str, dict[str, pl.DataFrame]] = {}

    def night(name: str, url: str, workers: int, tasks_a_batch: int, **given: Any) -> None:
        with monkeypatch.context() as patch:
            # How the work is cut: one batch of all, or a batch for every few tasks.
            patch.setattr(plan, "SMALLEST_BATCH", 1 if tasks_a_batch < 12 else 30_000)
            patch.setattr(plan, "BATCHES", -(-12 // tasks_a_batch))
            patch.setattr(state, "BATCH_FILES", tasks_a_batch)
            report = nightly(url, **arguments | given, workers=workers)
        assert report.failures == [] and report.scored_tasks == 24
        found[name] = results(url)

    night("1 process", str(tmp_path / "a"), 1, 12, **whole)
    night("2 processes", str(tmp_path / "b"), 2, 3, **whole)
    night(
        "4 processes, files made in another order",
        str(tmp_path / "c"),
        4,
        1,
        submissions=str(copied),
    )
    night("the same again", str(tmp_path / "a"), 2, 3, **whole, force=True)
    night("archives in another order", str(tmp_path / "d"), 2, 5, **archives)
    with s3_server(monkeypatch, "bits"):
        upload(bench)
        command = [sys.executable, "-c", "from flows.cli import main; main()", "run", "--json"]
        command += ["--catalogue", str(bench.catalogue), "--only-catalogue", "--workers", "2"]
        for name in ("dataset", "submissions", "store"):
            command += [f"--{name}", f"s3://bits/{name}"]
        # In a process of its own: worker processes know the environment that the first one had.
        subprocess.run(
            command, env=os.environ | {"PREFECT_API_URL": server}, check=True, capture_output=True
        )
        found["on S3"] = results("s3://bits/store")
    first = found.pop("1 process")
    assert first["instance_scores"].height >= 24 * INSTANCES
    assert first["task_results"]["raw_score"].n_unique() > 20
    for name, tables in found.items():
        for table, wanted in first.items():
            try:
                assert_frame_equal(tables[table], wanted, check_exact=True)
            except AssertionError as error:
                raise AssertionError(f"{name}: {table}: {error}") from None
