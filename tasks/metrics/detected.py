"""What a detection is: boxes, masks, keypoints, boxes in space and sets of points, read from every
spelling that they come in, and how much two of them overlap."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from tasks.media import Refused, decode_arrived, is_file, load_array
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
    Runs,
    Size,
    by,
    is_rle,
    read_mask,
    read_runs,
    read_size,
    sizes_of,
    unwrap,
)

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
LABELS = ("label", "category", "category_id", "class")
WRAPPED_MASKS = ("mask", "segmentation", "polygons", "polygon", "rle")
MASKS = (*WRAPPED_MASKS, "counts")
#: Fields of an object that stand for the mask's size, or for a file in place of its masks.
_BESIDE_MASKS = ("size", "height", "width", "$file", "$files")
BOXES = ("bbox", "box", "bbox_2d")
_BOXES_3D = ("box_3d", "box3d", "bbox_3d", "bbox3d", "box", "bbox")
POINTS = ("points", "indices", "point_indices", "mask")
#: The label number of what has no label.
UNLABELLED = 0
#: No number may be larger: volumes and squares of those up to it are still finite.
_LARGEST = 1e100
#: Numbers of the arrays that a comparison of pairs may fill at once.
PAIR_NUMBERS = 8_000_000


def value_of(value: Any) -> Any:
    """A document's value; a text that is itself a JSON document is read (models answer in text)."""
    if not isinstance(value, str):
        return value
    try:
        return decode_arrived(value)
    except (msgspec.DecodeError, RecursionError):
        raise Refused(f"expected a structure, found the text {value!r:.60}") from None


def entries_of(value: Any, sizes: Sequence[int], scored: bool) -> list[Entry]:
    """The detections or reference objects of one image, one mapping each.

    Args:
        sizes: how many numbers a box given as a plain list may have.
        scored: whether a plain list goes on with a score (predictions) or a label (references).
    """
    value = value_of(value)
    if isinstance(value, dict) and not is_file(value):
        value = rows_of(value)
    elif isinstance(value, list) and value and not isinstance(value[0], (dict, list)):
        value = [value]
    if not isinstance(value, list):
        raise Refused("expected a list of objects or of boxes")
    return [item if type(item) is dict else _plain(item, sizes, scored) for item in value]


def rows_of(value: Entry) -> list[Any]:
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


def first_of(entry: Entry, names: Sequence[str]) -> Any:
    for name in names:
        if (value := entry.get(name)) is not None:
            return value
    return None


def floats_of(rows: list[Any], what: str) -> Floats:
    try:
        array = load_array(rows).astype(np.float64)
    except Refused as error:
        raise Refused(f"{what}: {error}") from None
    if np.abs(array).max() > _LARGEST:
        raise Refused(f"{what}: a number is beyond {_LARGEST}")
    return array


@dataclass(frozen=True, slots=True)
class Objects:
    """The detections or the reference objects of many images.

    Attributes:
        images: the objects of each image.
        entries: all of them, image by image.
        image: which image each is of (objects,).
        names: the fields that any of them has.
    """

    images: Sequence[Sequence[Entry]]
    entries: list[Entry]
    image: Ints
    names: set[str]

    @classmethod
    def of(cls, images: Sequence[Sequence[Entry]]) -> Objects:
        entries = list(chain.from_iterable(images))
        image = np.repeat(np.arange(len(images)), list(map(len, images)))
        return cls(images, entries, image, set().union(*entries))

    def first(self, names: Sequence[str]) -> list[Any]:
        """`first_of` each."""
        present = [name for name in names if name in self.names]
        if len(present) == 1:
            return [entry.get(present[0]) for entry in self.entries]
        return [first_of(entry, present) for entry in self.entries]

    def masks(self) -> list[Any]:
        """What stands for the mask of each, as `masks.unwrap` finds it. Raises `Refused`."""
        present = [name for name in MASKS if name in self.names]
        if len(present) == 1 and self.names.isdisjoint(("counts", "$file", "$files")):
            values = self.first(present)
            missing = not all(values)
        else:
            values = [unwrap(entry)[0] for entry in self.entries]
            missing = not all(has_any(entry, present) for entry in self.entries)
        if missing:
            raise Refused("expected a mask of every object: COCO RLE, polygons, an image ...")
        return values

    def scores(self) -> Floats:
        return scores_of(self.entries)

    def crowd(self) -> Bools:
        if "iscrowd" not in self.names:
            return np.zeros(len(self.entries), dtype=bool)
        return np.array([bool(entry.get("iscrowd")) for entry in self.entries], dtype=bool)

    def labels(self) -> Ints:
        """Numbers of the labels; an image's objects all have one, or are all `UNLABELLED`."""
        labels = self.first(LABELS)
        if not any(label is None for label in labels):
            return _label_numbers(labels)
        named = np.array([label is not None for label in labels], dtype=bool)
        if not named.all():
            total, some = (np.bincount(image) for image in (self.image, self.image[named]))
            some = np.pad(some, (0, len(total) - len(some)))
            if ((some > 0) & (some < total)).any():
                raise Refused("some of the objects have a label and others have none")
        numbers = np.full(len(labels), UNLABELLED, dtype=np.int64)
        numbers[named] = _label_numbers([label for label in labels if label is not None])
        return numbers


