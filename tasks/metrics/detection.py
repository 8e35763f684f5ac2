"""Average precision of detections in the COCO protocol: boxes, masks, keypoints, boxes in space,
sets of points; and the recall of relation triples.

An image's statistics are its outcomes, not its score: how many objects of each class there were,
and for every detection its score and at which thresholds it was right. Precision and recall are
made from them for any set of images, as COCO makes them from all.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any, ClassVar

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa

from tasks.media import Refused, decode, is_file, load_array
from tasks.metrics.base import Batch, Metric, StructureMetric, register
from tasks.metrics.boxes import (
    Bools,
    Floats,
    Ints,
    box3d_iou,
    box_iou,
    keypoint_similarity,
    run_iou,
)
from tasks.metrics.masks import (
    Rle,
    Size,
    by,
    is_rle,
    read_mask,
    read_rles,
    read_size,
    try_rles,
    unwrap,
)

_COCO_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0.0, 1.0, 101)

Entry = dict[str, Any]

#: Under which an object may list its detections.
_LISTS = ("detections", "annotations", "objects", "instances", "predictions")
#: Columns of an object that holds all detections at once, and the field of one detection.
_COLUMNS = {
    "boxes": "box",
    "bboxes": "bbox",
    "boxes_3d": "box_3d",
    "masks": "mask",
    "segmentations": "segmentation",
    "scores": "score",
    "confidences": "confidence",
    "labels": "label",
    "classes": "class",
    "categories": "category",
    "category_ids": "category_id",
    "areas": "area",
    "keypoints": "keypoints",
    "iscrowd": "iscrowd",
}
_LABELS = ("label", "category", "category_id", "class")
_WRAPPED_MASKS = ("mask", "segmentation", "polygons", "polygon", "rle")
_MASKS = (*_WRAPPED_MASKS, "counts")
_BOXES = ("bbox", "box", "bbox_2d")
_BOXES_3D = ("box_3d", "box3d", "bbox_3d", "bbox3d", "box", "bbox")
_POINTS = ("points", "indices", "point_indices", "mask")
#: The label number of what has no label.
_UNLABELLED = 0
#: No number may be larger: volumes and squares of those up to it are still finite.
_LARGEST = 1e100
#: Numbers of the arrays that a comparison of pairs may fill at once.
_PAIR_NUMBERS = 8_000_000


def _value(value: Any) -> Any:
    """A document's value; a text that is itself a JSON document is read (models answer in text)."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        raise Refused(f"expected a structure, found the text {value!r:.60}") from None


def _entries(value: Any, sizes: Sequence[int], scored: bool) -> list[Entry]:
    """The detections or reference objects of one image, one mapping each.

    Args:
        sizes: how many numbers a box given as a plain list may have.
        scored: whether a plain list goes on with a score (predictions) or a label (references).
    """
    value = _value(value)
    if isinstance(value, dict) and not is_file(value):
        value = _rows(value)
    elif isinstance(value, list) and value and not isinstance(value[0], (dict, list)):
        value = [value]
    if not isinstance(value, list):
        raise Refused("expected a list of objects or of boxes")
    return [item if type(item) is dict else _plain(item, sizes, scored) for item in value]


def _rows(value: Entry) -> list[Any]:
    for name in _LISTS:
        if isinstance(value.get(name), list):
            return value[name]
    # `keypoints` alone is one person's, or the list of everybody's.
    several = any(name in value for name in _COLUMNS if name not in ("keypoints", "iscrowd"))
    if not several:
        return [value]
    columns = {_COLUMNS[n]: v for n, v in value.items() if n in _COLUMNS and v is not None}
    if not all(isinstance(column, list) for column in columns.values()):
        raise Refused(f"expected lists under {', '.join(columns)}")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{length} of {name}" for name, length in lengths.items())
        raise Refused(f"expected as many of each, found {found}")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain(item: Any, sizes: Sequence[int], scored: bool) -> Entry:
    if not isinstance(item, list):
        raise Refused(f"expected an object or a box in the list, found {item!r:.60}")
    rest = list(item)
    label = rest.pop() if rest and isinstance(rest[-1], str) else None
    size = max((size for size in sizes if size <= len(rest)), default=0)
    entry, extra = {"box": rest[:size]}, rest[size:]
    if scored and extra:
        entry["score"] = extra.pop(0)
    if extra and label is None:
        label = extra.pop(0)
    if not size or extra:
        wanted = " or ".join(map(str, sizes)) or "no"
        raise Refused(f"expected a box of {wanted} numbers, found {item!r:.80}")
    return entry if label is None else entry | {"label": label}


def _first(entry: Entry, names: Sequence[str]) -> Any:
    for name in names:
        if (value := entry.get(name)) is not None:
            return value
    return None


def _floats(rows: list[Any], what: str) -> Floats:
    try:
        array = load_array(rows).astype(np.float64)
    except Refused as error:
        raise Refused(f"{what}: {error}") from None
    if np.abs(array).max() > _LARGEST:
        raise Refused(f"{what}: a number is beyond {_LARGEST}")
    return array


def _scores(entries: Sequence[Entry]) -> Floats:
    """Confidences; a detection without one counts as certain."""
    scores = [entry.get("score", entry.get("confidence", 1.0)) for entry in entries]
    if not scores:
        return np.zeros(0)
    array = _floats(scores, "the scores")
    if array.ndim != 1:
        raise Refused("expected a number as the score")
    return array


