"""Segmentation metrics: IoU over classes, images, videos and parts of shapes; Dice; J&F."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
import polars as pl

from tasks.media import Array, Refused, is_file, is_folder, name_of
from tasks.metrics.base import MeanMetric, StructureMetric, register
from tasks.metrics.masks import (
    Bools,
    Floats,
    Ints,
    Mask,
    Rle,
    Size,
    by,
    is_lossy,
    is_mask,
    is_rle,
    load_numbers,
    read_mask,
    read_rles,
    rle_overlap,
    rle_overlaps,
    rles_decoded,
    unwrap,
)
from tasks.metrics.samples import Samples

#: The class of pixels that have none (PASCAL VOC, Cityscapes, ADE20K); negative ids are the same.
IGNORED = 255
_LAST_CLASS = 65_535
#: From so many pixels on, all pairs of classes of 8 bits have a counter.
_COUNTED_AT_ONCE = 2**14
_LABEL_KEYS = ("labels", "label", "label_map", "semantic", "part_labels")


# Reading ---------------------------------------------------------------------------------------


def read_labels(value: Any) -> Array:
    """Class ids as an array of integers of any shape: an image, an array file or nested lists."""
    if isinstance(value, dict):
        value = next((value[key] for key in _LABEL_KEYS if key in value), value)
    if is_lossy(value):
        raise Refused(f"{name_of(value)}: a JPEG blurs class ids; expected a PNG or an array")
    array = load_numbers(value)
    if array.dtype == np.bool_:
        return array.view(np.uint8)
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "f" and (array != np.rint(array)).any():
        raise Refused("expected class ids, found fractions")
    if array.min() < -_LAST_CLASS or array.max() > _LAST_CLASS:
        raise Refused(
            f"expected class ids up to {_LAST_CLASS}, found {array.min():g}..{array.max():g}"
        )
    return array.astype(np.int64)


def _read_picture(value: Any, size: Size | None = None) -> Rle | Array:
    """A mask as `Rle` or 0 and 1, or a label map. Lists that do not fill `size` are polygons."""
    inner, _ = unwrap(value)
    fits = size is None or not isinstance(inner, list) or _shape(inner) == size
    if not fits or is_mask(value):
        mask = read_mask(value, size)
        return mask if isinstance(mask, Rle) else mask.view(np.uint8)
    return read_labels(inner)


def _shape(rows: list[Any]) -> tuple[int, ...]:
    first = rows[0] if rows else None
    return (len(rows), len(first)) if isinstance(first, list) else (len(rows),)


def _array(picture: Rle | Array) -> Array:
    return picture.array().view(np.uint8) if isinstance(picture, Rle) else picture


def alike(prediction: Array, reference: Array) -> Array:
    """The prediction in the shape of the reference; axes of length 1 do not count."""
    if prediction.shape == reference.shape:
        return prediction
    if prediction.squeeze().shape == reference.squeeze().shape:
        return prediction.reshape(reference.shape)
    raise Refused(f"expected labels of {by(reference.shape)}, found {by(prediction.shape)}")


# Statistics of variable length -----------------------------------------------------------------


def records_of(stats: pl.DataFrame, width: int) -> tuple[Ints, Floats]:
    """The statistics of all instances as records of `width` numbers, and the row of each."""
    # As Arrow has them: a series' own methods are a query each, which costs more than the counting.
    lists = stats["stats"].to_arrow()
    counts = lists.value_lengths().fill_null(0).to_numpy() // width
    records = lists.flatten().to_numpy().reshape(-1, width)
    return np.repeat(np.arange(len(counts)), counts), records


def sums_of(keys: Ints, values: Floats) -> tuple[Ints, Floats]:
    """Distinct keys, and the sums of their records."""
    distinct, inverse = np.unique(keys, return_inverse=True)
    sums = np.zeros((len(distinct), values.shape[1]))
    np.add.at(sums, inverse, values)
    return distinct, sums


def drawn_sums_of(row: Ints, records: Floats, drawn: Samples) -> Floats:
    """Sums over samples of records whose first number is a class: (samples, classes, the others).

    Args:
        row: the instance of each record.
        drawn: samples of the instances.
    """
    distinct, number = np.unique(records[:, 0], return_inverse=True)
    width = records.shape[1] - 1
    table = np.zeros((drawn.instances, len(distinct), width))
    np.add.at(table, (row, number), records[:, 1:])
    sums = drawn.counts @ table.reshape(len(table), -1)
    return sums.reshape(len(drawn), len(distinct), width)


class MeanOfInstances(StructureMetric, MeanMetric):
    """One score an instance, 0 when it counts as wrong; the task's score is the mean."""

    def measure_worst(self, reference: Any) -> Sequence[float]:
        return (0.0,)


