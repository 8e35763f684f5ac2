"""Maps of grey against masks: structure measure and area under the ROC curve."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.media import Array, Refused, is_file, is_folder, load_image, name_of
from tasks.metrics.base import register
from tasks.metrics.masks import Bools, Floats, by, decode_mask, is_lossy, is_mask, load_numbers
from tasks.metrics.segmentation import MeanOfInstances, alike

_EPSILON = float(np.spacing(1.0))


@dataclass(frozen=True, slots=True)
class _Frames:
    """Frames as they are named or numbered, none of them read yet; names are those of files."""

    values: list[Any]
    names: list[str] | None


@register
class StructureMeasure(MeanOfInstances):
    """S-measure (Fan et al., arXiv:1708.00786), alpha 0.5: mean over frames, then over videos; 0..1.

    A prediction is a grey map, a reference a binary mask, one or several frames on both sides: a
    folder of images (paired by their names without suffix), a list of images, one image, or an array
    (frames, height, width) or (height, width). Whole numbers are in 0..255, floats in 0..1 or in
    0..255. Each map is then stretched to 0..1 as `py_sod_metrics` does,
    with which it agrees. References are inside above 128, or where 1 when they hold only 0 and 1;
    COCO RLE and polygons with a size will do for both. An empty reference scores 1 - the mean of
    the map, a full one the mean. Higher is better.
    """

    id = "structure_measure"
    version = 2
    payload = "media"

    def read_reference(self, value: Any) -> tuple[_Frames, list[Bools]]:
        frames = _frames(value)
        if not frames.values:
            raise Refused("the reference has no frames")
        return frames, [_binary(frame) for frame in frames.values]

    def measure(self, prediction: Any, reference: tuple[_Frames, list[Bools]]) -> Sequence[float]:
        expected, masks = reference
        scores = []
        for frame, mask in zip(_paired(_frames(prediction), expected), masks, strict=True):
            grey = _grey(frame)
            if grey.shape != mask.shape:
                raise Refused(f"expected a map of {by(mask.shape)}, found one of {by(grey.shape)}")
            scores.append(structure_measure(grey, mask))
        return (math.fsum(scores) / len(scores),)


def structure_measure(grey: Floats, mask: Bools, alpha: float = 0.5) -> float:
    """S-measure of a map of 0..1 against a mask."""
    share = np.count_nonzero(mask) / mask.size
    if share in (0, 1):
        mean = float(grey.mean())
        return mean if share else 1 - mean
    inside, outside = grey[mask], grey[~mask]
    objects = share * _object(inside.mean(), inside)
    objects += (1 - share) * _object(1 - outside.mean(), outside)
    return max(0.0, float(alpha * objects + (1 - alpha) * _regions(grey, mask)))


def _object(mean: np.float64, values: Floats) -> float:
    """Similarity of an object whose values have that mean, or of a ground whose values are 1 - it."""
    centred = values - values.mean()
    deviation = math.sqrt(_dot(centred, centred) / max(values.size - 1, 1))
    return float(2 * mean / (mean**2 + 1 + deviation + _EPSILON))


def _regions(grey: Floats, mask: Bools) -> float:
    """Similarity of the four parts around the mask's centre, weighted by their areas."""
    counted = mask.view(np.uint8)
    rows, columns = (counted.sum(axis=axis, dtype=np.uint32) for axis in (1, 0))
    y, x = (
        int(np.round((counts * np.arange(len(counts))).sum() / counts.sum())) + 1
        for counts in (rows, columns)
    )
    total = 0.0
    for part in np.s_[:y, :x], np.s_[:y, x:], np.s_[y:, :x], np.s_[y:, x:]:
        if mask[part].size:
            total += mask[part].size / mask.size * _similarity(grey[part], mask[part])
    return total


def _similarity(grey: Floats, mask: Bools) -> float:
    n, inside = mask.size, np.count_nonzero(mask)
    mean_grey, mean_mask = grey.mean(), inside / n
    from_grey = grey - mean_grey
    # Deviations of the mask are 1 - mean inside and -mean outside: their products have short forms.
    variance = _dot(from_grey, from_grey) + n * mean_mask * (1 - mean_mask)
    covariance = from_grey[mask].sum() if 0 < inside < n else 0.0
    upper = 4 * mean_grey * mean_mask * covariance / (n - 1 + _EPSILON)
    lower = (mean_grey**2 + mean_mask**2) * variance / (n - 1 + _EPSILON)
    if upper:
        return float(upper / (lower + _EPSILON))
    return 0.0 if lower else 1.0


def _dot(a: Floats, b: Floats) -> float:
    # Not np.vdot: its threads cost more than they save beside other processes.
    return float(np.einsum("i,i->", a.ravel(), b.ravel()))


