"""Panoptic quality."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from tasks.media import Refused, is_file, load_image, name_of, read_bytes
from tasks.metrics.base import StructureMetric, register
from tasks.metrics.masks import (
    Bools,
    Floats,
    Ints,
    Size,
    by,
    decode_mask,
    is_lossy,
    load_numbers,
    unwrap,
)
from tasks.metrics.samples import Samples
from tasks.metrics.segmentation import IGNORED, drawn_sums_of, records_of, sums_of

_CLASS_KEYS = ("category_id", "class_id", "class", "category", "label")
_MAP_KEYS = ("map", "label_map", "panoptic", "panoptic_seg", "png", "file", "file_name", "mask")
_DIVISOR = 1000
#: Up to this many pairs of segments, each has a counter; more of them are sorted.
_COUNTED_AT_ONCE = 1_000_000


@dataclass(frozen=True, slots=True)
class _Panoptic:
    """`segments`: 0 where there is none, else a number from 1 on, by which the others are indexed."""

    segments: Ints
    classes: Ints
    crowd: Bools


@register
class PanopticQuality(StructureMetric):
    """PQ (arXiv:1801.00868): mean over the classes of (sum of IoU) / (TP + FP/2 + FN/2); 0..1.

    A predicted and a reference segment of one class match when their IoU is above 0.5. Counts and
    IoU of each class are summed over all images; stuff and things are treated alike; classes that
    occur nowhere do not count. As in the COCO panoptic evaluation, void pixels of the reference are
    left out of unions, crowd segments of the reference cannot be missed, and a predicted segment
    that lies by more than half on void or on crowd of its class is no error. Higher is better.

    Predictions and references, each in any of these forms:

    - `{"path": image of segment ids, "segments_info": [{"id", "category_id"}]}`, or an array under
      "map"; a colour PNG holds ids as R + 256 G + 65536 B (COCO). Ids without an entry are void;
    - a list of segments `{"category_id": ..., and a mask}` (COCO RLE under "segmentation" or "mask",
      polygons with a size, an image); where two overlap, the first one has the pixel;
    - an array (height, width, 2) of class and instance, or an image or array (height, width) of
      class * 1000 + instance, below 1000 of the class alone (Cityscapes). Class 255 is void.
    """

    id = "pq"
    payload = "json"
    statistics = ("stats",)
    variable = True

    def read_reference(self, value: Any) -> _Panoptic:
        return _read_panoptic(value)

    def measure(self, prediction: Any, reference: _Panoptic) -> list[float]:
        shape = reference.segments.shape
        given = _read_panoptic(prediction, shape if len(shape) == 2 else None)
        if given.segments.shape != shape:
            raise Refused(
                f"expected segments of {by(shape)} pixels, found {by(given.segments.shape)}"
            )
        return _match(given, reference).ravel().tolist()

    def measure_worst(self, reference: _Panoptic) -> list[float]:
        nothing = np.zeros_like(reference.segments)
        none = _Panoptic(nothing, np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.bool_))
        return _match(none, reference).ravel().tolist()

    def aggregate(self, stats: pl.DataFrame) -> float:
        _, records = records_of(stats, 5)
        _, sums = sums_of(records[:, 0].astype(np.int64), records[:, 1:])
        return float(_quality(sums).mean()) if len(sums) else 0.0

    def resample(self, stats: pl.DataFrame, drawn: Samples) -> Floats:
        row, records = records_of(stats, 5)
        sums = drawn_sums_of(row, records, drawn)
        present = sums.any(axis=-1)
        quality = np.zeros(present.shape)
        quality[present] = _quality(sums[present])
        return quality.sum(axis=1) / np.maximum(present.sum(axis=1), 1)

    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        row, records = records_of(stats, 5)
        rows, sums = sums_of(row, np.stack([_quality(records[:, 1:]), np.ones(len(row))], axis=1))
        scores = np.zeros(stats.height)
        scores[rows] = sums[:, 0] / sums[:, 1]
        return pl.Series(scores, dtype=pl.Float64)


def _quality(sums: Floats) -> Floats:
    tp, fp, fn, iou = np.moveaxis(sums, -1, 0)
    return iou / (tp + 0.5 * fp + 0.5 * fn)


def _match(given: _Panoptic, expected: _Panoptic) -> Floats:
    """Class, TP, FP, FN and sum of IoU of the classes that have one of them."""
    # Areas of all pairs of an expected and a given segment that share a pixel, void among them.
    width = len(given.classes)
    pairs = expected.segments * width + given.segments
    if len(expected.classes) * width <= _COUNTED_AT_ONCE:
        counts = np.bincount(pairs.ravel())
        pair = np.flatnonzero(counts)
        shared = counts[pair]
    else:
        pair, shared = np.unique(pairs, return_counts=True)
    e, g = pair // width, pair % width
    area_expected = np.bincount(e, shared, len(expected.classes))
    area_given = np.bincount(g, shared, width)
    void = np.zeros(width)
    void[g[e == 0]] = shared[e == 0]

    same = (e > 0) & (g > 0) & (expected.classes[e] == given.classes[g])
    on_crowd = same & expected.crowd[e]
    tolerated = void + np.bincount(g[on_crowd], shared[on_crowd], width)
    fit = same & ~expected.crowd[e]
    iou = np.zeros(len(shared))
    either = area_expected[e] + area_given[g] - shared - void[g]
    iou[fit] = shared[fit] / either[fit]
    hit = iou > 0.5

    missed = ~expected.crowd & (area_expected > 0)
    missed[e[hit]] = missed[0] = False
    wrong = (area_given > 0) & (tolerated <= 0.5 * area_given)
    wrong[g[hit]] = wrong[0] = False
    classes = np.concatenate(
        [expected.classes[e[hit]], given.classes[wrong], expected.classes[missed]]
    )
    hits, errors, misses = int(hit.sum()), int(wrong.sum()), int(missed.sum())
    kinds = np.repeat(np.eye(3), [hits, errors, misses], axis=0)
    quality = np.concatenate([iou[hit], np.zeros(errors + misses)])
    distinct, sums = sums_of(classes, np.column_stack([kinds, quality]))
    return np.column_stack([distinct, sums]).astype(np.float64)


def _read_panoptic(value: Any, size: Size | None = None) -> _Panoptic:
    info = None
    if isinstance(value, dict):
        info = value.get("segments_info", value.get("segments"))
        if not is_file(value):
            value = next((value[key] for key in _MAP_KEYS if key in value), info)
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return _of_segments(value, size)
    ids = _segment_ids(value, is_coloured=info is not None)
    if info is not None:
        return _of_info(ids, info)
    if ids.ndim == 3 and ids.shape[2] == 2:
        classes, instances = ids[..., 0], ids[..., 1]
    elif ids.ndim == 2:
        classes = np.where(ids < _DIVISOR, ids, ids // _DIVISOR)
        instances = np.where(ids < _DIVISOR, -1, ids % _DIVISOR)
    else:
        raise Refused(
            f"expected segments (height, width) or (height, width, 2), found {by(ids.shape)}"
        )
    if max(np.abs(instances).max(), np.abs(classes).max()) >= 2**31:
        raise Refused("expected classes and instances below 2,147,483,648")
    valid = (classes >= 0) & (classes != IGNORED)
    names, inverse = np.unique(classes[valid] * 2**32 + instances[valid], return_inverse=True)
    segments = np.zeros(classes.shape, dtype=np.int64)
    segments[valid] = inverse + 1
    # Instances of -1 borrow from the class above: adding 2**31 rounds back to their class.
    found = np.concatenate([[-1], (names + 2**31) // 2**32])
    return _Panoptic(segments, found, np.zeros(len(found), dtype=np.bool_))


def _segment_ids(value: Any, *, is_coloured: bool) -> Ints:
    """Ids of the segments, from the colours of a COCO PNG if they have any."""
    if is_lossy(value):
        raise Refused(f"{name_of(value)}: a JPEG blurs segment ids; expected a PNG or an array")
    if is_file(value) and _is_colour(value):
        if not is_coloured:
            raise Refused(f"{name_of(value)} is in colours: expected 'segments_info' beside it")
        return load_image(value).astype(np.int64) @ np.array([1, 256, 65536])
    numbers = load_numbers(value)
    if numbers.dtype.kind == "f" and (numbers != np.rint(numbers)).any():
        raise Refused("expected segment ids, found fractions")
    if numbers.min() < -(2**52) or numbers.max() > 2**52:
        raise Refused(f"expected segment ids, found {numbers.min():g}..{numbers.max():g}")
    return numbers.astype(np.int64)


def _is_colour(value: Any) -> bool:
    try:
        with Image.open(io.BytesIO(read_bytes(value))) as image:
            return image.mode in ("RGB", "RGBA")
    except (OSError, Image.DecompressionBombError):
        return False  # An array, or an image whose reader will say what is wrong.


def _of_info(ids: Ints, info: Any) -> _Panoptic:
    if not isinstance(info, list) or not all(isinstance(entry, dict) for entry in info):
        raise Refused("expected segments_info as a list of {'id', 'category_id'}")
    if ids.ndim != 2:
        raise Refused(f"expected segment ids (height, width), found {by(ids.shape)}")
    named = [_whole(entry.get("id"), "id") for entry in info]
    if len(set(named)) < len(named):
        raise Refused("segments_info names an id twice")
    order = np.argsort(named)
    sorted_ids = np.array(named, dtype=np.int64)[order]
    place = np.searchsorted(sorted_ids, ids)
    known = place < len(named)
    known[known] = sorted_ids[place[known]] == ids[known]
    segments = np.where(known, np.minimum(place, max(len(named) - 1, 0)) + 1, 0)
    return _Panoptic(segments, *_classes_of([info[i] for i in order]))


def _of_segments(entries: list[Any], size: Size | None) -> _Panoptic:
    segments = None if size is None else np.zeros(size, dtype=np.int64)
    for number, entry in reversed(list(enumerate(entries, start=1))):
        mask = decode_mask(_mask_of(entry), size)
        if segments is None:
            segments = np.zeros(mask.shape, dtype=np.int64)
        if mask.shape != segments.shape:
            raise Refused(f"segments of different sizes: {by(segments.shape)}, {by(mask.shape)}")
        segments[mask] = number
    if segments is None:
        raise Refused("a list of segments is empty: the size of the image is not known")
    return _Panoptic(segments, *_classes_of(entries))


def _mask_of(entry: dict[str, Any]) -> Any:
    """The mask of a segment: the entry itself, unless it wraps an RLE beside its size."""
    inner, _ = unwrap(entry)
    return inner if isinstance(inner, dict) else entry


def _classes_of(entries: Sequence[dict[str, Any]]) -> tuple[Ints, Bools]:
    """Classes and crowd flags of segments, those of void before them."""
    classes = [-1]
    for entry in entries:
        found = next((entry[key] for key in _CLASS_KEYS if key in entry), None)
        classes.append(_whole(found, "category_id"))
    crowd = [False] + [bool(entry.get("iscrowd")) for entry in entries]
    return np.array(classes, dtype=np.int64), np.array(crowd, dtype=np.bool_)


def _whole(value: Any, name: str) -> int:
    if type(value) is not int or not 0 <= value < 2**31:
        raise Refused(f"expected {name} of a segment as a whole number, found {value!r:.60}")
    return value
