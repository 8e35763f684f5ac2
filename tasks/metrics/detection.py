"""Average precision of detections in the COCO protocol.

An image's statistics are its outcomes, not its score: how many objects of each class there were,
and for every detection its score and at which thresholds it was right. Precision and recall are
made from them for any set of images, as COCO makes them from all.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa

from tasks.media import Refused, decode
from tasks.metrics.base import Batch, Metric, register
from tasks.metrics.boxes import (
    Bools,
    Floats,
    Ints,
)
from tasks.metrics.detected import (
    BOXES,
    MASKS,
    PAIR_NUMBERS,
    POINTS,
    UNLABELLED,
    Boxes,
    Boxes3d,
    Entry,
    Keypoints,
    Masks,
    Objects,
    PointSets,
    Shape,
    entries_of,
    has_any,
    mask_size,
    mask_sizes,
    number48,
)
from tasks.metrics.samples import Samples

_COCO_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, slots=True)
class _Images:
    """Images of one kind of shape, as read.

    Attributes:
        rows: their rows in the batch.
        given, expected: the detections and the references.
        found, wanted: their shapes.
    """

    rows: Ints
    shape: Shape
    given: Objects
    labels: Ints
    scores: Floats
    found: Any
    expected: Objects
    reference_labels: Ints
    crowd: Bools
    wanted: Any


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
    ) -> Shape:
        """How an image is to be read and compared. Raises `Refused`."""

    def shapes(self, given: Objects, expected: Objects, task_type: str) -> list[Shape]:
        """`shape` of each image."""
        pairs = zip(given.images, expected.images, strict=True)
        return [self.shape(*pair, task_type) for pair in pairs]

    def compute(self, batch: Batch) -> pl.DataFrame:
        documents, expected = batch.predictions.to_list(), batch.references.to_list()
        given, wanted = self._sides(documents, expected)
        reading = _Reading(self, batch.task_type, given, wanted)
        parts = [self._outcomes(images) for images in reading.all()]
        headers = [number48(f"{d}\n{e}") for d, e in zip(documents, expected, strict=True)]
        stats = _Records.concatenated(parts).packed(np.array(headers, dtype=np.int64))
        reasons = {
            name: pl.Series([found.get(row) for row in range(len(documents))], dtype=pl.String)
            for name, found in reading.reasons.items()
        }
        return pl.DataFrame({"stats": stats, **reasons})

    def worst(self, batch: Batch) -> pl.DataFrame:
        # Nothing found. What could be found wrongly has no bound.
        nothing = pl.Series(["[]"]).new_from_index(0, len(batch.references))
        return self.compute(Batch(nothing, batch.references, batch.task_type))

    def _sides(self, *documents: Iterable[str]) -> Iterator[list[list[Entry] | Refused]]:
        """Detections and references of all images, or why an image has none."""
        for side, scored in zip(documents, (True, False), strict=True):
            entries: list[list[Entry] | Refused] = []
            for document in side:
                try:
                    entries.append(entries_of(decode(document), self.box_sizes, scored))
                except Refused as error:
                    entries.append(error)
            yield entries

    def _outcomes(self, images: _Images) -> _Records:
        """Outcomes of images that are all of one kind of shape."""
        shape, crowd, scores = images.shape, images.crowd, images.scores
        impossible = shape.void(images.wanted)
        void = crowd if impossible is None else crowd | impossible
        image, label = images.given.image, images.labels
        reference_image, reference_label = images.expected.image, images.reference_labels

        # Where a side has no labels, everything is compared with everything.
        blind = np.zeros(len(images.rows), dtype=bool)
        blind[image[label == UNLABELLED]] = True
        blind[reference_image[reference_label == UNLABELLED]] = True
        label = np.where(blind[image], UNLABELLED, label)
        compared = np.where(blind[reference_image], UNLABELLED, reference_label)

        names, number = np.unique(np.concatenate([label, compared]), return_inverse=True)
        group = image * len(names) + number[: len(label)]
        reference_group = reference_image * len(names) + number[len(label) :]
        order, rank = _ranked(group, scores, self.max_detections)
        ranges = _Ranges.of(group[order], reference_group)
        i, j, similarity = self._similar(images, order, ranges)
        right, ignored = _matches(i, j, similarity, rank, void, crowd, self._enough(), len(order))
        bits = 2.0 ** np.arange(len(self.thresholds))
        outcome = right @ bits + (ignored @ bits) * 2.0 ** len(bits)
        classes, number = np.unique(reference_label[~void], return_inverse=True)
        key, counts = np.unique(reference_image[~void] * len(classes) + number, return_counts=True)
        owner, number = np.divmod(key, max(len(classes), 1))
        return _Records.concatenated(
            [
                _Records(
                    images.rows[owner],
                    np.column_stack([classes[number], counts, np.full(len(counts), -1.0)]),
                ),
                _Records(
                    images.rows[image[order]],
                    np.column_stack([label[order], scores[order], outcome]),
                ),
            ]
        )

    def _enough(self) -> Floats:
        # As pycocotools: rounding must not make a perfect match fail at a threshold of 1.
        return np.minimum(self.thresholds, 1 - 1e-10)

    def _similar(self, images: _Images, order: Ints, ranges: _Ranges) -> tuple[Ints, Ints, Floats]:
        """Pairs of a detection (its place in `order`) and a reference that are alike enough for
        the lowest threshold, and how alike they are."""
        lowest, shape = self._enough().min(), images.shape
        parts = []
        for i, j in ranges.pairs(max(1, PAIR_NUMBERS // shape.cost)):
            crowd = images.crowd[j]
            similarity = shape.similarity(images.found, images.wanted, order[i], j, crowd)
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
        curves = self._curves(stats, each=each)
        wanted = np.zeros(len(curves.owner))
        np.add.at(wanted, curves.reference_group, curves.references)
        average = _average_precision(curves.group, curves.outcome, wanted, len(self.thresholds))
        return curves.owner, average.mean(axis=0) if average.size else np.zeros(0)

    def resample(self, stats: pl.DataFrame, drawn: Samples) -> Floats:
        curves = self._curves(stats, each=False)
        if not len(curves.owner):
            return np.zeros(len(drawn))
        member = np.zeros((drawn.instances, len(curves.owner)))
        np.add.at(member, (curves.reference_image, curves.reference_group), curves.references)
        wanted = drawn.counts @ member
        total = np.zeros_like(wanted)
        for bit in range(len(self.thresholds)):
            total += _drawn_precision(curves, drawn.counts, wanted, bit, len(self.thresholds))
        # A class without a reference in a sample is none of that sample's.
        classes = np.maximum((wanted > 0).sum(axis=1), 1)
        return total.sum(axis=1) / classes / len(self.thresholds)

    def _curves(self, stats: pl.DataFrame, *, each: bool) -> _Curves:
        """The detections of every class that has references, over all images or in `each`."""
        records, headers = _Records.unpacked(stats["stats"])
        label, value, outcome = records.fields.T
        unit = records.image if each else np.zeros_like(records.image)
        names, number = np.unique(label, return_inverse=True)
        is_reference = outcome < 0
        group, inverse = np.unique((unit * len(names) + number)[is_reference], return_inverse=True)
        references = inverse, value[is_reference], records.image[is_reference]
        if not group.size:
            nothing = np.zeros(0, dtype=np.int64)
            return _Curves(nothing, nothing, nothing, nothing, *references)
        owner = group // len(names)

        found = np.flatnonzero(~is_reference)
        number = self._resolved(unit[found], number[found], names, owner, group)
        asked = unit[found] * len(names) + number
        place = np.minimum(np.searchsorted(group, asked), len(group) - 1)
        known = group[place] == asked
        found, place = found[known], place[known]
        # The last key is the first to sort by. Within an image the order given stays.
        order = np.lexsort((headers[records.image[found]], -value[found], place))
        chosen = found[order]
        code = outcome[chosen].astype(np.int64)
        return _Curves(owner, place[order], code, records.image[chosen], *references)

    def _resolved(self, unit: Ints, number: Ints, names: Floats, owner: Ints, group: Ints) -> Ints:
        """The detections' classes, where a side without labels leaves but one to choose."""
        sole = np.full(max(owner.max(), unit.max(initial=0)) + 1, -1)
        alone = np.bincount(owner, minlength=len(sole)) == 1
        sole[owner] = group % len(names)
        sole[~alone] = -1
        only = sole[unit]
        either = (names[number] == UNLABELLED) | (names[only] == UNLABELLED)
        return np.where((only >= 0) & either, only, number)


