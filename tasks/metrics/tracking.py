"""Tracking and grounding in video and in space: success AUC, vIoU of tubes, AMOTA of 3D tracks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from tasks.media import Refused, decode_arrived, is_file, load_array, name_of, read_bytes
from tasks.metrics.base import Batch, MeanMetric, StructureMetric, register, scored_apart
from tasks.metrics.tubes import FARTHEST, paired_ious, plain_tube_scores

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_NO_BOX = (0.0, 0.0, 0.0, 0.0)
#: Frame numbers as names, joined by commas: each short enough to be one.
_DIGITS = re.compile(r"[0-9]{1,19}(?:,[0-9]{1,19})*")


def _document(value: Any) -> Any:
    """A .json file's content; any other value as it is. Raises `Refused`."""
    if not (is_file(value) and name_of(value).lower().endswith(".json")):
        return value
    try:
        return decode_arrived(read_bytes(value))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"{name_of(value)} is no JSON ({error})") from None


# --- Boxes of one object by frame ---------------------------------------------------------------


class _Track(NamedTuple):
    """Boxes [x1, y1, x2, y2] of one object, those frames alone that have one, in their order.

    Attributes:
        length: frames that the value speaks of, with or without a box, counted from frame 0.
        numbered: whether the value names its frames; else they are counted from 0.
    """

    frames: Ints
    boxes: Floats
    length: int
    numbered: bool


def _track(value: Any) -> _Track:
    """A box a frame, in any spelling that the metrics of this file accept. Raises `Refused`."""
    value = _document(value)
    if isinstance(value, dict) and "boxes" in value:
        value = value["boxes"]
    if is_file(value):
        value = load_array(value).tolist()
    if isinstance(value, dict):
        return _numbered(list(value), list(value.values()))
    if not isinstance(value, list):
        raise Refused("expected a list of boxes, one a frame")
    named = sum("frame" in item for item in value if isinstance(item, dict))
    if named:
        if named < len(value):
            raise Refused("some boxes name their frame and others do not")
        return _numbered([item["frame"] for item in value], value)
    return _present(np.arange(len(value)), _boxes(value), len(value), numbered=False)


def _numbered(frames: Sequence[Any], items: Sequence[Any], *, sized: bool = False) -> _Track:
    numbers, boxes = _frame_numbers(frames), _boxes(items, sized=sized)
    steps = numbers[1:] - numbers[:-1]
    if np.count_nonzero(steps > 0) < len(steps):
        order = np.argsort(numbers, kind="stable")
        numbers, boxes = numbers[order], boxes[order]
        twice = np.flatnonzero(np.diff(numbers) == 0)
        if twice.size:
            raise Refused(f"frame {numbers[twice[0]]} has more than one box")
    length = int(numbers[-1]) + 1 if len(numbers) else 0
    return _present(numbers, boxes, length, numbered=True)


def _frame_numbers(frames: Sequence[Any]) -> Ints:
    """`_frame_number` of each, which is asked only where they are not all plain integers."""
    if {*map(type, frames)} == {str} and _DIGITS.fullmatch(",".join(frames)):
        frames = list(map(int, frames))
    if {*map(type, frames)} != {int} or not 0 <= min(frames) <= max(frames) < FARTHEST:
        frames = list(map(_frame_number, frames))
    return np.array(frames, dtype=np.int64)


def _frame_number(frame: Any) -> int:
    if type(frame) is str and len(frame) < 20 and frame.isascii() and frame.isdecimal():
        frame = int(frame)
    if isinstance(frame, bool) or not isinstance(frame, int) or not 0 <= frame < FARTHEST:
        raise Refused(f"expected a frame number, found {frame!r:.40}")
    return frame


