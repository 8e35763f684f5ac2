"""How much two shapes overlap, for many pairs at once: boxes, boxes in space, runs, keypoints.

Boxes come paired, row k of the one side with row k of the other; of the others, `i` and `j` name the
pairs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tasks.metrics.masks import EDGES_AT_ONCE, Runs, parts_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: Standard deviations of the COCO keypoints relative to the object's size (nose, eyes, ears, ...).
_COCO_SIGMAS = (
    np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
)


def share(shared: Floats, given: Floats, expected: Floats, crowd: Bools) -> Floats:
    """IoU from the sizes of two shapes and of what they share.

    As in COCO, a crowd region is divided by the given shape alone: a detection within it is whole.
    """
    total = np.where(crowd, given, given + expected - shared)
    return np.divide(shared, total, out=np.zeros_like(shared), where=shared > 0)


def box_iou(given: Floats, expected: Floats, crowd: Bools) -> Floats:
    """IoU of boxes, rows of x1, y1, x2, y2, area."""
    low = np.maximum(given[:, :2], expected[:, :2])
    high = np.minimum(given[:, 2:4], expected[:, 2:4])
    sides = np.maximum(high - low, 0.0)
    return share(sides[:, 0] * sides[:, 1], given[:, 4], expected[:, 4], crowd)


def box3d_iou(given: Floats, expected: Floats) -> Floats:
    """IoU of boxes in space, rows of x, y, z (centre), dx, dy, dz, yaw (radians about z).

    Exact: the bird's-eye view of the one is clipped by the other, and multiplied by the common
    height.
    """
    low = np.maximum(given[:, 2] - given[:, 5] / 2, expected[:, 2] - expected[:, 5] / 2)
    high = np.minimum(given[:, 2] + given[:, 5] / 2, expected[:, 2] + expected[:, 5] / 2)
    reach = np.hypot(given[:, 3], given[:, 4]) + np.hypot(expected[:, 3], expected[:, 4])
    apart = np.hypot(given[:, 0] - expected[:, 0], given[:, 1] - expected[:, 1])
    # Clipping is the costly part: only boxes whose circumscribed circles meet are clipped.
    near = np.flatnonzero((high > low) & (apart < reach / 2))
    shared = np.zeros(len(given))
    shared[near] = _common_area(given[near], expected[near]) * (high - low)[near]
    volume, expected_volume = (np.prod(boxes[:, 3:6], axis=1) for boxes in (given, expected))
    return share(shared, volume, expected_volume, np.zeros(len(given), dtype=bool))


def _common_area(given: Floats, expected: Floats) -> Floats:
    """Area of the intersection of rotated rectangles (Sutherland-Hodgman in the expected's frame).

    The corners that a side cuts off are moved onto it instead of dropped: they add no area there,
    and every polygon of the batch keeps as many corners as the others.
    """
    signs = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    corners = _turned(signs * given[:, None, 3:5] / 2, given[:, 6] - expected[:, 6])
    centre = _turned((given[:, :2] - expected[:, :2])[:, None], -expected[:, 6])
    polygon = corners + centre
    for axis in (0, 1):
        half = expected[:, 3 + axis, None] / 2
        for sign in (1.0, -1.0):
            polygon = _clipped(polygon, axis, sign, half)
    x, y = polygon[..., 0], polygon[..., 1]
    doubled = (x * np.roll(y, -1, axis=1) - np.roll(x, -1, axis=1) * y).sum(axis=1)
    return np.maximum(doubled / 2, 0.0)


def _turned(points: Floats, angle: Floats) -> Floats:
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x, y = points[..., 0], points[..., 1]
    return np.stack([x * cos - y * sin, x * sin + y * cos], axis=-1)


def _clipped(polygon: Floats, axis: int, sign: float, half: Floats) -> Floats:
    """The polygons without what lies beyond `sign * half` on one axis, with twice the corners."""
    beyond = sign * polygon[..., axis] - half
    following, next_beyond = np.roll(polygon, -1, axis=1), np.roll(beyond, -1, axis=1)
    crosses = (beyond > 0) != (next_beyond > 0)
    along = np.divide(beyond, beyond - next_beyond, out=np.zeros_like(beyond), where=crosses)
    crossing = polygon + along[..., None] * (following - polygon)
    count, corners = beyond.shape
    clipped = np.stack([polygon, crossing], axis=2).reshape(count, 2 * corners, 2)
    clipped[..., axis] = sign * np.minimum(sign * clipped[..., axis], half)
    return clipped


def run_iou(given: Runs, expected: Runs, i: Ints, j: Ints, crowd: Bools) -> Floats:
    """IoU of sets of positions, for the pairs of set `i` of the one side and `j` of the other."""
    (first, last), (expected_first, expected_last) = _reach(given), _reach(expected)
    sizes, expected_sizes = given.sizes[i], expected.sizes[j]
    shared = np.zeros(len(i), dtype=np.int64)
    near = np.flatnonzero((first[i] < expected_last[j]) & (expected_first[j] < last[i]))
    edges = np.diff(given.bounds)[i[near]] + np.diff(expected.bounds)[j[near]]
    for part in parts_of(edges, EDGES_AT_ONCE):
        pairs = near[part]
        single = _single(given, expected, i[pairs], j[pairs])
        shared[pairs] = (sizes[pairs] + expected_sizes[pairs] - single) // 2
    return share(
        shared.astype(np.float64),
        sizes.astype(np.float64),
        expected_sizes.astype(np.float64),
        crowd,
    )


def _reach(runs: Runs) -> tuple[Ints, Ints]:
    """Positions, within each set, of its first edge and of the end of its last run that holds any."""
    if not runs.edges.size:
        return np.zeros(len(runs.bounds) - 1, np.int64), np.zeros(len(runs.bounds) - 1, np.int64)
    begin, end = runs.bounds[:-1], runs.bounds[1:]
    first = runs.edges[np.minimum(begin, runs.edges.size - 1)]
    last = runs.edges[end - 1]
    # The last run of a mask that ends with pixels outside is empty.
    last = np.where((runs.edges[end - 2] == last) & (end - begin > 2), runs.edges[end - 3], last)
    some = end > begin
    return np.where(some, first - runs.places[:-1], 0), np.where(some, last - runs.places[:-1], 0)


def _single(given: Runs, expected: Runs, i: Ints, j: Ints) -> Ints:
    """Positions that are in just one of each pair's two sets."""
    # As long as the longer one, so that the next pair lies behind both.
    lengths = np.maximum(np.diff(given.places)[i], np.diff(expected.places)[j])
    return given.chosen(i, lengths).single(expected.chosen(j, lengths))


def keypoint_similarity(given: Floats, expected: Floats, i: Ints, j: Ints) -> Floats:
    """Object keypoint similarity of COCO, for the pairs of `given[i]` and `expected[j]`.

    Args:
        given: rows of five numbers that are not looked at, and each keypoint's x, y and another such
            number.
        expected: rows of area, x1, y1, x2, y2 (a box about twice the object), and the keypoints'
            x, y, visibility. An object without visible keypoints is compared by how far the given
            ones lie outside of that box.
    """
    visible = expected[:, 7::3] > 0
    count = visible.shape[1]
    sigmas = _COCO_SIGMAS if count == len(_COCO_SIGMAS) else np.full(count, 1 / max(count, 1))
    hidden = ~np.asarray(visible.any(axis=1))[j]
    error = np.zeros((len(i), count))
    for axis in (0, 1):
        offset = given[:, 5 + axis :: 3][i] - expected[:, 5 + axis :: 3][j]
        if hidden.any():
            points, box = given[i[hidden], 5 + axis :: 3], expected[j[hidden]]
            offset[hidden] = np.maximum(box[:, 1 + axis, None] - points, 0.0)
            offset[hidden] += np.maximum(points - box[:, 3 + axis, None], 0.0)
        error += offset * offset
    error /= (2 * sigmas) ** 2
    error /= 2 * (expected[j, :1] + np.spacing(1))
    counted = visible[j] | hidden[:, None]
    return (np.exp(-error) * counted).sum(axis=1) / counted.sum(axis=1)