def _frames(value: Any) -> _Frames:
    if is_folder(value):
        files = value["$files"]
        names = [posixpath.splitext(posixpath.basename(file["path"]))[0] for file in files]
        return _Frames([{"$file": file} for file in files], names)
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return _Frames(value, None)
    if isinstance(value, dict) and (is_mask(value) or _is_image(value)):
        return _Frames([value], None)
    array = load_numbers(value)
    if array.ndim == 4 and 1 in (array.shape[1], array.shape[3]):
        array = array[:, 0] if array.shape[1] == 1 else array[..., 0]
    if array.ndim not in (2, 3):
        raise Refused(f"expected ([frames,] height, width), found {by(array.shape)}")
    return _Frames(list(array) if array.ndim == 3 else [array], None)


def _is_image(value: Any) -> bool:
    suffix = posixpath.splitext(name_of(value))[1].lower() if is_file(value) else ""
    return is_file(value) and suffix not in (".npy", ".npz", ".parquet")


def _paired(given: _Frames, expected: _Frames) -> list[Any]:
    """Frames in the order of the reference, by name when both sides have names."""
    if len(expected.values) > 1 and given.names is not None and expected.names is not None:
        found = dict(zip(given.names, given.values, strict=True))
        missing = [name for name in expected.names if name not in found]
        if missing:
            raise Refused(
                f"{len(missing)} of {len(expected.values)} frames are missing: {missing[0]}"
            )
        return [found[name] for name in expected.names]
    if len(given.values) != len(expected.values):
        raise Refused(f"expected {len(expected.values)} frames, found {len(given.values)}")
    return given.values


def _numbers(frame: Any) -> Array:
    if isinstance(frame, np.ndarray):
        return frame
    if isinstance(frame, dict) and is_mask(frame) and not is_lossy(frame):
        return decode_mask(frame).view(np.uint8)
    array = load_image(frame, "L") if _is_image(frame) else load_numbers(frame)
    if array.ndim != 2:
        raise Refused(f"expected a map (height, width), found {by(array.shape)}")
    return array


def _grey(frame: Any) -> Floats:
    """A map as numbers of 0..1, stretched to all of it unless it is of one value."""
    numbers = _numbers(frame)
    low, high = numbers.min(), numbers.max()
    is_fraction = numbers.dtype.kind == "f" and high <= 1
    scale = 1 if is_fraction else 255
    if low < 0 or high > scale:
        raise Refused(f"expected a map of 0..1 or 0..255, found {low:g}..{high:g}")
    if low == high:
        return numbers.astype(np.float64) / scale
    grey = np.subtract(numbers, low, dtype=np.float64)
    grey /= float(high) - float(low)
    return grey


def _binary(frame: Any) -> Bools:
    numbers = _numbers(frame)
    high = numbers.max()
    return numbers > (0.5 if high <= 1 else 128)


#: Whole numbers up to here are counted one by one.
_COUNTED = 65_535


@register
class RocAuc(MeanOfInstances):
    """AUROC of the pixels of a predicted map against a mask, mean over the images; 0..1.

    The chance that a pixel inside has a higher value than one outside, equal values counting half:
    agrees with `sklearn.metrics.roc_auc_score`. A prediction is a grey image or an array of any
    numbers (height, width); a reference a mask image (above 128, or 1 when it holds only 0 and 1),
    array or COCO RLE. A reference that is empty or full has no curve and is refused. Higher is
    better; a map of one value scores 0.5.
    """

    id = "roc_auc"
    payload = "media"

    def read_reference(self, value: Any) -> Bools:
        mask = _binary(value)
        if mask.all() or not mask.any():
            raise Refused("the reference has pixels of one kind only: there is no ROC curve")
        return mask

    def measure(self, prediction: Any, reference: Bools) -> Sequence[float]:
        scores = alike(_numbers(prediction), reference)
        return (roc_auc(scores, reference),)


def roc_auc(scores: Array, mask: Bools) -> float:
    """Area under the ROC curve of scores; `mask` has both kinds."""
    if scores.dtype.kind in "iu" and scores.min() >= 0 and scores.max() <= _COUNTED:
        inside = np.bincount(scores[mask].astype(np.int64), minlength=_COUNTED + 1)
        outside = np.bincount(scores[~mask].astype(np.int64), minlength=_COUNTED + 1)
    else:
        values, place = np.unique(scores.ravel(), return_inverse=True)
        inside = np.bincount(place, mask.ravel(), len(values))
        outside = np.bincount(place, ~mask.ravel(), len(values))
    below = np.cumsum(outside) - outside / 2
    return float((inside * below).sum() / (float(inside.sum()) * float(outside.sum())))
