"""Metrics that compare frame with frame: one image, a folder of frames, or an array of frames.

Frames are read one after the other, so that a video costs the memory of one frame of the prediction
and, as long as it is short, of the decoded reference.
"""

from __future__ import annotations

import posixpath
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import Any, ClassVar

import numpy as np
import polars as pl

from tasks.media import Array, Refused, is_file, is_folder, load_array
from tasks.metrics.base import StructureMetric, SumsMetric

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")

#: Bytes of a reference's decoded frames that are kept; a longer video is decoded a second time.
_KEPT = 2**28


class Frames:
    """The frames of a reference, each read once to know that it can be."""

    def __init__(self, metric: FrameMetric, value: Any) -> None:
        self._metric, self._value = metric, value
        self._kept: list[Array] = []
        self.names = list(metric.frame_files(value)) if is_folder(value) else None
        self.count = size = 0
        for frame in metric.read(value):
            metric.check_reference(frame)
            self.count += 1
            size += frame.nbytes
            if size <= _KEPT:
                self._kept.append(frame)

    def __iter__(self) -> Iterator[Array]:
        if len(self._kept) == self.count:
            return iter(self._kept)
        return self._metric.read(self._value)


class FrameMetric(SumsMetric, StructureMetric):
    """Mean of one number a frame, over all frames of all instances (an image is one frame).

    Two folders are matched by the names of their frames (suffixes aside), as the published scorer
    does: a frame that the reference has must be there, others are not looked at. Everything else is
    matched by order. Sizes and numbers of frames must agree: nothing is resized.
    """

    payload = "media"
    statistics = ("total", "frames")
    is_fraction = False
    #: Suffixes of the files of a folder that are frames; others in it are not looked at.
    suffixes: ClassVar[tuple[str, ...]] = IMAGES

    @abstractmethod
    def read_file(self, value: Any) -> Iterable[Array]:
        """The frames of one file. Raises `Refused`."""

    @abstractmethod
    def measure_frame(self, prediction: Array, reference: Array) -> float:
        """The number of one frame; both have the same shape. Raises `Refused`."""

    @abstractmethod
    def worst_frame(self, reference: Array) -> float:
        """The worst number that a frame can have."""

    def check_reference(self, frame: Array) -> None:
        """Raises `Refused` when the frame cannot serve as a reference."""

    def read(self, value: Any) -> Iterator[Array]:
        """The frames of a file or folder, one after the other. Raises `Refused`."""
        if not is_folder(value):
            yield from self.read_file(value)
            return
        for file in self.frame_files(value).values():
            yield from self.read_file({"$file": file})

    def frame_files(self, folder: Any) -> dict[str, Any]:
        """The frames of a folder by their names without suffix, in the order of the names."""
        files: dict[str, Any] = {}
        for file in folder["$files"]:
            stem, suffix = posixpath.splitext(file["path"])
            if suffix.lower() in self.suffixes:
                if stem in files:
                    raise Refused(f"the folder has two frames of the name {stem}")
                files[stem] = file
        if not files:
            raise Refused(f"the folder holds no frame ({', '.join(self.suffixes)})")
        return files

    def read_prediction(self, value: Any) -> Any:
        return expect_file(value)

    def read_reference(self, value: Any) -> Frames:
        return Frames(self, expect_file(value))

    def measure(self, prediction: Any, reference: Frames) -> tuple[float, float]:
        given = self.read(self._matched(prediction, reference))
        total = 0.0
        for ours, theirs in zip_longest(given, reference):
            if ours is None or theirs is None:
                found = "fewer" if ours is None else "more"
                raise Refused(f"expected {reference.count} frames, found {found}")
            if ours.shape != theirs.shape:
                raise Refused(f"expected the shape {theirs.shape}, found {ours.shape}")
            total += self.measure_frame(ours, theirs)
        return total, float(reference.count)

    def _matched(self, prediction: Any, reference: Frames) -> Any:
        """The prediction with the reference's frames only, when both are folders."""
        if reference.names is None or not is_folder(prediction):
            return prediction
        files = self.frame_files(prediction)
        missing = [name for name in reference.names if name not in files]
        if missing:
            raise Refused(f"{len(missing)} frames are missing, the first one is {missing[0]}")
        return {"$files": [files[name] for name in reference.names]}

    def measure_worst(self, reference: Frames) -> tuple[float, float]:
        return sum(self.worst_frame(frame) for frame in reference), float(reference.count)

    def score_of(self, sums: Mapping[str, float]) -> float:
        return sums["total"] / sums["frames"]

    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        return stats["total"] / stats["frames"]


def expect_file(value: Any) -> Any:
    """The value itself when it is a file or a folder. Raises `Refused`."""
    if not is_file(value):
        raise Refused("expected the path of a file or folder")
    return value


def load_numbers(value: Any, key: str | None = None) -> Array:
    """The array of an .npy or .npz file; NaN and infinities are let through.

    They mark pixels without a value, which `tasks.media.load_array` would refuse.
    """
    return load_array(expect_file(value), key, finite=False)


def as_maps(array: Array) -> Array:
    """Maps of one number a pixel as (frames, height, width), from an array of 2 to 4 dimensions.

    A dimension of 1 at the end, or behind the frames, is the channel.
    """
    if array.ndim >= 3 and array.shape[-1] == 1:
        array = array[..., 0]
    elif array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3:
        raise Refused(f"expected (frames, 1, height, width), found {array.shape}")
    return array


def mean_square(values: Array) -> float:
    """Mean of the squares, summed in double precision."""
    flat = np.asarray(values, np.float64).ravel()
    return float(flat @ flat) / flat.size