# Mean intersection over union ------------------------------------------------------------------

#: What an instance of `miou` is; the first number of its first record (a class id in all others).
_MASK, _LABELS, _VIDEO = -1.0, -2.0, -3.0


@dataclass(frozen=True, slots=True)
class _Video:
    """Masks of a video: frames of each object, a mask or null each; ids of frames if they are named."""

    objects: dict[str, list[Any]]
    frames: list[str] | None = None


#: A mask a frame; None is an empty one.
_Masks = list[Rle | None]


@dataclass(frozen=True, slots=True)
class _VideoRuns:
    """A reference video with its masks read; objects as in `video`."""

    video: _Video
    masks: dict[str, _Masks]


class _VideoRecords(list[float]):
    """Records of a video that are empty until the frames of all videos are compared, at once."""

    def __init__(self, objects: Sequence[Sequence[tuple[Rle, Rle]]]) -> None:
        """Of the frames of each object, a pair of masks each."""
        super().__init__()
        self.objects = objects

    @classmethod
    def count(cls, videos: Sequence[_VideoRecords]) -> None:
        """Fills in the records of the videos."""
        objects = [pairs for video in videos for pairs in video.objects]
        counts = rle_overlaps(list(chain.from_iterable(objects)))
        ends = np.cumsum([0, *map(len, objects)])
        sums = (np.diff(np.append(0, np.cumsum(column))[ends]).tolist() for column in counts)
        overlaps = zip(*sums, strict=True)
        for video in videos:
            records = [_VIDEO, 0.0, 0.0]
            for number, (shared, either) in enumerate(islice(overlaps, len(video.objects))):
                records += [float(number), float(shared), float(either)]
            video[:] = records