def scores_of(entries: Sequence[Entry]) -> Floats:
    """Confidences; a detection without one counts as certain."""
    scores = [entry.get("score", entry.get("confidence", 1.0)) for entry in entries]
    if not scores:
        return np.zeros(0)
    array = floats_of(scores, "the scores")
    if array.ndim != 1:
        raise Refused("expected a number as the score")
    return array


@lru_cache(maxsize=65536, typed=True)
def label_number(label: str | float) -> int:
    """A number for a label, the same in every run, that a float holds exactly; never 0."""
    if isinstance(label, bool) or not isinstance(label, (str, int, float)):
        raise TypeError(label)
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    return number48(str(label).strip()) or 1


def _label_numbers(labels: Sequence[Any]) -> Ints:
    try:
        return np.array(list(map(label_number, labels)), dtype=np.int64)
    except TypeError:
        raise Refused("expected a text or a number as the label") from None


def number48(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest(), "big")


class Shape(ABC):
    """How detections and references are read and compared."""

    #: Numbers that the comparison of one pair fills, roughly.
    cost: int = 10

    @abstractmethod
    def read(self, objects: Objects, *, scored: bool) -> Any:
        """The shapes: an array with one row each, or `Runs`. Raises `Refused`."""

    @abstractmethod
    def similarity(self, given: Any, expected: Any, i: Ints, j: Ints, crowd: Bools) -> Floats:
        """How alike shapes `given[i]` and `expected[j]` are, 0..1, pair by pair."""

    def void(self, expected: Any) -> Bools | None:
        """Which reference shapes cannot be asked for, whatever their `iscrowd`; None: all can."""
        return None

    @property
    def kind(self) -> Hashable:
        """Shapes of equal kind are read and compared together."""
        return self

    def over(self, shapes: Sequence[Any]) -> Shape:
        """One shape for several images, of which each has one of the same kind."""
        return self


@dataclass(frozen=True)
class Boxes(Shape):
    """Boxes in an image, rows of x1, y1, x2, y2, area."""

    def read(self, objects: Objects, *, scored: bool) -> Floats:
        return boxes_of(objects.first(BOXES), [e.get("bbox") is not None for e in objects.entries])

    def similarity(self, given: Floats, expected: Floats, i: Ints, j: Ints, crowd: Bools) -> Floats:
        return box_iou(given[i], expected[j], crowd)


