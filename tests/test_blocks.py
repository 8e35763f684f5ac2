"""Arrays of files in blocks: the same numbers as NumPy reads, in flat memory, and no surprises."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from contextlib import suppress

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tasks import blocks, media
from tasks.blocks import StoredRows, array_blocks
from tasks.media import Refused, load_array
from tasks.metrics import Batch, get_metric

SETTINGS = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SHAPES = st.tuples(st.integers(0, 40)) | arrays.array_shapes(min_dims=1, max_dims=3, max_side=40)
NUMBERS = arrays.arrays(st.sampled_from(["f4", ">f8", "i2", "u1", "?"]), SHAPES)


def value(path, member="", **others):
    return {"$file": {"path": path.name, "url": str(path), "member": member}, **others}


def joined(where) -> np.ndarray:
    return np.concatenate(list(array_blocks(where)))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "_BLOCK", 200)
    monkeypatch.setattr(blocks, "_IN_MEMORY", 500)


@SETTINGS
@given(NUMBERS, st.booleans(), st.sampled_from(["npy", "npz", "packed npz"]))
def test_blocks_make_up_the_array(tmp_path, array, by_columns, kind):
    array = np.asfortranarray(array) if by_columns else array
    path = tmp_path / f"x.{kind[-3:]}"
    {"npy": np.save, "npz": np.savez, "packed npz": np.savez_compressed}[kind](path, array)
    found = joined(value(path))
    np.testing.assert_array_equal(found, array)
    assert {block.dtype for block in array_blocks(value(path))} == {array.dtype}
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "m/" + path.name)
    inside = value(path)
    inside["$file"] |= {"url": str(tmp_path / "a.zip"), "member": "m/" + path.name}
    np.testing.assert_array_equal(joined(inside), array)
    if len(array):
        rows = StoredRows(array_blocks(value(path)))
        assert len(rows) == len(array)
        for row in (0, len(array) - 1, len(array) // 2):
            np.testing.assert_array_equal(rows[row], array[row])


def test_a_small_parquet_file_of_endless_columns_or_lists_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(media, "FILE_LIMIT", 8_000)
    monkeypatch.setattr(blocks, "ARRAY_LIMIT", 1_000)
    for frame in (
        pl.DataFrame({f"c{n}": [0.0] * 101 for n in range(10)}),
        pl.DataFrame({"c": [[0.0] * 101] * 10}),
    ):
        frame.write_parquet(tmp_path / "x.parquet")
        assert (tmp_path / "x.parquet").stat().st_size < 8_000
        for read in (load_array, joined):
            with pytest.raises(Refused, match="more than"):
                read(value(tmp_path / "x.parquet"))


@pytest.mark.parametrize("rows", [0, 1, 39, 500])
def test_blocks_of_a_parquet_file_make_up_its_columns(tmp_path, rows):
    frame = pl.DataFrame(np.random.default_rng(0).normal(size=(rows, 7)))
    frame.write_parquet(tmp_path / "x.parquet", row_group_size=64)
    np.testing.assert_array_equal(joined(value(tmp_path / "x.parquet")), frame.to_numpy())
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "x.parquet", "x.parquet")
    inside = value(tmp_path / "x.parquet")
    inside["$file"] |= {"url": str(tmp_path / "a.zip"), "member": "x.parquet"}
    np.testing.assert_array_equal(joined(inside), frame.to_numpy())


def written(path, kind: str) -> bytes:
    array = np.arange(120.0).reshape(30, 4)
    if kind == "parquet":
        pl.DataFrame(array).write_parquet(path, compression="uncompressed")
    else:
        (np.save if kind == "npy" else np.savez_compressed)(path, array)
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["npy", "npz", "parquet"])
@SETTINGS
@given(st.data())
def test_a_damaged_file_is_refused_or_read_and_never_more(tmp_path, kind, data):
    path = tmp_path / f"x.{kind}"
    damaged = bytearray(written(path, kind))
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=4)):
        damaged[at] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    with suppress(Refused):
        list(array_blocks(value(path)))


@pytest.mark.parametrize("kind", ["npy", "npz", "parquet"])
def test_a_file_that_ends_too_soon_is_refused(tmp_path, kind):
    path = tmp_path / f"x.{kind}"
    path.write_bytes(written(path, kind)[:-100])
    with pytest.raises(Refused, match=r"x\."):
        list(array_blocks(value(path)))


def test_pickles_bombs_and_what_is_no_array_are_refused(tmp_path):
    np.save(tmp_path / "pickle.npy", np.array([{"a": 1}]), allow_pickle=True)
    np.savez(tmp_path / "two.npz", np.zeros(2), np.zeros(3))
    header = io.BytesIO()
    huge = {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**3)}
    np.lib.format.write_array_header_1_0(header, huge)
    (tmp_path / "bomb.npy").write_bytes(header.getvalue() + bytes(800))
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(10**6))
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "x.csv").write_text("1,2")
    for name, told in (
        ("pickle.npy", "Python objects"),
        ("two.npz", "expected one array"),
        ("bomb.npy", "more than"),
        ("bomb.npz", "more than"),
        ("text.npy", "text.npy"),
        ("x.csv", "expected .npy"),
        ("absent.npy", "no longer there"),
    ):
        with pytest.raises(Refused, match=told):
            list(array_blocks(value(tmp_path / name)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e70])
def test_a_bad_number_in_the_last_block_keeps_the_whole_file_out_of_the_set(tmp_path, bad):
    rng = np.random.default_rng(1)
    made, real = rng.normal(size=(60, 3)), rng.normal(size=(90, 3))
    np.save(tmp_path / "real.npy", real)
    np.save(tmp_path / "made.npy", made)
    made[-1, 1] = bad
    np.save(tmp_path / "bad.npy", made)
    metric = get_metric("fid")

    def computed(names):
        documents = [json.dumps(value(tmp_path / f"{name}.npy")) for name in names]
        references = [json.dumps(value(tmp_path / "real.npy"))] * len(names)
        return metric.compute(Batch(pl.Series(documents), pl.Series(references), "", None))

    found, wanted = computed(["bad", "made"]), computed(["made"])
    assert found["distance"][0] == wanted["distance"][0]
    assert found["refused"].is_not_null().to_list() == [True, False]


@pytest.mark.parametrize("by_row", [False, True])
def test_features_of_any_number_take_flat_memory(tmp_path, by_row):
    """160 MB of features, whole or named row by row, in less than 80 MB more than 2 MB of them."""
    script = """
import json, resource, sys
import polars as pl
from tasks.metrics import Batch, get_metric
def used(path, rows, by_row):
    where = {"$file": {"path": path, "url": path, "member": ""}}
    asked = [{"row": row} for row in range(rows)] if by_row else [{}]
    documents = pl.Series([json.dumps(where | one) for one in asked])
    stats = get_metric("fid").compute(Batch(documents, documents, "", None))
    assert stats["refused"].null_count() == len(asked) and stats["distance"][0] < 1e-3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = used(sys.argv[1], 2_000, sys.argv[3] == "True")
print(used(sys.argv[2], 160_000, sys.argv[3] == "True") - before)
"""
    rng = np.random.default_rng(2)
    for name, rows in (("few", 2_000), ("many", 160_000)):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(rows, 250)).astype(np.float32))
    paths = [str(tmp_path / f"{name}.npy") for name in ("few", "many")]
    done = subprocess.run(
        [sys.executable, "-c", script, *paths, str(by_row)],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    documents = 60 if by_row else 0  # 160,000 documents are text, too
    assert float(done.stdout) < 80 + documents