def _boxes(items: Sequence[Any], *, sized: bool = False) -> Floats:
    """Boxes as (n, 4) corners: of four numbers ([x, y, width, height] if `sized`, else corners),
    `{"box": corners}` or `{"bbox": [x, y, width, height]}`; null and [] are the box of zeros."""
    if not items:
        return np.empty((0, 4))
    has_size = [sized] * len(items)
    if {*map(type, items)} <= {list, type(None)}:
        rows = [row or _NO_BOX for row in items]
    else:
        rows = []
        for i, item in enumerate(items):
            row = item
            if isinstance(item, dict):
                if "box" in item:
                    has_size[i], row = False, item["box"]
                elif "bbox" in item:
                    has_size[i], row = True, item["bbox"]
                else:
                    raise Refused('expected "box" [x1, y1, x2, y2] or "bbox" [x, y, width, height]')
            rows.append(_NO_BOX if row is None or row == [] else row)
    boxes = load_array(rows, finite=False).astype(np.float64, copy=False)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise Refused(f"expected boxes of four numbers, found an array of {boxes.shape}")
    # Counting costs less than `all` and `any` where there are as few numbers as here.
    if np.count_nonzero(np.abs(boxes) <= FARTHEST) < boxes.size:
        load_array(rows)
        raise Refused(f"a box reaches beyond {FARTHEST:g}")
    if all(has_size):
        boxes[:, 2:] += boxes[:, :2]
    elif any(has_size):
        boxes[has_size, 2:] += boxes[has_size, :2]
    turned = boxes[:, 2:] < boxes[:, :2]
    if np.count_nonzero(turned):
        i = int(turned.any(axis=1).argmax())
        expected = "a width and a height" if has_size[i] else "x1 <= x2 and y1 <= y2"
        raise Refused(f"box {i} (from 0) is {list(rows[i])}: expected {expected}")
    return boxes


def _present(frames: Ints, boxes: Floats, length: int, *, numbered: bool) -> _Track:
    if np.count_nonzero(boxes[:, 3]) == len(boxes):
        return _Track(frames, boxes, length, numbered)
    has_box = np.logical_or.reduce(boxes, axis=1)
    return _Track(frames[has_box], boxes[has_box], length, numbered)


def _ends(track: _Track) -> tuple[int, int]:
    return track.frames.item(0), track.frames.item(-1)


def _common_boxes(a: _Track, b: _Track) -> tuple[Floats, Floats]:
    """The boxes of both in the frames where both have one."""
    if not (len(a.frames) and len(b.frames)):
        return a.boxes[:0], b.boxes[:0]
    (a_first, a_last), (b_first, b_last) = _ends(a), _ends(b)
    if a_last - a_first < len(a.frames) and b_last - b_first < len(b.frames):
        # No frame is left out on either side.
        first, past = max(a_first, b_first), min(a_last, b_last) + 1
        return (
            a.boxes[first - a_first : max(past - a_first, 0)],
            b.boxes[first - b_first : max(past - b_first, 0)],
        )
    place = np.minimum(np.searchsorted(b.frames, a.frames), len(b.frames) - 1)
    both = b.frames[place] == a.frames
    return a.boxes[both], b.boxes[place[both]]


def _common_ious(a: _Track, b: _Track) -> Floats:
    """IoU in each frame where both have a box."""
    return paired_ious(*_common_boxes(a, b))


class _VideoMetric(StructureMetric, MeanMetric):
    """Mean over videos of one score a video, 0 for the unanswered."""

    payload = "json"

    def measure_worst(self, reference: Any) -> Sequence[float]:
        return (0.0,)