def boxes_of(rows: list[Any], sized: list[bool]) -> Floats:
    """Rows of x1, y1, x2, y2, area from boxes; the second pair of numbers is a size or a corner."""
    if not rows:
        return np.zeros((0, 5))
    if None in rows:
        raise Refused("expected a box: [x, y, w, h] as bbox or [x1, y1, x2, y2] as box")
    array = floats_of(rows, "the boxes")
    if array.shape != (len(rows), 4):
        raise Refused(f"expected boxes of 4 numbers, found shape {array.shape[1:]}")
    are_sizes = np.array(sized)[:, None]
    first, second = array[:, :2], array[:, 2:]
    sides = np.where(are_sizes, second, second - first)
    if (sides < 0).any():
        bad = array[(sides < 0).any(axis=1)][0].tolist()
        raise Refused(f"the box {bad} has a negative width or height")
    boxes = np.empty((len(rows), 5))
    boxes[:, :2], boxes[:, 2:4] = first, np.where(are_sizes, first + second, second)
    boxes[:, 4] = sides[:, 0] * sides[:, 1]
    return boxes


@dataclass(frozen=True)
class Boxes3d(Shape):
    """Boxes in space, rows of x, y, z, dx, dy, dz, yaw."""

    cost = 400

    def read(self, objects: Objects, *, scored: bool) -> Floats:
        found = zip(objects.first(_BOXES_3D), objects.entries, strict=True)
        rows = [self._row(row, entry) for row, entry in found]
        if not rows:
            return np.zeros((0, 7))
        array = floats_of(rows, "the boxes")
        if array.shape != (len(rows), 7):
            raise Refused("expected boxes [x, y, z, dx, dy, dz] or [x, y, z, dx, dy, dz, yaw]")
        if (array[:, 3:6] < 0).any():
            raise Refused("a box has a negative size")
        return array

    def _row(self, row: Any, entry: Entry) -> list[Any]:
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


class _Runs(Shape):
    """Sets of positions, each as its runs."""

    cost = 400

    def similarity(self, given: Runs, expected: Runs, i: Ints, j: Ints, crowd: Bools) -> Floats:
        return run_iou(given, expected, i, j, crowd)


@dataclass(frozen=True)
class Masks(_Runs):
    """Masks of images of these heights and widths, one an image, None where it is not stated."""

    sizes: tuple[Size | None, ...]

    @property
    def kind(self) -> Hashable:
        return Masks

    def over(self, shapes: Sequence[Masks]) -> Masks:
        return Masks(tuple(chain.from_iterable(shape.sizes for shape in shapes)))

    def read(self, objects: Objects, *, scored: bool) -> Runs:
        values = objects.masks()
        if all(map(is_rle, values)):
            runs, sizes = read_runs(values)
        else:
            pairs = zip(objects.entries, objects.image.tolist(), strict=True)
            read = [read_mask(entry, self.sizes[image]) for entry, image in pairs]
            masks = [mask if isinstance(mask, Rle) else Rle.of(mask) for mask in read]
            runs, sizes = Runs.of_masks(masks), sizes_of(masks)
        self._check(sizes, objects.image)
        return runs

    def _check(self, sizes: Ints, image: Ints) -> None:
        """Refuses a mask whose size is not the one that its image has, or else its first mask."""
        wanted = np.array([size or (0, 0) for size in self.sizes]).reshape(-1, 2)[image]
        firsts = sizes[np.searchsorted(image, image)]
        wanted = np.where(wanted > 0, wanted, firsts)
        for mask in np.flatnonzero((sizes != wanted).any(axis=1)).tolist():
            found, size = sizes[mask].tolist(), wanted[mask].tolist()
            raise Refused(f"expected a mask of {by(size)}, found one of {by(found)}")


