"""Detection against pycocotools, its protocol fed with similarities of plain loops; R@50 by its
definition."""

from __future__ import annotations

import contextlib
import io
import json
import math
import random
from collections import defaultdict
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given as anything
from hypothesis import settings
from hypothesis import strategies as st
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tasks.metrics import Batch, detected, get_metric
from tasks.metrics.boxes import box3d_iou

THRESHOLDS = {
    "ap": np.linspace(0.5, 0.95, 10),
    "ap10": np.array([0.1]),
    "ap50": np.array([0.5]),
    "ap75": np.array([0.75]),
    "map": np.linspace(0.5, 0.95, 10),
    "map50": np.array([0.5]),
    "keypoint_ap50": np.array([0.5]),
}


def documents(values) -> pl.Series:
    return pl.Series([json.dumps(value) for value in values], dtype=pl.String)


def batch(predictions, references, task_type="") -> Batch:
    return Batch(documents(predictions), documents(references), task_type)


def score(metric_id, predictions, references, task_type="") -> float:
    metric = get_metric(metric_id)
    stats = metric.compute(batch(predictions, references, task_type))
    for name in ("refused", "reference_refused"):
        assert stats[name].null_count() == stats.height, stats[name].drop_nulls().to_list()
    return metric.aggregate(stats)


def refusals(metric_id, predictions, references, task_type="") -> list[tuple]:
    stats = get_metric(metric_id).compute(batch(predictions, references, task_type))
    return stats.select("refused", "reference_refused").rows()


def coco(metric_id, predictions, references, kind: Any = "bbox", overlap=None) -> float:
    """AP by pycocotools. Image ids, by which it breaks ties, follow the images' own order here."""
    given = batch(predictions, references)
    stats = get_metric(metric_id).compute(given)["stats"]
    order = np.argsort(stats.list.first().to_numpy(), kind="stable").tolist()
    labels = {o["label"] for objects in references for o in objects}
    category = {label: number for number, label in enumerate(sorted(labels, key=str), 1)}
    truth: list[dict] = []
    found: list[dict] = []
    for image_id, row in enumerate(order, 1):
        for side, objects in ((truth, references[row]), (found, predictions[row])):
            for o in objects:
                if o["label"] in category:
                    extra = {"image_id": image_id, "category_id": category[o["label"]]}
                    side.append({"iscrowd": 0, "area": 1.0, **o, **extra, "id": len(side) + 1})
    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for annotations in (truth, found):
            data: Any = COCO()
            data.dataset = {
                "images": [{"id": i, "height": 40, "width": 50} for i in range(1, len(order) + 1)],
                "categories": [{"id": c} for c in category.values()],
                "annotations": annotations,
            }
            data.createIndex()
            sides.append(data)
        run: Any = COCOeval(sides[0], sides[1], kind)
        run.params.iouThrs = THRESHOLDS[metric_id]
        run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
        run.params.maxDets = [20 if kind == "keypoints" else 100]
        if overlap:
            run.computeIoU = lambda image, label: overlap_matrix(run, image, label, overlap)
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"]
    return float(precision[precision > -1].mean())


def overlap_matrix(run, image, label, overlap):
    truth, found = run._gts[image, label], run._dts[image, label]
    order = np.argsort([-d["score"] for d in found], kind="mergesort")[:100]
    return np.array([[overlap(found[i], g) for g in truth] for i in order])


def scenes(count=600, seed=3, ties=True, crowds=True, most=12):
    """Images of boxes: several classes, crowds, duplicates, tied scores, empty sides."""
    rng = random.Random(seed)
    predictions, references = [], []
    for _ in range(count):
        objects, found = [], []
        for _ in range(rng.choice([0, 1, 2, 5, most])):
            box = [rng.uniform(0, 60), rng.uniform(0, 60), rng.uniform(5, 40), rng.uniform(5, 40)]
            o = {"bbox": box, "label": rng.choice(["cat", "dog", "bird", 7])}
            if crowds and rng.random() < 0.1:
                o["iscrowd"] = 1
            objects.append(o)
            for _ in range(rng.choice([0, 1, 1, 2, 3])):
                near = [v + rng.gauss(0, rng.choice([0.3, 2, 6])) for v in box]
                near[2:] = [max(side, 0.0) for side in near[2:]]
                label = o["label"] if rng.random() < 0.9 else rng.choice(["cat", "fish"])
                found.append({"bbox": near, "label": label})
        for _ in range(rng.choice([0, 0, 1, 3])):
            box = [rng.uniform(0, 60), rng.uniform(0, 60), rng.uniform(5, 40), rng.uniform(5, 40)]
            found.append({"bbox": box, "label": rng.choice(["cat", "dog", "fish"])})
        for d in found:
            d["score"] = round(rng.random(), 1 if ties else 12)
        rng.shuffle(found)
        predictions.append(found if rng.random() > 0.05 else [])
        references.append(objects)
    return predictions, references


