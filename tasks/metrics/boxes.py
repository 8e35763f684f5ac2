"""How much two shapes overlap, for many pairs at once: boxes, boxes in space, runs, keypoints.

All functions take the shapes of two sides that are already paired: row k of the one with row k of
the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

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


def run_iou(
    given: Sequence[Ints], expected: Sequence[Ints], i: Ints, j: Ints, crowd: Bools
) -> Floats:
    """IoU of sets of positions, each its runs `begin, end, begin, end, ...`, for pairs `i`, `j`."""
    sizes = [
        np.array([(runs[1::2] - runs[::2]).sum() for runs in side], dtype=np.float64)
        for side in (given, expected)
    ]
    firsts, lasts = (
        [np.array([runs[end] if runs.size else 0 for runs in side]) for side in (given, expected)]
        for end in (0, -1)
    )
    shared = np.zeros(len(i))
    near = np.flatnonzero((firsts[0][i] < lasts[1][j]) & (firsts[1][j] < lasts[0][i]))
    if near.size:
        far = max(int(last.max()) for last in lasts) + 1
        shared[near] = _common_positions(given, expected, i[near], j[near], far)
    return share(shared, sizes[0][i], sizes[1][j], crowd)


def _common_positions(
    given: Sequence[Ints], expected: Sequence[Ints], i: Ints, j: Ints, far: int
) -> Floats:
    """Positions that each pair shares; all positions are below `far`."""
    # The expected sets are laid end to end, so that one look-up serves all pairs.
    steps = np.array([len(runs) for runs in expected])
    edges = np.concatenate(expected) + np.repeat(np.arange(len(expected)) * far, steps)
    inside = edges[1::2] - edges[::2]
    before = np.repeat(np.cumsum(inside), 2).astype(np.float64)
    before[::2] -= inside

    lengths = np.array([len(runs) for runs in given])
    starts, counts = np.cumsum(lengths) - lengths, lengths[i]
    first = np.cumsum(counts) - counts
    taken = np.arange(counts.sum()) + np.repeat(starts[i] - first, counts)
    asked = np.concatenate(given)[taken] + np.repeat(j * far, counts)
    # Slopes are 0 and 1, so that floats hold the counts exactly.
    covered = np.interp(asked, edges, before)
    return np.add.reduceat(covered[1::2] - covered[::2], first // 2)


def keypoint_similarity(given: Floats, expected: Floats) -> Floats:
    """Object keypoint similarity of COCO.

    Args:
        given: keypoints (pairs, keypoints, 3) of x, y and something that is not looked at.
        expected: rows of area, x1, y1, x2, y2 (a box about twice the object), and the keypoints'
            x, y, visibility. An object without visible keypoints is compared by how far the given
            ones lie outside of that box.
    """
    count = given.shape[1]
    keypoints = expected[:, 5:].reshape(len(expected), count, 3)
    sigmas = _COCO_SIGMAS if count == len(_COCO_SIGMAS) else np.full(count, 1 / max(count, 1))
    visible = keypoints[..., 2] > 0
    some = np.asarray(keypoints[..., 2].max(axis=1, initial=0.0) > 0)
    outside = np.maximum(expected[:, None, 1:3] - given[..., :2], 0.0)
    outside += np.maximum(given[..., :2] - expected[:, None, 3:5], 0.0)
    offset = np.where(some[:, None, None], given[..., :2] - keypoints[..., :2], outside)
    error = (offset**2).sum(axis=2) / (2 * sigmas) ** 2
    error /= 2 * (expected[:, :1] + np.spacing(1))
    counted = visible | ~some[:, None]
    return (np.exp(-error) * counted).sum(axis=1) / counted.sum(axis=1)