@dataclass(frozen=True)
class PointSets(_Runs):
    """Instances in a point cloud, each the numbers of its points."""

    def read(self, objects: Objects, *, scored: bool) -> Runs:
        sets = [self._edges(value) for value in objects.first(POINTS)]
        return Runs.of(sets, np.array([edges[-1] for edges in sets], dtype=np.int64))

    def _edges(self, value: Any) -> Ints:
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
class Keypoints(Shape):
    """Keypoints, rows of area, a box twice as large as the object, and x, y, visibility of each."""

    count: int

    @property
    def cost(self) -> int:
        return 10 * max(self.count, 1)

    def read(self, objects: Objects, *, scored: bool) -> Floats:
        width = 5 + 3 * self.count
        if not objects.entries:
            return np.zeros((0, width))
        array = floats_of(objects.first(("keypoints",)), "the keypoints")
        if array.ndim == 3 and array.shape[2] == 2:
            array = np.pad(array, ((0, 0), (0, 0), (0, 1)), constant_values=2)
        if array.ndim == 2 and array.shape[1] % 3 == 0:
            array = array.reshape(len(array), -1, 3)
        if array.shape[1:] != (self.count, 3):
            raise Refused(f"expected {self.count} keypoints x, y, v, found {array.shape[1:]}")
        table = np.zeros((len(array), width))
        table[:, 5:] = array.reshape(len(array), -1)
        if not scored:
            table[:, :5] = self._extents(objects.entries, array)
        return table

    def _extents(self, entries: Sequence[Entry], keypoints: Floats) -> Floats:
        """Areas and boxes of references, the boxes doubled on every side as COCO does."""
        labelled = keypoints[:, :, 2:] > 0
        # The box around the labelled points; without any it is nowhere, and nothing resembles it.
        low = np.where(labelled, keypoints[:, :, :2], np.inf).min(axis=1, initial=np.inf)
        high = np.where(labelled, keypoints[:, :, :2], -np.inf).max(axis=1, initial=-np.inf)
        sides = np.where(labelled.any(axis=1), high - low, 0.0)
        area = sides[:, 0] * sides[:, 1]
        boxed = np.array([has_any(entry, BOXES) for entry in entries], dtype=bool)
        with_box = [entry for entry, yes in zip(entries, boxed.tolist(), strict=True) if yes]
        if with_box:
            boxes = Boxes().read(Objects.of([with_box]), scored=False)
            low[boxed], high[boxed], area[boxed] = boxes[:, :2], boxes[:, 2:4], boxes[:, 4]
            sides[boxed] = high[boxed] - low[boxed]
        somewhere = np.isfinite(low[:, 0])
        stated = np.array(["area" in entry for entry in entries], dtype=bool) & somewhere
        if stated.any():
            given = [
                entry["area"] for entry, yes in zip(entries, stated.tolist(), strict=True) if yes
            ]
            areas = floats_of(given, "the area")
            if areas.ndim != 1:
                raise Refused("expected a number as the area")
            area[stated] = areas
        if (area < 0).any():
            raise Refused("expected an area from 0 on")
        return np.column_stack([area, low - sides, high + sides])

    def void(self, expected: Floats) -> Bools:
        return np.asarray(expected[:, 7::3].max(axis=1, initial=0.0) <= 0)

    def similarity(self, given: Floats, expected: Floats, i: Ints, j: Ints, crowd: Bools) -> Floats:
        return keypoint_similarity(given, expected, i, j)


def has_any(entry: Entry, names: Sequence[str]) -> bool:
    # Data sets of boxes often carry an empty list as segmentation.
    return any(map(entry.get, names))


def mask_sizes(given: Objects, expected: Objects) -> list[Size | None]:
    """`mask_size` of the references and then the detections of each image."""
    pairs = list(zip(expected.images, given.images, strict=True))
    names = given.names | expected.names
    present = [name for name in MASKS if name in names]
    if len(present) != 1 or present == ["counts"] or not names.isdisjoint(_BESIDE_MASKS):
        return [mask_size(chain(*pair)) for pair in pairs]
    # Nothing is left to look for around the masks; mostly the first one states the size.
    sizes: list[Size | None] = []
    for references, detections in pairs:
        first = next(chain(references, detections), {}).get(present[0])
        if type(first) is dict and "counts" in first:
            sizes.append(read_size(first.get("size")))
        else:
            sizes.append(mask_size(chain(references, detections)))
    return sizes


def mask_size(entries: Iterable[Entry]) -> Size | None:
    """Height and width of masks, as the first to state it does, or as far as polygons reach."""
    polygons: list[Any] = []
    for entry in entries:
        value, beside = unwrap(entry)
        if beside is not None:
            return beside
        if is_rle(value):
            return value.size if isinstance(value, Rle) else read_size(value.get("size"))
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
