"""Binary masks in every spelling that predictions and references use, and their overlaps.

A mask is read as an `Rle` (COCO run-length encoding, polygons) or as an array of bool (images,
arrays, nested lists). Overlaps of two `Rle` are counted on the runs; nothing is unpacked.
"""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
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
#: Edges of runs that are compared at once: more are slower, for they do not stay in the cache.
EDGES_AT_ONCE = 2**16
#: Polygons are drawn on a grid this many times finer than the pixels.
_FINER = 5


@dataclass(frozen=True, slots=True)
class Rle:
    """A mask as the positions where it begins and ends, pixels counted down the columns.

    Attributes:
        size: height and width.
        edges: ascending positions; pixels of `edges[0]:edges[1]`, `edges[2]:edges[3]` ... are
            inside. A run may be empty.
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
    if isinstance(value, Rle):
        return value
    if is_rle(value):
        return read_rles([value])[0]
    if isinstance(value, list):
        return _of_list(value, size)
    raise Refused("expected a mask: COCO RLE, polygons, an image or an array")


def is_mask(value: Any) -> bool:
    """Whether a value is a binary mask by its form: RLE, polygons, a JPEG, or a list called mask."""
    inner, size = unwrap(value)
    if isinstance(inner, list):
        return inner is not value or size is not None
    return is_rle(inner) or is_lossy(inner)


def is_lossy(value: Any) -> bool:
    """Whether a value is a JPEG file, which cannot hold exact numbers."""
    return is_file(value) and _suffix(value) in (".jpg", ".jpeg")


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
    if not (isinstance(value, list) and len(value) == 2):
        raise Refused(f"expected the size as [height, width], found {value!r:.60}")
    height, width = value
    if type(height) is not int or type(width) is not int or height < 1 or width < 1:
        raise Refused(f"expected the size as [height, width], found {value!r:.60}")
    if height * width > PIXEL_LIMIT:
        raise Refused(f"a mask of {by(value)} has too many pixels")
    return height, width


def by(size: Sequence[int]) -> str:
    """A size in words."""
    return " x ".join(str(side) for side in size)


def read_rles(values: Sequence[Any]) -> list[Rle]:
    """Masks of COCO RLE values, compressed or not; all of them are decoded at once.

    A value that is an `Rle` already is taken as it is.

    Raises:
        Refused: when one is no RLE, or its runs do not fill its size.
    """
    masks = []
    for mask in try_rles(values):
        if isinstance(mask, Refused):
            raise mask
        masks.append(mask)
    return masks


def try_rles(values: Sequence[Any]) -> list[Rle | Refused]:
    """As `read_rles`, but with the reason in place of what is refused."""
    columns = _columns(values)
    if columns is not None:
        sizes, counts = columns
        return counts.masks(sizes)
    found: list[Any] = [*values]
    texts: list[int] = []
    lists: list[int] = []
    for place, value in enumerate(values):
        if isinstance(value, Rle):
            continue
        try:
            if not (isinstance(value, dict) and "counts" in value and "size" in value):
                raise Refused('expected COCO RLE: {"size": [height, width], "counts": ...}')
            size, counts = read_size(value["size"]), value["counts"]
            if isinstance(counts, str):
                found[place] = size, counts
                texts.append(place)
            else:
                found[place] = size, _plain_counts(counts)
                lists.append(place)
        except Refused as error:
            found[place] = error
    decoded = _decompressed([found[place][1] for place in texts])
    if decoded is None:
        for place in texts:
            reason = _reason_of_text(found[place][1])
            if reason is not None:
                found[place] = Refused(reason)
        texts = [place for place in texts if isinstance(found[place], tuple)]
        decoded = _decompressed([found[place][1] for place in texts])
    plain = _Counts.of([found[place][1] for place in lists])
    for places, counts in ((texts, decoded), (lists, plain)):
        if places and counts is not None:
            sizes = np.array([found[place][0] for place in places])
            for place, mask in zip(places, counts.masks(sizes), strict=True):
                found[place] = mask
    return found


def _columns(values: Sequence[Any]) -> tuple[Ints, _Counts] | None:
    """Sizes (masks, 2) and counts of COCO RLE that are all compressed and sound so far; None when
    they have to be looked at one by one."""
    if set(map(type, values)) != {dict}:
        return None
    sizes, texts = ([value.get(name) for value in values] for name in ("size", "counts"))
    if set(map(type, texts)) != {str} or set(map(type, sizes)) != {list}:
        return None
    sides = list(itertools.chain.from_iterable(sizes))
    if set(map(len, sizes)) != {2} or set(map(type, sides)) != {int}:
        return None
    try:
        table = np.array(sides, dtype=np.int64).reshape(-1, 2)
    except OverflowError:
        return None
    fits = table.min() >= 1 and table.max() <= PIXEL_LIMIT and _pixels(table).max() <= PIXEL_LIMIT
    counts = _decompressed(texts) if fits else None
    return None if counts is None else (table, counts)


def _pixels(sizes: Ints) -> Ints:
    return sizes[:, 0] * sizes[:, 1]


def rles_decoded(values: Iterable[Any]) -> list[Any]:
    """The values, with a mask in place of each sound COCO RLE in them; they are changed in place.

    Looked for in objects, and in lists of objects or null; not among the numbers of other lists.
    """
    found = list(values)
    containers: list[Any] = [found]
    slots: list[tuple[Any, Any]] = []
    rles: list[Any] = []
    for container in containers:  # grows on the way
        items = container.items() if type(container) is dict else enumerate(container)
        for key, value in items:
            if type(value) is dict:
                if "counts" in value:
                    slots.append((container, key))
                    rles.append(value)
                else:
                    containers.append(value)
            elif type(value) is list and value and type(value[0]) in (dict, type(None)):
                containers.append(value)
    for (container, key), mask in zip(slots, try_rles(rles), strict=True):
        if type(mask) is Rle:
            container[key] = mask
    return found


def is_rle(value: Any) -> bool:
    """Whether a value is a COCO RLE by its form, or one that is decoded already."""
    return isinstance(value, Rle) or (isinstance(value, dict) and "counts" in value)


@dataclass(frozen=True, slots=True)
class Runs:
    """Many sets of positions (masks, say) laid end to end, so that one pass serves them all.

    Attributes:
        edges: ascending positions at which runs inside begin and end, by turns (2 x runs,); a run
            may be empty.
        bounds: where in `edges` the runs of each set begin, and the last one's end (sets + 1,).
        places: the position at which each set begins, and the last one ends (sets + 1,).
    """

    edges: Ints
    bounds: Ints
    places: Ints

    @classmethod
    def of(cls, sets: Sequence[Ints], lengths: Ints) -> Runs:
        """Of the edges of each set, which has that many positions."""
        counts = [edges.size for edges in sets]
        places = _sums(lengths)
        edges = np.concatenate([np.zeros(0, dtype=np.int64), *sets])
        return cls(edges + np.repeat(places[:-1], counts), _sums(counts), places)

    @classmethod
    def of_masks(cls, masks: Sequence[Rle]) -> Runs:
        return cls.of([mask.edges for mask in masks], _pixels(sizes_of(masks)))

    @property
    def sizes(self) -> Ints:
        """How many positions each set holds (sets,)."""
        return np.diff(_sums(self.edges[1::2] - self.edges[::2])[self.bounds // 2])

    def chosen(self, sets: Ints, lengths: Ints) -> Runs:
        """Those sets in that order, one of them as often as it is named, each of so many positions."""
        counts = np.diff(self.bounds)[sets]
        bounds, places = _sums(counts), _sums(lengths)
        taken = np.arange(bounds[-1]) + np.repeat(self.bounds[sets] - bounds[:-1], counts)
        edges = self.edges[taken]
        edges += np.repeat(places[:-1] - self.places[sets], counts)
        return Runs(edges, bounds, places)

    def single(self, other: Runs) -> Ints:
        """How many positions are in just one of two sets, set by set; as many sets on both sides, at
        the same places."""
        # They lie from edge to edge of both, by turns. The stable sort is one that merges what is in
        # order already.
        edges = np.sort(np.concatenate([self.edges, other.edges]), kind="stable")
        return Runs(edges, self.bounds + other.bounds, self.places).sizes

    def overlaps(self, other: Runs) -> tuple[Ints, Ints]:
        """How many positions are in both and in either of two sets; sets as for `single`."""
        single, total = self.single(other), self.sizes + other.sizes
        return (total - single) // 2, (total + single) // 2


def parts_of(counts: Ints, most: int) -> Iterator[slice]:
    """Ranges of neighbours whose counts sum up to about `most`; a single one may be larger."""
    before = np.cumsum(counts)
    total = int(before[-1]) if before.size else 0
    cuts = np.searchsorted(before, np.arange(most, total, most), side="right")
    for start, stop in itertools.pairwise(np.unique([0, *cuts, len(counts)]).tolist()):
        yield slice(start, stop)


def _sums(values: npt.ArrayLike) -> Ints:
    """Sums of the values before each, and of all."""
    sums = np.zeros(np.size(values) + 1, dtype=np.int64)
    np.cumsum(values, out=sums[1:])
    return sums


def sizes_of(masks: Sequence[Rle]) -> Ints:
    """Height and width of each, (masks, 2)."""
    return np.array([mask.size for mask in masks], dtype=np.int64).reshape(-1, 2)


def read_runs(values: Sequence[Any]) -> tuple[Runs, Ints]:
    """Masks of COCO RLE values as `Runs`, and their heights and widths (masks, 2).

    Raises:
        Refused: as `read_rles`.
    """
    columns = _columns(values)
    if columns is not None:
        sizes, counts = columns
        runs, wrong = counts.runs(sizes)
        if not wrong.any():
            return runs, sizes
    masks = read_rles(values)
    return Runs.of_masks(masks), sizes_of(masks)


@dataclass(frozen=True, slots=True)
class _Counts:
    """Run lengths of many masks, one row for each run outside and the run inside that follows it.

    Attributes:
        table: (rows, 2); where a mask ends with a run outside, 0 stands beside it.
        rows: how many rows each mask has, in the order of the masks.
    """

    table: Ints
    rows: Ints

    @classmethod
    def of(cls, masks: Sequence[Ints]) -> _Counts:
        """Of the counts of each mask."""
        padded = [np.append(counts, 0) if counts.size % 2 else counts for counts in masks]
        rows = np.array([counts.size // 2 for counts in padded], dtype=np.int64)
        table = np.concatenate([np.zeros(0, dtype=np.int64), *padded])
        return cls(table.reshape(-1, 2), rows)

    def runs(self, sizes: Ints) -> tuple[Runs, Bools]:
        """The masks of those sizes (masks, 2), and for which the runs are none of that size."""
        positions = _sums(self.table.ravel())
        bounds = 2 * _sums(self.rows)
        places = positions[bounds]
        wrong = np.diff(places) != _pixels(sizes)
        if self.table.size and (self.table.min() < 0 or self.table.max() > PIXEL_LIMIT):
            bad = ((self.table < 0) | (self.table > PIXEL_LIMIT)).any(axis=1)
            wrong[np.repeat(np.arange(len(self.rows)), self.rows)[bad]] = True
        return Runs(positions[1:], bounds, places), wrong

    def masks(self, sizes: Ints) -> list[Rle | Refused]:
        """The masks, or why their runs are none of that size."""
        runs, wrong = self.runs(sizes)
        edges, bounds = runs.edges, runs.bounds.tolist()
        edges -= np.repeat(runs.places[:-1], 2 * self.rows)
        pairs = list(map(tuple, sizes.tolist()))
        parts = map(slice, bounds, bounds[1:])
        masks: list[Rle | Refused] = list(map(Rle, pairs, map(edges.__getitem__, parts)))
        for mask in np.flatnonzero(wrong).tolist():
            counts = self.table[int(runs.bounds[mask]) // 2 : int(runs.bounds[mask + 1]) // 2]
            if counts.min(initial=0) < 0:
                masks[mask] = Refused("the RLE has a run of negative length")
            elif counts.max(initial=0) > PIXEL_LIMIT:
                masks[mask] = Refused("the RLE has a run that is too long")
            else:
                found = f"the runs of the RLE add up to {counts.sum()}, not to {by(pairs[mask])}"
                masks[mask] = Refused(found)
        return masks


def _plain_counts(counts: Any) -> Ints:
    if not isinstance(counts, list) or any(type(count) is not int for count in counts):
        raise Refused("expected the counts of an RLE as a text or a list of whole numbers")
    try:
        return np.array(counts, dtype=np.int64)
    except OverflowError:
        raise Refused("the RLE has a run that is too long") from None


#: Characters of the longest number: 35 bits.
_LONGEST = 7
#: Characters that end a number, and those after which it goes on.
_ENDS, _GOES_ON = "0-O", "P-o"
#: The bit of a character that says that its number goes on, and the topmost bit of its value.
_MORE, _SIGN = 32, 16


def _reason_of_text(counts: str) -> str | None:
    """Why compressed counts cannot be decompressed, None when they can."""
    if not re.fullmatch(f"[{_ENDS}{_GOES_ON}]*", counts):
        return "the counts of the RLE hold characters that are not of COCO RLE"
    if re.search(f"[{_GOES_ON}]$", counts):
        return "the counts of the RLE stop in the middle of a number"
    if re.search(f"[{_GOES_ON}]{{{_LONGEST}}}", counts):
        return "the RLE has a run that is too long"
    return None


def _decompressed(texts: Sequence[str]) -> _Counts | None:
    """Run lengths of compressed COCO counts, None when there is one that cannot be decompressed.

    A number is one or more characters of six bits (from "0" on): five of value, lowest first, and
    one that says whether more follow; the topmost value bit is the sign. From the fourth run on a
    number is the difference to the run before the last.
    """
    if not all(map(str.isascii, texts)):
        return None
    bits = _bits(texts)
    goes_on = np.flatnonzero(bits >= _MORE)
    ends = np.cumsum(list(map(len, texts)), dtype=np.int64)
    if not _are_sound(bits, goes_on, ends):
        return None
    # As many numbers as characters that end one.
    numbers = np.diff(ends - np.searchsorted(goes_on, ends), prepend=0)
    is_odd = (numbers & 1).astype(np.bool_)
    padded = [text + "0" if odd else text for text, odd in zip(texts, is_odd.tolist(), strict=True)]
    rows = (numbers + 1) // 2
    return _Counts(_undone(_numbers(_bits(padded)).reshape(-1, 2), rows, is_odd), rows)


def _bits(texts: Sequence[str]) -> npt.NDArray[np.uint8]:
    """The characters of all texts as six bits; what is none of COCO RLE gives more."""
    data = np.frombuffer("".join(texts).encode("ascii"), dtype=np.uint8)
    return data - np.uint8(ord("0"))


def _are_sound(bits: npt.NDArray[np.uint8], goes_on: Ints, ends: Ints) -> bool:
    """Whether characters, of texts that end there, are numbers that are whole and not too long."""
    if bits.max(initial=0) >= 2 * _MORE or (bits[ends[ends > 0] - 1] & _MORE).any():
        return False
    # Of the characters in a row that go on, the last one is that many places behind the first.
    longest = _LONGEST - 1
    return not (goes_on[longest:] - goes_on[:-longest] == longest).any()


def _numbers(bits: npt.NDArray[np.uint8]) -> Ints:
    """The numbers of sound characters."""
    # The sign bit counts -16 instead of 16.
    signed = (bits ^ _SIGN).view(np.int8) - np.int8(_SIGN)
    values = signed[bits < _MORE].astype(np.int64)
    goes_on = np.flatnonzero(bits >= _MORE)
    if goes_on.size:
        # Most numbers have one character; to the others, those before their last one are added.
        rank = np.arange(goes_on.size)
        owner = goes_on - rank
        firsts = np.append(0, np.flatnonzero(owner[1:] != owner[:-1]) + 1)
        counts = np.append(firsts[1:], goes_on.size) - firsts
        rank -= np.repeat(firsts, counts)
        low = (bits[goes_on] & (_MORE - 1)).astype(np.int64) << 5 * rank
        longer = owner[firsts]
        values[longer] = (values[longer] << 5 * counts) + np.add.reduceat(low, firsts)
    return values


def _undone(table: Ints, rows: Ints, is_odd: Bools) -> Ints:
    """Run lengths from differences, in place: masks of so many rows each, of which some have an odd
    number of runs, so that their last number is none."""
    ends = np.cumsum(rows)
    starts = (ends - rows)[rows > 0]
    if starts.size:
        firsts = table[starts, 0]
        table[starts, 0] = 0
        # What the mask before sums up to is taken off where a mask begins.
        table[starts[1:]] -= np.add.reduceat(table, starts, axis=0)[:-1]
        np.cumsum(table, axis=0, out=table)
        table[starts, 0] = firsts
    table[ends[is_odd] - 1, 1] = 0
    return table


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
    edges = np.sort(np.concatenate([a.edges, b.edges]), kind="stable")
    single, total = int((edges[1::2] - edges[::2]).sum()), a.area + b.area
    return (total - single) // 2, (total + single) // 2


def rle_overlaps(pairs: Sequence[tuple[Rle, Rle]]) -> tuple[Ints, Ints]:
    """`rle_overlap` of many pairs, counted on the runs of all at once."""
    for a, b in pairs:
        if a.size != b.size:
            raise Refused(f"expected a mask of {by(b.size)}, found one of {by(a.size)}")
    counts = np.array([a.edges.size + b.edges.size for a, b in pairs], dtype=np.int64)
    nothing = np.zeros(0, dtype=np.int64)
    shared, either = [nothing], [nothing]
    for part in parts_of(counts, EDGES_AT_ONCE):
        first, second = (Runs.of_masks([pair[side] for pair in pairs[part]]) for side in (0, 1))
        for found, pixels in zip((shared, either), first.overlaps(second), strict=True):
            found.append(pixels)
    return np.concatenate(shared), np.concatenate(either)