@register
class MeanIntersectionOverUnion(StructureMetric):
    """mIoU of label maps, masks, point labels and videos; 0..1, higher is better.

    What the reference is decides how the instance is measured:

    - *Label map* or *labels of points* (an image of class ids, .npy, .npz, nested lists; any shape,
      the same on both sides): intersections and unions of each class are summed over all instances;
      the score is the mean IoU of the classes that occur in a reference or a prediction. Elements
      whose reference is 255 or negative are ignored; a prediction of 255 or below 0 is no class.
    - *Mask* (COCO RLE, polygons, a JPEG, or a label map that holds only 0 and 255 or only 0 and 1):
      IoU of what is not 0; the score is the mean over the images, as the published video scorer
      takes the mean over videos (it publishes none for images). Both empty: 1. When some of the
      instances are label maps, a mask counts with its classes.
    - *Video*: `{object id: {"mask": [mask or null a frame]}}`, `{"mask": [...]}`, a list of masks, or
      a folder of mask images. A mask is a COCO RLE, polygons, an image or an array; null is empty.
      IoU of an object is the sum of its intersections over the sum of its unions, over the frames;
      the score is the mean over the objects of a video, then over the videos. Where each id has a
      single mask, as the published scorer reads it, ids are the frames of one object. Objects in
      neither side are left out; a video without any scores 0, as published.

    Agrees with per-pixel loops over decoded masks, and with the published scorer on videos of one
    object. Jaccard index; PASCAL VOC (doi:10.1007/s11263-014-0733-5), FCN (arXiv:1411.4038).
    """

    id = "miou"
    payload = "json"
    statistics = ("stats",)
    variable = True

    def decoded(self, documents: pl.Series) -> Iterable[Any]:
        return rles_decoded(super().decoded(documents))

    def read_reference(self, value: Any) -> _VideoRuns | Rle | Array:
        video = _read_video(value)
        if video is not None:
            if not all(video.objects.values()):
                raise Refused("the reference video has no frames")
            masks = {name: _read_frames(frames) for name, frames in video.objects.items()}
            return _VideoRuns(video, masks)
        picture = _read_picture(value)
        if isinstance(picture, Rle) or _holds_mask(picture):
            return picture
        if not _any_class(picture):
            raise Refused("every element of the reference is ignored (255 or negative)")
        return picture

    def measure(self, prediction: Any, reference: _VideoRuns | Rle | Array) -> list[float]:
        if isinstance(reference, _VideoRuns):
            objects = [_frame_pairs(*pair) for pair in _matched(prediction, reference)]
            return _VideoRecords(objects)
        size = reference.size if isinstance(reference, Rle) else reference.shape
        of_image = len(size) == 2 and size[1] > 1
        given = _read_picture(prediction, (size[0], size[1]) if of_image else None)
        if isinstance(given, Rle) and isinstance(reference, Rle):
            return _mask_overlaps(*rle_overlap(given, reference), math.prod(size))
        expected = _array(reference)
        labels = alike(_array(given), expected)
        if isinstance(reference, Rle):
            return _mask_overlaps(*_overlap(labels != 0, expected != 0), math.prod(size))
        if _holds_mask(expected):
            head = [_MASK, *map(float, _overlap(labels != 0, expected != 0))]
        elif isinstance(given, Rle) or is_mask(prediction):
            raise Refused("expected a map of class ids, found a mask of one class")
        else:
            head = [_LABELS, 0.0, 0.0]
        return head + _class_overlaps(labels, expected).ravel().tolist()

    def _frame(self, rows: Sequence[Any]) -> pl.DataFrame:
        _VideoRecords.count([row.values for row in rows if isinstance(row.values, _VideoRecords)])
        return super()._frame(rows)

    def measure_worst(self, reference: _VideoRuns | Rle | Array) -> list[float]:
        if isinstance(reference, _VideoRuns):
            areas = [
                sum(mask.area for mask in masks if mask is not None)
                for masks in reference.masks.values()
            ]
            objects = [[float(k), 0.0, float(area)] for k, area in enumerate(areas)]
            return [_VIDEO, 0.0, 0.0, *(number for record in objects for number in record)]
        expected = _array(reference)
        area = float(max(np.count_nonzero(expected), 1))
        head = [_MASK, 0.0, area] if _holds_mask(expected) else [_LABELS, 0.0, 0.0]
        nothing = np.full_like(expected, IGNORED)
        return head + _class_overlaps(nothing, expected).ravel().tolist()

    def aggregate(self, stats: pl.DataFrame) -> float:
        row, records = records_of(stats, 3)
        is_head = records[:, 0] < 0
        if (records[:, 0] == _LABELS).any():
            by_class = records[~is_head]
            _, sums = sums_of(by_class[:, 0].astype(np.int64), by_class[:, 1:])
            return float((sums[:, 0] / sums[:, 1]).mean())
        return float(self._scores(row, records).mean())

    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        return pl.Series(self._scores(*records_of(stats, 3)), dtype=pl.Float64)

    def resample(self, stats: pl.DataFrame, drawn: Samples) -> Floats:
        row, records = records_of(stats, 3)
        if not (records[:, 0] == _LABELS).any():
            return drawn.means(self.instance_scores(stats))
        by_class = records[:, 0] >= 0
        sums = drawn_sums_of(row[by_class], records[by_class], drawn)
        shared, union = sums[..., 0], sums[..., 1]
        ratios = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        return ratios.sum(axis=1) / (union > 0).sum(axis=1)

    def _scores(self, row: Ints, records: Floats) -> Floats:
        """Of a mask its IoU; otherwise the mean over the classes or objects, 0 without any."""
        is_head = records[:, 0] < 0
        head = records[is_head]
        items = ~is_head & (records[:, 2] > 0)
        ratios = records[items, 1] / records[items, 2]
        total = np.bincount(row[items], ratios, len(head))
        means = total / np.maximum(np.bincount(row[items], minlength=len(head)), 1)
        masks = np.where(head[:, 2] > 0, head[:, 1] / np.maximum(head[:, 2], 1), 1.0)
        return np.where(head[:, 0] == _MASK, masks, means)