@register
class SuccessAuc(_VideoMetric):
    """AUC of the success curve of single-object tracking, mean over videos; 0..20/21, higher better.

    OTB (doi:10.1109/TPAMI.2014.2388226) and LaSOT (arXiv:1809.07845): the share of a video's frames
    whose IoU *exceeds* a threshold, averaged over the 21 thresholds 0, 0.05, ..., 1. The comparison
    is strict (`>`), as in the OTB, LaSOT and pysot toolkits that the specialists' figures come from:
    no overlap at all is no success at threshold 0, and a perfect tracker gets 20/21 = 95.2 percent,
    for no IoU exceeds 1. Areas are (x2 - x1) (y2 - y1), without the extra pixel of VOC. The
    benchmark's own kit has J&F of boxes under this heading instead.

    Reference: [x1, y1, x2, y2] a frame. Frames without a target (null, [], a box without area) are
    left out, unlike in LaSOT, where the target may leave and each such frame is a failure; a
    reference without any target is refused. Prediction: likewise a box a frame from the first on,
    null, [] or zeros where there is none. On both sides also: an (n, 4) array as .npy, .npz or
    .parquet; `{"box": [x1, y1, x2, y2]}` or `{"bbox": [x, y, width, height]}` a frame; `{frame: any
    of these}` or a list of these with "frame", counted from 0; `{"boxes": any of these}`; a .json
    file. Frames that the prediction does not speak of have IoU 0; more frames than the reference has
    are refused, for it is then not known which of them are meant.
    """

    id = "success_auc"

    THRESHOLDS = np.linspace(0.0, 1.0, 21)

    def read_prediction(self, value: Any) -> _Track:
        return _track(value)

    def read_reference(self, value: Any) -> _Track:
        track = _track(value)
        has_area = (track.boxes[:, 2:] > track.boxes[:, :2]).all(axis=1)
        if not has_area.any():
            raise Refused("the reference has no box with an area in any frame")
        frames, boxes = track.frames[has_area], track.boxes[has_area]
        return _Track(frames, boxes, track.length, track.numbered)

    def measure(self, prediction: _Track, reference: _Track) -> Sequence[float]:
        if prediction.length > reference.length:
            raise Refused(
                f"expected boxes of at most {reference.length} frames, found {prediction.length}"
            )
        ious = _common_ious(prediction, reference)
        exceeded = np.searchsorted(self.THRESHOLDS, ious, side="left")
        return (float(exceeded.sum()) / (len(self.THRESHOLDS) * len(reference.frames)),)


class _Tube(NamedTuple):
    """A reference tube: its track, the number of the video's first frame, and its frames if known."""

    track: _Track
    first: int
    frame_count: int | None


@register
class MeanVideoIou(_VideoMetric):
    """m_vIoU of spatio-temporal grounding, mean over videos; 0..1, higher is better.

    vIoU of VidSTG (arXiv:2001.06891) and HC-STVG (arXiv:2011.05049): IoU summed over the frames that
    both tubes have, divided by the number of frames that either has.

    Reference: `{"tube_start_frame", "tube_end_frame", "trajectory", "frame_count"}`. The trajectory
    is a list of [x, y, width, height], one for each frame from the start on; its length says whether
    the end is inside (end - start + 1) or, as published, just past the tube (end - start). Or it is
    `{frame: {"bbox": [x, y, width, height]}}` (or the bare numbers), of which the frames from the
    start to before the end are the tube, as the published loader cuts it.

    Prediction, in the reference's own frame numbers: the same fields; a list of `{"frame", "box":
    [x1, y1, x2, y2]}` or `{"frame", "bbox": [x, y, width, height]}`; `{frame: [x1, y1, x2, y2]}`, or
    with "box" or "bbox". Or a list or an (n, 4) array of [x1, y1, x2, y2] for each frame of the whole
    video, null, [] or zeros where there is none: the video's first frame is number 1 where the
    reference's trajectory is a list and 0 where it names its frames, as in the published loader.
    Also a .json file of these. An empty prediction is no tube: vIoU 0. A box of zeros is no box on
    either side; a reference without boxes is refused.
    """

    id = "m_viou"

    def compute(self, batch: Batch) -> pl.DataFrame:
        scores = plain_tube_scores(batch.predictions.to_list(), batch.references.to_list())
        return scored_apart(scores, batch, super().compute)

    def read_prediction(self, value: Any) -> _Track:
        value = _document(value)
        if isinstance(value, dict) and "trajectory" in value:
            return self._tube(value)
        return _track(value)

    def read_reference(self, value: Any) -> _Tube:
        value = _document(value)
        if not (isinstance(value, dict) and "trajectory" in value):
            raise Refused("expected tube_start_frame, tube_end_frame and trajectory")
        track = self._tube(value)
        if not len(track.frames):
            raise Refused("the reference's trajectory has no box")
        count = value.get("frame_count")
        first = 1 if isinstance(value["trajectory"], list) else 0
        return _Tube(track, first, None if count is None else _frame_number(count))

    def _tube(self, value: dict[str, Any]) -> _Track:
        start, end = (
            _frame_number(value.get(name)) for name in ("tube_start_frame", "tube_end_frame")
        )
        trajectory = value["trajectory"]
        if isinstance(trajectory, dict):
            frames = _frame_numbers(list(trajectory)).tolist()
            numbers = zip(frames, trajectory.values(), strict=True)
            inside = [pair for pair in numbers if start <= pair[0] < end]
            if len(inside) != max(end - start, 0):
                raise Refused(f"the trajectory lacks boxes of frames {start} to {end - 1}")
            return _numbered([n for n, _ in inside], [box for _, box in inside], sized=True)
        if not isinstance(trajectory, list):
            raise Refused("expected a trajectory of one [x, y, width, height] a frame")
        if len(trajectory) not in (end - start, end - start + 1):
            raise Refused(f"the trajectory has {len(trajectory)} boxes for frames {start} to {end}")
        past = start + len(trajectory)
        return _present(np.arange(start, past), _boxes(trajectory, sized=True), past, numbered=True)

    def measure(self, prediction: _Track, reference: _Tube) -> Sequence[float]:
        if not prediction.numbered:
            count = reference.frame_count
            if count is not None and prediction.length > count:
                raise Refused(f"expected boxes of {count} frames, found {prediction.length}")
            frames = prediction.frames + reference.first
            prediction = _Track(frames, prediction.boxes, prediction.length, True)
        ious = _common_ious(prediction, reference.track)
        either = len(prediction.frames) + len(reference.track.frames) - len(ious)
        return (float(ious.sum()) / either,)


