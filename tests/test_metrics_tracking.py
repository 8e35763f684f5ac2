"""Success AUC, vIoU, AMOTA, RTE and angular RMSE against plain loops written from their definitions."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import polars as pl
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.transform import Rotation

from tasks.metrics import Batch, get_metric
from tasks.metrics.base import StructureMetric

METRICS = ["success_auc", "m_viou", "amota", "rte", "normal_rmse"]


def documents(values) -> pl.Series:
    return pl.Series([json.dumps(v) for v in values], dtype=pl.String)


def batch(predictions, references) -> Batch:
    return Batch(documents(predictions), documents(references))


def score(metric_id, prediction, reference) -> float:
    """The value of one instance; its prediction and reference must be taken."""
    metric = get_metric(metric_id)
    stats = metric.compute(batch([prediction], [reference]))
    assert stats["refused"].to_list() == stats["reference_refused"].to_list() == [None]
    return metric.instance_scores(stats).item()


def reason(metric_id, prediction, reference) -> str:
    """Why the prediction is refused."""
    stats = get_metric(metric_id).compute(batch([prediction], [reference]))
    assert stats["reference_refused"].item() is None
    return stats["refused"].item() or ""


def reference_reason(metric_id, reference) -> str:
    """Why the reference is refused, in which answered and unanswered instances agree."""
    given = batch([None], [reference])
    metric = get_metric(metric_id)
    found = {
        stats["reference_refused"].item() for stats in (metric.compute(given), metric.worst(given))
    }
    assert len(found) == 1
    return found.pop() or ""


def file(path):
    return {"$file": {"path": path.name, "url": path.as_uri(), "member": ""}}


# --- Data ---------------------------------------------------------------------------------------


def walk(rng, frames):
    """A box [x1, y1, x2, y2] a frame that drifts."""
    corner = rng.uniform(0, 50, 2) + rng.normal(0, 2, (frames, 2)).cumsum(axis=0)
    return np.hstack([corner, corner + rng.uniform(10, 40, 2)])


def videos(count=300, seed=1):
    rng = np.random.default_rng(seed)
    predictions, references = [], []
    for _ in range(count):
        frames = int(rng.integers(1, 40))
        truth = walk(rng, frames)
        given = truth + rng.normal(0, rng.choice([0, 2, 12]), (frames, 1))
        reference = [None if rng.random() < 0.1 else box.tolist() for box in truth]
        reference[0] = truth[0].tolist()
        if frames > 3:
            reference[2] = [0, 0, 0, 0]
        prediction = [None if rng.random() < 0.1 else box.tolist() for box in given]
        predictions.append(prediction[: rng.integers(frames // 2, frames + 1)])
        references.append(reference)
    return predictions, references


def tubes(count=300, seed=2):
    rng = np.random.default_rng(seed)
    predictions, references = [], []
    for i in range(count):
        frames = int(rng.integers(4, 60))
        start, length = int(rng.integers(0, frames - 2)), int(rng.integers(1, frames))
        end = min(start + length, frames)
        truth = walk(rng, frames)
        sized = np.hstack([truth[:, :2], truth[:, 2:] - truth[:, :2]])
        trajectory = sized[start:end].tolist()
        if i % 2:
            trajectory = {str(f): {"bbox": sized[f].tolist()} for f in range(frames)}
        references.append(
            {
                "tube_start_frame": start if i % 2 else start + 1,
                "tube_end_frame": end if i % 2 else end + 1,
                "trajectory": trajectory,
                "frame_count": frames,
            }
        )
        given = truth + rng.normal(0, rng.choice([0, 3, 9]), (frames, 1))
        given[: rng.integers(0, frames)] = 0
        predictions.append(given.tolist())
    return predictions, references


def scene(rng, frames=12, classes=("car", "truck")):
    """A prediction and a reference of one scene: misses, false alarms, swapped and broken tracks."""
    expected = [[] for _ in range(frames)]
    given = [[] for _ in range(frames)]
    for k in range(int(rng.integers(1, 9))):
        path = rng.uniform(0, 12, 3) + rng.normal(0, 0.6, (frames, 3)).cumsum(axis=0)
        first, last = sorted(rng.integers(0, frames, 2))
        label, track, sure = str(rng.choice(classes)), f"t{k}", rng.uniform(0.2, 1)
        for f in range(first, last + 1):
            expected[f].append({"id": k, "box": [*path[f], 4, 2, 1.5, 0.1], "class": label})
            if rng.random() < 0.1:
                track = f"t{k}-{f}"
            if rng.random() < 0.85:
                centre = (path[f] + rng.normal(0, 0.7, 3)).tolist()
                given[f].append({"id": track, "center": centre, "class": label, "score": sure})
    for k in range(int(rng.integers(0, 4))):
        for f in range(int(rng.integers(0, frames)), frames):
            box = {"id": f"f{k}", "center": rng.uniform(0, 12, 3).tolist()}
            given[f].append(box | {"class": "car", "score": float(rng.uniform(0, 0.7))})
    return given, expected


def scenes(count=40, seed=3, **options):
    rng = np.random.default_rng(seed)
    return [list(side) for side in zip(*(scene(rng, **options) for _ in range(count)), strict=True)]


def drive(rng, frames, step=2.0):
    """Poses (n, 4, 4) of a vehicle that turns now and then, `step` metres a frame."""
    turns = Rotation.from_rotvec(rng.normal(0, 0.02, frames).cumsum()[:, None] * [0, 1, 0])
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, :3, :3] = turns.as_matrix()
    poses[1:, :3, 3] = turns[:-1].apply(np.tile([0.0, 0.0, step], (frames - 1, 1))).cumsum(axis=0)
    return poses


def drives(count=200, seed=4):
    rng = np.random.default_rng(seed)
    predictions, references = [], []
    for _ in range(count):
        truth = drive(rng, int(rng.integers(60, 300)), float(rng.uniform(2, 5)))
        noise = Rotation.from_rotvec(rng.normal(0, 0.005, (len(truth), 3))).as_matrix()
        given = truth.copy()
        given[:, :3, :3] = noise @ truth[:, :3, :3]
        given[:, :3, 3] += rng.normal(0, 0.02, (len(truth), 3)).cumsum(axis=0)
        predictions.append(given.tolist())
        references.append(truth[:, :3].reshape(len(truth), 12).tolist())
    return predictions, references


def shapes(count=200, seed=5):
    rng = np.random.default_rng(seed)
    predictions, references = [], []
    for _ in range(count):
        truth = rng.normal(size=(int(rng.integers(1, 200)), 3))
        given = truth + rng.normal(0, rng.choice([0, 0.1, 3]), truth.shape)
        given *= rng.choice([-1, 1, 7], (len(truth), 1))
        predictions.append(given.tolist())
        references.append(truth.tolist())
    return predictions, references


DATA = {
    "success_auc": videos,
    "m_viou": tubes,
    "amota": scenes,
    "rte": drives,
    "normal_rmse": shapes,
}


# --- The definitions, as loops ------------------------------------------------------------------


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def success_auc(predictions, references):
    values = []
    for prediction, reference in zip(predictions, references, strict=True):
        ious = []
        for f, box in enumerate(reference):
            if box and any(box):
                there = f < len(prediction) and prediction[f] is not None
                ious.append(iou(prediction[f], box) if there else 0.0)
        success = [np.mean([x > t for x in ious]) for t in np.arange(0, 1.05, 0.05)]
        values.append(np.mean(success))
    return values


def m_viou(predictions, references):
    values = []
    for prediction, reference in zip(predictions, references, strict=True):
        trajectory, start, end = (
            reference[k] for k in ("trajectory", "tube_start_frame", "tube_end_frame")
        )
        if isinstance(trajectory, dict):
            trajectory = [trajectory[str(f)]["bbox"] for f in range(start, end)]
        else:
            start, end = start - 1, end - 1
        total, union = 0.0, 0
        for f, box in enumerate(prediction):
            inside = start <= f < end
            union += any(box) or inside
            if any(box) and inside:
                x, y, w, h = trajectory[f - start]
                total += iou(box, [x, y, x + w, y + h])
        values.append(total / union)
    return values


def follow(given, expected, threshold):
    """CLEAR MOT over one scene of one class: matched scores, TP, FP, FN, IDS."""
    last, scores = {}, []
    fp = fn = switches = 0
    for boxes, objects in zip(given, expected, strict=True):
        boxes = [b for b in boxes if b["score"] >= threshold]
        distance = np.array(
            [[math.dist(o["box"][:2], b["center"][:2]) for b in boxes] for o in objects]
        ).reshape(len(objects), len(boxes))
        pairs = {}
        for i, o in enumerate(objects):
            for j, b in enumerate(boxes):
                if last.get(o["id"]) == b["id"] and distance[i, j] < 2 and j not in pairs.values():
                    pairs[i] = j
        free = [i for i in range(len(objects)) if i not in pairs]
        open_boxes = [j for j in range(len(boxes)) if j not in pairs.values()]
        rest = distance[np.ix_(free, open_boxes)]
        for a, b in zip(*linear_sum_assignment(np.where(rest < 2, rest, 1e6)), strict=True):
            if rest[a, b] < 2:
                pairs[free[a]] = open_boxes[b]
        for i, j in pairs.items():
            item, box = objects[i]["id"], boxes[j]
            if last.get(item, box["id"]) == box["id"]:
                scores.append(box["score"])
            else:
                switches += 1
            last[item] = box["id"]
        fn += len(objects) - len(pairs)
        fp += len(boxes) - len(pairs)
    return scores, len(scores), fp, fn, switches


def amota(predictions, references):
    """Over all scenes at once, with the published formula of MOTAR in full."""
    averaged = []
    for given in predictions:
        of_track: dict[str, list[float]] = {}
        for box in (box for boxes in given for box in boxes):
            of_track.setdefault(box["id"], []).append(box["score"])
        mean = {name: round(float(np.mean(scores)), 12) for name, scores in of_track.items()}
        averaged.append([[b | {"score": mean[b["id"]]} for b in boxes] for boxes in given])

    def only(frames, label):
        return [[b for b in boxes if b.get("class", "") == label] for boxes in frames]

    values = []
    for label in {b.get("class", "") for frames in references for boxes in frames for b in boxes}:
        pairs = [
            (only(given, label), only(expected, label))
            for given, expected in zip(averaged, references, strict=True)
        ]
        objects = sum(len(boxes) for _, expected in pairs for boxes in expected)
        scores = sorted((s for p in pairs for s in follow(*p, -math.inf)[0]), reverse=True)
        recalls = np.arange(1, len(scores) + 1) / objects
        total = 0.0
        for wanted in np.linspace(0.1, 1, 40).round(12):
            if not len(scores) or wanted > recalls[-1]:
                continue
            threshold = np.interp(wanted, recalls, scores)
            tp, fp, fn, ids = np.sum([follow(*p, threshold)[1:] for p in pairs], axis=0)
            if tp:
                r = tp / objects
                total += max(0, 1 - (ids + fp + fn - (1 - r) * objects) / (r * objects))
        values.append(total / 40)
    return float(np.mean(values))


def segment_errors(prediction, reference):
    prediction = np.array(prediction)
    reference = np.concatenate(
        [np.array(reference).reshape(-1, 3, 4), np.tile([[[0, 0, 0, 1]]], (len(reference), 1, 1))],
        axis=1,
    )
    distance = [0.0]
    for a, b in itertools.pairwise(reference):
        distance.append(distance[-1] + math.dist(a[:3, 3], b[:3, 3]))
    errors = []
    for first in range(0, len(reference), 10):
        for length in range(100, 801, 100):
            last = next((i for i, d in enumerate(distance) if d > distance[first] + length), None)
            if last is not None:
                moved = np.linalg.inv(prediction[first]) @ prediction[last]
                expected = np.linalg.inv(reference[first]) @ reference[last]
                error = np.linalg.inv(moved) @ expected
                errors.append(100 * np.linalg.norm(error[:3, 3]) / length)
    return errors


def normal_rmse(predictions, references):
    values = []
    for prediction, reference in zip(predictions, references, strict=True):
        squares = []
        for a, b in zip(np.array(prediction), np.array(reference), strict=True):
            cosine = abs(a @ b) / (np.linalg.norm(a) * np.linalg.norm(b))
            squares.append(math.degrees(math.acos(min(cosine, 1.0))) ** 2)
        values.append(math.sqrt(sum(squares) / len(squares)))
    return values


@pytest.mark.parametrize(
    ("metric_id", "loop", "tolerance"),
    [
        ("success_auc", success_auc, 1e-12),
        ("m_viou", m_viou, 1e-12),
        ("normal_rmse", normal_rmse, 3e-6),
    ],
)
def test_a_mean_over_instances_agrees_with_its_definition(metric_id, loop, tolerance):
    predictions, references = DATA[metric_id]()
    metric = get_metric(metric_id)
    stats = metric.compute(batch(predictions, references))
    expected = loop(predictions, references)
    assert metric.instance_scores(stats).to_list() == pytest.approx(expected, abs=tolerance)
    assert metric.aggregate(stats) == pytest.approx(np.mean(expected), abs=tolerance)
    assert len({round(value, 3) for value in expected}) > 50


def test_tubes_scored_together_are_refused_and_scored_as_one_by_one():
    """Every way in which a document is not plain, between others that are."""
    plain, box = [[0, 0, 4, 4]] * 6, [1, 1, 3, 3]
    tube = {"tube_start_frame": 1, "tube_end_frame": 3, "trajectory": [box, box]}
    named = {**tube, "trajectory": {str(f): {"bbox": box, "id": 7} for f in range(6)}}

    def with_box(value):
        return {**tube, "trajectory": {**named["trajectory"], "2": value}}

    references = [
        tube,
        named,
        {**tube, "frame_count": 6},
        {**tube, "tube_end_frame": 2},
        {**tube, "trajectory": [None, box]},
        with_box(box),
        {**tube, "trajectory": {str(f): box for f in (2, 1, 0, 3)}},
        with_box({"bbox": box, "box": None}),
        with_box({"bbox": box, "box": [0, 0, 2, 2]}),
        with_box({"bbox": [1, 1, -3, 3]}),
        {**tube, "trajectory": {"01": box, "2": box}},
        {**tube, "trajectory": {"1": box, "2": box, "x": box}},
        {**tube, "trajectory": {"1": box, "01": box, "2": box}},
        {**tube, "trajectory": {str(f): box for f in (4, 5)}},
        {**tube, "tube_start_frame": 1.0},
        {**tube, "tube_start_frame": True},
        {**tube, "tube_start_frame": -1, "tube_end_frame": 1},
        {**tube, "tube_start_frame": 30, "tube_end_frame": 32},
        {**tube, "frame_count": 3},
        {**tube, "frame_count": "6"},
        {**tube, "trajectory": [None, [0, 0, 0, 0]]},
        {**tube, "trajectory": [box, [1, 1, 2e9, 3]]},
        {**tube, "trajectory": [box, [1e9, 1, 1e9, 3]]},
        {**tube, "trajectory": [box]},
        {**tube, "trajectory": {}},
        {**tube, "trajectory": [[1, 1, "3", 3], box]},
        {"trajectory": [box]},
        plain,
        None,
    ]
    predictions = [
        plain,
        [],
        [None, [], *plain[:2]],
        [None, None, [0, 0, 0, 0], *plain[:2]],
        [None] * 3,
        plain * 9,
        plain * 2,
        [[4, 0, 0, 4], *plain],
        [[0, 0, True, 4], *plain],
        [["0", 0, 4, 4], *plain],
        [[0, 0, 4], *plain],
        [[-2e9, 0, 4, 4], *plain],
        {"2": [0, 0, 4, 4]},
        tube,
        named,
        None,
        3,
    ]
    pairs = list(itertools.product(predictions, references))
    given = batch(*zip(*pairs, strict=True))
    metric = get_metric("m_viou")
    assert isinstance(metric, StructureMetric)
    together, apart = metric.compute(given), StructureMetric.compute(metric, given)
    assert together["refused"].equals(apart["refused"])
    assert together["reference_refused"].equals(apart["reference_refused"])
    scores = [stats["score"].to_list() for stats in (together, apart)]
    assert scores[0] == [None if s is None else pytest.approx(s, abs=1e-12) for s in scores[1]]
    assert together["score"].null_count() > 100
    assert together["score"].drop_nulls().n_unique() > 10


def test_rte_agrees_with_its_definition_pooled_over_segments():
    predictions, references = drives()
    metric = get_metric("rte")
    stats = metric.compute(batch(predictions, references))
    errors = [segment_errors(p, r) for p, r in zip(predictions, references, strict=True)]
    assert metric.instance_scores(stats).to_list() == pytest.approx(
        [np.mean(e) for e in errors], rel=1e-9
    )
    assert metric.aggregate(stats) == pytest.approx(np.mean(np.concatenate(errors)), rel=1e-9)
    assert max(len(e) for e in errors) > 50


@pytest.mark.parametrize(
    "options", [{}, {"classes": ("car",), "frames": 25}, {"classes": tuple("abcde")}]
)
def test_amota_agrees_with_its_definition_over_all_scenes_at_once(options):
    predictions, references = scenes(**options)
    metric = get_metric("amota")
    stats = metric.compute(batch(predictions, references))
    expected = amota(predictions, references)
    assert metric.aggregate(stats) == pytest.approx(expected, abs=1e-9)
    assert 0.1 < expected < 0.9
    each = metric.instance_scores(stats).to_list()
    alone = [amota([p], [r]) for p, r in zip(predictions, references, strict=True)]
    assert each == pytest.approx(alone, abs=1e-9)


def test_amota_data_has_identity_switches_and_recalls_that_are_never_reached():
    predictions, references = scenes(classes=("car",))
    found = [
        follow(given, expected, -math.inf)
        for given, expected in zip(predictions, references, strict=True)
    ]
    _, tp, _, fn, switches = zip(*found, strict=True)
    assert sum(switches) > 20
    assert sum(fn) > 0.1 * sum(tp)


# --- Recombination ------------------------------------------------------------------------------


@pytest.mark.parametrize("metric_id", METRICS)
def test_any_rows_in_any_order_score_as_they_do_alone(metric_id):
    predictions, references = DATA[metric_id](40)
    metric = get_metric(metric_id)
    stats = metric.compute(batch(predictions, references))
    chosen = np.random.default_rng(0).permutation(40)[:25].tolist()
    alone = metric.compute(batch([predictions[i] for i in chosen], [references[i] for i in chosen]))
    assert metric.aggregate(stats[chosen]) == pytest.approx(metric.aggregate(alone), rel=1e-12)
    backwards = metric.aggregate(stats.reverse())
    assert backwards == pytest.approx(metric.aggregate(stats), rel=1e-12)


@pytest.mark.parametrize("metric_id", METRICS)
def test_an_unanswered_instance_never_raises_a_score(metric_id):
    predictions, references = DATA[metric_id](30)
    metric = get_metric(metric_id)
    given = batch(predictions, references)
    stats, worst = metric.compute(given), metric.worst(given)
    assert stats.schema == worst.schema
    limit = {"rte": math.inf, "normal_rmse": 90.0}.get(metric_id, 0.0)
    assert metric.aggregate(worst) == pytest.approx(limit)
    half = metric.aggregate(pl.concat([stats[:15], worst[15:]]))
    low, high = sorted([metric.aggregate(stats), limit])
    assert low <= half <= high


def test_the_best_values():
    _, references = videos(50)
    metric = get_metric("success_auc")
    whole = metric.compute(batch(references, references))
    assert metric.aggregate(whole) == pytest.approx(20 / 21)
    _, references = tubes(50)
    metric = get_metric("m_viou")
    assert metric.aggregate(metric.compute(batch(references, references))) == 1.0
    _, references = scenes(20)
    metric = get_metric("amota")
    assert metric.aggregate(metric.compute(batch(references, references))) == 1.0
    for metric_id in ("rte", "normal_rmse"):
        _, references = DATA[metric_id](20)
        metric = get_metric(metric_id)
        perfect = metric.compute(batch(references, references))
        assert metric.aggregate(perfect) == pytest.approx(0.0, abs=1e-9)


# --- Spellings, files and edges -----------------------------------------------------------------

BOX, OTHER = [10, 10, 30, 20], [20, 10, 40, 20]  # IoU 1/3: above 7 thresholds (0 to 0.3)


def test_success_counts_thresholds_that_are_exceeded():
    assert score("success_auc", [OTHER], [BOX]) == pytest.approx(7 / 21)
    assert score("success_auc", [[10, 10, 20, 20]], [BOX]) == pytest.approx(10 / 21)  # not at 0.5
    assert score("success_auc", [[50, 50, 60, 60]], [BOX]) == 0.0


def test_success_leaves_out_frames_without_a_target_and_misses_unanswered_ones():
    reference = [BOX, None, [0, 0, 0, 0], [5, 5, 5, 9], [], BOX]
    assert score("success_auc", [BOX, OTHER, OTHER, OTHER, OTHER, OTHER], reference) == (
        pytest.approx((20 + 7) / 42)
    )
    assert score("success_auc", [BOX], reference) == pytest.approx(20 / 42)
    assert score("success_auc", [], reference) == score("success_auc", {}, reference) == 0.0
    assert "at most 6 frames, found 7" in reason("success_auc", [BOX] * 7, reference)
    assert reference_reason("success_auc", [None, [0, 0, 0, 0]]).startswith(
        "the reference has no box"
    )
    assert reference_reason("success_auc", []).startswith("the reference has no box")


def test_success_takes_boxes_in_several_spellings(tmp_path):
    np.save(tmp_path / "boxes.npy", np.array([BOX, OTHER], dtype=np.float32))
    (tmp_path / "boxes.json").write_text(json.dumps([BOX, OTHER]))
    sized = [[10, 10, 20, 10], [20, 10, 20, 10]]
    for prediction in (
        {"boxes": [BOX, OTHER]},
        [{"box": BOX}, {"bbox": sized[1]}],
        [{"frame": 1, "bbox": sized[1]}, {"frame": 0, "box": BOX}],
        {"1": OTHER, "0": {"bbox": sized[0]}},
        file(tmp_path / "boxes.npy"),
        file(tmp_path / "boxes.json"),
    ):
        assert score("success_auc", prediction, [BOX, BOX]) == pytest.approx(27 / 42)
        assert score("success_auc", [BOX, BOX], prediction) == pytest.approx(27 / 42)


@pytest.mark.parametrize(
    ("prediction", "found"),
    [
        ("left", "expected a list of boxes"),
        (7, "expected a list of boxes"),
        (BOX, "expected boxes of four numbers"),
        ([[1, 2, 3]], "expected boxes of four numbers"),
        ([BOX, [1, 2]], "different lengths"),
        ([["a", "b", "c", "d"]], "expected numbers"),
        ([[1, 2, 3, None]], "expected numbers"),
        ([[30, 20, 10, 10]], "expected x1 <= x2"),
        ([{"bbox": [1, 1, -4, 4]}], "expected a width and a height"),
        ([{"region": BOX}], 'expected "box"'),
        ([[0, 0, 1e300, 1]], "reaches beyond"),
        ([[0, 0, 2**70, 1]], "expected numbers"),
        ({"first": BOX}, "expected a frame number, found 'first'"),
        ([{"frame": -1, "box": BOX}], "expected a frame number"),
        ([{"frame": 0, "box": BOX}, {"frame": 0, "box": BOX}], "frame 0 has more than one box"),
        ([{"frame": 0, "box": BOX}, BOX], "others do not"),
    ],
)
def test_bad_boxes_are_refused_with_a_reason(prediction, found):
    assert found in reason("success_auc", prediction, [BOX] * 3)
    assert found in reference_reason("success_auc", prediction)
    assert found in reason("m_viou", prediction, TUBE)


def test_unreadable_files_are_refused(tmp_path):
    (tmp_path / "boxes.npy").write_bytes(b"nothing")
    (tmp_path / "boxes.json").write_text("{")
    np.save(tmp_path / "nan.npy", np.full((3, 4), np.nan))
    assert "no readable array" in reason("success_auc", file(tmp_path / "boxes.npy"), [BOX])
    assert "no JSON" in reason("success_auc", file(tmp_path / "boxes.json"), [BOX])
    assert "NaN" in reason("success_auc", file(tmp_path / "nan.npy"), [BOX] * 3)
    assert "no longer there" in reason("success_auc", file(tmp_path / "absent.npy"), [BOX])


#: Frames 3 and 4 of a video of 6 (5 is just past the tube).
TUBE = {
    "tube_start_frame": 3,
    "tube_end_frame": 5,
    "trajectory": [[10, 10, 20, 10], [10, 10, 20, 10]],
    "frame_count": 6,
}


def test_a_tube_takes_several_spellings(tmp_path):
    dense = [None, None, None, OTHER, BOX, None]  # frame 1 first: BOX is frame 5
    np.save(tmp_path / "boxes.npy", [box or [0, 0, 0, 0] for box in dense])
    sized = {"4": [20, 10, 20, 10], "5": {"bbox": [10, 10, 20, 10]}}
    for prediction in (
        {"tube_start_frame": 4, "tube_end_frame": 6, "trajectory": list(sized.values())},
        {"tube_start_frame": 4, "tube_end_frame": 5, "trajectory": list(sized.values())},
        {"tube_start_frame": 4, "tube_end_frame": 6, "trajectory": sized},
        [{"frame": 4, "box": OTHER}, {"frame": 5, "bbox": [10, 10, 20, 10]}],
        {"4": OTHER, "5": {"box": BOX}},
        dense,
        file(tmp_path / "boxes.npy"),
    ):
        assert score("m_viou", prediction, TUBE) == pytest.approx((1 / 3) / 3)
    named = TUBE | {"trajectory": {"2": BOX, "3": [10, 10, 20, 10], "4": [10, 10, 20, 10]}}
    assert score("m_viou", [None, *dense[:-1]], named) == pytest.approx((1 / 3) / 3)


def test_tubes_without_boxes_or_without_sense():
    for nothing in ([], {}, [None] * 6, [{"frame": 9, "box": BOX}]):
        assert score("m_viou", nothing, TUBE) == 0.0
    assert "boxes of 6 frames, found 7" in reason("m_viou", [BOX] * 7, TUBE)
    short = TUBE | {"trajectory": [[1, 1, 2, 2]]}
    assert "has 1 boxes for frames 3 to 5" in reason("m_viou", short, TUBE)
    assert "has 1 boxes for frames 3 to 5" in reference_reason("m_viou", short)
    lacking = TUBE | {"trajectory": {"3": [1, 1, 2, 2]}}
    assert "lacks boxes of frames 3 to 4" in reference_reason("m_viou", lacking)
    assert "expected tube_start_frame" in reference_reason("m_viou", [BOX])
    assert "expected a frame number, found None" in reference_reason("m_viou", {"trajectory": []})
    empty = {"tube_start_frame": 3, "tube_end_frame": 3, "trajectory": []}
    assert "has no box" in reference_reason("m_viou", empty)


def cars(*centres, **fields):
    return [{"id": i, "center": list(c)} | fields for i, c in enumerate(centres)]


def test_amota_by_hand():
    truth = [cars((0, 0), (10, 0)), cars((1, 0), (11, 0))]
    assert score("amota", truth, truth) == 1.0
    assert score("amota", [], truth) == score("amota", {}, truth) == 0.0
    # Half of the objects found: 18 of 40 recalls (0.1 to 0.492) are reached.
    assert score("amota", [cars((0, 0)), cars((1, 0))], truth) == pytest.approx(18 / 40)
    # Two metres are too far, less is not; the third number is height.
    assert score("amota", [cars((0, 2), (10, 2))] * 2, [cars((0, 0), (10, 0))] * 2) == 0.0
    assert score("amota", [cars((0, 1.99, 50), (10, 0, 9))] * 2, [cars((0, 0), (10, 0))] * 2) == 1.0
    # Ids swapped in the second frame: two matches, two switches.
    swapped = [cars((0, 0), (10, 0)), cars((11, 0), (1, 0))]
    assert score("amota", swapped, truth) == pytest.approx(18 / 40)


def test_amota_takes_the_names_of_nuscenes_and_files(tmp_path):
    rng = np.random.default_rng(6)
    given, expected = scene(rng)
    names = {
        "id": "tracking_id",
        "center": "translation",
        "class": "tracking_name",
        "score": "tracking_score",
    }
    renamed = {
        f"sample-{f}": [{names[k]: v for k, v in box.items()} for box in boxes]
        for f, boxes in enumerate(given)
    }
    reference = {f"sample-{f}": boxes for f, boxes in enumerate(expected)}
    (tmp_path / "scene.json").write_text(json.dumps({"results": renamed}))
    value = score("amota", given, expected)
    backwards = dict(reversed(renamed.items()))
    for prediction in (renamed, backwards, {"results": renamed}, file(tmp_path / "scene.json")):
        assert score("amota", prediction, reference) == pytest.approx(value)


def test_amota_with_and_without_classes():
    plain = [cars((0, 0), (10, 0))] * 3
    named = [cars((0, 0), (10, 0), **{"class": "car"})] * 3
    assert score("amota", named, plain) == 1.0
    assert "expected a class of each box" in reason("amota", plain, named)
    mixed = [[*cars((0, 0), **{"class": "car"}), {"id": 9, "center": [5, 5], "class": "bus"}]] * 3
    # Of the cars half the boxes are false alarms, of the buses none is found.
    assert score("amota", named, mixed) == pytest.approx((1 - 3 / 3) / 2)
    assert score("amota", mixed, mixed) == 1.0
    # A class that no reference has costs nothing, as published.
    assert score("amota", mixed, [cars((0, 0), **{"class": "car"})] * 3) == 1.0


def test_scenes_without_objects_cost_their_false_alarms():
    metric = get_metric("amota")
    truth = [cars((0, 0))] * 10
    alarms = [cars((0, 0))] * 4
    stats = metric.compute(batch([truth, alarms], [truth, [[]] * 10]))
    assert metric.aggregate(stats) == pytest.approx(1 - 4 / 10)
    assert metric.instance_scores(stats).to_list() == [1.0, None]
    assert metric.aggregate(stats[1:]) == 0.0
    assert metric.worst(batch([None], [[[]]]))["stats"].to_list() == [[]]


@pytest.mark.parametrize(
    ("prediction", "found"),
    [
        ("none", "expected a list of boxes for each frame"),
        ([{"id": 1}], "expected a list of boxes for each frame"),
        ([[[1, 2, 3]]], "expected each box as an object"),
        ([[{"center": [0, 0]}]], "expected an id of each box"),
        ([[{"id": 1}]], "expected center"),
        ([[{"id": 1, "center": [1]}]], "expected center"),
        ([[{"id": 1, "center": ["a", "b"]}]], "expected numbers"),
        ([[{"id": 1, "center": [[1], [2]]}]], "expected centres of numbers"),
        ([[{"id": 1, "center": [1e300, 0]}]], "expected centres of numbers"),
        ([cars((0, 0)) + cars((5, 5))], "more than one box in a frame"),
        ([[*cars((0, 0)), {"id": 8, "center": [5, 5], "score": 1}]], "others do not"),
        ([[*cars((0, 0)), {"id": 8, "center": [5, 5], "class": "car"}]], "or of none"),
        ([cars((0, 0), score="high")], "expected numbers"),
        ([[]] * 4, "the reference has no frame '3' among its 3"),
    ],
)
def test_bad_scenes_are_refused_with_a_reason(prediction, found):
    assert found in reason("amota", prediction, [cars((0, 0))] * 3)


def test_poses_take_several_spellings(tmp_path):
    predictions, references = drives(1)
    given, truth = np.array(predictions[0]), references[0]
    value = score("rte", given.tolist(), truth)
    np.save(tmp_path / "poses.npy", given[:, :3])
    np.savetxt(tmp_path / "poses.txt", given[:, :3].reshape(len(given), 12))
    for prediction in (
        given[:, :3].tolist(),
        given[:, :3].reshape(len(given), 12).tolist(),
        given.reshape(len(given), 16).tolist(),
        {"poses": given.tolist()},
        file(tmp_path / "poses.npy"),
        file(tmp_path / "poses.txt"),
        {"poses": file(tmp_path / "poses.txt")},
    ):
        assert score("rte", prediction, truth) == pytest.approx(value, rel=1e-9)


def test_a_scale_error_is_its_share_of_the_distance():
    poses = drive(np.random.default_rng(0), 600, 1.0)
    scaled = poses.copy()
    scaled[:, :3, 3] *= 1.05
    straight = np.tile(np.eye(4), (600, 1, 1))
    straight[:, 2, 3] = np.arange(600)
    longer = straight.copy()
    longer[:, 2, 3] *= 1.05
    # A segment ends one frame past its length: 5 % of 101 m over 100 m, and so on.
    assert score("rte", longer.tolist(), straight.tolist()) == pytest.approx(5.0, abs=0.06)
    assert 0 < score("rte", scaled.tolist(), poses.tolist()) < 5.1


def test_short_drives_need_their_own_lengths():
    poses = drive(np.random.default_rng(0), 50, 1.0).tolist()
    assert reference_reason("rte", poses) == (
        "the reference is 49.0 m long: no segment of 100 m fits into it"
    )
    shifted = np.array(poses)
    shifted[:, 0, 3] += np.arange(50) * 0.1
    assert score("rte", shifted.tolist(), {"poses": poses, "lengths": [10, 20]}) > 5
    assert "lengths must be" in reference_reason("rte", {"poses": poses, "lengths": [0]})
    assert reference_reason("rte", poses[:1]).startswith("the reference is 0.0 m long")


def test_bad_poses_are_refused_with_a_reason(tmp_path):
    poses = drive(np.random.default_rng(0), 120, 1.0)
    truth = poses.tolist()
    (tmp_path / "poses.txt").write_text("1 0 0\n1 0\n")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "nan.txt").write_text(" ".join(["nan"] * 12))
    mirrored, moved, skewed = poses.copy(), poses.copy(), poses.copy()
    mirrored[7, :3, 0] *= -1
    moved[0, 0, 3] = 1e12
    skewed[3, 3, 0] = 1
    for prediction, found in (
        (truth[:-1], "expected 120 poses, found 119"),
        ([1, 2, 3], "expected poses of (n, 4, 4)"),
        (poses[:, :3, :3].tolist(), "expected poses of (n, 4, 4)"),
        ("poses", "expected numbers"),
        ([], "the array is empty"),
        ((poses * [2, 2, 2, 1]).tolist(), "pose 0 (from 0) holds no rotation"),
        (mirrored.tolist(), "pose 7 (from 0) holds no rotation"),
        (moved.tolist(), "farther away"),
        (skewed.tolist(), "last row"),
        (file(tmp_path / "poses.txt"), "no table of numbers"),
        (file(tmp_path / "empty.txt"), "the array is empty"),
        (file(tmp_path / "nan.txt"), "NaN"),
    ):
        assert found in reason("rte", prediction, truth)


def test_normals_are_unoriented_and_of_any_length(tmp_path):
    truth = [[0, 0, 1], [0, 0, 2], [1, 0, 0], [1, 0, 0]]
    given = [[0, 0, -5], [0, 3, 3], [0, 1e300, 0], [0, 0, 0]]
    expected = math.sqrt((0 + 45**2 + 90**2 + 90**2) / 4)
    np.save(tmp_path / "normals.npy", np.array(given))
    np.savetxt(tmp_path / "shape.normals", np.array(given))
    for prediction in (given, file(tmp_path / "normals.npy"), file(tmp_path / "shape.normals")):
        assert score("normal_rmse", prediction, truth) == pytest.approx(expected)
    assert score("normal_rmse", [given], [truth]) == pytest.approx(expected)
    # A point whose normal is not known is left out.
    assert score("normal_rmse", given, [[0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 0, 0]]) == (
        pytest.approx(math.sqrt(90**2 / 2))
    )
    assert reference_reason("normal_rmse", [[0, 0, 0]]) == "every reference normal has length 0"


def test_normals_are_averaged_over_shapes_not_points():
    metric = get_metric("normal_rmse")
    predictions, references = [[[1, 0, 0]] * 9, [[0, 0, 1]]], [[[1, 0, 0]] * 9, [[1, 0, 0]]]
    assert metric.aggregate(metric.compute(batch(predictions, references))) == pytest.approx(45.0)


@pytest.mark.parametrize(
    ("prediction", "found"),
    [
        ([[0, 0, 1]], "expected normals of (2, 3), found (1, 3)"),
        ([[0, 1], [1, 0]], "expected normals of (n, 3)"),
        ([0, 0, 1], "expected normals of (n, 3)"),
        ([], "the array is empty"),
        ([["x", "y", "z"]], "expected numbers"),
        (None, "expected numbers"),
    ],
)
def test_bad_normals_are_refused_with_a_reason(prediction, found):
    assert found in reason("normal_rmse", prediction, [[0, 0, 1], [1, 0, 0]])