def _labels(entries: Sequence[Entry]) -> Ints:
    labels = [_first(entry, _LABELS) for entry in entries]
    if None in labels:
        if any(label is not None for label in labels):
            raise Refused("some of the objects have a label and others have none")
        return np.full(len(labels), _UNLABELLED)
    try:
        return np.array([_label_number(label) for label in labels], dtype=np.int64)
    except TypeError:
        raise Refused("expected a text or a number as the label") from None


@lru_cache(maxsize=65536, typed=True)
def _label_number(label: str | float) -> int:
    """A number for a label, the same in every run, that a float holds exactly; never 0."""
    if isinstance(label, bool) or not isinstance(label, (str, int, float)):
        raise TypeError(label)
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    return _number48(str(label).strip()) or 1


def _number48(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest(), "big")


class _Shape(ABC):
    """How one image's detections and references are read and compared."""

    #: Numbers that the comparison of one pair fills, roughly.
    cost: int = 10

    @abstractmethod
    def read(self, entries: Sequence[Entry], *, scored: bool) -> Any:
        """The shapes: an array with one row each, or a list. Raises `Refused`."""

    @abstractmethod
    def similarity(self, given: Any, expected: Any, i: Ints, j: Ints, crowd: Bools) -> Floats:
        """How alike shapes `given[i]` and `expected[j]` are, 0..1, pair by pair."""

    def void(self, expected: Any) -> Bools:
        """Which reference shapes cannot be asked for, whatever their `iscrowd`."""
        return np.zeros(len(expected), dtype=bool)

    @property
    def kind(self) -> Hashable:
        """Shapes of equal kind are compared together."""
        return self


@dataclass(frozen=True)
class _Boxes(_Shape):
    """Boxes in an image, rows of x1, y1, x2, y2, area."""

    def read(self, entries: Sequence[Entry], *, scored: bool) -> Floats:
        if not entries:
            return np.zeros((0, 5))
        rows = [_first(entry, _BOXES) for entry in entries]
        if any(row is None for row in rows):
            raise Refused("expected a box: [x, y, w, h] as bbox or [x1, y1, x2, y2] as box")
        array = _floats(rows, "the boxes")
        if array.shape != (len(rows), 4):
            raise Refused(f"expected boxes of 4 numbers, found shape {array.shape[1:]}")
        sized = np.array([entry.get("bbox") is not None for entry in entries])[:, None]
        first, second = array[:, :2], array[:, 2:]
        sides = np.where(sized, second, second - first)
        if (sides < 0).any():
            bad = array[(sides < 0).any(axis=1)][0].tolist()
            raise Refused(f"the box {bad} has a negative width or height")
        boxes = np.empty((len(rows), 5))
        boxes[:, :2], boxes[:, 2:4] = first, np.where(sized, first + second, second)
        boxes[:, 4] = sides[:, 0] * sides[:, 1]
        return boxes

    def similarity(self, given: Floats, expected: Floats, i: Ints, j: Ints, crowd: Bools) -> Floats:
        return box_iou(given[i], expected[j], crowd)


@dataclass(frozen=True)
class _Boxes3d(_Shape):
    """Boxes in space, rows of x, y, z, dx, dy, dz, yaw."""

    cost = 400

    def read(self, entries: Sequence[Entry], *, scored: bool) -> Floats:
        rows = [self._row(entry) for entry in entries]
        if not rows:
            return np.zeros((0, 7))
        array = _floats(rows, "the boxes")
        if array.shape != (len(rows), 7):
            raise Refused("expected boxes [x, y, z, dx, dy, dz] or [x, y, z, dx, dy, dz, yaw]")
        if (array[:, 3:6] < 0).any():
            raise Refused("a box has a negative size")
        return array

    def _row(self, entry: Entry) -> list[Any]:
        row = _first(entry, _BOXES_3D)
        if row is None and "center" in entry and "size" in entry:
            parts = entry["center"], entry["size"]
            if not all(isinstance(part, list) and len(part) == 3 for part in parts):
                raise Refused("expected center and size as lists of 3 numbers")
            row = [*parts[0], *parts[1], entry.get("yaw", 0.0)]
        if not isinstance(row, list):
            raise Refused("expected a box [x, y, z, dx, dy, dz(, yaw)]")
        return [*row, 0.0] if len(row) == 6 else row

    def similarity(self, given: Floats, expected: Floats, i: Ints, j: Ints, crowd: Bools) -> Floats:
        return box3d_iou(given[i], expected[j])


class _Runs(_Shape):
    """Sets of positions, each as its runs."""

    cost = 400

    def similarity(
        self, given: list[Ints], expected: list[Ints], i: Ints, j: Ints, crowd: Bools
    ) -> Floats:
        return run_iou(given, expected, i, j, crowd)


@dataclass(frozen=True)
class _Masks(_Runs):
    """Masks of one image of that height and width."""

    size: Size | None

    @property
    def kind(self) -> Hashable:
        return _Masks

    def read(self, entries: Sequence[Entry], *, scored: bool) -> list[Ints]:
        if not all(_has_any(entry, _MASKS) for entry in entries):
            raise Refused("expected a mask of every object: COCO RLE, polygons, an image ...")
        values = [unwrap(entry)[0] for entry in entries]
        if all(map(is_rle, values)):
            masks = read_rles(values)
        else:
            read = [read_mask(entry, self.size) for entry in entries]
            masks = [mask if isinstance(mask, Rle) else Rle.of(mask) for mask in read]
        for mask in masks:
            if mask.size != (size := self.size or masks[0].size):
                raise Refused(f"expected a mask of {by(size)}, found one of {by(mask.size)}")
        return [mask.edges for mask in masks]


