"""Masks against pycocotools; IoU, Dice, PQ and J&F by definition; S-measure and AUROC by libraries."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from py_sod_metrics import Smeasure
from pycocotools import mask as coco
from scipy import ndimage
from skimage.morphology import disk
from sklearn.metrics import jaccard_score, roc_auc_score

from tasks.media import Refused
from tasks.metrics import Batch, get_metric
from tasks.metrics.masks import (
    Rle,
    decode_mask,
    read_rles,
    read_runs,
    rle_overlap,
    rles_decoded,
    try_rles,
)
from tasks.metrics.segmentation import SHAPENET_PARTS, RegionAndBoundary, boundary_f

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def documents(values):
    return pl.Series([json.dumps(v) for v in values], dtype=pl.String)


def batch(predictions, references):
    return Batch(documents(predictions), documents(references))


def computed(metric_id, predictions, references):
    stats = get_metric(metric_id).compute(batch(predictions, references))
    assert stats["refused"].null_count() == len(stats) == stats["reference_refused"].null_count()
    return stats


def score(metric_id, predictions, references):
    return get_metric(metric_id).aggregate(computed(metric_id, predictions, references))


def refusal(metric_id, prediction, reference, side="refused"):
    return get_metric(metric_id).compute(batch([prediction], [reference]))[side][0]


def rle(mask, *, compressed=True):
    """COCO RLE, by pycocotools or by counting."""
    mask = np.asarray(mask)
    if compressed:
        counts = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
        return {"size": list(mask.shape), "counts": str(counts, "ascii")}  # type: ignore[arg-type]
    flat = mask.astype(bool).T.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.array([0, *changes, flat.size])).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


def blob(rng, height, width):
    """A mask of a few rectangles, of noise, empty, or full."""
    kind = rng.integers(0, 8)
    if kind < 2:
        return np.full((height, width), bool(kind))
    if kind == 2:
        return rng.random((height, width)) < rng.random()
    mask = np.zeros((height, width), dtype=bool)
    for _ in range(kind - 2):
        y, x = rng.integers(0, height), rng.integers(0, width)
        mask[y : y + rng.integers(1, height + 1), x : x + rng.integers(1, width + 1)] ^= True
    return mask


def file(path):
    return {"$file": {"path": path.name, "url": path.as_uri(), "member": ""}}


def folder(paths):
    return {"$files": [file(path)["$file"] for path in paths]}


def image(path, array, mode=None):
    Image.fromarray(np.asarray(array), mode).save(path)
    return file(path)


def array_file(path, array):
    np.save(path, array)
    return file(path)


# Masks -----------------------------------------------------------------------------------------


def test_rle_and_overlaps_agree_with_pycocotools():
    rng = np.random.default_rng(1)
    for _ in range(500):
        height, width = rng.integers(1, 70, 2).tolist()
        a, b = blob(rng, height, width), blob(rng, height, width)
        compressed, plain = rle(a), rle(b, compressed=False)
        assert (decode_mask(compressed) == a).all()
        assert (decode_mask(plain) == b).all()
        runs = read_rles([compressed, plain])
        assert rle_overlap(*runs) == ((a & b).sum(), (a | b).sum())
        assert rle_overlap(Rle.of(b), runs[0]) == ((a & b).sum(), (a | b).sum())
        assert runs[0].area == a.sum()


def test_many_rle_at_once_agree_with_each_alone_bad_ones_among_them():
    rng = np.random.default_rng(3)
    sizes = [tuple(rng.integers(1, 40, 2).tolist()) for _ in range(60)]
    sides = [[blob(rng, *size) for size in sizes] for _ in range(2)]
    (first, found), (second, _) = (read_runs([rle(mask) for mask in side]) for side in sides)
    assert found.tolist() == [list(size) for size in sizes]
    shared, either = first.overlaps(second)
    assert shared.tolist() == [(a & b).sum() for a, b in zip(*sides, strict=True)]
    assert either.tolist() == [(a | b).sum() for a, b in zip(*sides, strict=True)]

    good = [rle(mask, compressed=bool(rng.random() < 0.7)) for mask in sides[0]]
    bad = [{"size": [2, 3], "counts": c} for c in ("o", "é", "", [7], [-1, 7], [2**80], None, "0")]
    bad += [
        {"size": s, "counts": "6"} for s in ([2], [0, 6], [2**70, 1], [True, 6], "x", [10**5] * 2)
    ]
    values = [*good, *bad, {"counts": "6"}, 3]
    order = rng.permutation(len(values)).tolist()
    together = try_rles([values[place] for place in order])
    for place, mask in zip(order, together, strict=True):
        (alone,) = try_rles([values[place]])
        assert str(mask) == str(alone)
        assert isinstance(mask, Rle) == (place < len(good))
        if isinstance(mask, Rle):
            assert (mask.array() == sides[0][place]).all()


def test_rle_are_decoded_wherever_they_stand_and_left_where_they_are_bad():
    mask, bad = rle(np.eye(4)), {"size": [1, 2], "counts": "o"}
    values = [mask, [mask, None, bad], {"1": {"mask": [None, mask]}, "2": [[1, 2]]}, [[0, 1]], "x"]
    top, frames, objects, *others = rles_decoded(json.loads(json.dumps(values)))
    runs = [top, frames[0], objects["1"]["mask"][1]]
    assert all(isinstance(found, Rle) and (found.array() == np.eye(4)).all() for found in runs)
    assert (frames[1:], objects["2"], others) == ([None, bad], [[1, 2]], [[[0, 1]], "x"])


def test_runs_that_touch_are_one():
    mask = {"size": [1, 9], "counts": [2, 3, 0, 2, 2]}
    runs = read_rles([mask])[0]
    assert decode_mask(mask).astype(int).tolist() == [[0, 0, 1, 1, 1, 1, 1, 0, 0]]
    assert rle_overlap(runs, runs) == (5, 5)
    assert read_rles([{"size": [1, 3], "counts": [1, 0, 2]}])[0].area == 0


def test_polygons_agree_with_pycocotools():
    rng = np.random.default_rng(2)
    for _ in range(500):
        side = int(rng.integers(2, 60))
        height, width = side, int(side * rng.uniform(0.7, 1.4)) + 1
        polygons = []
        for _ in range(rng.integers(1, 4)):
            corners = int(rng.integers(3, 9))
            spread = rng.uniform(-0.3, 1.3, 2 * corners) * np.tile([width, height], corners)
            polygons.append(spread.round(int(rng.integers(0, 3))).tolist())
        expected = coco.decode(coco.merge(coco.frPyObjects(polygons, height, width)))
        assert (decode_mask(polygons, (height, width)) == expected).all()
        beside = {"segmentation": polygons, "height": height, "width": width}
        assert (decode_mask(beside) == expected).all()


def test_one_mask_in_every_spelling(tmp_path):
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[4:12, 5:20] = 1
    np.savez(tmp_path / "mask.npz", mask=mask)
    spellings = [
        rle(mask),
        rle(mask, compressed=False),
        {"mask": rle(mask)},
        {"segmentation": rle(mask), "height": 20, "width": 30},
        {"polygons": [[5, 4, 20, 4, 20, 12, 5, 12]], "size": [20, 30]},
        {"polygon": [5, 4, 20, 4, 20, 12, 5, 12], "size": [20, 30]},
        {"polygons": [[[5, 4], [20, 4], [20, 12], [5, 12]]], "size": [20, 30]},
        mask.tolist(),
        mask.astype(bool).tolist(),
        image(tmp_path / "a.png", mask * 255),
        image(tmp_path / "b.png", mask),
        image(tmp_path / "c.png", mask.astype(bool)),
        image(tmp_path / "d.png", np.dstack([mask * 255] * 3)),
        image(tmp_path / "e.jpg", mask * 255),
        array_file(tmp_path / "f.npy", mask[None].astype(np.float32)),
        file(tmp_path / "mask.npz"),
    ]
    for spelling in spellings:
        assert (decode_mask(spelling) == mask).all(), spelling
        assert (decode_mask(spelling, (20, 30)) == mask).all(), spelling
    for metric_id in ("miou", "dice"):
        for reference in spellings:
            assert score(metric_id, spellings, [reference] * len(spellings)) == 1.0


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "expected a mask"),
        ("text", "expected a mask"),
        (3, "expected a mask"),
        ({}, "expected a mask"),
        ({"mask": {"mask": {"mask": []}}}, "expected a mask"),
        ([], "empty"),
        ([[0, 1], [1]], "different lengths"),
        ([[0, 5], [1, 0]], "size of the image"),
        ([[1.5, 2, 3, 4, 5, 6]], "size of the image"),
        ([[0, 0.5], [1, 0]], "fractions"),
        ({"counts": "11"}, "COCO RLE"),
        ({"size": [2, 2], "counts": [1, 2]}, "add up to 3"),
        ({"size": [2, 2], "counts": [5, -1]}, "negative length"),
        ({"size": [2, 2], "counts": [1.0, 3]}, "whole numbers"),
        ({"size": [2, 2], "counts": None}, "whole numbers"),
        ({"size": [2, 2], "counts": "~~"}, "characters"),
        ({"size": [2, 2], "counts": "é"}, "characters"),
        ({"size": [2, 2], "counts": "P"}, "middle of a number"),
        ({"size": [2, 2], "counts": "oooooooooo0"}, "too long"),
        ({"size": [2, 2], "counts": "12O2"}, "negative length"),
        ({"size": [2], "counts": [4]}, r"\[height, width\]"),
        ({"size": [0, 2], "counts": [0]}, r"\[height, width\]"),
        ({"size": [True, 2], "counts": [2]}, r"\[height, width\]"),
        ({"size": [10**6, 10**6], "counts": [10**12]}, "too many"),
        ({"polygons": [[0, 0, 1, 1]], "size": [4, 4]}, "three points"),
        ({"polygons": [[0, 0, 1, 1, 2]], "size": [4, 4]}, "three points"),
        ({"polygons": [["a", 0, 1, 1, 2, 2]], "size": [4, 4]}, "numbers"),
        ({"polygons": [[0, 0, 1e9, 1, 2, 2]], "size": [4, 4]}, "far outside"),
    ],
)
def test_bad_masks_are_refused(value, reason):
    with pytest.raises(Refused, match=reason):
        decode_mask(value)


def test_masks_of_another_size_are_refused():
    with pytest.raises(Refused, match="expected a mask of 3 x 2, found one of 2 x 3"):
        decode_mask(rle(np.ones((2, 3))), (3, 2))


# mIoU ------------------------------------------------------------------------------------------


def label_maps(rng, count=300, classes=7):
    """Blocks of classes with an ignored border in the reference, and a disturbed prediction."""
    pairs = []
    for _ in range(count):
        shape = rng.integers(3, 25, 2)
        reference = rng.integers(2, classes, shape).astype(np.uint8)
        prediction = np.where(
            rng.random(shape) < 0.6, reference, rng.integers(0, classes + 1, shape)
        )
        reference[0, :2] = 255
        pairs.append((prediction.astype(np.uint8), reference))
    return pairs


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.9])
@pytest.mark.parametrize("classes", [3, 255])
def test_large_label_maps_agree_with_scikit_learn(tmp_path, noise, classes):
    rng = np.random.default_rng(classes)
    reference = np.kron(rng.integers(0, classes, (13, 12)), np.ones((11, 12))).astype(np.uint8)
    prediction = np.roll(reference, 3, axis=1)
    noisy = rng.random(prediction.shape) < noise
    prediction[noisy] = rng.integers(0, 256, noisy.sum())
    reference[:, :2], prediction[0] = 255, 255
    sides = image(tmp_path / "p.png", prediction), image(tmp_path / "r.png", reference)
    stats = computed("miou", [sides[0]], [sides[1]])
    valid = reference != 255
    given, expected = prediction[valid], reference[valid]
    labels = np.setdiff1d(np.union1d(given, expected), [255])
    assert get_metric("miou").aggregate(stats) == pytest.approx(
        jaccard_score(expected, given, labels=labels, average="macro"), abs=1e-12
    )


def test_label_maps_agree_with_scikit_learn(tmp_path):
    pairs = label_maps(np.random.default_rng(3))
    predictions = [p.tolist() if i % 3 else image(tmp_path / f"p{i}.png", p)
                   for i, (p, _) in enumerate(pairs)]  # fmt: skip
    references = [r.tolist() if i % 2 else image(tmp_path / f"r{i}.png", r)
                  for i, (_, r) in enumerate(pairs)]  # fmt: skip
    stats = computed("miou", predictions, references)
    valid = [r != 255 for _, r in pairs]
    given = np.concatenate([p[v] for (p, _), v in zip(pairs, valid, strict=True)])
    expected = np.concatenate([r[v] for (_, r), v in zip(pairs, valid, strict=True)])
    metric = get_metric("miou")
    assert metric.aggregate(stats) == pytest.approx(
        jaccard_score(expected, given, average="macro"), abs=1e-12
    )
    each = [
        jaccard_score(r[v], p[v], average="macro") for (p, r), v in zip(pairs, valid, strict=True)
    ]
    assert metric.instance_scores(stats).to_list() == pytest.approx(each, abs=1e-12)
    assert metric.aggregate(stats.sample(fraction=1, shuffle=True, seed=1)) == pytest.approx(
        metric.aggregate(stats), abs=1e-12
    )
    assert metric.aggregate(stats[40:90]) == pytest.approx(
        score("miou", predictions[40:90], references[40:90]), abs=1e-12
    )


def test_points_are_labels_even_if_there_are_two(tmp_path):
    reference = array_file(tmp_path / "r.npy", np.array([0, 0, 1, 1, -1, 255]))
    prediction = array_file(tmp_path / "p.npy", np.array([[0], [1], [1], [255], [0], [1]]))
    # Class 0: 1 of 2; class 1: 1 of 3.
    assert score("miou", [prediction], [reference]) == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert score("miou", [[0, 0, 1, 1, 7, 7]], [reference]) == 1.0
    assert score("miou", [[0, 1]], [[[0], [0]]]) == pytest.approx(1 / 4)
    assert score("miou", [[0.0, 1, 1, -1, 3, 4]], [reference]) == pytest.approx(5 / 12)


def test_masks_are_the_mean_over_images(tmp_path):
    rng = np.random.default_rng(4)
    predictions, references, each = [], [], []
    for i in range(300):
        a, b = (blob(rng, 14, 19) for _ in range(2))
        as_image = [
            image(tmp_path / f"{i}{k}.png", m * np.uint8(255)) for k, m in enumerate((a, b))
        ]
        predictions.append([rle(a), as_image[0], a.tolist(), rle(a, compressed=False)][i % 4])
        references.append([rle(b), as_image[1], b.tolist()][i % 3])
        each.append((a & b).sum() / (a | b).sum() if (a | b).any() else 1.0)
    stats = computed("miou", predictions, references)
    metric = get_metric("miou")
    assert metric.aggregate(stats) == pytest.approx(np.mean(each), abs=1e-12)
    assert metric.instance_scores(stats).to_list() == pytest.approx(each, abs=1e-12)
    assert metric.aggregate(metric.worst(batch(predictions, references))) == 0.0


def test_an_image_of_two_classes_counts_with_its_classes_among_label_maps():
    two, three = [[0, 1], [1, 1]], [[0, 1], [2, 2]]
    other = [[0, 0], [1, 1]]
    assert score("miou", [other], [two]) == pytest.approx(2 / 3)
    # Class 0: 2 of 3; class 1: 3 of 4; class 2: 2 of 2.
    pooled = score("miou", [other, three], [two, three])
    assert pooled == pytest.approx((2 / 3 + 3 / 4 + 1) / 3)
    # As RLE the same.
    assert score("miou", [rle(other), three], [rle(two), three]) == pytest.approx(pooled)
    assert score("miou", [rle(other), three], [two, three]) == pytest.approx(pooled)


def test_worst_label_map_misses_every_class():
    metric = get_metric("miou")
    reference = [[0, 1], [2, 255]]
    worst = metric.worst(batch([None], [reference]))
    assert metric.aggregate(worst) == 0.0
    half = pl.concat([worst, computed("miou", [reference], [reference])], how="diagonal_relaxed")
    assert metric.aggregate(half) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("prediction", "reason"),
    [
        ([[0, 1]], "polygon"),
        (None, "expected numbers"),
        ("a", "expected numbers"),
        ([[0.5, 1], [2, 3]], "fractions"),
        ([[70000, 1], [2, 3]], "65535"),
        (rle(np.ones((2, 2))), "one class"),
        (rle(np.ones((3, 2))), "2 x 2, found one of 3 x 2"),
        ({"$file": {"path": "no.png", "url": "file:///no.png", "member": ""}}, "no longer there"),
    ],
)
def test_bad_label_maps_are_refused(prediction, reason):
    assert reason in refusal("miou", prediction, [[0, 1], [2, 3]])


def test_files_that_blur_or_break_are_refused(tmp_path):
    labels = np.array([[0, 1], [2, 3]], dtype=np.uint8)
    jpeg = image(tmp_path / "a.jpg", labels)
    assert "one class" in refusal("miou", jpeg, labels.tolist())
    assert "JPEG" in refusal("instance_miou", jpeg, [4, 4])
    (tmp_path / "b.png").write_bytes(b"no image")
    assert "no readable image" in refusal("miou", file(tmp_path / "b.png"), labels.tolist())
    nan = array_file(tmp_path / "c.npy", np.array([[0, np.nan], [1, 2]]))
    assert "NaN" in refusal("miou", nan, labels.tolist())
    other = array_file(tmp_path / "d.npy", np.zeros((2, 3), dtype=np.int64))
    assert "expected labels of 2 x 2, found 2 x 3" in refusal("miou", other, labels.tolist())


@pytest.mark.parametrize(
    "reference", [None, "a", {}, [], [255, 255], [[-1, 255]], {"a": {}}, {"polygons": [[1, 2, 3, 4, 5, 6]]}]
)  # fmt: skip
def test_bad_references_are_told_apart(reference):
    assert refusal("miou", [[1]], reference, "reference_refused")
    assert get_metric("miou").worst(batch([None], [reference]))["reference_refused"][0]


# Videos ----------------------------------------------------------------------------------------


def published_iou(predictions, references):
    """Intersections over unions of a video, each summed over its frames."""
    shared = sum((p & r).sum() for p, r in zip(predictions, references, strict=True))
    either = sum((p | r).sum() for p, r in zip(predictions, references, strict=True))
    return shared / either if either else 0.0


def clip(rng, frames, height=24, width=31):
    return [blob(rng, height, width) for _ in range(frames)]


def test_videos_are_intersections_over_unions_summed_over_frames():
    rng = np.random.default_rng(5)
    predictions, references, each = [], [], []
    for i in range(200):
        frames = int(rng.integers(1, 9))
        objects = {str(k): (clip(rng, frames), clip(rng, frames)) for k in range(1 + i % 3)}
        given = {
            k: {"mask": [rle(m) if m.any() else None for m in p]} for k, (p, _) in objects.items()
        }
        expected = {k: {"mask": [rle(m) for m in r]} for k, (_, r) in objects.items()}
        if len(objects) == 1 and i % 2:
            given = [given["0"]["mask"], given["0"]][i % 4 // 2]
        predictions.append(given)
        references.append(expected)
        seen = [pair for pair in objects.values() if any(m.any() for side in pair for m in side)]
        each.append(np.mean([published_iou(*pair) for pair in seen]) if seen else 0.0)
    stats = computed("miou", predictions, references)
    metric = get_metric("miou")
    assert metric.instance_scores(stats).to_list() == pytest.approx(each, abs=1e-12)
    assert metric.aggregate(stats) == pytest.approx(np.mean(each), abs=1e-12)
    assert metric.aggregate(metric.worst(batch(predictions, references))) == 0.0


def test_ids_with_one_mask_each_are_the_frames_of_one_object():
    rng = np.random.default_rng(6)
    given, expected = clip(rng, 12), clip(rng, 12)
    reference = {str(i): {"mask": rle(m)} for i, m in enumerate(expected)}
    prediction = {str(i): {"mask": rle(m)} for i, m in reversed(list(enumerate(given)))}
    wanted = published_iou(given, expected)
    assert score("miou", [prediction], [reference]) == pytest.approx(wanted, abs=1e-12)
    assert score("miou", [[rle(m) for m in given]], [reference]) == pytest.approx(wanted, abs=1e-12)
    bare = {name: item["mask"] for name, item in prediction.items()}
    assert score("miou", [bare], [reference]) == pytest.approx(wanted, abs=1e-12)
    del prediction["3"]
    given[3] = np.zeros_like(given[3])
    wanted = published_iou(given, expected)
    assert score("miou", [prediction], [reference]) == pytest.approx(wanted, abs=1e-12)
    assert "'12'" in refusal("miou", {**prediction, "12": prediction["0"]}, reference)


def test_frames_as_polygons_by_id():
    box = [[1, 1, 4, 1, 4, 3, 1, 3]]
    mask = np.zeros((5, 6), dtype=bool)
    mask[1:3, 1:4] = True
    reference = {
        "0": {"polygons": box, "size": [5, 6]},
        "1": {"mask": rle(mask)},
        "2": {"mask": None},
    }
    prediction = {"0": {"polygons": box}, "1": {"segmentation": box}}
    assert score("miou", [prediction, [rle(mask), {"polygons": box}, None]], [reference] * 2) == 1.0


def test_videos_as_folders_of_masks(tmp_path):
    rng = np.random.default_rng(7)
    given, expected = clip(rng, 5), clip(rng, 5)
    paths = [tmp_path / f"{i:05}.png" for i in range(5)]
    for path, mask in zip(paths, given, strict=True):
        image(path, mask * np.uint8(255))
    wanted = pytest.approx(published_iou(given, expected), abs=1e-12)
    assert score("miou", [folder(paths)], [{"1": {"mask": [rle(m) for m in expected]}}]) == wanted
    assert score("miou", [[rle(m) for m in expected]], [folder(paths)]) == wanted


def test_video_edges():
    empty, full = rle(np.zeros((3, 4))), rle(np.ones((3, 4)))
    assert score("miou", [[full, full]], [[full, full]]) == 1.0
    assert score("miou", [[None, None]], [[full, full]]) == 0.0
    assert score("miou", [[None, None]], [[None, empty]]) == 0.0
    assert score("miou", [[full, None]], [[full, full]]) == 0.5
    two = {"1": [full], "2": [full]}
    assert score("miou", [{"1": [full]}], [two]) == 0.5
    assert score("miou", [{"1": [full], "2": [None]}], [{"1": [full], "2": [None]}]) == 1.0
    assert "'3'" in refusal("miou", {"1": [full], "3": [full]}, two)
    assert "2 frames, found 1" in refusal("miou", [full], [full, full])
    assert "different sizes" in refusal("miou", [rle(np.ones((4, 3)))], [full])
    assert "video" in refusal("miou", full, [full])
    assert "add up" in refusal("miou", [{"size": [3, 4], "counts": [3]}], [full])


# Parts -----------------------------------------------------------------------------------------


def test_parts_of_shapes_by_definition(tmp_path):
    rng = np.random.default_rng(8)
    predictions, references, each = [], [], []
    for i in range(300):
        name = rng.choice(list(SHAPENET_PARTS))
        parts = np.array(SHAPENET_PARTS[name])
        n = int(rng.integers(5, 200))
        reference = rng.choice(parts[: rng.integers(1, len(parts) + 1)], n)
        prediction = np.where(rng.random(n) < 0.7, reference, rng.choice(parts, n))
        ious = []
        for part in parts:
            p, r = prediction == part, reference == part
            ious.append((p & r).sum() / (p | r).sum() if (p | r).any() else 1.0)
        each.append(np.mean(ious))
        first = int(parts[0])
        local = {"labels": (reference - first + 1).tolist(), "parts": (parts - first + 1).tolist()}
        named = {"labels": reference.tolist(), "category": name.title()}
        kind = i % 4
        references.append(
            [reference.tolist(), local, named, array_file(tmp_path / f"{i}.npy", reference)][kind]
        )
        predictions.append((prediction - first + 1 if kind == 1 else prediction).tolist())
    stats = computed("instance_miou", predictions, references)
    metric = get_metric("instance_miou")
    assert metric.instance_scores(stats).to_list() == pytest.approx(each, abs=1e-12)
    assert metric.aggregate(stats) == pytest.approx(np.mean(each), abs=1e-12)
    assert metric.aggregate(metric.worst(batch(predictions, references))) == 0.0


def test_part_edges():
    # A part of another category is a miss: part 4 scores 1 of 2, part 5 1.
    assert score("instance_miou", [[4, 9]], [[4, 4]]) == pytest.approx(3 / 4)
    assert "expected labels of 2, found 3" in refusal("instance_miou", [4, 4, 4], [4, 4])
    assert "numbers" in refusal("instance_miou", "x", [4, 4])
    bad = ([3, 4], [50], [-1], {"labels": [1], "category": "ship"}, {"labels": [1], "parts": [2]})
    for reference in bad:
        assert "'parts'" in refusal("instance_miou", [4], reference, "reference_refused")


# Dice ------------------------------------------------------------------------------------------


def test_dice_by_definition():
    rng = np.random.default_rng(9)
    masks = [(blob(rng, 17, 13), blob(rng, 17, 13)) for _ in range(300)]
    each = [2 * (a & b).sum() / (a.sum() + b.sum()) if (a | b).any() else 1.0 for a, b in masks]
    predictions = [rle(a) if i % 2 else a.tolist() for i, (a, _) in enumerate(masks)]
    references = [rle(b) if i % 3 else b.tolist() for i, (_, b) in enumerate(masks)]
    stats = computed("dice", predictions, references)
    metric = get_metric("dice")
    assert metric.instance_scores(stats).to_list() == pytest.approx(each, abs=1e-12)
    assert metric.aggregate(stats) == pytest.approx(np.mean(each), abs=1e-12)
    worst = metric.worst(batch(predictions, references))
    assert metric.instance_scores(worst).to_list() == [0.0] * 300


def test_dice_takes_the_union_of_several_masks():
    left, right = np.zeros((4, 6), dtype=bool), np.zeros((4, 6), dtype=bool)
    left[:, :2], right[:, 3:] = True, True
    assert score("dice", [[rle(left), rle(right)]], [rle(left | right)]) == 1.0
    assert score("dice", [[[0, 0, 2, 0, 2, 4, 0, 4]]], [rle(left)]) == 1.0
    assert score("dice", [[]], [rle(left)]) == 0.0
    assert "4 x 6" in refusal("dice", rle(np.ones((6, 4))), rle(left))
    assert "expected a mask" in refusal("dice", None, rle(left))


# Panoptic quality ------------------------------------------------------------------------------


def panoptic_by_definition(images):
    """PQ from lists of (class, pixels) of predicted and of reference segments, and void pixels."""
    sums = {}
    for predicted, expected, void in images:
        matched = set()
        for name, pixels in expected:
            counts = sums.setdefault(name, [0, 0, 0, 0.0])
            for number, (other, theirs) in enumerate(predicted):
                either = len(pixels | (theirs - void))
                if name == other and len(pixels & theirs) / either > 0.5:
                    counts[0] += 1
                    counts[3] += len(pixels & theirs) / either
                    matched.add(number)
                    break
            else:
                counts[2] += 1
        for number, (name, pixels) in enumerate(predicted):
            if number not in matched and len(pixels & void) <= len(pixels) / 2:
                sums.setdefault(name, [0, 0, 0, 0.0])[1] += 1
    seen = [c for c in sums.values() if sum(c[:3])]
    return np.mean([iou / (tp + fp / 2 + fn / 2) for tp, fp, fn, iou in seen])


def segments_of(classes, instances):
    found = {}
    for position, key in enumerate(np.stack([classes, instances], -1).reshape(-1, 2).tolist()):
        if key[0] != 255:
            found.setdefault(tuple(key), set()).add(position)
    return [(name, pixels) for (name, _), pixels in sorted(found.items())]


def panoptic_image(rng):
    """Class and instance of a reference in blocks, and of a prediction that moves and renames some."""
    blocks = rng.integers(0, 6, (3, 4))
    names = rng.choice([3, 3, 7, 11, 255], 6)
    block = np.kron(blocks, np.ones((5, 5), dtype=np.int64))
    shifted = np.roll(block, int(rng.integers(0, 3)), axis=int(rng.integers(0, 2)))
    renamed = np.where(rng.random(6) < 0.8, names, rng.choice([3, 7, 11, 255], 6))
    return (renamed[shifted], shifted), (names[block], block)


def panoptic_spelling(kind, classes, instances, tmp_path, name):
    valid = classes != 255
    if kind == 0:
        return np.dstack([classes, instances]).tolist()
    if kind == 1:
        ids = np.where(valid, classes * 1000 + instances, 255)
        return image(tmp_path / f"{name}.png", ids.astype(np.uint16))
    ids = np.where(valid, classes * 3000 + instances + 1, 0)
    if kind == 2:
        colours = np.dstack([ids % 256, ids // 256 % 256, ids // 65536]).astype(np.uint8)
        info = [{"id": int(i), "category_id": int(i) // 3000} for i in np.unique(ids) if i]
        return {"map": image(tmp_path / f"{name}.png", colours), "segments_info": info[::-1]}
    keys = [i for i in np.unique(ids) if i]
    return [{"category_id": int(i) // 3000, "segmentation": rle(ids == i)} for i in keys]


def test_panoptic_quality_by_definition(tmp_path):
    rng = np.random.default_rng(10)
    images, predictions, references = [], [], []
    for i in range(200):
        given, expected = panoptic_image(rng)
        if (given[0] == 255).all() or (expected[0] == 255).all():
            continue
        void = set(np.flatnonzero(expected[0].ravel() == 255).tolist())
        images.append((segments_of(*given), segments_of(*expected), void))
        predictions.append(panoptic_spelling(i % 4, *given, tmp_path, f"p{i}"))
        references.append(panoptic_spelling(i // 4 % 4, *expected, tmp_path, f"r{i}"))
    stats = computed("pq", predictions, references)
    metric = get_metric("pq")
    assert metric.aggregate(stats) == pytest.approx(panoptic_by_definition(images), abs=1e-12)
    assert 0.2 < metric.aggregate(stats) < 0.9
    each = [panoptic_by_definition([one]) for one in images]
    assert metric.instance_scores(stats).to_list() == pytest.approx(each, abs=1e-12)
    assert metric.aggregate(stats[20:60]) == pytest.approx(
        panoptic_by_definition(images[20:60]), abs=1e-12
    )
    assert metric.aggregate(metric.worst(batch(predictions, references))) == 0.0
    assert score("pq", references, references) == 1.0


def test_crowds_are_neither_missed_nor_matched():
    crowd = np.zeros((4, 4), dtype=bool)
    crowd[:, :2] = True
    reference = [
        {"category_id": 1, "segmentation": rle(crowd), "iscrowd": 1},
        {"category_id": 1, "segmentation": rle(~crowd)},
    ]
    right = {"category_id": 1, "segmentation": rle(~crowd)}
    assert score("pq", [[right]], [reference]) == 1.0
    on_crowd = {"category_id": 1, "segmentation": rle(crowd)}
    assert score("pq", [[right, on_crowd]], [reference]) == 1.0
    other_class = {"category_id": 2, "segmentation": rle(crowd)}
    assert score("pq", [[right, other_class]], [reference]) == 0.5


def test_panoptic_edges():
    reference = [[[1, 0], [1, 1]]]
    assert score("pq", [[[1, 1]]], [[[1, 1]]]) == 1.0
    segments = [{"category_id": 1, "segmentation": rle([[1, 1]])}]
    assert score("pq", [[]], [segments]) == 0.0
    metric = get_metric("pq")
    nothing = computed("pq", [[[255, 255]]], [[[255, 255]]])
    assert metric.instance_scores(nothing).to_list() == [0.0]
    assert metric.aggregate(nothing) == 0.0
    mixed = pl.concat([nothing, computed("pq", [segments], [segments])])
    assert metric.instance_scores(mixed).to_list() == [0.0, 1.0]
    first_wins = [segments[0], {"category_id": 2, "segmentation": rle([[0, 1]])}]
    assert score("pq", [first_wins], [segments]) == 1.0
    assert "pixels" in refusal("pq", [[1, 1, 1]], reference)
    for bad in ("x", None, [[0.5, 1]], {"map": [[1]], "segments_info": [{"id": 1}]}):
        assert refusal("pq", bad, reference)
    assert "whole number" in refusal("pq", [{**segments[0], "category_id": "car"}], segments)
    twice = {"map": [[1, 1]], "segments_info": [{"id": 1, "category_id": 1}] * 2}
    assert "twice" in refusal("pq", twice, segments)
    assert "not known" in refusal("pq", [[1]], [], "reference_refused")


# Structure measure -----------------------------------------------------------------------------


def grey_map(rng, mask):
    noise = rng.random(mask.shape) * rng.random()
    return ((0.7 * mask * rng.random() + 0.3 * noise) * 255).astype(np.uint8)


def structure_measure_of_library(maps, masks):
    library = Smeasure()
    for grey, mask in zip(maps, masks, strict=True):
        library.step(grey, mask.astype(np.uint8) * 255)
    return library.get_results()["sm"]


def test_structure_measure_agrees_with_py_sod_metrics(tmp_path):
    rng = np.random.default_rng(11)
    predictions, references, each = [], [], []
    for i in range(120):
        masks = clip(rng, int(rng.integers(1, 4)), 21, 34)
        for mask in masks:
            # The library has no value when the centre is in the last row or column.
            mask[:5, :5] |= mask.any()
        maps = [grey_map(rng, mask) for mask in masks]
        each.append(structure_measure_of_library(maps, masks))
        if i % 2:
            at = tmp_path / str(i)
            at.mkdir()
            for k, (grey, mask) in enumerate(zip(maps, masks, strict=True)):
                image(at / f"{k}.png", grey)
                image(at / f"{k}.bmp", mask * np.uint8(255))
            predictions.append(folder(sorted(at.glob("*.png"), reverse=True)))
            references.append(folder(sorted(at.glob("*.bmp"))))
        else:
            predictions.append(array_file(tmp_path / f"{i}.npy", np.stack(maps) / 255))
            references.append([rle(mask) for mask in masks])
    stats = computed("structure_measure", predictions, references)
    metric = get_metric("structure_measure")
    assert metric.instance_scores(stats).to_list() == pytest.approx(each, abs=1e-9)
    assert metric.aggregate(stats) == pytest.approx(np.mean(each), abs=1e-9)
    assert metric.aggregate(metric.worst(batch(predictions, references))) == 0.0


def test_structure_measure_edges(tmp_path):
    mask = np.zeros((8, 9), dtype=np.uint8)
    assert score("structure_measure", [mask.tolist()], [mask.tolist()]) == 1.0
    assert score("structure_measure", [(mask + 255).tolist()], [mask.tolist()]) == 0.0
    assert score("structure_measure", [(mask + 255).tolist()], [(mask + 1).tolist()]) == 1.0
    mask[2:5, 3:6] = 1
    perfect = image(tmp_path / "a.png", mask * 255)
    assert score("structure_measure", [perfect], [perfect]) == pytest.approx(1.0)
    assert score("structure_measure", [mask.tolist()], [perfect]) == pytest.approx(1.0)
    deep = image(tmp_path / "deep.png", mask.astype(np.uint16) * 65535)
    assert "16 bits" in refusal("structure_measure", deep, perfect)
    # The centre in the last row and column leaves parts without pixels, where the library says NaN.
    corner = np.zeros((8, 9), dtype=np.uint8)
    corner[-1, -1] = 1
    assert score("structure_measure", [corner.tolist()], [corner.tolist()]) == pytest.approx(1.0)
    assert "8 x 9" in refusal("structure_measure", [[1, 0]], perfect)
    two = refusal("structure_measure", [mask.tolist()] * 2, perfect)
    assert two == "expected 1 frames, found 2"
    assert "0..1" in refusal("structure_measure", (mask - 1.0).tolist(), perfect)
    image(tmp_path / "b.png", mask * 255)
    both = folder([tmp_path / "a.png", tmp_path / "b.png"])
    one = folder([tmp_path / "a.png"])
    assert "b" in refusal("structure_measure", one, both)
    for bad in (None, "x", [], {"$file": {"path": "z.png", "url": "file:///z.png", "member": ""}}):
        assert refusal("structure_measure", bad, perfect)


# ROC AUC ---------------------------------------------------------------------------------------


def test_roc_auc_agrees_with_scikit_learn(tmp_path):
    rng = np.random.default_rng(12)
    predictions, references, each = [], [], []
    while len(each) < 200:
        mask = blob(rng, 15, 16)
        if mask.all() or not mask.any():
            continue
        i = len(each)
        grey = grey_map(rng, mask)
        scores = [grey, grey, grey.astype(float).round(-1) - 90, rng.normal(mask, 1)][i % 4]
        as_image = image(tmp_path / f"{i}.png", grey)
        predictions.append(as_image if i % 4 == 0 else scores.tolist())
        references.append(
            rle(mask) if i % 3 else image(tmp_path / f"{i}r.png", mask * np.uint8(255))
        )
        each.append(roc_auc_score(mask.ravel(), scores.ravel()))
    stats = computed("roc_auc", predictions, references)
    metric = get_metric("roc_auc")
    assert metric.instance_scores(stats).to_list() == pytest.approx(each, abs=1e-12)
    assert metric.aggregate(stats) == pytest.approx(np.mean(each), abs=1e-12)
    assert metric.aggregate(metric.worst(batch(predictions, references))) == 0.0


def test_roc_auc_edges():
    assert score("roc_auc", [[[0.3, 0.3]]], [[[0, 1]]]) == 0.5
    assert score("roc_auc", [[[1, 0]]], [[[0, 1]]]) == 0.0
    assert score("roc_auc", [[[-9, 1e300]]], [[[0, 1]]]) == 1.0
    assert "1 x 2" in refusal("roc_auc", [[1, 2, 3]], [[0, 1]])
    assert refusal("roc_auc", "x", [[0, 1]])
    for reference in ([[0, 0]], [[1, 1]]):
        assert "one kind" in refusal("roc_auc", [[1, 2]], reference, "reference_refused")


# J&F -------------------------------------------------------------------------------------------


def boundary_by_definition(a, b):
    """DAVIS: boundaries match within a disk of 0.008 diagonals."""

    def boundary(mask):
        height, width = mask.shape
        edge = np.zeros_like(mask)
        for y in range(height):
            for x in range(width):
                down, right = min(y + 1, height - 1), min(x + 1, width - 1)
                near = {mask[y, right], mask[down, x], mask[down, right]}
                if y == height - 1:
                    near = {mask[y, right]}
                elif x == width - 1:
                    near = {mask[down, x]}
                edge[y, x] = near != {mask[y, x]}
        edge[-1, -1] = False
        return edge

    given, expected = boundary(a), boundary(b)
    if not given.any() or not expected.any():
        return float(given.any() == expected.any())
    around = disk(math.ceil(0.008 * math.hypot(*a.shape)))
    precision = (given & ndimage.binary_dilation(expected, around)).sum() / given.sum()
    recall = (expected & ndimage.binary_dilation(given, around)).sum() / expected.sum()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def test_region_and_boundary_by_definition():
    rng = np.random.default_rng(13)
    pairs = [(blob(rng, 40, 130), blob(rng, 40, 130)) for _ in range(60)]
    frames = []
    for a, b in pairs:
        f = boundary_by_definition(a, b)
        assert boundary_f(a, b) == pytest.approx(f, abs=1e-12)
        frames.append(((a & b).sum() / (a | b).sum() if (a | b).any() else 1.0) / 2 + f / 2)
    metric = RegionAndBoundary()
    given, expected = ([rle(m) for m in side] for side in zip(*pairs, strict=True))
    stats = metric.compute(batch([given[:30], given[30:]], [expected[:30], expected[30:]]))
    assert metric.aggregate(stats) == pytest.approx(np.mean(frames), abs=1e-12)
    assert metric.compute(batch([given[0]], [given[0]]))["reference_refused"][0]
    assert metric.compute(batch([given[:1]], [given[:2]]))["refused"][0]
    empty = metric.compute(batch([[None]], [[None]]))
    assert metric.aggregate(empty) == 1.0


# All -------------------------------------------------------------------------------------------

METRICS = ["miou", "instance_miou", "dice", "pq", "structure_measure", "roc_auc"]
SCRAPS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("1:a~"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(st.lists(st.integers(-1, 4), min_size=2, max_size=2), min_size=2, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                "mask size counts segmentation polygons labels parts map segments_info id category_id "
                "0 1 height width".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("metric_id", METRICS)
@given(prediction=SCRAPS, reference=SCRAPS)
@settings(max_examples=300, deadline=None)
def test_scraps_are_scored_or_refused(metric_id, prediction, reference):
    metric = get_metric(metric_id)
    good = {"instance_miou": [4, 5], "roc_auc": [[0, 1], [1, 0]]}.get(metric_id, [[0, 1], [1, 0]])
    rows = batch([prediction, prediction, good], [reference, good, good])
    stats = metric.compute(rows)
    worst = metric.worst(rows)
    assert stats["reference_refused"].to_list() == worst["reference_refused"].to_list()
    for frame in (stats, worst):
        kept = frame.filter(pl.col("refused").is_null() & pl.col("reference_refused").is_null())
        assert 0 <= metric.aggregate(kept) <= 1
        assert all(0 <= value <= 1 for value in metric.instance_scores(kept))


@pytest.mark.parametrize("metric_id", METRICS)
def test_empty_folders_are_refused(metric_id):
    folder_of_none = {"$files": []}
    assert refusal(metric_id, [[1]], folder_of_none, "reference_refused")


def test_panoptic_segments_without_number_are_sorted_instead_of_counted():
    noise = np.arange(1500 * 2).reshape(-1, 2) + 1000
    assert score("pq", [(noise + 10**6).tolist()], [noise.tolist()]) == 0.0
    assert score("pq", [noise.tolist()], [noise.tolist()]) == 1.0