def _holds_mask(labels: Array) -> bool:
    """Whether labels of an image (not of points) are a binary mask: 0 and 255, or 0 and 1."""
    if labels.ndim < 2 or labels.shape[-1] == 1:
        return False
    top = labels.max()
    # One row in the middle mostly shows that there are more classes.
    return top in (0, 1, IGNORED) and all(
        bool(((part == 0) | (part == top)).all()) for part in (labels[len(labels) // 2], labels)
    )


def _has_class(labels: Array) -> Bools:
    valid = labels != IGNORED
    return valid if labels.dtype.kind == "u" else valid & (labels >= 0)


def _any_class(labels: Array) -> bool:
    """Whether any element has a class."""
    if labels.dtype == np.uint8:
        return bool(labels.min() < IGNORED)
    return bool(_has_class(labels).any())


def _counts(codes: Array, count: int) -> Array:
    """How often each number below `count` occurs, (count,); mostly neighbours are the same."""
    changes = codes[1:] != codes[:-1]
    if 8 * np.count_nonzero(changes) > len(codes):
        return np.bincount(codes, minlength=count)
    ends = np.append(np.flatnonzero(changes), len(codes) - 1)
    return np.bincount(codes[ends], np.diff(ends, prepend=-1), count)


def _all_have_classes(labels: Array) -> bool:
    return labels.max(initial=0) < IGNORED and labels.min(initial=0) >= 0


def _mask_overlaps(shared: int, either: int, pixels: int) -> list[float]:
    """Records of two masks: outside is class 0, inside class 1."""
    background = [0.0, float(pixels - either), float(pixels - shared)] if pixels > shared else []
    inside = [1.0, float(shared), float(either)] if either else []
    return [_MASK, float(shared), float(either), *background, *inside]


def _class_overlaps(prediction: Array, reference: Array) -> Floats:
    """Class, intersection and union of the classes that occur where the reference has a class."""
    if prediction.dtype == reference.dtype == np.uint8 and reference.size >= _COUNTED_AT_ONCE:
        # 255 goes round to 0, class 0 to 1: no more counters than the classes there are.
        rows, columns = reference + np.uint8(1), prediction + np.uint8(1)
        size = 1 + int(max(rows.max(), columns.max()))
        codes = np.multiply(rows, size, dtype=np.uint16)
        codes += columns
        pairs = _counts(codes.ravel(), size**2).reshape(size, size)[1:]
        shared, present = pairs[:, 1:].diagonal(), pairs.sum(axis=1)
        either = pairs[:, 1:].sum(axis=0) + present - shared
    else:
        given, expected = prediction.ravel(), reference.ravel()
        if not _all_have_classes(expected):
            valid = _has_class(expected)
            given, expected = given[valid], expected[valid]
        hits = expected[given == expected]
        if not _all_have_classes(given):
            given = given[_has_class(given)]
        top = 1 + max(int(part.max(initial=0)) for part in (given, expected))
        shared, named, present = (
            np.bincount(part, minlength=top) for part in (hits, given, expected)
        )
        either = named + present - shared
    classes = np.flatnonzero(either)
    return np.stack([classes, shared[classes], either[classes]], axis=1).astype(np.float64)


# Videos ----------------------------------------------------------------------------------------


def _read_video(value: Any) -> _Video | None:
    """The masks of a video, none of them read yet; None when the value is no video."""
    frames = _frames_of(value)
    if frames is not None:
        return _Video({"": frames})
    inner, _ = unwrap(value)
    if not isinstance(value, dict) or inner is not value or "counts" in value or is_file(value):
        return None
    items = {name: value[name] for name in sorted(value, key=_natural)}
    objects = {name: _frames_of(item) for name, item in items.items()}
    if items and all(frames is not None for frames in objects.values()):
        return _Video({name: frames or [] for name, frames in objects.items()})
    if items and all(_is_frame(item) for item in items.values()):
        return _Video({"": list(items.values())}, list(items))
    return None


def _frames_of(value: Any) -> list[Any] | None:
    """One mask a frame, or None when the value is something else."""
    inner, _ = unwrap(value)
    if is_folder(inner):
        return [{"$file": file} for file in inner["$files"]]
    if not isinstance(inner, list) or not inner:
        return None
    are_frames = all(frame is None or isinstance(frame, (dict, Rle)) for frame in inner)
    return inner if are_frames else None


def _is_frame(value: Any) -> bool:
    inner, _ = unwrap(value)
    return inner is None or is_mask(value) or is_file(inner)


def _natural(name: str) -> tuple[bool, int, str]:
    """Order of ids: whole numbers by value, then the others."""
    digits = name.lstrip("0")
    return (False, len(digits), digits) if name.isdecimal() else (True, 0, name)


def _read_frames(frames: Sequence[Any], size: Size | None = None) -> _Masks:
    """The masks of one object as runs; all RLE are decoded at once. Polygons may need the size."""
    if set(map(type, frames)) <= {Rle, type(None)}:
        return list(frames)
    inner = [unwrap(frame)[0] for frame in frames]
    are_rles = [is_rle(frame) for frame in inner]
    runs = iter(read_rles([frame for frame, yes in zip(inner, are_rles, strict=True) if yes]))
    masks: _Masks = []
    for frame, mask_inside, yes in zip(frames, inner, are_rles, strict=True):
        if yes or mask_inside is None:
            masks.append(next(runs) if yes else None)
        else:
            mask = read_mask(frame, size)
            masks.append(mask if isinstance(mask, Rle) else Rle.of(mask))
    return masks


def _matched(value: Any, reference: _VideoRuns) -> list[tuple[_Masks, _Masks]]:
    """Predicted and expected masks of each object of the reference."""
    video = _read_video(value)
    if video is None:
        raise Refused("expected the masks of a video: one a frame, or {object id: {'mask': [...]}}")
    pairs = []
    objects = _paired_objects(video, reference.video)
    for name, expected in reference.masks.items():
        frames = objects[name]
        if frames is None:
            frames = [None] * len(expected)
        elif video.frames is not None and reference.video.frames is not None:
            frames = _ordered(frames, video.frames, reference.video.frames)
        if len(frames) != len(expected):
            raise Refused(f"expected masks of {len(expected)} frames, found {len(frames)}")
        size = next((mask.size for mask in expected if mask is not None), None)
        pairs.append((_read_frames(frames, size), expected))
    return pairs


def _paired_objects(given: _Video, expected: _Video) -> dict[str, list[Any] | None]:
    """Frames predicted for each object of the reference; one object on both sides needs no id."""
    if len(given.objects) == len(expected.objects) == 1:
        return dict(zip(expected.objects, given.objects.values(), strict=True))
    unknown = given.objects.keys() - expected.objects.keys()
    if unknown:
        raise Refused(
            f"expected the objects {', '.join(expected.objects)}; {min(unknown)!r} is none of them"
        )
    return {name: given.objects.get(name) for name in expected.objects}


def _ordered(frames: Sequence[Any], names: Sequence[str], wanted: Sequence[str]) -> list[Any]:
    unknown = set(names) - set(wanted)
    if unknown:
        raise Refused(f"the frame {min(unknown)!r} is not in the reference")
    found = dict(zip(names, frames, strict=True))
    return [found.get(name) for name in wanted]


def _frame_pairs(first: _Masks, second: _Masks) -> list[tuple[Rle, Rle]]:
    """Masks of two videos frame by frame."""
    sizes = {mask.size for mask in (*first, *second) if mask is not None}
    if len(sizes) > 1:
        raise Refused(f"masks of different sizes: {', '.join(map(by, sorted(sizes)))}")
    empty = Rle(sizes.pop() if sizes else (1, 1), np.zeros(0, dtype=np.int64))
    return [(a or empty, b or empty) for a, b in zip(first, second, strict=True)]


# Parts of shapes -------------------------------------------------------------------------------

#: ShapeNet-Part: categories and their parts, numbered through from 0 to 49.
SHAPENET_PARTS = {
    "airplane": range(0, 4),
    "bag": range(4, 6),
    "cap": range(6, 8),
    "car": range(8, 12),
    "chair": range(12, 16),
    "earphone": range(16, 19),
    "guitar": range(19, 22),
    "knife": range(22, 24),
    "lamp": range(24, 28),
    "laptop": range(28, 30),
    "motorbike": range(30, 36),
    "mug": range(36, 38),
    "pistol": range(38, 41),
    "rocket": range(41, 44),
    "skateboard": range(44, 47),
    "table": range(47, 50),
}


@dataclass(frozen=True, slots=True)
class _Shape:
    labels: Ints
    parts: frozenset[int]


@register
class InstanceMeanIoU(MeanOfInstances):
    """Instance mIoU of 3D part segmentation: mean IoU of a shape's parts, then of the shapes; 0..1.

    All the parts of the shape's category count; one that neither side has scores 1 (PointNet,
    arXiv:1612.00593, on ShapeNet-Part). Higher is better.

    A prediction is the part of each point: a list of whole numbers, or .npy, .npz. So is a
    reference, by default in ShapeNet-Part's own numbering of 50 parts (airplane 0-3, bag 4-5, ...,
    table 47-49), which tells the category. `{"labels": ..., "parts": [1, 2, 3]}` names the parts
    that the category has in any other numbering; `{"labels": ..., "category": "Mug"}` the category.
    A predicted part of another category is a miss, no part of its own.
    """

    id = "instance_miou"
    version = 2
    payload = "json"

    def read_reference(self, value: Any) -> _Shape:
        labels = read_labels(value).ravel().astype(np.int64)
        if isinstance(value, dict) and "parts" in value:
            parts = frozenset(read_labels(value["parts"]).ravel().tolist())
            found = "the parts named"
        else:
            name = value.get("category") if isinstance(value, dict) else None
            name = self._category(labels) if name is None else str(name).lower()
            if name not in SHAPENET_PARTS:
                raise Refused(f"{name!r} is no category of ShapeNet-Part: expected 'parts' beside")
            parts, found = frozenset(SHAPENET_PARTS[name]), f"the parts of ShapeNet-Part's {name!r}"
        counted = labels.min() >= 0
        present = np.flatnonzero(np.bincount(labels)) if counted else np.unique(labels)
        if not parts.issuperset(present.tolist()):
            raise Refused(f"a label of the reference is none of {found}: expected 'parts' beside")
        return _Shape(labels, parts)

    @staticmethod
    def _category(labels: Ints) -> str | None:
        first = int(labels[0])
        return next((name for name, parts in SHAPENET_PARTS.items() if first in parts), None)

    def measure(self, prediction: Any, reference: _Shape) -> Sequence[float]:
        given = alike(read_labels(prediction), reference.labels)
        overlaps = _class_overlaps(given, reference.labels).tolist()
        ious = [shared / either for part, shared, either in overlaps if part in reference.parts]
        absent = len(reference.parts) - len(ious)
        return ((sum(ious) + absent) / len(reference.parts),)


# Dice ------------------------------------------------------------------------------------------


@register
class Dice(StructureMetric):
    """Dice similarity: 2 |A and B| / (|A| + |B|) of an image, mean over the images; 0..1.

    Both masks empty: 1; one empty: 0. Higher is better. Predictions and references are masks in any
    spelling of `masks.read_mask` (COCO RLE, polygons, image, array; polygons of a prediction need no
    size), or a list of such masks, whose union counts. Agrees with `2 TP / (2 TP + FP + FN)`.
    """

    id = "dice"
    payload = "json"
    statistics = ("shared", "total")

    def decoded(self, documents: pl.Series) -> Iterable[Any]:
        return rles_decoded(super().decoded(documents))

    def read_reference(self, value: Any) -> Mask:
        return _read_union(value, None)

    def measure(self, prediction: Any, reference: Mask) -> Sequence[float]:
        size = reference.size if isinstance(reference, Rle) else reference.shape
        given = _read_union(prediction, (size[0], size[1]))
        shared, either = _overlap(given, reference)
        return float(shared), float(shared + either)

    def measure_worst(self, reference: Mask) -> Sequence[float]:
        area = reference.area if isinstance(reference, Rle) else np.count_nonzero(reference)
        return 0.0, float(max(area, 1))

    def aggregate(self, stats: pl.DataFrame) -> float:
        return float(self.instance_scores(stats).mean())  # type: ignore[arg-type]

    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        ratio = 2 * pl.col("shared") / pl.col("total")
        return stats.select(pl.when(pl.col("total") > 0).then(ratio).otherwise(1.0))[:, 0]

    def resample(self, stats: pl.DataFrame, drawn: Samples) -> Floats:
        return drawn.means(self.instance_scores(stats))


def _read_union(value: Any, size: Size | None) -> Mask:
    if not (isinstance(value, list) and value and all(isinstance(v, (dict, Rle)) for v in value)):
        return read_mask(value, size)
    first, *others = (read_mask(item, size) for item in value)
    if not others:
        return first
    union = first.array() if isinstance(first, Rle) else first.copy()
    for other in others:
        mask = other.array() if isinstance(other, Rle) else other
        if mask.shape != union.shape:
            raise Refused(f"masks of different sizes: {by(union.shape)}, {by(mask.shape)}")
        union |= mask
    return union


def _overlap(a: Mask, b: Mask) -> tuple[int, int]:
    """Pixels of the intersection and of the union; sizes are the same."""
    if isinstance(a, Rle) and isinstance(b, Rle):
        return rle_overlap(a, b)
    a, b = (mask.array() if isinstance(mask, Rle) else mask for mask in (a, b))
    return int(np.count_nonzero(a & b)), int(np.count_nonzero(a | b))


# Region and boundary ---------------------------------------------------------------------------


class RegionAndBoundary(MeanOfInstances):
    """J&F of video object segmentation (DAVIS, arXiv:1704.00675); 0..1, higher is better.

    Mean of region similarity J (IoU) and boundary accuracy F of each frame, over the frames of an
    object, the objects of a video, and the videos. Every frame given counts. Masks as in `miou`.
    Both masks empty: J and F are 1. Not in the catalogue: for a user's own tasks.
    """

    id = "j_and_f"
    payload = "json"

    def read_reference(self, value: Any) -> _VideoRuns:
        reference = MeanIntersectionOverUnion().read_reference(value)
        if not isinstance(reference, _VideoRuns):
            raise Refused("expected the masks of a video: one a frame")
        return reference

    def measure(self, prediction: Any, reference: _VideoRuns) -> Sequence[float]:
        objects = []
        for given, expected in _matched(prediction, reference):
            pairs = _frame_pairs(given, expected)
            frames = [_region_and_boundary(*masks) for masks in pairs]
            objects.append(math.fsum(frames) / len(frames))
        return (math.fsum(objects) / len(objects),)


def _region_and_boundary(prediction: Rle, reference: Rle) -> float:
    shared, either = rle_overlap(prediction, reference)
    region = shared / either if either else 1.0
    return (region + boundary_f(prediction.array(), reference.array())) / 2


def boundary_f(prediction: Bools, reference: Bools, bound: float = 0.008) -> float:
    """F-measure of the boundaries; they match within `bound` times the diagonal."""
    reach = math.ceil(bound * math.hypot(*reference.shape))
    given, expected = _boundary(prediction), _boundary(reference)
    if not given.any() or not expected.any():
        return float(given.any() == expected.any())
    precision = (_distances(expected)[given] <= reach).mean()
    recall = (_distances(given)[expected] <= reach).mean()
    total = precision + recall
    return float(2 * precision * recall / total) if total else 0.0


def _distances(boundary: Bools) -> Floats:
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(~boundary))


def _boundary(mask: Bools) -> Bools:
    """Pixels that differ from the one to the right, below, or both; the last row and column do so
    along themselves alone."""
    right, below, both = mask.copy(), mask.copy(), mask.copy()
    right[:, :-1], below[:-1], both[:-1, :-1] = mask[:, 1:], mask[1:], mask[1:, 1:]
    edge = (mask != right) | (mask != below) | (mask != both)
    edge[-1] = mask[-1] != right[-1]
    edge[:, -1] = mask[:, -1] != below[:, -1]
    edge[-1, -1] = False
    return edge