# --- 3D multi-object tracking -------------------------------------------------------------------

_ID_NAMES = ("id", "tracking_id", "track_id", "instance_token")
_CENTRE_NAMES = ("center", "translation", "box")
_CLASS_NAMES = ("class", "tracking_name", "category", "label")
_SCORE_NAMES = ("score", "tracking_score")


@dataclass(frozen=True, slots=True)
class _Scene:
    """Boxes of one scene, one row a box, by frame.

    Attributes:
        names: the scene's frames.
        frame: which of `names` a box is in, by position.
        track: which object or track a box belongs to.
        centre: (n, 2), on the ground plane.
        label: classes, "" for all where there are none.
        score: of the box's track: the mean over its boxes.
    """

    names: Sequence[str]
    frame: Ints
    track: Ints
    centre: Floats
    label: npt.NDArray[np.object_]
    score: Floats

    def of(self, label: str) -> _Scene:
        rows = self.label == label
        return _Scene(
            self.names,
            self.frame[rows],
            self.track[rows],
            self.centre[rows],
            self.label[rows],
            self.score[rows],
        )


def _scene(value: Any) -> _Scene:
    """A scene, of a list of boxes a frame or `{frame: boxes}`. Raises `Refused`."""
    value = _document(value)
    for name in ("results", "frames"):
        if isinstance(value, dict) and name in value:
            value = value[name]
    if isinstance(value, list):
        value = {str(i): boxes for i, boxes in enumerate(value)}
    if not (isinstance(value, dict) and all(isinstance(boxes, list) for boxes in value.values())):
        raise Refused("expected a list of boxes for each frame")
    found = [(frame, box) for frame, boxes in enumerate(value.values()) for box in boxes]
    boxes = [box for _, box in found]
    if not all(isinstance(box, dict) for box in boxes):
        raise Refused("expected each box as an object with id and center or box")
    frame = np.array([frame for frame, _ in found], dtype=np.int64)
    track = _tracks(frame, boxes)
    label = _labels(boxes)
    score = _scores(boxes)
    # Rounded, so that tracks of one score stay equal: the last bit of a mean is chance.
    mean = (np.bincount(track, score) / np.maximum(np.bincount(track), 1)).round(12)
    return _Scene(list(value), frame, track, _centres(boxes), label, mean[track])


