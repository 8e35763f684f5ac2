"""Errors of poses and directions: relative translation error of odometry, angular RMSE of normals."""

from __future__ import annotations

import io
import math
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tasks.media import Array, Refused, is_file, load_array, name_of, read_bytes
from tasks.metrics.base import StructureMetric, SumsMetric, register
from tasks.metrics.samples import Samples

Floats = npt.NDArray[np.float64]

#: Text files of numbers, one row a line, separated by white space or commas.
_TEXT_SUFFIXES = (".txt", ".csv", ".normals")


def _numbers(value: Any) -> Floats:
    """Numbers as `load_array` takes them, or a text file of them. Raises `Refused`."""
    array: Any = value
    if is_file(value) and posixpath.splitext(name_of(value))[1].lower() in _TEXT_SUFFIXES:
        array = _text_table(value)
    return load_array(array).astype(np.float64)


def _text_table(value: Any) -> Array:
    name = name_of(value)
    try:
        lines = io.StringIO(read_bytes(value).decode().replace(",", " "))
        rows = [line for line in lines if line.strip()]
        return np.loadtxt(rows, ndmin=2) if rows else np.empty((0, 0))
    except Refused:
        raise
    except ValueError as error:
        raise Refused(f"{name} is no table of numbers ({error})") from None


@dataclass(frozen=True, slots=True)
class _Route:
    """A reference trajectory and its segments: frame `starts[i]` to `ends[i]`, `lengths[i]` metres."""

    poses: Floats
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    lengths: Floats


@register
class RelativeTranslationError(SumsMetric, StructureMetric):
    """RTE in percent of the distance travelled, KITTI odometry (Geiger et al., CVPR 2012); 0.. .

    From every tenth frame, segments of 100, 200, ..., 800 m along the reference: each ends at the
    first frame *farther* along than its length, as in the KITTI development kit. A segment's error is
    the length of the translation of inv(predicted motion) x reference motion, divided by the
    segment's nominal length. RTE is the mean over the segments of all sequences, pooled; lower is
    better. Nothing is aligned or scaled: poses are in metres.

    Poses map the camera's (or vehicle's) frame to the world, one a frame, on both sides: arrays or
    nested lists of (n, 4, 4), (n, 3, 4), (n, 12) or (n, 16) (row by row), .npy, .npz or .parquet of
    these, a text file of 12 numbers a line (KITTI's own), or `{"poses": any of them}`. Frames are
    aligned by position: a prediction of another number of poses is refused, so is a matrix whose
    rotation is none (off by more than 0.01). A reference may bring other segment lengths, in metres:
    `{"poses": ..., "lengths": [...]}`.

    A reference too short for any segment is refused: KITTI has no value for it either. Unanswered:
    infinitely wrong.
    """

    id = "rte"
    payload = "json"
    statistics = ("error", "segments")
    is_fraction = False

    LENGTHS = tuple(range(100, 801, 100))
    STEP = 10
    #: Metres beyond which a position is no position.
    FARTHEST = 1e9
    #: What a printed or accumulated rotation may be off by.
    ROTATION_TOLERANCE = 0.01

    def read_prediction(self, value: Any) -> Floats:
        if isinstance(value, dict) and "poses" in value:
            value = value["poses"]
        array = _numbers(value)
        if array.ndim == 2 and array.shape[1] in (12, 16):
            array = array.reshape(len(array), -1, 4)
        if array.ndim != 3 or array.shape[1:] not in ((3, 4), (4, 4)):
            raise Refused(
                f"expected poses of (n, 4, 4), (n, 3, 4), (n, 12) or (n, 16), found {array.shape}"
            )
        poses = np.tile(np.eye(4), (len(array), 1, 1))
        poses[:, : array.shape[1]] = array
        if (poses[:, 3] != (0, 0, 0, 1)).any():
            raise Refused("the last row of a pose must be 0 0 0 1")
        if np.abs(poses).max() > self.FARTHEST:
            raise Refused(f"a pose is farther away than {self.FARTHEST:g} m")
        rotations = poses[:, :3, :3]
        off = np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
        wrong = (off > self.ROTATION_TOLERANCE) | (np.linalg.det(rotations) < 0)
        if wrong.any():
            raise Refused(f"pose {int(wrong.argmax())} (from 0) holds no rotation")
        return poses

    def read_reference(self, value: Any) -> _Route:
        poses = self.read_prediction(value)
        lengths = self._lengths(value)
        steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
        distance = np.concatenate([[0.0], np.cumsum(steps)])
        starts = np.arange(0, len(poses), self.STEP)
        ends = np.searchsorted(distance, distance[starts, None] + lengths, side="right")
        fits = ends < len(poses)
        if not fits.any():
            raise Refused(
                f"the reference is {distance[-1]:.1f} m long:"
                f" no segment of {lengths.min():g} m fits into it"
            )
        start, length = np.nonzero(fits)
        return _Route(poses, starts[start], ends[fits], lengths[length])

    def _lengths(self, value: Any) -> Floats:
        given = value.get("lengths") if isinstance(value, dict) else None
        lengths = load_array(self.LENGTHS if given is None else given).astype(np.float64)
        if lengths.ndim != 1 or (lengths <= 0).any():
            raise Refused("lengths must be a list of metres above 0")
        return lengths

    def measure(self, prediction: Floats, reference: _Route) -> Sequence[float]:
        if len(prediction) != len(reference.poses):
            raise Refused(f"expected {len(reference.poses)} poses, found {len(prediction)}")
        moved, expected = (
            np.linalg.inv(poses[reference.starts]) @ poses[reference.ends]
            for poses in (prediction, reference.poses)
        )
        error = (np.linalg.inv(moved) @ expected)[:, :3, 3]
        share = np.linalg.norm(error, axis=1) / reference.lengths
        return float(share.sum()), float(len(share))

    def measure_worst(self, reference: _Route) -> Sequence[float]:
        return math.inf, float(len(reference.lengths))

    def score_of(self, sums: Mapping[str, float]) -> float:
        return 100.0 * sums["error"] / sums["segments"]

    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        return 100.0 * stats["error"] / stats["segments"]