@dataclass(frozen=True)
class _PointSets(_Runs):
    """Instances in a point cloud, each the numbers of its points."""

    def read(self, entries: Sequence[Entry], *, scored: bool) -> list[Ints]:
        return [self._runs(_first(entry, _POINTS)) for entry in entries]

    def _runs(self, value: Any) -> Ints:
        if value is None:
            raise Refused("expected the indices of an instance's points")
        array = load_array(value)
        if array.ndim != 1 or array.dtype.kind not in "iu" or array.min() < 0:
            raise Refused("expected indices of points: a list of whole numbers from 0 on")
        indices = np.sort(array.astype(np.int64))
        if (indices[1:] == indices[:-1]).any():
            raise Refused("expected indices of points (not a mask of 0 and 1), found one twice")
        begins = np.flatnonzero(np.diff(indices, prepend=-2) > 1)
        ends = np.append(begins[1:], len(indices)) - 1
        return np.column_stack([indices[begins], indices[ends] + 1]).ravel()


@dataclass(frozen=True)
class _Keypoints(_Shape):
    """Keypoints, rows of area, a box twice as large as the object, and x, y, visibility of each."""

    count: int

    @property
    def cost(self) -> int:
        return 10 * max(self.count, 1)

    def read(self, entries: Sequence[Entry], *, scored: bool) -> Floats:
        width = 5 + 3 * self.count
        if not entries:
            return np.zeros((0, width))
        rows = [entry.get("keypoints") for entry in entries]
        array = _floats(rows, "the keypoints")
        if array.ndim == 3 and array.shape[2] == 2:
            array = np.pad(array, ((0, 0), (0, 0), (0, 1)), constant_values=2)
        if array.ndim == 2 and array.shape[1] % 3 == 0:
            array = array.reshape(len(array), -1, 3)
        if array.shape[1:] != (self.count, 3):
            raise Refused(f"expected {self.count} keypoints x, y, v, found {array.shape[1:]}")
        table = np.zeros((len(array), width))
        table[:, 5:] = array.reshape(len(array), -1)
        if not scored:
            table[:, :5] = [self._extent(e, k) for e, k in zip(entries, array, strict=True)]
        return table

    def _extent(self, entry: Entry, keypoints: Floats) -> list[float]:
        """Area and box of a reference, the box doubled on every side as COCO does."""
        labelled = keypoints[keypoints[:, 2] > 0, :2]
        if _has_any(entry, _BOXES):
            x1, y1, x2, y2, area = _Boxes().read([entry], scored=False)[0]
        elif len(labelled):
            (x1, y1), (x2, y2) = labelled.min(axis=0), labelled.max(axis=0)
            area = (x2 - x1) * (y2 - y1)
        else:
            # Nowhere: nothing resembles it.
            return [0.0, np.inf, np.inf, -np.inf, -np.inf]
        if "area" in entry:
            area = _floats([entry["area"]], "the area")[0]
        if area < 0:
            raise Refused("expected an area from 0 on")
        width, height = x2 - x1, y2 - y1
        return [area, x1 - width, y1 - height, x2 + width, y2 + height]

    def void(self, expected: Floats) -> Bools:
        return np.asarray(expected[:, 7::3].max(axis=1, initial=0.0) <= 0)

    def similarity(self, given: Floats, expected: Floats, i: Ints, j: Ints, crowd: Bools) -> Floats:
        keypoints = given[i, 5:].reshape(len(i), self.count, 3)
        return keypoint_similarity(keypoints, expected[j])


def _has_any(entry: Entry, names: Sequence[str]) -> bool:
    # Data sets of boxes often carry an empty list as segmentation.
    return any(map(entry.get, names))


def _mask_size(entries: Sequence[Entry]) -> Size | None:
    """Height and width of masks, as the first to state it does, or as far as polygons reach."""
    polygons: list[Any] = []
    for entry in entries:
        value, beside = unwrap(entry)
        if beside is not None:
            return beside
        if is_rle(value):
            return read_rles([value])[0].size
        if isinstance(value, list) and not isinstance(entry.get("mask"), list):
            polygons += value if value and isinstance(value[0], list) else [value]
    if not polygons:
        return None
    try:
        points = np.concatenate([np.asarray(p, dtype=np.float64).ravel() for p in polygons])
        width, height = (int(np.ceil(points[axis::2].max())) + 1 for axis in (0, 1))
    except (ValueError, TypeError, OverflowError):
        raise Refused("expected polygons [x1, y1, x2, y2, ...] of numbers") from None
    return read_size([max(height, 1), max(width, 1)])


@dataclass(slots=True)
class _Side:
    """The detections or the references of one image, and what was read for many images at once."""

    entries: list[Entry]
    boxes: Floats | None = None
    scores: Floats | None = None

    def shapes(self, shape: _Shape, *, scored: bool) -> Any:
        if self.boxes is not None and isinstance(shape, _Boxes):
            return self.boxes
        return shape.read(self.entries, scored=scored)


def _decode_masks(sides: Sequence[_Side]) -> None:
    """Puts decoded masks in place of all COCO RLE that are sound; others tell what is wrong when
    they are read."""
    found = [
        (entry, name)
        for side in sides
        for entry in side.entries
        for name in _WRAPPED_MASKS
        if is_rle(entry.get(name))
    ]
    for (entry, name), mask in zip(found, try_rles([e[n] for e, n in found]), strict=True):
        if isinstance(mask, Rle):
            entry[name] = mask


def _at_once(sides: Sequence[_Side], read: Callable[[list[Entry]], Floats]) -> list[Floats] | None:
    """What `read` makes of each side's entries; None when it refuses any of them."""
    try:
        rows = read([entry for side in sides for entry in side.entries])
    except Refused:
        return None
    ends = np.cumsum([0] + [len(side.entries) for side in sides]).tolist()
    return [rows[begin:end] for begin, end in pairwise(ends)]