def _field(box: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((box[name] for name in names if box.get(name) is not None), None)


def _tracks(frame: Ints, boxes: Sequence[Mapping[str, Any]]) -> Ints:
    """Each box's track as a number. A text and a number that read the same are one id."""
    numbers: dict[str, int] = {}
    tracks = np.empty(len(boxes), dtype=np.int64)
    for i, box in enumerate(boxes):
        name = _field(box, _ID_NAMES)
        if isinstance(name, bool) or not isinstance(name, (str, int)):
            raise Refused(f"expected an id of each box (a text or a number), found {name!r:.40}")
        tracks[i] = numbers.setdefault(str(name), len(numbers))
    if len(np.unique(np.stack([frame, tracks]), axis=1).T) < len(boxes):
        raise Refused("an id has more than one box in a frame")
    return tracks


def _labels(boxes: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.object_]:
    given = [_field(box, _CLASS_NAMES) for box in boxes]
    if all(label is None for label in given):
        return np.full(len(boxes), "", dtype=object)
    if not all(isinstance(label, (str, int)) and label != "" for label in given):
        raise Refused("expected the class of each box, a text or a number, or of none")
    return np.array([str(label) for label in given], dtype=object)


def _centres(boxes: Sequence[Mapping[str, Any]]) -> Floats:
    if not boxes:
        return np.empty((0, 2))
    given = [_field(box, _CENTRE_NAMES) for box in boxes]
    if not all(isinstance(centre, list) and len(centre) >= 2 for centre in given):
        raise Refused("expected center [x, y, z] or box [x, y, z, ...] of each box")
    centres = load_array([centre[:2] for centre in given]).astype(np.float64)
    if centres.ndim != 2 or np.abs(centres).max() > FARTHEST:
        raise Refused(f"expected centres of numbers up to {FARTHEST:g} m")
    return centres


def _scores(boxes: Sequence[Mapping[str, Any]]) -> Floats:
    given = [_field(box, _SCORE_NAMES) for box in boxes]
    if all(score is None for score in given):
        return np.ones(len(boxes))
    if any(score is None for score in given):
        raise Refused("some boxes have a score and others do not")
    scores = load_array(given).astype(np.float64)
    if scores.ndim != 1 or np.abs(scores).max() > FARTHEST:
        raise Refused(f"expected scores of numbers up to {FARTHEST:g}")
    return scores


@register
class AverageMota(StructureMetric):
    """AMOTA of 3D multi-object tracking, mean over classes; 0..1, higher is better.

    nuScenes (arXiv:1903.11027, tracking task) after AB3DMOT (arXiv:1907.03961), over all scenes at
    once: MOTAR = max(0, 1 - (IDS + FP + FN - (1 - r) P) / (r P)), averaged over 40 recalls from 0.1
    to 1. P is the number of the class's reference boxes; a recall that is never reached counts 0. As
    in the nuScenes development kit r is the recall measured, TP / P, and TP + FN + IDS = P, so that
    MOTAR is max(0, 1 - FP / TP): an identity switch costs by being no TP.

    A track's score is the mean over its boxes. The score threshold of a recall is interpolated among
    the scores of the boxes that match when no track is left out; tracks below it are dropped as a
    whole and the rest is matched anew. Matching is CLEAR MOT's: centres less than 2 m apart on the
    ground plane (x, y); an object keeps the track that it had last where it can; the others are paired
    so that most are, then nearest. A pair other than the object's last is an identity switch.

    Both sides, one scene an instance: a list of boxes for each frame, or `{frame: boxes}` (also under
    "results" or "frames"), or a .json file of these. A box is `{"id", "center": [x, y(, z)] or "box":
    [x, y, z, ...], "class", "score"}`, or with the names of nuScenes (tracking_id, translation,
    tracking_name, tracking_score). In the order of frames, an id once a frame, metres. The class is
    optional: where the reference has none, the prediction's is ignored. Predictions without any score
    are all equally sure; frames without predictions may be missing at the end, or in a mapping;
    frames that the reference has not are refused. Gaps within tracks are not filled by interpolation,
    nor boxes filtered by range, as nuScenes does when it loads its data.

    Classes without reference boxes are left out, as published; scenes without any give 0. Unanswered:
    all objects missed.

    Statistics: rows of six numbers, which add up over scenes. A class's first row is (class, 0,
    boxes, 0, 0, 0); then one for each score that its tracks have: (class, score, 0, boxes matched
    with no track left out, and by how much TP and FP rise when the tracks of that score come in). A
    class is known by a hash of its name, statistics being numbers.
    """

    id = "amota"
    payload = "json"
    statistics = ("stats",)
    variable = True

    RECALLS = np.linspace(0.1, 1.0, 40).round(12)
    _WIDTH = 6

    def read_prediction(self, value: Any) -> _Scene:
        return _scene(value)

    def read_reference(self, value: Any) -> _Scene:
        return _scene(value)

    def measure(self, prediction: _Scene, reference: _Scene) -> Sequence[float]:
        position = {name: i for i, name in enumerate(reference.names)}
        unknown = [name for name in prediction.names if name not in position]
        if unknown:
            raise Refused(
                f"the reference has no frame {unknown[0]!r:.60} among its {len(position)}"
            )
        labels = prediction.label
        if len(reference.label) and not reference.label.all():
            labels = np.full(len(labels), "", dtype=object)
        elif len(reference.label) and len(labels) and not labels.all():
            raise Refused("expected a class of each box, as the reference has them")
        frames = np.array([position[name] for name in prediction.names], dtype=np.int64)
        placed = _Scene(
            reference.names,
            frames[prediction.frame],
            prediction.track,
            prediction.centre,
            labels,
            prediction.score,
        )
        rows: list[float] = []
        for label in sorted({*reference.label, *labels}):
            expected = reference.of(label)
            rows += self._header(label, len(expected.frame))
            for row in _sweep(placed.of(label), expected):
                rows += (_class_number(label), row[0], 0.0, *row[1:])
        return rows

    def measure_worst(self, reference: _Scene) -> Sequence[float]:
        labels, counts = np.unique(reference.label.astype(str), return_counts=True)
        pairs = zip(labels, counts, strict=True)
        return [number for pair in pairs for number in self._header(*pair)]

    def _header(self, label: str, count: int) -> tuple[float, ...]:
        return (_class_number(label), 0.0, float(count), 0.0, 0.0, 0.0)

    def aggregate(self, stats: pl.DataFrame) -> float:
        rows = stats["stats"].explode().drop_nulls().to_numpy().reshape(-1, self._WIDTH)
        return self._score(rows) or 0.0

    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        scenes = (np.reshape(values, (-1, self._WIDTH)) for values in stats["stats"].to_list())
        return pl.Series([self._score(rows) for rows in scenes], dtype=pl.Float64)

    def _score(self, rows: Floats) -> float | None:
        """Mean over the classes that have reference boxes; None when none has."""
        classes = [rows[rows[:, 0] == number, 1:] for number in np.unique(rows[:, 0])]
        scores = [self._amota(found) for found in classes if found[:, 1].sum() > 0]
        return float(np.mean(scores)) if scores else None

    def _amota(self, rows: Floats) -> float:
        score, boxes, matched, tp, fp = rows[np.argsort(-rows[:, 0], kind="stable")].T
        confidences = np.repeat(score, matched.astype(np.int64))
        if not len(confidences):
            return 0.0
        recalls = np.arange(1, len(confidences) + 1) / boxes.sum()
        thresholds = np.interp(self.RECALLS, recalls, confidences, right=0)
        kept = np.searchsorted(-score, -thresholds, side="right")
        tp, fp = (np.concatenate([[0.0], np.cumsum(counts)])[kept] for counts in (tp, fp))
        reached = (recalls[-1] >= self.RECALLS) & (tp > 0)
        motar = np.where(reached, np.maximum(0.0, 1.0 - fp / np.maximum(tp, 1.0)), 0.0)
        return float(motar.mean())


def _class_number(label: str) -> float:
    """The class's name as 48 bits, which a float holds exactly."""
    return float(int.from_bytes(hashlib.blake2b(label.encode(), digest_size=6).digest()))


#: Metres on the ground plane from which on two centres are not the same object.
_GATE = 2.0

#: A frame's pairs that are close enough: object, track, distance.
_Pairs = list[tuple[int, int, float]]


def _sweep(given: _Scene, expected: _Scene) -> Floats:
    """For each score that tracks of one class have: boxes matched with no track left out, and by how
    much TP and FP rise when the tracks of that score come in; (scores, 4).

    A track that comes in can change the matches of what it can be near, directly or through others,
    and of nothing else: each such cluster is matched once for each score in it, not for all.
    """
    scores, which = np.unique(given.score, return_inverse=True)
    counts = np.zeros((len(scores), 3))  # boxes matched by all, TP, TP and switches
    score_of = dict(zip(given.track.tolist(), which.tolist(), strict=True))
    for frames in _clusters(given, expected):
        tracks = {track for pairs in frames for _, track, _ in pairs}
        before = np.zeros(2)
        for lowest in sorted({score_of[track] for track in tracks}, reverse=True):
            kept = [[p for p in pairs if score_of[p[1]] >= lowest] for pairs in frames]
            matched, switches = _follow(kept)
            now = np.array([len(matched), len(matched) + switches])
            counts[lowest, 1:] += now - before
            before = now
            if lowest == min(score_of[track] for track in tracks):
                np.add.at(counts[:, 0], [score_of[track] for track in matched], 1)
    boxes = np.bincount(which, minlength=len(scores))
    return np.column_stack([scores, counts[:, :2], boxes - counts[:, 2]])


def _clusters(given: _Scene, expected: _Scene) -> Iterator[list[_Pairs]]:
    """Objects and tracks that are near each other in some frame, directly or through others: for
    each such cluster the pairs of its frames, objects in the reference's order."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    i, j, distance = _near(given, expected)
    if not len(i):
        return
    objects, tracks = expected.track[i], given.track[j]
    offset = int(objects.max()) + 1
    size = offset + int(tracks.max()) + 1
    graph = coo_array((np.ones(len(i)), (objects, tracks + offset)), shape=(size, size))
    cluster = connected_components(graph, directed=False)[1][objects]
    order = np.lexsort((j, i, expected.frame[i], cluster))
    columns = (cluster, expected.frame[i], objects, tracks, distance)
    rows = zip(*(column[order].tolist() for column in columns), strict=True)
    for _, members in groupby(rows, key=lambda row: row[0]):
        yield [[row[2:] for row in pairs] for _, pairs in groupby(members, key=lambda row: row[1])]


def _near(given: _Scene, expected: _Scene) -> tuple[Ints, Ints, Floats]:
    """Rows of `expected` and of `given` in one frame and closer than the gate, and their distance."""
    found = []
    for frame in np.intersect1d(given.frame, expected.frame):
        i, j = np.flatnonzero(expected.frame == frame), np.flatnonzero(given.frame == frame)
        between = expected.centre[i, None] - given.centre[j]
        distance = np.hypot(between[..., 0], between[..., 1])
        a, b = np.nonzero(distance < _GATE)
        found.append((i[a], j[b], distance[a, b]))
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    rows, columns, distances = zip(*found, strict=True)
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(distances)


def _follow(frames: Sequence[_Pairs]) -> tuple[list[int], int]:
    """CLEAR MOT over a cluster's frames: the track of each match, and the number of switches."""
    last: dict[int, int] = {}
    matched: list[int] = []
    switches = 0
    for pairs in frames:
        objects, tracks = set(), set()
        for item, track, _ in pairs:
            if last.get(item) == track and track not in tracks:
                objects.add(item)
                tracks.add(track)
                matched.append(track)
        free = [p for p in pairs if p[0] not in objects and p[1] not in tracks]
        for item, track in _assign(free):
            if last.get(item, track) == track:
                matched.append(track)
            else:
                switches += 1
            last[item] = track
    return matched, switches


def _assign(pairs: _Pairs) -> list[tuple[int, int]]:
    """Of the pairs as many as possible, no object or track twice, and then the nearest."""
    from scipy.optimize import linear_sum_assignment

    if len(pairs) < 2:
        return [(item, track) for item, track, _ in pairs]
    objects, rows = np.unique([item for item, _, _ in pairs], return_inverse=True)
    tracks, columns = np.unique([track for _, track, _ in pairs], return_inverse=True)
    # One pair more always outweighs any distances saved.
    far = _GATE * (1 + min(len(objects), len(tracks)))
    cost = np.full((len(objects), len(tracks)), far)
    cost[rows, columns] = [distance for _, _, distance in pairs]
    chosen = zip(*linear_sum_assignment(cost), strict=True)
    return [(int(objects[i]), int(tracks[j])) for i, j in chosen if cost[i, j] < far]