@pytest.mark.parametrize("metric_id", ["ap", "ap10", "ap50", "ap75"])
@pytest.mark.parametrize("ties", [True, False])
def test_boxes_agree_with_pycocotools(metric_id, ties):
    predictions, references = scenes(ties=ties)
    expected = coco(metric_id, predictions, references)
    assert score(metric_id, predictions, references) == pytest.approx(expected, abs=1e-9)
    assert 0.05 < expected < 0.9


def test_crowded_images_agree_with_pycocotools_beyond_its_limit_of_detections():
    rng = random.Random(4)
    predictions, references = scenes(40, seed=4, most=60)
    for found in predictions:
        found += [
            {"bbox": [rng.uniform(0, 60), 5, 20, 20], "label": "cat", "score": rng.random()}
            for _ in range(150)
        ]
    expected = coco("ap", predictions, references)
    assert score("ap", predictions, references) == pytest.approx(expected, abs=1e-9)


def test_exact_ties_of_overlap_go_to_the_later_reference_as_in_pycocotools():
    twin = {"bbox": [0, 0, 10, 10], "label": "a"}
    references = [[twin, twin | {"bbox": [0, 0, 10, 10.0]}, twin | {"iscrowd": 1}]] * 30
    predictions = [[twin | {"score": 0.5}] * n for n in (1, 2, 3) * 10]
    expected = coco("ap", predictions, references)
    assert score("ap", predictions, references) == pytest.approx(expected, abs=1e-12)


def test_the_score_of_one_image_is_its_own_ap():
    predictions, references = scenes(60, seed=9)
    metric = get_metric("ap")
    found = metric.instance_scores(metric.compute(batch(predictions, references))).to_list()
    for p, r, value in zip(predictions, references, found, strict=True):
        if all(o.get("iscrowd") for o in r):
            assert value is None
        else:
            assert value == pytest.approx(coco("ap", [p], [r]), abs=1e-9)


def test_the_order_of_rows_never_matters_and_subsets_recombine():
    predictions, references = scenes(200)
    metric = get_metric("ap")
    stats = metric.compute(batch(predictions, references))
    whole = metric.aggregate(stats)
    assert metric.aggregate(stats.sample(fraction=1.0, shuffle=True, seed=1)) == whole
    assert score("ap", predictions[::-1], references[::-1]) == whole
    half = metric.aggregate(stats.gather_every(2))
    assert half == score("ap", predictions[::2], references[::2])
    parts = [
        metric.compute(batch(predictions[i : i + 50], references[i : i + 50])) for i in (0, 50)
    ]
    assert metric.aggregate(pl.concat(parts)) == metric.aggregate(stats[:100])
    twice = metric.aggregate(pl.concat([stats, stats]).sample(fraction=1.0, shuffle=True, seed=2))
    assert twice == metric.aggregate(pl.concat([stats, stats]))
    assert stats["stats"].explode().is_finite().all()


@pytest.mark.parametrize("metric_id", ["ap", "ap10", "ap50", "ap75"])
def test_perfect_and_unanswered(metric_id):
    _, references = scenes(100, crowds=False)
    metric = get_metric(metric_id)
    assert score(metric_id, references, references) == 1.0
    worst = metric.worst(batch(references, references))
    assert metric.aggregate(worst) == 0.0
    assert (
        worst["stats"].to_list() == metric.compute(batch([[]] * 100, references))["stats"].to_list()
    )
    halves = pl.concat([metric.compute(batch(references, references))[:50], worst[50:]])
    assert 0.0 < metric.aggregate(halves) < 1.0


def test_images_without_references_have_no_score_and_cost_false_alarms():
    box = {"box": [0, 0, 10, 10], "label": "a"}
    assert score("ap", [[]], [[]]) == 0.0
    assert score("ap", [[box]], [[]]) == 0.0
    assert score("ap50", [[box], [box | {"score": 2.0}]], [[box], []]) == 0.5
    metric = get_metric("ap")
    assert metric.instance_scores(metric.compute(batch([[box]], [[]]))).to_list() == [None]


