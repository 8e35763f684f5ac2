"""Depth, optical flow, alpha mattes and point clouds against their definitions."""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import mean_squared_error
from sklearn.neighbors import NearestNeighbors

from tasks.metrics import get_metric
from tests.test_metrics_image import Files, batch, folder, refusal, scores


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def png_of_16_bits(samples):
    """A PNG of three 16-bit channels, each line with another of the five filters."""
    height, width, _ = samples.shape
    lines = samples.astype(">u2").view(np.uint8).reshape(height, -1).astype(int)
    before = np.zeros_like(lines)
    before[1:] = lines[:-1]
    left, corner = np.zeros_like(lines), np.zeros_like(lines)
    left[:, 6:], corner[:, 6:] = lines[:, :-6], before[:, :-6]
    estimate = left + before - corner
    far = [abs(estimate - value) for value in (left, before, corner)]
    paeth = np.where(
        (far[0] <= far[1]) & (far[0] <= far[2]), left, np.where(far[1] <= far[2], before, corner)
    )
    guesses = [0 * lines, left, before, (left + before) // 2, paeth]
    raw = b"".join(
        bytes([i % 5]) + ((lines[i] - guesses[i % 5][i]) % 256).astype(np.uint8).tobytes()
        for i in range(height)
    )

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def flo(flow):
    height, width, _ = flow.shape
    head = struct.pack("<fii", 202021.25, width, height)
    return head + flow.astype("<f4").tobytes()


def kitti(flow, valid):
    samples = np.dstack([np.round(flow * 64 + 32768), valid]).astype(np.uint16)
    return png_of_16_bits(samples)


def absrel(prediction, reference):
    """The published computation, with the least-squares solver of NumPy."""
    valid = (reference > 1e-3) & (reference < 80)
    raised = np.clip(prediction.astype(float), 1e-3, None)
    matrix = np.stack([raised[valid], np.ones(valid.sum())], axis=1)
    scale, shift = np.linalg.lstsq(matrix, reference[valid].astype(float), rcond=None)[0]
    fitted = np.clip(scale * raised + shift, 1e-3, 80)
    return np.mean(np.abs(fitted - reference)[valid] / reference[valid])


def disparities(count, seed=1):
    rng = np.random.default_rng(seed)
    predictions, references = [], []
    for _ in range(count):
        shape = (int(rng.integers(1, 6)), 1, *map(int, rng.integers(4, 20, 2)))
        reference = rng.gamma(2, 5, shape).astype(np.float32)
        reference[rng.random(shape) < 0.1] = rng.choice([0, -1, 100, np.nan, np.inf])
        noisy = rng.normal(rng.uniform(-1, 2), 3) * np.nan_to_num(reference, posinf=0)
        predictions.append((noisy + rng.normal(3, 2, shape)).astype(np.float32))
        references.append(reference)
    return predictions, references


def test_absrel_agrees_with_the_published_computation(files):
    ours, theirs = disparities(300)
    expected = [absrel(p, r) for p, r in zip(ours, theirs, strict=True)]
    found, mean = scores(
        "absrel",
        [files.npz(depth=p) if i % 2 else files.npy(p[:, 0]) for i, p in enumerate(ours)],
        [files.npz(disparity=r, other=1) for r in theirs],
    )
    assert found == pytest.approx(expected, rel=1e-9)
    assert mean == pytest.approx(np.mean(expected), rel=1e-9)


def test_absrel_edges(files):
    theirs = np.random.default_rng(2).uniform(1, 60, (3, 1, 8, 9)).astype(np.float32)
    reference = files.npz(disparity=theirs)
    assert scores("absrel", [files.npy(theirs / 7 + 2)], [reference])[1] == pytest.approx(
        0, abs=1e-6
    )
    constant = scores("absrel", [files.npy(np.ones_like(theirs))], [reference])[1]
    assert constant == pytest.approx(np.mean(np.abs(theirs - theirs.mean()) / theirs), rel=1e-6)
    hole = theirs.copy()
    hole[1, 0, 2, 3] = np.nan
    assert refusal("absrel", files.npy(hole), reference) == (
        "no number at 1 places where the reference has one",
        None,
    )
    assert "expected the shape" in str(refusal("absrel", files.npy(theirs[:2]), reference)[0])
    assert "no pixel" in str(refusal("absrel", reference, files.npy(0 * theirs))[1])
    assert "expected .npy" in str(refusal("absrel", files.bytes(b"x", ".txt"), reference)[0])
    assert get_metric("absrel").worst(batch([None], [reference])).row(0)[:2] == (math.inf, 1.0)


def test_depth_rms_is_in_centimetres_over_valid_pixels(files):
    rng = np.random.default_rng(3)
    predictions, references, expected = [], [], []
    for i in range(200):
        shape = tuple(rng.integers(4, 30, 2))
        millimetres = rng.integers(1, 10_000, shape).astype(np.uint16)
        millimetres[rng.random(shape) < 0.2] = 0
        millimetres[0, 0] = 700
        ours = rng.uniform(0.3, 10, shape).astype(np.float32)
        metres = millimetres / 1000
        valid = millimetres > 0
        expected.append(100 * math.sqrt(mean_squared_error(metres[valid], ours[valid])))
        unknown = np.where(valid, metres, np.nan)
        references.append(files.npy(unknown) if i % 3 else files.png(millimetres))
        predictions.append(files.npz(depth=ours) if i % 2 else files.npy(ours[None]))
    found, mean = scores("depth_rms", predictions, references)
    assert found == pytest.approx(expected, rel=1e-6)
    assert mean == pytest.approx(np.mean(expected), rel=1e-6)


def test_depth_rms_edges(files):
    millimetres = np.full((5, 6), 1500, np.uint16)
    good = files.png(millimetres)
    assert scores("depth_rms", [good, files.npy(millimetres)], [good, good])[0] == [0, 0]
    assert scores("depth_rms", [files.png(millimetres + 20)], [good])[1] == pytest.approx(2)
    assert "16 bits" in str(refusal("depth_rms", files.png(millimetres.astype(np.uint8)), good)[0])
    assert "no pixel" in str(refusal("depth_rms", good, files.png(0 * millimetres))[1])
    assert get_metric("depth_rms").worst(batch([None], [good])).row(0)[:2] == (math.inf, 1.0)


def test_epe_agrees_with_its_definition_in_every_format(files):
    rng = np.random.default_rng(4)
    predictions, references, expected = [], [], []
    for i in range(240):
        shape = tuple(rng.integers(3, 20, 2))
        # Steps of 1/64 are what a KITTI file holds.
        ours, theirs = (np.round(rng.normal(0, 20, (*shape, 2)) * 64) / 64 for _ in range(2))
        valid = rng.random(shape) < 0.8
        valid[0, 0] = True
        distance = [
            math.hypot(*(ours[y, x] - theirs[y, x]))
            for y, x in zip(*np.nonzero(valid), strict=True)
        ]
        expected.append(np.mean(distance))
        marked = np.where(valid[..., None], theirs, [1e10, np.nan][i % 2])
        references.append(
            [
                files.bytes(flo(marked), ".flo"),
                files.npy(marked),
                files.bytes(kitti(theirs, valid), ".png"),
            ][i % 3]
        )
        predictions.append(
            [
                files.bytes(flo(ours), ".flo"),
                files.npz(flow=np.moveaxis(ours, -1, 0)),
                files.bytes(kitti(ours, np.ones(shape)), ".png"),
                files.npy(ours.astype(np.float32)),
            ][i // 3 % 4]
        )
    found, mean = scores("epe", predictions, references)
    assert found == pytest.approx(expected, rel=1e-9)
    assert mean == pytest.approx(np.mean(expected), rel=1e-9)


def test_a_folder_of_flows_is_a_mean_over_pairs(files):
    rng = np.random.default_rng(5)
    ours, theirs = rng.normal(0, 3, (2, 4, 6, 7, 2)).astype(np.float32)
    where = files.path("")
    where.mkdir()
    for i, flow in enumerate(theirs):
        (where / f"{i}.flo").write_bytes(flo(flow))
    expected = np.linalg.norm(ours - theirs, axis=-1).mean()
    assert scores("epe", [files.npy(ours)], [folder(where)])[1] == pytest.approx(expected)
    worst = get_metric("epe").worst(batch([None], [folder(where)]))
    assert worst.row(0)[:2] == (math.inf, 4.0)
    assert get_metric("epe").aggregate(worst) == math.inf


def test_epe_edges(files):
    flow = np.random.default_rng(6).normal(0, 3, (5, 6, 2)).astype(np.float32)
    good = files.npy(flow)
    assert scores("epe", [good], [good])[1] == 0
    assert scores("epe", [files.npy(flow + np.array([3, 4]))], [good])[1] == pytest.approx(5)
    hole = files.bytes(kitti(0 * flow, np.eye(5, 6)), ".png")
    assert "no number at 50 places" in str(refusal("epe", hole, good)[0])
    assert "expected (height, width, 2)" in str(refusal("epe", files.npy(flow[..., 0]), good)[0])
    assert "202021.25" in str(refusal("epe", files.bytes(b"PIEX" + bytes(20), ".flo"), good)[0])
    assert "not as long" in str(refusal("epe", files.bytes(flo(flow)[:-8], ".flo"), good)[0])
    eight_bits = files.png(np.zeros((5, 6, 3), np.uint8))
    assert "16 bits" in str(refusal("epe", eight_bits, good)[0])
    assert "no readable PNG" in str(refusal("epe", files.bytes(b"\x89PNG", ".png"), good)[0])
    assert "no readable PNG" in str(
        refusal("epe", files.bytes(kitti(flow, np.ones((5, 6)))[:90], ".png"), good)[0]
    )
    assert "no pixel" in str(refusal("epe", good, files.npy(flow * np.nan))[1])


def test_mattes_agree_with_their_definition(files):
    rng = np.random.default_rng(7)
    predictions, references, sad, mse = [], [], [], []
    for i in range(200):
        shape = tuple(rng.integers(4, 60, 2))
        whole = [255, 65535][i % 2]
        ours, theirs = (rng.integers(0, whole + 1, shape) for _ in range(2))
        stored = np.uint8 if whole == 255 else np.uint16
        difference = (ours - theirs) / whole
        sad.append(np.abs(difference).sum() / 1000)
        mse.append((difference**2).mean() * 1000)
        references.append(files.png(theirs.astype(stored)))
        predictions.append(files.npy(ours / whole) if i % 3 else files.png(ours.astype(stored)))
    for metric_id, expected in (("sad", sad), ("matting_mse", mse)):
        found, mean = scores(metric_id, predictions, references)
        assert found == pytest.approx(expected, rel=1e-9)
        assert mean == pytest.approx(np.mean(expected), rel=1e-9)


def test_matte_edges(files):
    alpha = np.zeros((10, 20), np.uint8)
    alpha[:, :5] = 255
    good = files.png(alpha)
    assert scores("sad", [good], [good])[1] == scores("matting_mse", [good], [good])[1] == 0
    worst = files.png(255 - alpha)
    assert scores("sad", [worst], [good])[1] == pytest.approx(0.2)
    for metric_id in ("sad", "matting_mse"):
        metric = get_metric(metric_id)
        assert metric.aggregate(metric.worst(batch([None], [good]))) == pytest.approx(
            scores(metric_id, [worst], [good])[1]
        )
    path = files.path(".png")
    Image.fromarray(alpha).convert("P").save(path)  # numbers of a palette are no alpha
    palette = {"$file": {"path": path.name, "url": path.as_uri(), "member": ""}}
    assert scores("sad", [palette], [good])[1] == 0
    assert "0..1" in str(refusal("sad", files.npy(alpha.astype(float)), good)[0])
    assert "uint8" in str(refusal("sad", files.npy(alpha.astype(int)), good)[0])
    assert "NaN" in str(refusal("sad", files.npy(alpha * np.nan), good)[0])
    assert "expected the shape" in str(refusal("sad", files.png(alpha[1:]), good)[0])


def ply(points, form, colours=False):
    count = len(points)
    lines = ["ply", f"format {form} 1.0", "comment a test", f"element vertex {count}"]
    lines += ["property uchar red"] if colours else []
    lines += [f"property float {axis}" for axis in "xyz"]
    lines += ["element face 1", "property list uchar int vertex_indices", "end_header", ""]
    head = "\n".join(lines).encode()
    if form == "ascii":
        rows = [f"{'7 ' if colours else ''}{x:.9g} {y:.9g} {z:.9g}\n" for x, y, z in points]
        return head + "".join(rows).encode() + b"3 0 1 2\n"
    order = "<" if "little" in form else ">"
    kind = ([("red", "u1")] if colours else []) + [(axis, f"{order}f4") for axis in "xyz"]
    vertices = np.zeros(count, kind)
    for axis, column in zip("xyz", points.T, strict=True):
        vertices[axis] = column
    return head + vertices.tobytes() + struct.pack(f"{order}Biii", 3, 0, 1, 2)


def text(points, before="", separator=" "):
    return "".join(before + separator.join(f"{v:.9g}" for v in p) + "\n" for p in points).encode()


def off(points, newline=True):
    head = f"OFF{chr(10) if newline else ' '}{len(points)} 1 0\n# a remark\n"
    return head.encode() + text(points) + b"3 0 1 2\n"


def cloud(files, points, form):
    return {
        0: lambda: files.npy(points),
        1: lambda: files.npz(points=np.hstack([points, points]), colours=points),
        2: lambda: files.bytes(ply(points, "ascii", colours=True), ".ply"),
        3: lambda: files.bytes(ply(points, "binary_little_endian", colours=True), ".ply"),
        4: lambda: files.bytes(ply(points, "binary_big_endian"), ".ply"),
        5: lambda: files.bytes(text(points), ".xyz"),
        6: lambda: files.bytes(text(points, separator=", "), ".txt"),
        7: lambda: files.bytes(
            b"o x\n" + text(points, "v ") + b"vn 0 0 1\nf 1//1 2//1 3//1\n", ".obj"
        ),
        8: lambda: files.bytes(off(points), ".off"),
        9: lambda: files.bytes(off(points, newline=False), ".off"),
    }[form % 10]()


def test_chamfer_distance_agrees_with_all_pairs_in_every_format(files):
    rng = np.random.default_rng(8)
    predictions, references, expected = [], [], []
    for i in range(200):
        ours, theirs = (
            rng.normal(0, rng.uniform(0.1, 50), (int(rng.integers(3, 120)), 3)).astype(np.float32)
            for _ in range(2)
        )
        far = [
            NearestNeighbors(n_neighbors=1, algorithm="brute").fit(b.astype(float)).kneighbors(a)[0]
            for a, b in ((ours, theirs), (theirs, ours))
        ]
        expected.append([(d**2).mean() for d in far])
        predictions.append(cloud(files, ours, i))
        references.append(cloud(files, theirs, i // 10))
    metric = get_metric("chamfer_distance")
    stats = metric.compute(batch(predictions, references))
    found = stats.select(metric.statistics).to_numpy()
    assert found == pytest.approx(np.array(expected), rel=1e-6)
    total = np.sum(expected, axis=1)
    assert metric.instance_scores(stats).to_list() == pytest.approx(total, rel=1e-6)
    assert metric.aggregate(stats) == pytest.approx(total.mean(), rel=1e-6)
    assert metric.aggregate(stats[::-1]) == pytest.approx(metric.aggregate(stats), rel=1e-12)
    assert metric.compute(batch(predictions[5:8], references[5:8])).equals(stats[5:8])


def test_chamfer_distance_edges(files):
    points = np.random.default_rng(9).normal(size=(40, 3)).astype(np.float32)
    good = files.npy(points)
    assert scores("chamfer_distance", [files.npy(points[::-1])], [good])[1] == 0
    origin, corner = files.npy(np.zeros((1, 3))), files.npy(np.full((1, 3), 2))
    assert scores("chamfer_distance", [origin], [corner])[1] == pytest.approx(24)
    worst = get_metric("chamfer_distance").worst(batch([None], [good]))
    assert get_metric("chamfer_distance").aggregate(worst) == math.inf

    def reason(value):
        return str(refusal("chamfer_distance", value, good)[0])

    assert "expected points as (points, 3)" in reason(files.npy(points[:, :2]))
    assert "NaN" in reason(files.npy(points * np.nan))
    assert "NaN" in reason(files.bytes(b"0 0 nan\n", ".xyz"))
    assert "no readable .xyz" in reason(files.bytes(b"a b c\n", ".xyz"))
    assert "no vertex" in reason(files.bytes(b"f 1 2 3\n", ".obj"))
    assert "no PLY header" in reason(files.bytes(b"plx\n", ".ply"))
    assert "no readable .ply" in reason(
        files.bytes(ply(points, "binary_little_endian")[:300], ".ply")
    )
    assert "announced" in reason(
        files.bytes(
            ply(points, "ascii").replace(b"3 0 1 2\n", b"")[:-400].rpartition(b"\n")[0], ".ply"
        )
    )
    assert "first word" in reason(files.bytes(b"3 1 0\n", ".off"))
    assert "expected .npy" in reason(files.bytes(b"x", ".glb"))
    assert refusal("chamfer_distance", good, files.npy(points[0]))[1] is not None


@pytest.mark.parametrize("metric_id", ["depth_rms", "epe", "sad", "matting_mse", "absrel"])
def test_rows_may_come_in_any_order_and_any_part(files, metric_id):
    rng = np.random.default_rng(10)
    shape = (9, 8, 2) if metric_id == "epe" else (9, 8)
    predictions, references = (
        [files.npy(a) for a in rng.uniform(0.1, 1, (12, *shape))] for _ in "pr"
    )
    metric = get_metric(metric_id)
    whole = metric.compute(batch(predictions, references))
    assert metric.aggregate(whole[::-1]) == pytest.approx(metric.aggregate(whole), rel=1e-12)
    assert metric.compute(batch(predictions[2:7], references[2:7])).equals(whole[2:7])
    assert metric.compute(batch(predictions[::-1], references[::-1])).equals(whole[::-1])