@dataclass(frozen=True, slots=True)
class _Image:
    """One instance as read, or why it could not be."""

    shape: _Shape | None = None
    labels: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    scores: Floats = field(default_factory=lambda: np.zeros(0))
    given: Any = None
    reference_labels: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    crowd: Bools = field(default_factory=lambda: np.zeros(0, dtype=bool))
    expected: Any = None
    refused: str | None = None
    reference_refused: str | None = None


@dataclass(frozen=True, slots=True)
class _Records:
    """Outcomes of many images, one row each: `image`, and `label`, `value`, `outcome`.

    Of a class's references: value is how many were to be found, outcome is -1. Of a detection:
    value is its score; outcome has bit t set if it was right at threshold t, and bit T + t if it
    met a reference that does not count, of T thresholds.
    """

    image: Ints
    fields: Floats

    @classmethod
    def concatenated(cls, parts: Sequence[_Records]) -> _Records:
        if not parts:
            return cls(np.zeros(0, dtype=np.int64), np.zeros((0, 3)))
        return cls(
            np.concatenate([part.image for part in parts]),
            np.concatenate([part.fields for part in parts]),
        )

    def packed(self, headers: Ints) -> pl.Series:
        """One list an image: its header, then its records."""
        order = np.argsort(self.image, kind="stable")
        ends = np.cumsum(1 + 3 * np.bincount(self.image, minlength=len(headers)))
        flat = np.empty(len(headers) + 3 * len(order))
        starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
        is_record = np.ones(len(flat), dtype=bool)
        is_record[starts] = False
        flat[starts] = headers
        flat[is_record] = self.fields[order].ravel()
        offsets = pa.array(np.append(starts, len(flat)), pa.int64())
        lists = pa.LargeListArray.from_arrays(offsets, pa.array(flat))
        return pl.Series("stats", lists, dtype=pl.List(pl.Float64))

    @classmethod
    def unpacked(cls, stats: pl.Series) -> tuple[_Records, Ints]:
        """The records of the images, and each image's header."""
        lengths = stats.list.len().to_numpy().astype(np.int64)
        flat = stats.explode().to_numpy()
        starts = np.cumsum(lengths) - lengths
        fields = np.delete(flat, starts).reshape(-1, 3)
        image = np.repeat(np.arange(len(lengths)), (lengths - 1) // 3)
        return cls(image, fields), flat[starts].astype(np.int64)


class _AveragePrecision(Metric):
    """Mean over the classes, and over the thresholds, of the average precision; 0..1.

    The protocol of COCO (arXiv:1405.0312; pycocotools, `area` all): within an image and class the
    detections, most confident first, each take the free reference they are most alike, if they
    are so by the threshold. What meets only a crowd or ignored reference does not count. Precision
    is the mean of its envelope at the recalls 0, 0.01, ..., 1. Classes without references, and
    their detections, do not count; without any reference at all the score is 0.

    Detections of equal score: those of one image in the order given; those of several images in an
    order that comes from what the images hold, so that the order of the rows never matters
    (pycocotools goes by image id).

    Labels are texts or numbers, equal as stripped text. References without labels are one class,
    and the labels of detections are then not looked at. Detections without labels take part in a
    task whose references are all of one class; among several classes they find nothing.
    """

    payload = "json"
    statistics = ("stats",)
    variable = True
    thresholds: ClassVar[Floats] = _COCO_THRESHOLDS
    #: Detections of an image and class that are looked at, the most confident.
    max_detections: ClassVar[int] = 100
    #: How many numbers a box given as a plain list has.
    box_sizes: ClassVar[tuple[int, ...]] = ()

    @abstractmethod
    def shape(
        self, detections: Sequence[Entry], references: Sequence[Entry], task_type: str
    ) -> _Shape:
        """How an image is to be read and compared. Raises `Refused`."""

    def compute(self, batch: Batch) -> pl.DataFrame:
        documents, expected = batch.predictions.to_list(), batch.references.to_list()
        given = self._sides(documents, scored=True)
        wanted = self._sides(expected, scored=False)
        images = [self._read(*pair, batch.task_type) for pair in zip(given, wanted, strict=True)]
        headers = [_number48(f"{d}\n{e}") for d, e in zip(documents, expected, strict=True)]
        alike: dict[Hashable, list[int]] = defaultdict(list)
        for row, image in enumerate(images):
            if image.shape is not None:
                alike[image.shape.kind].append(row)
        parts = [self._outcomes(images, rows) for rows in alike.values()]
        stats = _Records.concatenated(parts).packed(np.array(headers, dtype=np.int64))
        reasons = {
            name: pl.Series([getattr(image, name) for image in images], dtype=pl.String)
            for name in ("refused", "reference_refused")
        }
        return pl.DataFrame({"stats": stats, **reasons})

    def worst(self, batch: Batch) -> pl.DataFrame:
        # Nothing found. What could be found wrongly has no bound.
        nothing = pl.Series(["[]"]).new_from_index(0, len(batch.references))
        return self.compute(Batch(nothing, batch.references, batch.task_type))

    def _sides(self, documents: Iterable[str], *, scored: bool) -> list[_Side | Refused]:
        """One side of all images, or why an image has none."""
        sides: list[_Side | Refused] = []
        packed = []
        for document in documents:
            try:
                side = _Side(_entries(decode(document), self.box_sizes, scored))
            except Refused as error:
                sides.append(error)
                continue
            sides.append(side)
            if '"counts"' in document:
                packed.append(side)
        _decode_masks(packed)
        good = [side for side in sides if isinstance(side, _Side)]
        if scored and (scores := _at_once(good, _scores)):
            for side, found in zip(good, scores, strict=True):
                side.scores = found
        self.prepare(good, scored=scored)
        return sides

    def prepare(self, sides: Sequence[_Side], *, scored: bool) -> None:
        """Reads for all images at once what can be."""

    def _read(self, given: _Side | Refused, expected: _Side | Refused, task_type: str) -> _Image:
        try:
            if isinstance(expected, Refused):
                raise expected
            references = expected.entries
            reference_labels = _labels(references)
            crowd = np.array([bool(entry.get("iscrowd")) for entry in references], dtype=bool)
            alone = self.shape((), references, task_type)
            shapes = expected.shapes(alone, scored=False)
        except Refused as error:
            return _Image(reference_refused=str(error))
        try:
            # The references alone could be read: what fails from here on is the prediction.
            if isinstance(given, Refused):
                raise given
            detections = given.entries
            labels = _labels(detections)
            scores = _scores(detections) if given.scores is None else given.scores
            shape = self.shape(detections, references, task_type)
            if shape != alone:
                shapes = expected.shapes(shape, scored=False)
            found = given.shapes(shape, scored=True)
        except Refused as error:
            return _Image(refused=str(error))
        return _Image(shape, labels, scores, found, reference_labels, crowd, shapes)

    def _outcomes(self, images: Sequence[_Image], rows: Sequence[int]) -> _Records:
        """Outcomes of images that are all of one kind of shape."""
        chosen = [images[row] for row in rows]
        shape = next(image.shape for image in chosen if image.shape is not None)
        expected = _joined([image.expected for image in chosen])
        crowd = np.concatenate([image.crowd for image in chosen])
        void = crowd | shape.void(expected)
        scores = np.concatenate([image.scores for image in chosen])
        place = np.arange(len(rows))
        image = np.repeat(place, [len(image.labels) for image in chosen])
        reference_image = np.repeat(place, [len(image.reference_labels) for image in chosen])
        label = np.concatenate([image.labels for image in chosen])
        reference_label = np.concatenate([image.reference_labels for image in chosen])

        # Where a side has no labels, everything is compared with everything.
        blind = np.zeros(len(rows), dtype=bool)
        blind[image[label == _UNLABELLED]] = True
        blind[reference_image[reference_label == _UNLABELLED]] = True
        label = np.where(blind[image], _UNLABELLED, label)
        compared = np.where(blind[reference_image], _UNLABELLED, reference_label)

        names, number = np.unique(np.concatenate([label, compared]), return_inverse=True)
        group = image * len(names) + number[: len(label)]
        reference_group = reference_image * len(names) + number[len(label) :]
        order, rank = _ranked(group, scores, self.max_detections)
        i, j, similarity = self._similar(
            shape,
            _joined([image.given for image in chosen]),
            expected,
            crowd,
            order,
            _Ranges.of(group[order], reference_group),
        )
        right, ignored = _matches(i, j, similarity, rank, void, crowd, self._enough(), len(order))
        bits = 2.0 ** np.arange(len(self.thresholds))
        outcome = right @ bits + (ignored @ bits) * 2.0 ** len(bits)
        real_rows = np.array(rows)
        counted = np.column_stack([reference_image, reference_label])[~void]
        wanted, counts = np.unique(counted, axis=0, return_counts=True)
        return _Records.concatenated(
            [
                _Records(
                    real_rows[wanted[:, 0]],
                    np.column_stack([wanted[:, 1], counts, np.full(len(counts), -1.0)]),
                ),
                _Records(
                    real_rows[image[order]],
                    np.column_stack([label[order], scores[order], outcome]),
                ),
            ]
        )

    def _enough(self) -> Floats:
        # As pycocotools: rounding must not make a perfect match fail at a threshold of 1.
        return np.minimum(self.thresholds, 1 - 1e-10)

    def _similar(
        self,
        shape: _Shape,
        given: Any,
        expected: Any,
        crowd: Bools,
        order: Ints,
        ranges: _Ranges,
    ) -> tuple[Ints, Ints, Floats]:
        """Pairs of a detection (its place in `order`) and a reference that are alike enough for
        the lowest threshold, and how alike they are."""
        lowest = self._enough().min()
        parts = []
        for i, j in ranges.pairs(max(1, _PAIR_NUMBERS // shape.cost)):
            similarity = shape.similarity(given, expected, order[i], j, crowd[j])
            kept = similarity >= lowest
            parts.append((i[kept], j[kept], similarity[kept]))
        nothing = np.zeros(0, dtype=np.int64)
        i, j, similarity = zip((nothing, nothing, np.zeros(0)), *parts, strict=True)
        return np.concatenate(i), np.concatenate(j), np.concatenate(similarity)

    def aggregate(self, stats: pl.DataFrame) -> float:
        _, precision = self._precision(stats, each=False)
        return float(precision.mean()) if precision.size else 0.0

    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        """Average precision within each image alone; null for one without references."""
        image, precision = self._precision(stats, each=True)
        classes = np.bincount(image, minlength=stats.height)
        total = np.bincount(image, weights=precision, minlength=stats.height)
        mean = np.divide(total, classes, out=np.full(stats.height, np.nan), where=classes > 0)
        return pl.Series(mean, dtype=pl.Float64).fill_nan(None)

    def _precision(self, stats: pl.DataFrame, *, each: bool) -> tuple[Ints, Floats]:
        """Average precision of every class that has references, over all images or in `each`: the
        image (0 for all of them), and the mean over the thresholds."""
        records, headers = _Records.unpacked(stats["stats"])
        label, value, outcome = records.fields.T
        unit = records.image if each else np.zeros_like(records.image)
        names, number = np.unique(label, return_inverse=True)
        is_reference = outcome < 0
        group, inverse = np.unique((unit * len(names) + number)[is_reference], return_inverse=True)
        if not group.size:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        wanted = np.bincount(inverse, weights=value[is_reference]).astype(np.float64)
        owner = group // len(names)

        found = np.flatnonzero(~is_reference)
        number = self._resolved(unit[found], number[found], names, owner, group)
        asked = unit[found] * len(names) + number
        place = np.minimum(np.searchsorted(group, asked), len(group) - 1)
        known = group[place] == asked
        found, place = found[known], place[known]
        # The last key is the first to sort by. Within an image the order given stays.
        order = np.lexsort((headers[records.image[found]], -value[found], place))
        code = outcome[found[order]].astype(np.int64)
        average = _average_precision(place[order], code, wanted, len(self.thresholds))
        return owner, average.mean(axis=0)

    def _resolved(self, unit: Ints, number: Ints, names: Floats, owner: Ints, group: Ints) -> Ints:
        """The detections' classes, where a side without labels leaves but one to choose."""
        sole = np.full(max(owner.max(), unit.max(initial=0)) + 1, -1)
        alone = np.bincount(owner, minlength=len(sole)) == 1
        sole[owner] = group % len(names)
        sole[~alone] = -1
        only = sole[unit]
        either = (names[number] == _UNLABELLED) | (names[only] == _UNLABELLED)
        return np.where((only >= 0) & either, only, number)


def _joined(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], list):
        return [item for part in parts for item in part]
    return np.concatenate(parts)


def _ranked(group: Ints, scores: Floats, most: int) -> tuple[Ints, Ints]:
    """The `most` best of each group, best first, and the rank of each in its group."""
    order = np.lexsort((-scores, group))
    sorted_group = group[order]
    starts = np.searchsorted(sorted_group, sorted_group)
    rank = np.arange(len(order)) - starts
    return order[rank < most], rank[rank < most]


@dataclass(frozen=True, slots=True)
class _Ranges:
    """For every detection the references of its group, as a range of `references`."""

    references: Ints
    start: Ints
    count: Ints

    @classmethod
    def of(cls, group: Ints, reference_group: Ints) -> _Ranges:
        order = np.argsort(reference_group, kind="stable")
        sorted_group = reference_group[order]
        start = np.searchsorted(sorted_group, group)
        return cls(order, start, np.searchsorted(sorted_group, group, side="right") - start)

    def pairs(self, most: int) -> Iterator[tuple[Ints, Ints]]:
        """All pairs of a detection and a reference of its group, about `most` at a time."""
        before = np.cumsum(self.count)
        total = int(before[-1]) if before.size else 0
        cuts = np.searchsorted(before, np.arange(most, total, most), side="right")
        for first, stop in pairwise(np.unique([0, *cuts, len(self.count)]).tolist()):
            count = self.count[first:stop]
            i = np.repeat(np.arange(first, stop), count)
            offset = np.arange(len(i)) - np.repeat(np.cumsum(count) - count, count)
            yield i, self.references[self.start[i] + offset]


def _matches(
    i: Ints,
    j: Ints,
    similarity: Floats,
    rank: Ints,
    void: Bools,
    crowd: Bools,
    enough: Floats,
    detections: int,
) -> tuple[Bools, Bools]:
    """Greedy matching at all thresholds, one round for all detections of the same rank.

    Returns:
        (detections, thresholds): which met a reference, and which one that does not count.
    """
    right = np.zeros((detections, len(enough)), dtype=bool)
    ignored = np.zeros_like(right)
    taken = np.zeros((len(void), len(enough)), dtype=bool)
    # A detection's candidates in the order of choice: references that count first, then the most
    # alike, the later one of equals.
    order = np.lexsort((-j, -similarity, void[j], i, rank[i]))
    i, j, similarity = i[order], j[order], similarity[order]
    rounds = np.flatnonzero(np.diff(rank[i], prepend=-1))
    for start, stop in pairwise([*rounds.tolist(), len(i)]):
        here, there = i[start:stop], j[start:stop]
        free = (similarity[start:stop, None] >= enough) & ~taken[there]
        candidate = np.where(free, np.arange(stop - start)[:, None], stop - start)
        begins = np.flatnonzero(np.diff(here, prepend=-1))
        best = np.minimum.reduceat(candidate, begins, axis=0)
        row, threshold = np.nonzero(best < stop - start)
        chosen = there[best[row, threshold]]
        who = here[begins[row]]
        right[who, threshold] = ~void[chosen]
        ignored[who, threshold] = void[chosen]
        # A crowd is never used up.
        taken[chosen, threshold] = ~crowd[chosen]
    return right, ignored


def _average_precision(group: Ints, outcome: Ints, wanted: Floats, thresholds: int) -> Floats:
    """Average precision (thresholds, groups) of detections sorted by group, best first."""
    bits = np.arange(thresholds)[:, None]
    right = (outcome >> bits & 1).astype(bool)
    wrong = ~right & ~(outcome >> (bits + thresholds) & 1).astype(bool)
    false_alarms = np.cumsum(wrong, axis=1)
    # Precision rises at right detections only: they alone make the envelope.
    t, hit = np.nonzero(right)
    starts = np.searchsorted(group, np.arange(len(wanted)))
    before = np.concatenate([np.zeros((thresholds, 1)), false_alarms], axis=1)[:, starts]
    curve = t * len(wanted) + group[hit]
    hits = np.arange(len(hit)) - np.searchsorted(curve, curve) + 1
    precision = hits / (hits + false_alarms[t, hit] - before[t, group[hit]])
    # The running maximum from the end of each curve; a curve lies 2 above the one after it.
    envelope = np.maximum.accumulate((precision - 2.0 * curve)[::-1])[::-1] + 2.0 * curve
    # A hit stands for the recalls that it is the first to reach.
    reached = np.searchsorted(_RECALLS, hits / wanted[group[hit]], side="right")
    reached_before = np.searchsorted(_RECALLS, (hits - 1) / wanted[group[hit]], side="right")
    recalls = np.where(hits > 1, reached - reached_before, reached)
    total = np.bincount(curve, weights=recalls * envelope, minlength=thresholds * len(wanted))
    return total.reshape(thresholds, len(wanted)) / len(_RECALLS)


class _ImageAveragePrecision(_AveragePrecision):
    """Average precision of boxes or masks in images.

    A prediction is a list of objects, of which each has "bbox": [x, y, w, h] (COCO), or "box" or
    "bbox_2d": [x1, y1, x2, y2]; a "score" or "confidence" (1 if absent); a "label", "category",
    "category_id" or "class". Or plain lists [x1, y1, x2, y2(, score(, label))], a single one for
    one object, or columns {"boxes": [...], "scores": [...], "labels": [...]}, or any of these as
    text. Pixels; a box's area is width times height. References are the same, without scores
    ([x1, y1, x2, y2(, label)]), with an optional "iscrowd". An empty list is an image in which
    nothing was found.

    Masks ("segmentation", "mask", "rle", "polygons": see `tasks.metrics.masks.read_mask`) are
    compared instead when the annotation's type speaks of segmentation, when references and
    detections all have them, or when references have nothing else. Polygons whose image size is
    nowhere stated are drawn as large as they reach.
    """

    box_sizes = (4,)

    def prepare(self, sides: Sequence[_Side], *, scored: bool) -> None:
        boxes = _at_once(sides, lambda entries: _Boxes().read(entries, scored=scored))
        for side, found in zip(sides, boxes or (), strict=boxes is not None):
            side.boxes = found

    def shape(
        self, detections: Sequence[Entry], references: Sequence[Entry], task_type: str
    ) -> _Shape:
        if "segment" not in task_type:
            if not all(_has_any(entry, _MASKS) for entry in references):
                return _Boxes()
            given = bool(detections) and all(_has_any(entry, _MASKS) for entry in detections)
            boxed = all(_has_any(entry, _BOXES) for entry in references)
            if not given and boxed:
                return _Boxes()
        return _Masks(_mask_size([*references, *detections]))


@register
class AveragePrecision(_ImageAveragePrecision):
    """AP of boxes or masks: mean over the IoU thresholds 0.50, 0.55, ..., 0.95; 0..1."""

    id = "ap"


@register
class AveragePrecision10(_ImageAveragePrecision):
    """AP of boxes or masks at IoU 0.10, as in visual grounding; 0..1."""

    id = "ap10"
    thresholds = np.array([0.10])


@register
class AveragePrecision50(_ImageAveragePrecision):
    """AP of boxes or masks at IoU 0.50; 0..1."""

    id = "ap50"
    thresholds = np.array([0.50])


@register
class AveragePrecision75(_ImageAveragePrecision):
    """AP of boxes or masks at IoU 0.75; 0..1."""

    id = "ap75"
    thresholds = np.array([0.75])


@register
class KeypointAveragePrecision50(_AveragePrecision):
    """AP of keypoints at an object keypoint similarity (OKS) of 0.50; 0..1.

    A prediction is a list of objects with "keypoints": [x1, y1, v1, x2, ...] (COCO), [[x, y, v], ...]
    or [[x, y], ...], and a "score" (1 if absent); or columns {"keypoints": [...], "scores": [...]}.
    The v of a detection is not looked at; that of a reference is 0 for a point that is not
    labelled. References also have "area", in its absence that of their "bbox" or "box", in absence
    of both that of the box around the labelled points. Sigmas are those of COCO for 17 keypoints,
    else 1 / number of keypoints for each, as Ultralytics does. A reference without labelled points
    does not count. The 20 most confident detections of an image count, as in COCO.
    """

    id = "keypoint_ap50"
    thresholds = np.array([0.50])
    max_detections = 20

    def shape(
        self, detections: Sequence[Entry], references: Sequence[Entry], task_type: str
    ) -> _Shape:
        for entry in (*references, *detections):
            value = entry.get("keypoints")
            if not isinstance(value, list) or not value:
                break
            return _Keypoints(len(value) if isinstance(value[0], list) else len(value) // 3)
        return _Keypoints(0)


class _SpaceAveragePrecision(_AveragePrecision):
    """Average precision of objects in space, by the IoU of their volumes or of their points.

    A prediction is a list of objects with "box" (or "bbox", "box_3d", "bbox_3d"):
    [x, y, z, dx, dy, dz(, yaw)], or "center", "size" and "yaw"; x, y, z is the box's centre, z up,
    yaw turns it about z, anticlockwise in radians. "score" and "label" are as for boxes in images.
    Plain lists are [x, y, z, dx, dy, dz, yaw(, score(, label))], six numbers a box without yaw.

    An instance of a point cloud has the indices of its points instead ("points", "indices" or
    "mask": a list of whole numbers or an array file). References decide which of the two it is.
    """

    box_sizes = (6, 7)

    def shape(
        self, detections: Sequence[Entry], references: Sequence[Entry], task_type: str
    ) -> _Shape:
        deciding = references or detections
        if deciding and all(_has_any(entry, _POINTS) for entry in deciding):
            return _PointSets()
        return _Boxes3d()


@register
class MeanAveragePrecision(_SpaceAveragePrecision):
    """mAP of objects in space: mean over the IoU thresholds 0.50, 0.55, ..., 0.95; 0..1."""

    id = "map"


@register
class MeanAveragePrecision50(_SpaceAveragePrecision):
    """mAP of objects in space at IoU 0.50; 0..1."""

    id = "map50"
    thresholds = np.array([0.50])


@dataclass(frozen=True, slots=True)
class _Relation:
    """A relation triple: its texts, and the boxes of subject and object if it has both."""

    texts: tuple[str, str, str]
    score: float
    boxes: Floats | None


_PARTS = (("subject",), ("predicate", "relation"), ("object",))


@register
class RecallAt50(StructureMetric):
    """R@50: share of an image's relations among the 50 most confident predicted, mean; 0..1.

    As in scene graph generation (arXiv:1608.00187, arXiv:1711.06640). A prediction is a list of
    triples [subject, predicate, object(, score)] of texts, or of objects {"subject", "predicate" or
    "relation", "object", "score"}, the list itself or under "relations", "relationships" or
    "triples". Subject and object may be {"label", "box" or "bbox"}. References are the same; their
    scores are not looked at.

    Texts are equal regardless of case and spacing. Where a reference and a prediction both have the
    boxes of subject and object, each must also have an IoU of 0.5 or more. Equal scores (1 if
    absent) keep the order given. A relation is found or not: naming it twice gains nothing. Images
    without relations do not count; if there are no others the score is 0.
    """

    id = "recall_at_50"
    payload = "json"
    statistics = ("found", "relations")

    def read_prediction(self, value: Any) -> list[_Relation]:
        relations = _relations(value)
        return sorted(relations, key=lambda relation: -relation.score)[:50]

    def read_reference(self, value: Any) -> list[_Relation]:
        return _relations(value)

    def measure(
        self, prediction: list[_Relation], reference: list[_Relation]
    ) -> tuple[float, float]:
        named: dict[tuple[str, str, str], list[_Relation]] = defaultdict(list)
        for relation in prediction:
            named[relation.texts].append(relation)
        found: set[int] = set()
        compared: list[int] = []
        boxes: tuple[list[Floats], list[Floats]] = [], []
        for number, relation in enumerate(reference):
            for given in named.get(relation.texts, ()):
                if relation.boxes is None or given.boxes is None:
                    found.add(number)
                else:
                    compared.append(number)
                    boxes[0].append(given.boxes)
                    boxes[1].append(relation.boxes)
        if compared:
            sides = [np.concatenate(side) for side in boxes]
            overlap = box_iou(sides[0], sides[1], np.zeros(len(sides[0]), dtype=bool))
            near = (overlap.reshape(-1, 2) >= 0.5).all(axis=1)
            found.update(np.array(compared)[near].tolist())
        return float(len(found)), float(len(reference))

    def measure_worst(self, reference: list[_Relation]) -> tuple[float, float]:
        return 0.0, float(len(reference))

    def aggregate(self, stats: pl.DataFrame) -> float:
        mean = self.instance_scores(stats).mean()
        return float(mean) if mean is not None else 0.0  # type: ignore[arg-type]

    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        share = pl.col("found") / pl.col("relations")
        return stats.select(pl.when(pl.col("relations") > 0).then(share)).to_series()


def _relations(value: Any) -> list[_Relation]:
    value = _value(value)
    if isinstance(value, dict):
        listed = _first(value, ("relations", "relationships", "triples"))
        value = [value] if listed is None else listed
    elif isinstance(value, list) and value and isinstance(value[0], str):
        value = [value]
    if not isinstance(value, list):
        raise Refused("expected a list of triples [subject, predicate, object]")
    parts = [_parts(item) for item in value]
    scores = _scores([{"score": score} for *_, score in parts]).tolist()
    boxed = [all(_has_any(end, _BOXES) for end in ends) for _, ends, _ in parts]
    ends = [end for (_, ends, _), yes in zip(parts, boxed, strict=True) if yes for end in ends]
    pairs = iter(_Boxes().read(ends, scored=False).reshape(-1, 2, 5))
    return [
        _Relation(texts, score, next(pairs) if yes else None)
        for (texts, *_), score, yes in zip(parts, scores, boxed, strict=True)
    ]


def _parts(item: Any) -> tuple[tuple[str, str, str], list[Entry], Any]:
    """Texts of a triple, its subject and object as mappings, and its score."""
    if isinstance(item, list) and len(item) in (3, 4):
        parts, score = item[:3], item[3] if len(item) == 4 else 1.0
    elif isinstance(item, dict):
        parts = [_first(item, names) for names in _PARTS]
        score = item.get("score", item.get("confidence", 1.0))
    else:
        raise Refused(f"expected [subject, predicate, object], found {item!r:.80}")
    whole = [part if isinstance(part, dict) else {"label": part} for part in parts]
    texts = [_first(part, (*_LABELS, "name")) for part in whole]
    if not all(isinstance(text, str) for text in texts):
        raise Refused(f"expected texts as subject, predicate and object, found {item!r:.80}")
    subject, predicate, target = (" ".join(text.split()).casefold() for text in texts)
    return (subject, predicate, target), [whole[0], whole[2]], score