@register
class AngularRmse(StructureMetric):
    """Angular RMSE of normals in degrees, mean over shapes; 0..90, lower is better.

    PCPNet (arXiv:1710.04954): the root of the mean squared angle between predicted and reference
    normals of a shape, then the mean over shapes, whatever their number of points. Normals are
    *unoriented* as in the tables of the field: n and -n are the same, so no angle exceeds 90 degrees.

    Both sides: arrays of the same shape (n, 3), or (height, width, 3), row i being the normal of
    point i; nested lists, .npy, .npz, .parquet, or a text file of three numbers a line. Lengths do
    not matter. A predicted normal of length 0 has no direction and counts 90 degrees; points whose
    reference normal has length 0 are left out, and a reference of these alone is refused.
    Unanswered: 90 degrees everywhere.
    """

    id = "normal_rmse"
    payload = "json"
    statistics = ("squared_degrees", "n")
    is_fraction = False

    def read_prediction(self, value: Any) -> Floats:
        normals = _numbers(value)
        if normals.ndim < 2 or normals.shape[-1] != 3:
            raise Refused(f"expected normals of (n, 3), found an array of {normals.shape}")
        return normals

    def read_reference(self, value: Any) -> Floats:
        normals = self.read_prediction(value)
        if not normals.any():
            raise Refused("every reference normal has length 0")
        return normals

    def measure(self, prediction: Floats, reference: Floats) -> Sequence[float]:
        if prediction.shape != reference.shape:
            raise Refused(f"expected normals of {reference.shape}, found {prediction.shape}")
        known = reference.any(axis=-1)
        given, expected = _scaled(prediction[known]), _scaled(reference[known])
        # The arc tangent keeps the digits that the arc cosine loses near 0, and needs no unit length.
        across = np.linalg.norm(np.cross(given, expected), axis=1)
        along = np.abs((given * expected).sum(axis=1))
        degrees = np.where(given.any(axis=1), np.rad2deg(np.arctan2(across, along)), 90.0)
        return float(degrees @ degrees), float(len(degrees))

    def measure_worst(self, reference: Floats) -> Sequence[float]:
        n = float(np.count_nonzero(reference.any(axis=-1)))
        return 90.0**2 * n, n

    def aggregate(self, stats: pl.DataFrame) -> float:
        return float(self.instance_scores(stats).mean())  # type: ignore[arg-type]

    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        return (stats["squared_degrees"] / stats["n"]).sqrt()

    def resample(self, stats: pl.DataFrame, drawn: Samples) -> Floats:
        return drawn.means(self.instance_scores(stats))


def _scaled(vectors: Floats) -> Floats:
    """Vectors (n, 3) with the largest component at 1, so that no product overflows; zeros stay."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    return vectors / np.where(largest > 0, largest, 1.0)