SPELLINGS = [
    [{"bbox": [10, 20, 30, 40], "score": 0.5, "label": "cat"}],
    [{"box": [10, 20, 40, 60], "confidence": 0.5, "category": " cat "}],
    [{"bbox_2d": [10, 20, 40, 60], "class": "cat"}],
    [[10, 20, 40, 60, 0.5, "cat"]],
    [[10, 20, 40, 60, "cat"]],
    [10, 20, 40, 60, 0.5, "cat"],
    [[10, 20, 40, 60]],
    [10, 20, 40, 60],
    {"box": [10, 20, 40, 60]},
    {"boxes": [[10, 20, 40, 60]], "scores": [0.5], "labels": ["cat"]},
    {"boxes": [[10, 20, 40, 60]]},
    {"bboxes": [[10, 20, 30, 40]]},
    {"detections": [{"bbox": [10, 20, 30, 40], "label": "cat"}]},
    "[[10, 20, 40, 60]]",
    '{"bbox_2d": [10, 20, 40, 60], "label": "cat"}',
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings_of_a_box(spelling):
    for reference in ([{"bbox": [10, 20, 30, 40], "label": "cat"}], [10, 20, 40, 60]):
        assert score("ap", [spelling], [reference]) == 1.0


BAD_OBJECTS: list[Any] = [
    None,
    "x",
    [{"bbox": [0, 0, 5, 5]}, {"bbox": [0, 0, 5, 5], "label": "cat"}],
    [{"bbox": [0, 0, -5, 5]}],
    [{"bbox": [0, 0, 5, 5], "score": None}],
    [{"segmentation": {"size": [40, 50], "counts": "oo"}, "label": "cat"}],
    [{"segmentation": {"size": [4, 6], "counts": [24]}, "label": "cat"}],
    [{"segmentation": [[0, 0, 9, 0, 9, 9]], "label": "cat"}],
    [{"keypoints": [1, 2, 2] * 17, "area": -1}],
    [{"keypoints": [1, 2, 2] * 17, "area": [1]}],
    [{"keypoints": [[1, 2]] * 3}],
    [{"box": [0, 0, 0, 1, 1, 1], "score": 0.3}],
    [{"points": [1, 1]}],
    [{"points": [1, 2, 9]}],
]


@pytest.mark.parametrize("metric_id", ["ap", "keypoint_ap50", "map"])
@pytest.mark.parametrize("task_type", ["", "instance segmentation"])
def test_an_image_is_the_same_in_any_company(metric_id, task_type):
    rng = random.Random(metric_id)
    pairs = [
        pair
        for made in (scenes(40), blobs(40), people(40), rooms(40))
        for pair in zip(*made, strict=True)
    ]
    mixed = [
        (
            rng.choice(BAD_OBJECTS) if rng.random() < 0.2 else given,
            rng.choice(BAD_OBJECTS) if rng.random() < 0.1 else expected,
        )
        for given, expected in pairs
    ]
    metric = get_metric(metric_id)
    given, wanted = ([pair[side] for pair in mixed] for side in (0, 1))
    together = metric.compute(batch(given, wanted, task_type))
    alone = [metric.compute(batch([g], [e], task_type)) for g, e in mixed]
    expected = pl.concat(alone)
    reasons = ["refused", "reference_refused"]
    assert together.select(reasons).equals(expected.select(reasons))
    good = together["refused"].is_null() & together["reference_refused"].is_null()
    assert 10 < good.sum() < len(mixed) - 10
    assert together.filter(good)["stats"].to_list() == expected.filter(good)["stats"].to_list()


def test_numbers_and_texts_name_the_same_class():
    box = {"box": [0, 0, 9, 9]}
    for label in (3, "3", 3.0, " 3"):
        given = [box | {"label": label}]
        assert score("ap", [given], [[box | {"category_id": 3}]]) == 1.0
    assert score("ap", [[box | {"label": "4"}]], [[box | {"category_id": 3}]]) == 0.0


def test_boxes_without_labels_count_where_there_is_one_class_alone():
    bare = {"box": [0, 0, 9, 9]}
    a, b = bare | {"label": "a"}, bare | {"label": "b"}
    assert score("ap", [[bare], [bare]], [[a], [a]]) == 1.0
    assert score("ap", [[bare], [bare]], [[a], [b]]) == 0.0
    assert score("ap", [[a], [b]], [[bare], [bare]]) == 1.0
    # Their false alarms count, also in images without a reference.
    assert score("ap", [[bare], [bare | {"score": 2}]], [[a], []]) == 0.5
    assert score("ap", [[a], [b | {"score": 2}]], [[bare], []]) == 0.5


BAD = [
    (None, "expected a list"),
    (7, "expected a list"),
    ("a cat at the left", "found the text"),
    ([[1, 2, 3]], "4 numbers"),
    ([[1, 2, 3, 4, 0.5, "a", 9]], "4 numbers"),
    ([{"score": 1}], "expected a box"),
    ([{"bbox": [1, 2, 3]}], "4 numbers"),
    ([{"bbox": [1, 2, 3, "x"]}], "expected numbers"),
    ([{"bbox": [1, 2, 3, None]}], "expected numbers"),
    ([{"bbox": [1, 2, -3, 4]}], "negative"),
    ([[5, 5, 1, 9]], "negative"),
    ([{"box": [1, 2, 3, 4], "score": "high"}], "scores"),
    ([{"box": [1, 2, 3, 4], "score": [1, 2]}], "number"),
    ([{"box": [1, 2, 3, 4], "label": ["a"]}], "label"),
    ([{"box": [1, 2, 3, 4], "label": "a"}, {"box": [1, 2, 3, 4]}], "others have none"),
    ([{"box": [1, 2, 3, 4]}, {"box": [1, 2]}], "different lengths"),
    ({"boxes": [[1, 2, 3, 4]], "scores": [1, 2]}, "as many"),
    ({"boxes": 3}, "expected lists"),
    ({"$file": {"path": "a.png", "url": "file:///a.png", "member": ""}}, "expected a list"),
    ([3, [1, 2, 3, 4]], "4 numbers"),
    ([[1, 2, 3, 4], 3], "object or a box"),
    ({}, "expected a box"),
]
#: Bad as predictions alone: the score of a reference is not looked at.
UNSCORED = [value for value, reason in BAD if reason in ("scores", "number")]


@pytest.mark.parametrize(("value", "reason"), BAD)
def test_bad_values_are_refused_with_a_reason(value, reason):
    good = [[0, 0, 1, 1]]
    ((refused, none),) = refusals("ap", [value], [good])
    assert reason in refused and none is None
    if value not in UNSCORED:
        ((none, refused),) = refusals("ap", [good], [value])
        assert none is None and reason in refused
    metric = get_metric("ap")
    assert metric.aggregate(metric.worst(batch([value], [good]))) == 0.0


def test_numbers_that_are_not_finite_or_overflow_are_refused():
    for value in (
        "[[NaN, 0, 1, 1]]",
        "[[0, 0, 1, 1e999]]",
        [[0, 0, 1, 1e300]],
        [[0, 0, 1, 10**30]],
    ):
        assert refusals("ap", [value], [[[0, 0, 1, 1]]])[0][0], value
    assert refusals("map", [[[0, 0, 0, 1e300, 1, 1]]], [[[0, 0, 0, 1, 1, 1]]])[0][0]


def runs(mask):
    encoded: Any = mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def blobs(count=500, seed=6):
    """Images of masks: half discs, crowds, empty masks."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:40, :50]

    def disc(y, x, r):
        return ((rows - y) ** 2 + (columns - x) ** 2 < r * r) & (rows + columns < y + x + r)

    predictions, references = [], []
    for _ in range(count):
        found, objects = [], []
        for _ in range(rng.integers(0, 6)):
            y, x, r = rng.uniform(0, 40), rng.uniform(0, 50), rng.uniform(2, 14)
            label = str(rng.choice(["a", "b", "c"]))
            crowd = int(rng.random() < 0.15)
            objects.append({"segmentation": runs(disc(y, x, r)), "label": label, "iscrowd": crowd})
            for _ in range(rng.integers(0, 3)):
                mask = disc(y + rng.normal(), x + rng.normal(), max(r + rng.normal(), 0))
                s = round(float(rng.random()), 1)
                found.append({"segmentation": runs(mask), "label": label, "score": s})
        predictions.append(found)
        references.append(objects)
    return predictions, references


@pytest.mark.parametrize("metric_id", ["ap", "ap50"])
def test_masks_agree_with_pycocotools(metric_id):
    predictions, references = blobs()
    expected = coco(metric_id, predictions, references, "segm")
    assert score(metric_id, predictions, references) == pytest.approx(expected, abs=1e-9)
    assert 0.1 < expected < 0.9


def test_masks_or_boxes():
    square = np.zeros((40, 50), dtype=bool)
    square[10:20, 10:20] = True
    box, mask = {"bbox": [10, 10, 10, 10]}, {"segmentation": runs(square)}
    polygon = {"segmentation": [[10, 10, 20, 10, 20, 20, 10, 20]]}
    both, off = box | mask, {"bbox": [30, 30, 5, 5]} | mask
    # Both sides have masks: boxes are not looked at. One has not: they are, if there are any.
    assert score("ap", [[off]], [[both]]) == 1.0
    assert score("ap", [[box]], [[both]]) == 1.0
    assert score("ap", [[both]], [[box | {"segmentation": []}]]) == 1.0
    assert "mask" in refusals("ap", [[box]], [[mask]])[0][0]
    assert "box" in refusals("ap", [[mask]], [[box]])[0][0]
    # A task of segmentation takes no boxes for an answer.
    assert "mask" in refusals("ap", [[box]], [[both]], "instance segmentation")[0][0]
    assert "mask" in refusals("ap", [[both]], [[box]], "instance segmentation")[0][1]
    # Polygons are drawn as large as the other side is, or as far as they reach.
    assert score("ap", [[polygon]], [[mask]]) == 1.0
    assert score("ap", [[mask]], [[polygon]]) == 1.0
    assert score("ap", [[polygon]], [[polygon]]) == 1.0
    metric = get_metric("ap")
    assert metric.worst(batch([[]], [[polygon]]))["reference_refused"].to_list() == [None]
    assert "30 x 50" in refusals("ap", [[{"segmentation": runs(square[:30])}]], [[mask]])[0][0]
    assert "runs" in refusals("ap", [[{"size": [4, 4], "counts": [3, 2]}]], [[mask]])[0][0]
    # A bad prediction is never the reference's fault, which would leave the instance out.
    bads = ([["x"]], [[1, 2, 3]], [[0, 0, 9e9, 0, 9e9, 9e9]], runs(square[:2, :2]), {"counts": "0"})
    for bad in bads:
        for reference in (mask, polygon, both, polygon | box):
            ((refused, none),) = refusals("ap", [[{"segmentation": bad}]], [[reference]])
            assert refused and none is None, bad


def people(count=500, keypoints=17, seed=8):
    rng = np.random.default_rng(seed)
    predictions, references = [], []
    for _ in range(count):
        found, objects = [], []
        for _ in range(rng.integers(0, 5)):
            x, y, w, h = rng.uniform(0, 400), rng.uniform(0, 400), *rng.uniform(20, 200, 2)
            points = rng.uniform((x, y), (x + w, y + h), (keypoints, 2))
            visible = rng.integers(0, 3, keypoints) * (rng.random() > 0.1)
            o = {
                "keypoints": np.column_stack([points, visible]).ravel().tolist(),
                "bbox": [x, y, w, h],
                "area": w * h * rng.uniform(0.3, 0.9),
                "label": "person",
                "iscrowd": int(rng.random() < 0.05),
                "num_keypoints": int((visible > 0).sum()),
            }
            objects.append(o)
            for _ in range(rng.choice([0, 1, 1, 2, 9])):
                near = points + rng.normal(0, rng.uniform(0, 0.2) * (w * h) ** 0.5, points.shape)
                near = np.column_stack([near, np.ones(keypoints)]).ravel().tolist()
                s = round(float(rng.random()), 1)
                found.append({"keypoints": near, "label": "person", "score": s})
        predictions.append(found)
        references.append(objects)
    return predictions, references


def test_keypoints_agree_with_pycocotools():
    predictions, references = people()
    expected = coco("keypoint_ap50", predictions, references, "keypoints")
    found = score("keypoint_ap50", predictions, references)
    assert found == pytest.approx(expected, abs=1e-9)
    assert 0.1 < expected < 0.9


def test_keypoints_of_another_number_have_equal_sigmas():
    size, sigma = 100.0, 1 / 5
    reference = {"keypoints": [[0, 0, 2]] * 5, "area": size}
    # All points off by d: OKS = exp(-d^2 / (2 s^2 k^2)) with k = 2 sigma.
    limit = math.sqrt(-math.log(0.5) * 2 * size) * 2 * sigma
    for factor, expected in ((0.999, 1.0), (1.001, 0.0)):
        given = {"keypoints": [[limit * factor, 0]] * 5}
        assert score("keypoint_ap50", [[given]], [[reference]]) == expected


def test_keypoint_edges():
    whole = {"keypoints": [[0, 0, 2], [9, 9, 2], [3, 4, 1]]}
    flat = {"keypoints": [0, 0, 2, 9, 9, 2, 3, 4, 1]}
    assert score("keypoint_ap50", [[flat]], [[whole]]) == 1.0
    assert (
        score("keypoint_ap50", [{"keypoints": [flat["keypoints"]], "scores": [1]}], [[whole]])
        == 1.0
    )
    # A reference without labelled points or a place is not asked for.
    hidden = {"keypoints": [[0, 0, 0]] * 3}
    assert score("keypoint_ap50", [[whole]], [[whole, hidden]]) == 1.0
    assert score("keypoint_ap50", [[whole]], [[hidden]]) == 0.0
    for bad in (
        [{"keypoints": [[0, 0, 2]]}],
        [{"keypoints": [1, 2]}],
        [{"box": [0, 0, 1, 1]}],
        [[1, 2, 3]],
    ):
        assert refusals("keypoint_ap50", [bad], [[whole]])[0][0]
        assert refusals("keypoint_ap50", [[]], [bad])[0][1] or bad == [{"keypoints": [[0, 0, 2]]}]
    assert "area" in refusals("keypoint_ap50", [[]], [[whole | {"area": -1}]])[0][1]
    mixed = [[whole], [{"keypoints": [[0, 0]] * 17, "area": 5}]]
    assert score("keypoint_ap50", mixed, mixed) == 1.0


def corners(box):
    x, y, _, dx, dy, _, yaw = box
    c, s = math.cos(yaw), math.sin(yaw)
    signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    return [
        (x + c * a * dx / 2 - s * b * dy / 2, y + s * a * dx / 2 + c * b * dy / 2) for a, b in signs
    ]


def clipped_area(subject, clip):
    """Sutherland and Hodgman, corner by corner."""
    polygon = subject
    for (ax, ay), (bx, by) in zip(clip, [*clip[1:], clip[0]], strict=True):

        def side(p, a=(ax, ay), b=(bx, by)):
            return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])

        output = []
        for p, q in zip(polygon, [*polygon[1:], *polygon[:1]], strict=True):
            u, v = side(p), side(q)
            if u >= 0:
                output.append(p)
            if (u >= 0) != (v >= 0):
                t = u / (u - v)
                output.append((p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])))
        polygon = output
    area = 0.0
    for (ax, ay), (bx, by) in zip(polygon, [*polygon[1:], *polygon[:1]], strict=True):
        area += ax * by - bx * ay
    return area / 2


def iou_3d(a, b):
    height = min(a[2] + a[5] / 2, b[2] + b[5] / 2) - max(a[2] - a[5] / 2, b[2] - b[5] / 2)
    if height <= 0:
        return 0.0
    shared = clipped_area(corners(a), corners(b)) * height
    return shared / (a[3] * a[4] * a[5] + b[3] * b[4] * b[5] - shared)


def test_boxes_in_space_agree_with_clipping_corner_by_corner():
    rng = np.random.default_rng(2)
    a = np.column_stack(
        [rng.uniform(-2, 2, (3000, 3)), rng.uniform(1, 6, (3000, 3)), np.zeros(3000)]
    )
    b = a + np.column_stack(
        [rng.normal(0, 1, (3000, 3)), rng.normal(0, 0.2, (3000, 3)), np.zeros(3000)]
    )
    a[1000:, 6], b[1000:, 6] = rng.uniform(-9, 9, (2, 2000))
    b[2000:2300] = a[2000:2300]
    b[2300:2600, :6] = a[2300:2600, :6]
    b[2600:2800] = a[2600:2800]
    b[2600:2800, 6] += math.pi * rng.integers(-3, 4, 200)
    found = box3d_iou(a, b)
    assert found == pytest.approx([iou_3d(p, q) for p, q in zip(a, b, strict=True)], abs=1e-9)
    assert found[2000:2300] == pytest.approx(1.0, abs=1e-12)
    assert found[2600:2800] == pytest.approx(1.0, abs=1e-9)
    assert box3d_iou(b, a) == pytest.approx(found, abs=1e-9)
    assert 0 < found.mean() < 1


def rooms(count=300, seed=5):
    rng = np.random.default_rng(seed)
    predictions, references = [], []
    for _ in range(count):
        found, objects = [], []
        for _ in range(rng.integers(0, 6)):
            box = [*rng.uniform(0, 20, 3), *rng.uniform(1, 5, 3), rng.uniform(-4, 4)]
            label = str(rng.choice(["car", "bus", "bike"]))
            objects.append({"box": box, "label": label})
            for _ in range(rng.integers(0, 3)):
                near = (np.array(box) + rng.normal(0, 0.12, 7)).tolist()
                s = round(float(rng.random()), 1)
                found.append({"box": near, "label": label, "score": s})
        predictions.append(found)
        references.append(objects)
    return predictions, references


@pytest.mark.parametrize("metric_id", ["map", "map50"])
def test_boxes_in_space_agree_with_the_coco_protocol(metric_id):
    predictions, references = rooms()
    expected = coco(
        metric_id, predictions, references, overlap=lambda d, g: iou_3d(d["box"], g["box"])
    )
    assert score(metric_id, predictions, references) == pytest.approx(expected, abs=1e-9)
    assert 0.1 < expected < 0.95


@pytest.mark.parametrize("metric_id", ["map", "map50"])
def test_point_sets_agree_with_the_coco_protocol(metric_id):
    rng = np.random.default_rng(7)
    predictions, references = [], []
    for _ in range(200):
        found, objects = [], []
        for _ in range(rng.integers(0, 5)):
            points = rng.choice(300, rng.integers(1, 120), replace=False)
            label = str(rng.choice(["chair", "table"]))
            objects.append({"points": points.tolist(), "label": label})
            keep = points[rng.random(len(points)) < rng.uniform(0.5, 1)]
            near = np.union1d(keep, rng.choice(300, rng.integers(1, 30), replace=False))
            found.append({"points": near.tolist(), "label": label, "score": float(rng.random())})
        predictions.append(found)
        references.append(objects)

    def overlap(d, g):
        a, b = set(d["points"]), set(g["points"])
        return len(a & b) / len(a | b)

    expected = coco(metric_id, predictions, references, overlap=overlap)
    assert score(metric_id, predictions, references) == pytest.approx(expected, abs=1e-9)
    assert 0.1 < expected < 0.9


def test_edges_of_objects_in_space(tmp_path):
    box = [1, 2, 3, 4, 5, 6]
    spellings = [
        [box],
        box,
        [[*box, 0.0]],
        [[*box, 0.0, 0.9]],
        [[*box, 0.0, 0.9, "car"]],
        [{"center": box[:3], "size": box[3:]}],
        [{"bbox_3d": [*box, math.pi], "label": "car"}],
        {"boxes_3d": [box], "scores": [0.3]},
    ]
    for spelling in spellings:
        assert score("map", [spelling], [[{"box": box, "label": "car"}]]) == pytest.approx(1.0)
    for bad in (
        [[1, 2, 3, 4]],
        [{"box": box[:5]}],
        [[1, 2, 3, 4, 5, -6]],
        [{"label": "car"}],
        [{"center": 1, "size": 2}],
    ):
        assert refusals("map", [bad], [[box]])[0][0], bad
    np.save(tmp_path / "points.npy", np.arange(5, 50))
    url = (tmp_path / "points.npy").as_uri()
    file = {"$file": {"path": "points.npy", "url": url, "member": ""}}
    reference = [{"points": list(range(5, 50)), "label": "chair"}]
    assert score("map50", [[{"mask": file, "label": "chair"}]], [reference]) == 1.0
    for bad in (
        [{"points": [1, 1]}],
        [{"points": [-1]}],
        [{"points": [0.5]}],
        [{"box": box}],
        [{"points": []}],
    ):
        assert refusals("map50", [bad], [reference])[0][0], bad


def recall(predictions, references):
    """R@50 by its definition, one image at a time."""

    def overlap(a, b):
        w = min(a[2], b[2]) - max(a[0], b[0])
        h = min(a[3], b[3]) - max(a[1], b[1])
        shared = max(w, 0) * max(h, 0)
        areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
        return shared / (sum(areas) - shared)

    rates = []
    for found, objects in zip(predictions, references, strict=True):
        if not objects:
            continue
        top = sorted(found, key=lambda triple: -triple["score"])[:50]
        hits = set()
        for p in top:
            for index, r in enumerate(objects):
                same = all(p[k]["label"] == r[k]["label"] for k in ("subject", "object"))
                near = all(overlap(p[k]["box"], r[k]["box"]) >= 0.5 for k in ("subject", "object"))
                if same and near and p["predicate"] == r["predicate"]:
                    hits.add(index)
        rates.append(len(hits) / len(objects))
    return sum(rates) / len(rates)


def test_recall_at_50_agrees_with_its_definition():
    rng = random.Random(1)

    def end(near=None):
        if near:
            box = [v + rng.gauss(0, 1.5) for v in near["box"]]
            return {"label": near["label"], "box": box}
        x, y = rng.uniform(0, 50), rng.uniform(0, 50)
        box = [x, y, x + rng.uniform(12, 40), y + rng.uniform(12, 40)]
        return {"label": rng.choice(["man", "dog"]), "box": box}

    predictions, references = [], []
    for _ in range(300):
        objects = [
            {"subject": end(), "predicate": rng.choice(["on", "near"]), "object": end()}
            for _ in range(rng.randint(0, 12))
        ]
        found = [
            {
                "subject": end(r["subject"]),
                "predicate": rng.choice(["on", "near"]),
                "object": end(r["object"]),
                "score": rng.random(),
            }
            for r in objects
            for _ in range(rng.choice([0, 1, 2, 20]))
        ]
        predictions.append(found)
        references.append(objects)
    expected = recall(predictions, references)
    assert score("recall_at_50", predictions, references) == pytest.approx(expected, abs=1e-12)
    assert 0.1 < expected < 0.9


def test_recall_at_50_edges():
    metric = get_metric("recall_at_50")
    triple = ["man", "riding", "horse"]
    for given in (
        [triple],
        triple,
        [["Man ", "riding", "horse", 0.4]],
        {"relations": [{"subject": "man", "relation": "riding", "object": {"name": "horse"}}]},
        '[["man", "riding", "horse"]]',
        [triple, triple, ["a", "b", "c"]],
    ):
        assert score("recall_at_50", [given], [[triple]]) == 1.0
    # The 51st most confident comes too late, wherever it stands.
    others = [["x", "on", str(i), 0.9] for i in range(50)]
    assert score("recall_at_50", [[[*triple, 0.1], *others]], [[triple]]) == 0.0
    assert score("recall_at_50", [[[*triple, 0.95], *others]], [[triple]]) == 1.0
    assert score("recall_at_50", [[]], [[triple]]) == 0.0
    assert score("recall_at_50", [[triple], [triple]], [[], [triple, ["a", "b", "c"]]]) == 0.5
    assert score("recall_at_50", [[]], [[]]) == 0.0
    stats = metric.compute(batch([[triple]], [[]]))
    assert metric.instance_scores(stats).to_list() == [None]
    worst = metric.worst(batch([[]], [[triple, triple]]))
    assert worst.select("found", "relations").rows() == [(0.0, 2.0)]
    bads = (
        ["man", "on"],
        [["man", "on", 3]],
        "man on horse",
        5,
        [{"subject": "man"}],
        [[*triple, "x"]],
    )
    for bad in bads:
        assert refusals("recall_at_50", [bad], [[triple]])[0][0], bad
        assert refusals("recall_at_50", [[triple]], [bad])[0][1], bad


def test_label_numbers_are_exact_in_a_float_and_differ():
    numbers = defaultdict(list)
    for i in range(20000):
        numbers[detected.label_number(str(i))].append(i)
    assert len(numbers) == 20000
    assert all(0 < number < 2**53 for number in numbers)


NAMES = (
    "bbox box boxes masks mask segmentation counts size keypoints points score scores label labels"
)
NAMES += " iscrowd area center subject predicate object relations annotations polygons $file"
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-3, 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
)
LEAVES |= st.sampled_from(["", "a", "[1, 2, 3, 4]", "{", "04", "[[[[1]]]]"])
LEAVES |= st.sampled_from([[0, 0, 5, 5], [1, 2, 3, 4, 5, 6], [0, 0, 2, 4, 4, 1], ["a", "b", "c"]])
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES.split()), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@anything(VALUES, VALUES)
def test_no_document_whatever_stops_a_metric(prediction, reference):
    for metric_id in (*THRESHOLDS, "recall_at_50"):
        metric = get_metric(metric_id)
        for task_type in ("", "instance segmentation"):
            documents = batch([prediction, []], [reference, [[0, 0, 5, 5]]], task_type)
            stats = metric.compute(documents)
            worst = metric.worst(documents)
            # What the prediction holds never makes a good reference a bad one, or it would leave
            # the instance out.
            assert stats["reference_refused"].equals(worst["reference_refused"])
            good = stats.filter(pl.col("refused").is_null() & pl.col("reference_refused").is_null())
            if good.height:
                assert 0.0 <= metric.aggregate(good) <= 1.0
                assert metric.instance_scores(good).is_between(0, 1).all()