#: Into so many parts images are cut that cannot be read together, until the bad ones are alone.
_PARTS = 16


@dataclass(frozen=True, slots=True)
class _Reading:
    """Reads the images of a batch, as many together as can be.

    Attributes:
        given, expected: detections and references of each image, or why there are none.
        reasons: why images could not be read, by row.
    """

    metric: _AveragePrecision
    task_type: str
    given: list[list[Entry] | Refused]
    expected: list[list[Entry] | Refused]
    reasons: dict[str, dict[int, str]] = field(
        default_factory=lambda: {"refused": {}, "reference_refused": {}}
    )

    def all(self) -> list[_Images]:
        bad: list[int] = []
        good: list[int] = []
        for row, sides in enumerate(zip(self.given, self.expected, strict=True)):
            if any(isinstance(side, Refused) for side in sides):
                bad.append(row)
            elif any(sides):
                good.append(row)
        for row in bad:
            self._read([row])
        parts = self._read(good) if good else []
        if len(parts) > 1 and sum(len(part.rows) for part in parts) < len(good):
            # What was left around the bad ones, together after all: comparing costs most by parts.
            rows = np.sort(np.concatenate([part.rows for part in parts])).tolist()
            with contextlib.suppress(Refused):
                return list(self._together(rows))
        return parts

    def _read(self, rows: list[int]) -> list[_Images]:
        """The images of those rows: together, or in parts if one of them cannot be read."""
        try:
            return list(self._together(rows))
        except Refused as error:
            if len(rows) == 1:
                is_reference = isinstance(error, _ReferenceRefused)
                reasons = self.reasons["reference_refused" if is_reference else "refused"]
                reasons[rows[0]] = str(error)
                return []
        size = -(-len(rows) // _PARTS)
        parts = (self._read(rows[start : start + size]) for start in range(0, len(rows), size))
        return list(chain.from_iterable(parts))

    def _together(self, rows: list[int]) -> Iterator[_Images]:
        """The images of each kind of shape. Raises `Refused`, and what it is for a reference."""
        try:
            references = _References(self.metric, self.task_type, _sound(self.expected, rows))
        except Refused as error:
            raise _ReferenceRefused(str(error)) from None
        # The references alone could be read: what fails from here on is the prediction.
        yield from references.with_detections(np.array(rows), _sound(self.given, rows))


class _ReferenceRefused(Refused):
    """A reference that cannot be read."""


def _sound(sides: list[list[Entry] | Refused], rows: list[int]) -> Objects:
    """Objects of those images. Raises `Refused` when one has none."""
    images: list[list[Entry]] = []
    for row in rows:
        side = sides[row]
        if isinstance(side, Refused):
            raise side
        images.append(side)
    return Objects.of(images)


class _References:
    """References of images, and what was read of them without a look at the detections."""

    def __init__(self, metric: _AveragePrecision, task_type: str, objects: Objects) -> None:
        """Raises `Refused`."""
        self._metric, self._task_type, self._objects = metric, task_type, objects
        self._labels, self._crowd = objects.labels(), objects.crowd()
        # Without references there is nothing to tell the shape, and nothing to read.
        self._some = [place for place, references in enumerate(objects.images) if references]
        some = Objects.of([objects.images[place] for place in self._some])
        self._shapes = metric.shapes(Objects.of([()] * len(some.images)), some, task_type)
        self._read = {
            shape.kind: shape.read(part, scored=False)
            for shape, _, _, part in _by_kind(self._shapes, some)
        }

    def with_detections(self, rows: Ints, detections: Objects) -> Iterator[_Images]:
        """The images of each kind of shape. Raises `Refused`."""
        labels, scores = detections.labels(), detections.scores()
        shapes = self._metric.shapes(detections, self._objects, self._task_type)
        as_alone = [shapes[place] for place in self._some] == self._shapes
        kinds = zip(_by_kind(shapes, self._objects), _by_kind(shapes, detections), strict=True)
        for (shape, places, chosen, references), (_, _, found, given) in kinds:
            wanted = self._read.get(shape.kind) if as_alone else None
            yield _Images(
                rows[places],
                shape,
                given,
                labels[found],
                scores[found],
                shape.read(given, scored=True),
                references,
                self._labels[chosen],
                self._crowd[chosen],
                shape.read(references, scored=False) if wanted is None else wanted,
            )


def _by_kind(
    shapes: Sequence[Shape], objects: Objects
) -> Iterator[tuple[Shape, Any, Any, Objects]]:
    """Shapes of each kind as one, the places of their images and of the objects of these, and the
    objects."""
    places: dict[Hashable, list[int]] = defaultdict(list)
    for place, shape in enumerate(shapes):
        places[shape.kind].append(place)
    if len(places) == 1:
        yield shapes[0].over(shapes), slice(None), slice(None), objects
        return
    for chosen in places.values():
        part = [shapes[place] for place in chosen]
        mine = np.isin(objects.image, chosen)
        images = Objects.of([objects.images[place] for place in chosen])
        yield part[0].over(part), chosen, mine, images


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


@dataclass(frozen=True, slots=True)
class _Curves:
    """Detections by curve (one of each class, or of each class and image), best first.

    Attributes:
        owner: the image of each curve, 0 for a curve over all of them; (curves,).
        group: the curve of each detection, ascending; (detections,).
        outcome: whether each detection is right, and whether ignored, at each threshold, as bits.
        image: the image of each detection.
        reference_group: the curve of each count of references; (counts,).
        references: the counts.
        reference_image: their images.
    """

    owner: Ints
    group: Ints
    outcome: Ints
    image: Ints
    reference_group: Ints
    references: Floats
    reference_image: Ints


def _drawn_precision(
    curves: _Curves, drawn: Floats, wanted: Floats, bit: int, thresholds: int
) -> Floats:
    """Average precision at one threshold, over samples of images: shape (samples, curves).

    As `_average_precision`, of detections that count as often as their image was drawn.

    Args:
        drawn: how often each sample has each image, shape (samples, images).
        wanted: references of each curve in each sample, shape (samples, curves).
    """
    right = (curves.outcome >> bit & 1).astype(bool)
    counted = right | ~(curves.outcome >> (bit + thresholds) & 1).astype(bool)
    group, hit = curves.group[counted], np.flatnonzero(right[counted])
    curve = group[hit]
    if not len(hit):
        return np.zeros_like(wanted)
    times = drawn[:, curves.image[counted]]
    seen = np.cumsum(np.pad(times, ((0, 0), (1, 0))), axis=1)
    seen = seen[:, hit + 1] - seen[:, np.searchsorted(group, curve)]
    found = np.cumsum(np.pad(times[:, hit], ((0, 0), (1, 0))), axis=1)
    start = np.searchsorted(curve, curve)
    hits = found[:, 1:] - found[:, start]
    precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
    # The running maximum from the end of each curve; a curve lies 2 above the one after it.
    envelope = np.maximum.accumulate((precision - 2.0 * curve)[:, ::-1], axis=1)[:, ::-1]
    envelope += 2.0 * curve
    references = np.maximum(wanted[:, curve], 1.0)
    reached = np.where(hits > 0, np.searchsorted(_RECALLS, hits / references, side="right"), 0)
    # A hit stands for the recalls that it is the first to reach.
    recalls = np.diff(reached, axis=1, prepend=0)
    firsts = np.unique(start)
    recalls[:, firsts] = reached[:, firsts]
    averages = np.zeros_like(wanted)
    averages[:, curve[firsts]] = np.add.reduceat(recalls * envelope, firsts, axis=1)
    averages /= len(_RECALLS)
    return averages


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


#: Shapes that are the same for all images.
_BOXES, _BOXES_3D, _POINT_SETS = Boxes(), Boxes3d(), PointSets()


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

    def shapes(self, given: Objects, expected: Objects, task_type: str) -> list[Shape]:
        if "segment" not in task_type and (given.names | expected.names).isdisjoint(MASKS):
            return [_BOXES] * len(expected.images)
        if all(map(_are_masks_alone, (given, expected))):
            sizes = mask_sizes(given, expected)
            nothing = self.shape((), (), task_type)
            pairs = zip(expected.images, given.images, strict=True)
            return [
                Masks((size,)) if any(pair) else nothing
                for size, pair in zip(sizes, pairs, strict=True)
            ]
        return super().shapes(given, expected, task_type)

    def shape(
        self, detections: Sequence[Entry], references: Sequence[Entry], task_type: str
    ) -> Shape:
        if "segment" not in task_type:
            if not all(has_any(entry, MASKS) for entry in references):
                return _BOXES
            given = bool(detections) and all(has_any(entry, MASKS) for entry in detections)
            boxed = all(has_any(entry, BOXES) for entry in references)
            if not given and boxed:
                return _BOXES
        return Masks((mask_size(chain(references, detections)),))


def _are_masks_alone(objects: Objects) -> bool:
    """Whether all the objects have a mask, and none a box."""
    present = [name for name in MASKS if name in objects.names]
    if not objects.names.isdisjoint(BOXES):
        return False
    if len(present) == 1:
        return all(objects.first(present))
    return all(has_any(entry, present) for entry in objects.entries)


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
    ) -> Shape:
        for entry in (*references, *detections):
            value = entry.get("keypoints")
            if not isinstance(value, list) or not value:
                break
            return Keypoints(len(value) if isinstance(value[0], list) else len(value) // 3)
        return Keypoints(0)


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
    ) -> Shape:
        deciding = references or detections
        if deciding and all(has_any(entry, POINTS) for entry in deciding):
            return _POINT_SETS
        return _BOXES_3D


@register
class MeanAveragePrecision(_SpaceAveragePrecision):
    """mAP of objects in space: mean over the IoU thresholds 0.50, 0.55, ..., 0.95; 0..1."""

    id = "map"


@register
class MeanAveragePrecision50(_SpaceAveragePrecision):
    """mAP of objects in space at IoU 0.50; 0..1."""

    id = "map50"
    thresholds = np.array([0.50])
