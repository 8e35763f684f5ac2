"""Binary masks in every spelling that predictions and references use, and their overlaps.

A mask is read as an `Rle` (COCO run-length encoding, polygons) or as an array of bool (images,
arrays, nested lists). Overlaps of two `Rle` are counted on the runs; nothing is unpacked.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.media import (
    PIXEL_LIMIT,
    Array,
    Refused,
    is_file,
    load_array,
    load_image,
    name_of,
)

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Size = tuple[int, int]

#: Keys under which a mask may be wrapped, the polygon's `size` or `height` and `width` beside it.
_WRAPPERS = ("mask", "segmentation", "polygons", "polygon", "rle")
_ARRAYS = (".npy", ".npz", ".parquet")
#: Polygons are drawn on a grid this many times finer than the pixels.
_FINER = 5


@dataclass(frozen=True, slots=True)
class Rle:
    """A mask as the positions where it begins and ends, pixels counted down the columns.

    Attributes:
        size: height and width.
        edges: ascending positions; pixels of `edges[0]:edges[1]`, `edges[2]:edges[3]` ... are
            inside. No run of pixels inside is empty.
    """

    size: Size
    edges: Ints

    @property
    def area(self) -> int:
        return int((self.edges[1::2] - self.edges[::2]).sum())

    def array(self) -> Bools:
        """The mask unpacked, bool (height, width)."""
        height, width = self.size
        flips = np.zeros(height * width + 1, dtype=np.uint8)
        # Runs that touch share a position, which then flips twice.
        flips[self.edges[::2]] ^= 1
        flips[self.edges[1::2]] ^= 1
        inside = np.bitwise_xor.accumulate(flips[:-1]).view(np.bool_)
        return np.ascontiguousarray(inside.reshape(width, height).T)

    @classmethod
    def of(cls, mask: Bools) -> Rle:
        """The runs of a mask given as an array."""
        flat = np.concatenate([[False], mask.T.ravel(), [False]])
        return cls((mask.shape[0], mask.shape[1]), np.flatnonzero(flat[1:] != flat[:-1]))


Mask = Rle | Bools


def decode_mask(value: Any, size: Size | None = None) -> Bools:
    """A mask as an array of bool (height, width). Spellings: `read_mask`. Raises `Refused`."""
    mask = read_mask(value, size)
    return mask.array() if isinstance(mask, Rle) else mask


def read_mask(value: Any, size: Size | None = None) -> Mask:
    """A mask from any of its spellings.

    - COCO RLE `{"size": [height, width], "counts": ...}`, counts a compressed text or a list;
    - polygons `[[x1, y1, x2, y2, ...], ...]`, filled as pycocotools does; `size` tells the image's
      height and width, or they stand beside: `{"polygons": ..., "size": [height, width]}`, or
      `{"segmentation": ..., "height": h, "width": w}`. Several polygons are their union;
    - an image file: inside where not 0. A JPEG, which blurs the edges, is inside from 128;
    - a nested list of 0 and 1 or a .npy or .npz array (height, width): inside where not 0;
    - any of these under "mask", "segmentation", "polygons" or "rle".

    Args:
        value: a decoded document.
        size: the height and width that the mask must have, if they are known.

    Raises:
        Refused: when it is none of these, damaged, too large, or of another size.
    """
    wrapped, beside = unwrap(value)
    mask = _read(wrapped, beside or size)
    found = mask.size if isinstance(mask, Rle) else mask.shape
    if size is not None and found != tuple(size):
        raise Refused(f"expected a mask of {by(size)}, found one of {by(found)}")
    return mask


def unwrap(value: Any) -> tuple[Any, Size | None]:
    """What stands under "mask", "segmentation" and the like, and the size beside it."""
    if isinstance(value, dict) and "counts" not in value and not is_file(value):
        for key in _WRAPPERS:
            if key in value:
                return value[key], _size_beside(value)
    return value, None


def _read(value: Any, size: Size | None) -> Mask:
    if is_file(value):
        return _of_file(value)
    if isinstance(value, dict) and "counts" in value:
        return read_rles([value])[0]
    if isinstance(value, list):
        return _of_list(value, size)
    raise Refused("expected a mask: COCO RLE, polygons, an image or an array")


def is_mask(value: Any) -> bool:
    """Whether a value is a binary mask by its form: RLE, polygons, a JPEG, or a list called mask."""
    inner, size = unwrap(value)
    if isinstance(inner, list):
        return inner is not value or size is not None
    return (isinstance(inner, dict) and "counts" in inner) or is_lossy(inner)


def is_lossy(value: Any) -> bool:
    """Whether a value is a JPEG file, which cannot hold exact numbers."""
    return isinstance(value, dict) and "$file" in value and _suffix(value) in (".jpg", ".jpeg")


def _suffix(value: Any) -> str:
    return posixpath.splitext(name_of(value))[1].lower()


def _of_file(value: Any) -> Bools:
    if is_lossy(value):
        return load_image(value, "L") >= 128
    return _inside(load_numbers(value))


def load_numbers(value: Any) -> Array:
    """The numbers of an image (palette and grey ones as stored), of an array file, or of lists."""
    if is_file(value) and _suffix(value) not in _ARRAYS:
        return load_image(value, "label")
    return load_array(value)


def _of_list(value: list[Any], size: Size | None) -> Mask:
    """Rows of a mask or polygons: rows if they are as many and as long as the size says."""
    if size is not None and not (len(value) == size[0] and _lengths(value) == {size[1]}):
        return _of_polygons(value, size)
    array = load_array(value)
    if array.min() < 0 or array.max() > 1:
        raise Refused("expected rows of 0 and 1, or the size of the image beside the polygons")
    return _inside(array)


def _lengths(value: list[Any]) -> set[int]:
    return {len(row) if isinstance(row, list) else -1 for row in value}


def _inside(array: Array) -> Bools:
    while array.ndim > 2 and 1 in (array.shape[0], array.shape[-1]):
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.ndim != 2:
        raise Refused(f"expected a mask (height, width), found an array of shape {array.shape}")
    if array.dtype.kind == "f" and (array != np.rint(array)).any():
        raise Refused("expected a mask of 0 and 1, found fractions between them")
    return array != 0


def _size_beside(value: dict[str, Any]) -> Size | None:
    if "size" in value:
        return read_size(value["size"])
    if "height" in value and "width" in value:
        return read_size([value["height"], value["width"]])
    return None


def read_size(value: Any) -> Size:
    """Height and width from a list of the two. Raises `Refused`."""
    whole = isinstance(value, list) and [type(item) for item in value] == [int, int]
    if not whole or min(value) < 1:
        raise Refused(f"expected the size as [height, width], found {value!r:.60}")
    if value[0] * value[1] > PIXEL_LIMIT:
        raise Refused(f"a mask of {by(value)} has too many pixels")
    return value[0], value[1]


def by(size: Sequence[int]) -> str:
    """A size in words."""
    return " x ".join(str(side) for side in size)


def read_rles(values: Sequence[Any]) -> list[Rle]:
    """Masks of COCO RLE values, compressed or not; all compressed ones are decoded at once.

    Raises:
        Refused: when one is no RLE, or its runs do not fill its size.
    """
    sizes = []
    for value in values:
        if not (isinstance(value, dict) and "counts" in value and "size" in value):
            raise Refused('expected COCO RLE: {"size": [height, width], "counts": ...}')
        sizes.append(read_size(value["size"]))
    texts = [value["counts"] for value in values if isinstance(value["counts"], str)]
    decoded = iter(_decompress(texts))
    masks = []
    for value, size in zip(values, sizes, strict=True):
        is_text = isinstance(value["counts"], str)
        counts = next(decoded) if is_text else _plain_counts(value["counts"])
        masks.append(Rle(size, _edges(counts, size)))
    return masks


def _edges(counts: Ints, size: Size) -> Ints:
    """Begin and end of the runs of pixels inside (every second run, from the second on)."""
    shortest = counts[1:].min(initial=1)
    if shortest < 0 or counts[:1].min(initial=0) < 0:
        raise Refused("the RLE has a run of negative length")
    if counts.max(initial=0) > PIXEL_LIMIT:
        raise Refused("the RLE has a run that is too long")
    positions = np.cumsum(counts)
    if not counts.size or positions[-1] != size[0] * size[1]:
        raise Refused(f"the runs of the RLE add up to {counts.sum()}, not to {by(size)}")
    edges = positions[: positions.size // 2 * 2]
    return edges if shortest else edges.reshape(-1, 2)[counts[1::2] > 0].ravel()


def _plain_counts(counts: Any) -> Ints:
    if not isinstance(counts, list) or any(type(count) is not int for count in counts):
        raise Refused("expected the counts of an RLE as a text or a list of whole numbers")
    try:
        return np.array(counts, dtype=np.int64)
    except OverflowError:
        raise Refused("the RLE has a run that is too long") from None


def _decompress(texts: Sequence[str]) -> list[Ints]:
    """Run lengths of compressed COCO counts.

    A number is one or more characters of six bits (from "0" on): five of value, lowest first, and
    one that says whether more follow; the topmost value bit is the sign. From the fourth run on a
    number is the difference to the run before the last.
    """
    if not texts:
        return []
    try:
        data = np.frombuffer("".join(texts).encode("ascii"), dtype=np.uint8)
    except UnicodeEncodeError:
        raise Refused("the counts of the RLE hold characters that are not of COCO RLE") from None
    if data.size and (data.min() < 48 or data.max() > 111):
        raise Refused("the counts of the RLE hold characters that are not of COCO RLE")
    bits = data - np.uint8(48)
    goes_on = bits >= 32
    last = np.flatnonzero(~goes_on)
    ends = np.cumsum([len(text) for text in texts])
    if any(end and goes_on[end - 1] for end in ends.tolist()):
        raise Refused("the counts of the RLE stop in the middle of a number")
    # Most numbers have one or two characters: as if all had, then the few longer ones.
    low = (bits & 31).astype(np.int16)
    signed = (low ^ 16) - np.int16(16)
    signed[1:] = np.where(goes_on[:-1], signed[1:] << 5 | low[:-1], signed[1:])
    values = signed[last].astype(np.int64)
    thirds = np.flatnonzero(goes_on[:-2] & goes_on[1:-1] & ~goes_on[2:]) + 2
    for number, end in zip(np.searchsorted(last, thirds).tolist(), thirds.tolist(), strict=True):
        begin = int(last[number - 1]) + 1 if number else 0
        if end - begin > 7:
            raise Refused("the RLE has a run that is too long")
        value = (int(low[end]) ^ 16) - 16
        for digit in low[begin:end][::-1].tolist():
            value = value << 5 | digit
        values[number] = value
    numbers = np.searchsorted(last, ends)
    runs = []
    for begin, end in zip([0, *numbers.tolist()], numbers.tolist(), strict=False):
        counts = values[begin:end]
        np.cumsum(counts[1::2], out=counts[1::2])
        np.cumsum(counts[2::2], out=counts[2::2])
        runs.append(counts)
    return runs


def _of_polygons(polygons: list[Any], size: Size) -> Mask:
    if polygons and all(isinstance(value, int | float) for value in polygons):
        polygons = [polygons]
    masks = [Rle(size, _polygon_edges(_points(polygon, size), size)) for polygon in polygons]
    if len(masks) == 1:
        return masks[0]
    union = np.zeros(size, dtype=np.bool_)
    for mask in masks:
        union |= mask.array()
    return union


def _points(polygon: Any, size: Size) -> Floats:
    """Corners (n, 2) of x and y; a polygon is flat, or a list of pairs."""
    try:
        points = np.asarray(polygon, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise Refused("expected a polygon [x1, y1, x2, y2, ...] of numbers") from None
    pairs = points.ndim == 2 and points.shape[1] == 2
    if not (pairs or points.ndim == 1) or points.size % 2 or points.size < 6:
        raise Refused("expected a polygon [x1, y1, x2, y2, ...] of three points or more")
    points = points.reshape(-1, 2)
    sides = np.array([size[1], size[0]])
    # Also false for NaN. The outline is drawn point by point, so its length has to be bounded.
    if not ((points >= -sides) & (points <= 2 * sides)).all():
        raise Refused(f"a polygon has points far outside of the image of {by(size)}")
    return points


def _polygon_edges(points: Floats, size: Size) -> Ints:
    """Begin and end of the runs inside a polygon, pixel for pixel those of pycocotools.

    The outline is drawn on a finer grid. Where it crosses the middle of a pixel column, the column
    changes from outside to inside or back.
    """
    height, width = size
    corners = (_FINER * points + 0.5).astype(np.int64)
    start, stop = corners, np.roll(corners, -1, axis=0)
    length = np.abs(stop - start).max(axis=1)
    moves = length > 0
    start, stop, length = start[moves], stop[moves], length[moves]
    if not length.size:
        return np.zeros(0, dtype=np.int64)
    edge = np.repeat(np.arange(length.size), length + 1)
    first = np.cumsum(length + 1) - (length + 1)
    step = np.arange(edge.size) - first[edge]
    # Each side is drawn from the end with the smaller coordinate along its longer direction.
    delta = np.abs(stop - start)
    axis = np.where(delta[:, 0] >= delta[:, 1], 0, 1)
    rows = np.arange(length.size)
    flip = start[rows, axis] > stop[rows, axis]
    low = np.where(flip[:, None], stop, start)
    high = np.where(flip[:, None], start, stop)
    slope = (high[rows, 1 - axis] - low[rows, 1 - axis]) / length
    along = np.where(flip[edge], length[edge] - step, step)
    on_axis = low[rows, axis][edge] + along
    off_axis = (low[rows, 1 - axis][edge] + slope[edge] * along + 0.5).astype(np.int64)
    flat = axis[edge] == 0
    x, y = np.where(flat, on_axis, off_axis), np.where(flat, off_axis, on_axis)

    crosses = np.flatnonzero(x[1:] != x[:-1])
    column = (np.minimum(x[crosses], x[crosses + 1]) + 0.5) / _FINER - 0.5
    row = np.ceil(np.clip((np.minimum(y[crosses], y[crosses + 1]) + 0.5) / _FINER - 0.5, 0, height))
    middle = (column == np.floor(column)) & (column >= 0) & (column <= width - 1)
    positions = np.sort((column[middle] * height + row[middle]).astype(np.int64))
    positions = positions[: positions.size // 2 * 2].reshape(-1, 2)
    return positions[positions[:, 1] > positions[:, 0]].ravel()


def rle_overlap(a: Rle, b: Rle) -> tuple[int, int]:
    """Pixels of the intersection and of the union of two masks of one size, from their runs."""
    if a.size != b.size:
        raise Refused(f"expected a mask of {by(b.size)}, found one of {by(a.size)}")
    return edges_overlap(a.edges, b.edges)


def edges_overlap(a: Ints, b: Ints) -> tuple[int, int]:
    """`rle_overlap` of bare runs, as of all the frames of a video laid end to end."""
    area_a = int((a[1::2] - a[::2]).sum())
    area_b = int((b[1::2] - b[::2]).sum())
    if not area_a or not area_b:
        return 0, area_a + area_b
    before = np.empty(b.size, dtype=np.int64)
    before[1::2] = np.cumsum(b[1::2] - b[::2])
    before[0], before[2::2] = 0, before[1:-1:2]
    # Pixels of b before each edge of a. Slopes are 0 and 1, so that floats hold them exactly.
    covered = np.interp(a, b, before)
    shared = int(covered[1::2].sum() - covered[::2].sum())
    return shared, area_a + area_b - shared
