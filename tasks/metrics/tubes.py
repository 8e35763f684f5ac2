"""vIoU of many plain tubes at once: a box a frame on one side, a trajectory on the other.

What is spelled in another way, or is wrong, is left to `tasks.metrics.tracking`, which takes one
video after the other and says what is wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: Coordinates (pixels, metres) and frame numbers beyond which a value is no such thing.
FARTHEST = 1e9
#: The least normal number above 0.
_TINY = float(np.finfo(np.float64).tiny)
_NO_BOX = (0.0, 0.0, 0.0, 0.0)

_Box = tuple[float, float, float, float]
#: A number that may be one of a frame: whole numbers alone are, and 1.0 is none.
_Number = int | float


class _Sized(msgspec.Struct):
    """`{"bbox": [x, y, width, height]}`; where there is a "box", that one would count."""

    bbox: _Box
    box: Literal["no box"] | msgspec.UnsetType = msgspec.UNSET


class _Trajectory(msgspec.Struct):
    """A reference as `m_viou` describes it."""

    tube_start_frame: _Number
    tube_end_frame: _Number
    trajectory: list[_Box | None] | dict[str, _Sized | _Box]
    frame_count: _Number | None = None


_PREDICTION = msgspec.json.Decoder(list[_Box | None])
_REFERENCE = msgspec.json.Decoder(_Trajectory)


class _Pair(NamedTuple):
    """One video, as it stands in its documents.

    Attributes:
        given: [x1, y1, x2, y2] for each frame of the video.
        expected: [x, y, width, height] for each frame of the tube.
        first, start: number of the video's first frame, and of the tube's.
    """

    given: Sequence[_Box | None]
    expected: Sequence[_Box | None]
    first: int
    start: int


def plain_tube_scores(predictions: Iterable[str], references: Iterable[str]) -> Floats:
    """vIoU of each video (videos,), NaN where `MeanVideoIou.measure` is to be asked."""
    pairs = [_pair(*documents) for documents in zip(predictions, references, strict=True)]
    scores = np.full(len(pairs), np.nan)
    plain = [number for number, pair in enumerate(pairs) if pair is not None]
    if plain:
        scores[plain] = _scores([pair for pair in pairs if pair is not None])
    return scores


def paired_ious(given: Floats, expected: Floats) -> Floats:
    """IoU of boxes [x1, y1, x2, y2], row k of the one side (n, 4) with row k of the other: (n,)."""
    sides = np.minimum(given[:, 2:], expected[:, 2:])
    sides -= np.maximum(given[:, :2], expected[:, :2])
    np.maximum(sides, 0, out=sides)
    intersection = sides[:, 0] * sides[:, 1]
    own, other = given[:, 2:] - given[:, :2], expected[:, 2:] - expected[:, :2]
    union = own[:, 0] * own[:, 1] + other[:, 0] * other[:, 1] - intersection
    # Without a union there is no intersection either: 0.
    return intersection / np.maximum(union, _TINY)


def _pair(prediction: str, document: str) -> _Pair | None:
    """None when one of the two is not plain."""
    try:
        given, reference = _PREDICTION.decode(prediction), _REFERENCE.decode(document)
    except msgspec.DecodeError:
        return None
    start, end = reference.tube_start_frame, reference.tube_end_frame
    trajectory, count = reference.trajectory, reference.frame_count
    if not (_is_frame(start) and _is_frame(end) and (count is None or _is_frame(count))):
        return None
    if count is not None and len(given) > count:
        return None
    start, end = int(start), int(end)
    if isinstance(trajectory, list):
        fits = len(trajectory) in (end - start, end - start + 1)
        return _Pair(given, trajectory, 1, start) if fits else None
    inside = _inside(trajectory, start, end)
    return None if inside is None else _Pair(given, inside, 0, start)


def _is_frame(number: _Number) -> bool:
    return isinstance(number, int) and 0 <= number < FARTHEST


def _inside(trajectory: dict[str, _Sized | _Box], start: int, end: int) -> list[_Box] | None:
    """Boxes from the start to before the end; None unless frames follow each other as they should."""
    name = next(iter(trajectory), "")
    if not (name.isascii() and name.isdecimal() and len(name) < 10):
        return None
    first = int(name)
    if not first <= start < end <= first + len(trajectory):
        return None
    if list(trajectory) != list(map(str, range(first, first + len(trajectory)))):
        return None
    boxes = itertools.islice(trajectory.values(), start - first, end - first)
    return [box if type(box) is tuple else box.bbox for box in boxes]  # type: ignore[union-attr]


def _scores(pairs: Sequence[_Pair]) -> Floats:
    """vIoU of each pair (pairs,), NaN where a box is none or the reference has not any."""
    given, given_sizes = _laid_end_to_end([pair.given for pair in pairs])
    stored, sizes = _laid_end_to_end([pair.expected for pair in pairs])
    expected = stored.copy()
    expected[:, 2:] += expected[:, :2]
    is_given, is_expected = (np.count_nonzero(side, axis=1) > 0 for side in (given, expected))

    # Frames that both speak of: they follow each other, on both sides.
    first = np.array([pair.first for pair in pairs])
    start = np.array([pair.start for pair in pairs])
    begin = np.maximum(first, start)
    counts = np.maximum(np.minimum(first + given_sizes, start + sizes) - begin, 0)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    i = np.repeat(_firsts(given_sizes) + begin - first, counts) + within
    j = np.repeat(_firsts(sizes) + begin - start, counts) + within
    pair = np.repeat(np.arange(len(pairs)), counts)
    both = is_given[i] & is_expected[j]
    i, j, pair = i[both], j[both], pair[both]

    total = np.bincount(pair, paired_ious(given[i], expected[j]), len(pairs))
    wanted = _sums(is_expected, sizes)
    either = _sums(is_given, given_sizes) + wanted - np.bincount(pair, minlength=len(pairs))
    unsound = _sums(~_sound(given, given), given_sizes) + _sums(~_sound(expected, stored), sizes)
    return np.where((unsound > 0) | (wanted == 0), np.nan, total / np.maximum(either, 1))


def _laid_end_to_end(sides: Sequence[Sequence[_Box | None]]) -> tuple[Floats, Ints]:
    """The boxes of all as rows, null as zeros, and how many each has."""
    rows = [box or _NO_BOX for side in sides for box in side]
    numbers = np.fromiter(itertools.chain.from_iterable(rows), np.float64, 4 * len(rows))
    return numbers.reshape(-1, 4), np.array([len(side) for side in sides], dtype=np.int64)


def _firsts(sizes: Ints) -> Ints:
    return np.cumsum(sizes) - sizes


def _sound(boxes: Floats, stored: Floats) -> Bools:
    """Which boxes [x1, y1, x2, y2] are no mistake, (n,); `stored` as they stand in the document."""
    near = np.count_nonzero(np.abs(stored) <= FARTHEST, axis=1) == 4
    return near & (boxes[:, 2] >= boxes[:, 0]) & (boxes[:, 3] >= boxes[:, 1])


def _sums(flags: Bools, sizes: Ints) -> Ints:
    """How many are set of each part of that size, (parts,)."""
    before = np.concatenate([[0], np.cumsum(flags)])
    ends = np.cumsum(sizes)
    return before[ends] - before[ends - sizes]
