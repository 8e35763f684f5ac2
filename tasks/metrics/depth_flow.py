"""Errors of dense maps: depth (absRel, RMS), optical flow (EPE) and alpha mattes (SAD, MSE).

NaN stands for a pixel without a value: the reference's are left out, a prediction must have one
wherever the reference has.
"""

from __future__ import annotations

import io
import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tasks.media import Array, Refused, load_array, load_image, name_of, read_bytes
from tasks.metrics.base import register
from tasks.metrics.frames import IMAGES, FrameMetric, as_maps, load_numbers, mean_square

_ARRAYS = (".npy", ".npz")


def _is_array(value: Any) -> bool:
    return name_of(value).lower().endswith(_ARRAYS)


def _where_valid(prediction: Array, reference: Array, valid: Array) -> tuple[Array, Array]:
    """Both at the valid pixels, in double precision. Raises `Refused` when the prediction has none."""
    # Choosing costs more than all that follows, and often there is nothing to leave out.
    every = bool(valid.all())
    ours, theirs = (
        (side.reshape(-1, *side.shape[valid.ndim :]) if every else side[valid]).astype(np.float64)
        for side in (prediction, reference)
    )
    missing = int(np.count_nonzero(~np.isfinite(ours)))
    if missing:
        raise Refused(f"no number at {missing} places where the reference has one")
    return ours, theirs


class _Unbounded(FrameMetric):
    """An error without a largest value: +inf where there is no answer."""

    suffixes = (".npy", ".npz", ".png")

    def check_reference(self, frame: Array) -> None:
        if not self.valid(frame).any():
            raise Refused("no pixel of the reference is valid")

    def valid(self, reference: Array) -> Array:
        """Which pixels of the reference count."""
        raise NotImplementedError

    def worst_frame(self, reference: Array) -> float:
        return math.inf


@register
class AbsoluteRelativeError(_Unbounded):
    """absRel of video depth: mean of |d - d*| / d* after a fit; 0.. , lower is better.

    Accepts, on both sides: an .npz (`disparity`, or its only array, whatever its name) or .npy of
    (frames, 1, height, width); the channel may be missing or last.

    As the published scorer computes it (the protocol of DepthCrafter, arXiv:2409.02095, in the
    reference's own quantity): pixels count where 1e-3 < d* < 80; the prediction is raised to 1e-3;
    one scale and one shift a video fit it to the reference by least squares; the result is clipped
    to 1e-3..80; the error is the mean over all valid pixels of the video, then over videos.

    Both sides must hold the same quantity, disparity or depth: the name of an array is no proof of
    it (files of that protocol keep metric depth under `disparity`), so nothing is inverted.
    """

    id = "absrel"
    _LEAST, _MOST = 1e-3, 80.0

    def read(self, value: Any) -> Iterator[Array]:
        """The whole video as one frame, as its scale and shift belong to all of it."""
        yield as_maps(load_numbers(value, "disparity"))

    def read_file(self, value: Any) -> Iterable[Array]:
        return self.read(value)

    def valid(self, reference: Array) -> Array:
        return (reference > self._LEAST) & (reference < self._MOST)

    def measure_frame(self, prediction: Array, reference: Array) -> float:
        # Frame by frame and in two passes, as a copy of a video in double precision is too much.
        count, mean, mean_reference = 0, 0.0, 0.0
        for ours, theirs in self._frames(prediction, reference):
            count += ours.size
            mean += ours.sum()
            mean_reference += theirs.sum()
        mean, mean_reference = mean / count, mean_reference / count
        variance = covariance = 0.0
        for ours, theirs in self._frames(prediction, reference):
            ours -= mean
            variance += ours @ ours
            covariance += ours @ (theirs - mean_reference)
        # A constant prediction is fitted by its shift alone.
        scale = covariance / variance if variance > 0 else 0.0
        error = 0.0
        for ours, theirs in self._frames(prediction, reference):
            fitted = np.clip(scale * (ours - mean) + mean_reference, self._LEAST, self._MOST)
            error += (np.abs(fitted - theirs) / theirs).sum()
        return float(error / count)

    def _frames(self, prediction: Array, reference: Array) -> Iterator[tuple[Array, Array]]:
        for ours, theirs in zip(prediction, reference, strict=True):
            given, expected = _where_valid(ours, theirs, self.valid(theirs))
            yield np.maximum(given, self._LEAST), expected


@register
class DepthRootMeanSquare(_Unbounded):
    """RMS of depth errors in centimetres, 0.. , lower is better.

    Pooled over the valid pixels of an image, then the mean over images, as Eigen et al.
    (arXiv:1406.2283) and AdaBins (arXiv:2011.14141) report it. Valid: the reference is finite and
    above 0. Neither a crop nor a largest depth is applied.

    Accepts, on both sides: a PNG of 16 bits in millimetres; an .npy or .npz of (height, width) or
    frames of it, in metres if floating point, in millimetres if whole numbers; a folder of these.
    """

    id = "depth_rms"

    def read_file(self, value: Any) -> Iterable[Array]:
        depth = load_numbers(value) if _is_array(value) else load_image(value, "label")
        if not _is_array(value) and (depth.ndim != 2 or depth.dtype.itemsize == 1):
            raise Refused(f"{name_of(value)}: expected a grey PNG of 16 bits (millimetres)")
        metres = depth if depth.dtype.kind == "f" else depth.astype(np.float64) / 1000
        return as_maps(metres)

    def valid(self, reference: Array) -> Array:
        return np.isfinite(reference) & (reference > 0)

    def measure_frame(self, prediction: Array, reference: Array) -> float:
        ours, theirs = _where_valid(prediction, reference, self.valid(reference))
        return 100 * math.sqrt(mean_square(ours - theirs))


@register
class EndPointError(_Unbounded):
    """End-point error of optical flow in pixels: mean length of the difference; 0.. , lower is better.

    Mean over the valid pixels of a pair of frames, then over pairs (Baker et al., Middlebury flow;
    published scorer). Valid: the reference is finite, below 1e9 (Middlebury's mark of unknown flow),
    and flagged valid in a KITTI file. A prediction that marks a valid pixel as invalid is refused.

    Accepts, on both sides: .flo (Middlebury); .png (KITTI, 16 bits: (value - 32768) / 64, third
    channel valid); .npy or .npz of (height, width, 2), (2, height, width) or frames of the first;
    a folder of these, one flow a pair of frames.
    """

    id = "epe"
    suffixes = (".flo", ".png", ".npy", ".npz")
    _UNKNOWN = 1e9

    def read_file(self, value: Any) -> Iterable[Array]:
        name = name_of(value).lower()
        if name.endswith(".flo"):
            flow = _read_flo(value)
        elif name.endswith(".png"):
            flow = _read_kitti(value)
        elif _is_array(value):
            flow = load_numbers(value).astype(np.float64)
            if flow.ndim == 3 and flow.shape[-1] != 2 and flow.shape[0] == 2:
                flow = np.moveaxis(flow, 0, -1)
        else:
            raise Refused(f"{name_of(value)}: expected {', '.join(self.suffixes)}")
        if flow.ndim not in (3, 4) or flow.shape[-1] != 2:
            raise Refused(f"{name_of(value)}: expected (height, width, 2), found {flow.shape}")
        return map(self._known, flow.reshape(-1, *flow.shape[-3:]))

    def _known(self, flow: Array) -> Array:
        known = np.abs(flow) < self._UNKNOWN
        return flow if known.all() else np.where(known, flow, np.nan)

    def valid(self, reference: Array) -> Array:
        return np.isfinite(reference[..., 0]) & np.isfinite(reference[..., 1])

    def measure_frame(self, prediction: Array, reference: Array) -> float:
        ours, theirs = _where_valid(prediction, reference, self.valid(reference))
        ours -= theirs
        return float(np.sqrt(np.einsum("ij,ij->i", ours, ours)).mean())


def _read_flo(value: Any) -> Array:
    data = read_bytes(value)
    head = np.frombuffer(data[:4], "<f4")
    if len(data) < 12 or head[0] != np.float32(202021.25):
        raise Refused(f"{name_of(value)} is no .flo file (its first number must be 202021.25)")
    width, height = (int(n) for n in np.frombuffer(data[4:12], "<i4"))
    if width < 1 or height < 1 or len(data) - 12 != 8 * width * height:
        raise Refused(f"{name_of(value)} is not as long as {width} x {height} flow vectors")
    return np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2)


def _read_kitti(value: Any) -> Array:
    high, low = (_bytes_of_16_bits(value, rawmode) for rawmode in ("RGB;16B", "RGB;16L"))
    samples = high.astype(np.uint16) << 8 | low
    flow = (samples[..., :2].astype(np.float32) - 32768) / 64
    flow[samples[..., 2] == 0] = np.nan
    return flow


def _bytes_of_16_bits(value: Any, rawmode: str) -> Array:
    """One byte of each sample of a PNG of 3 x 16 bits.

    Pillow has no mode for such images and keeps the high bytes alone (raw mode `RGB;16B`); told that
    the samples are little-endian (`RGB;16L`), it keeps the low ones.
    """
    from PIL import Image

    from tasks.media import PIXEL_LIMIT

    name, data = name_of(value), read_bytes(value)
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.width * image.height > PIXEL_LIMIT:
                raise Refused(f"{name} has {image.width} x {image.height} pixels: too many")
            tile = image.tile[0]
            if tile.args != "RGB;16B":
                raise Refused(f"{name}: expected a flow PNG of three channels of 16 bits (KITTI)")
            image.tile = [tile._replace(args=rawmode)]
            return np.asarray(image)
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"{name} is no readable PNG ({error})") from None


class _MatteMetric(FrameMetric):
    """Compares alpha mattes on 0..1 over the whole image; without an answer, the worst matte.

    Accepts, on both sides: a grey image of 8 or 16 bits (colour is turned to grey); an .npy or .npz
    of (height, width), floating point on 0..1 or uint8 or uint16; frames and folders of these.
    """

    version = 2
    suffixes = (*IMAGES, *_ARRAYS)

    def read_file(self, value: Any) -> Iterable[Array]:
        if _is_array(value):
            stored = load_array(value)
        else:
            stored = load_image(value, "grey")
            if stored.dtype.itemsize > 1:
                stored = stored.astype(np.uint16)
        if stored.dtype.kind == "f":
            if stored.min() < 0 or stored.max() > 1:
                raise Refused(f"{name_of(value)}: expected alpha on 0..1")
        elif stored.dtype not in (np.uint8, np.uint16):
            raise Refused(f"{name_of(value)}: expected floating point, uint8 or uint16")
        return as_maps(stored)

    def measure_frame(self, prediction: Array, reference: Array) -> float:
        if prediction.dtype == reference.dtype and reference.dtype.kind == "u":
            # Whole numbers as they are stored: exact, and half the work of fractions.
            wider = np.int16 if reference.itemsize == 1 else np.int32
            return self.of_difference(
                np.subtract(prediction, reference, dtype=wider), np.iinfo(reference.dtype).max
            )
        return self.of_difference(_alpha(prediction) - _alpha(reference), 1)

    @abstractmethod
    def of_difference(self, difference: Array, whole: int) -> float:
        """The number of one frame, from the difference of the mattes on -whole..whole."""

    def worst_frame(self, reference: Array) -> float:
        alpha = _alpha(reference)
        return self.of_difference(np.where(alpha < 0.5, 1.0, 0.0) - alpha, 1)


def _alpha(stored: Array) -> Array:
    whole = 1 if stored.dtype.kind == "f" else np.iinfo(stored.dtype).max
    return stored / np.float64(whole)


@register
class SumOfAbsoluteDifferences(_MatteMetric):
    """SAD of alpha mattes: sum of |a - a*| over the image, divided by 1000; mean; lower is better.

    The custom of matting (Rhemann et al. 2009; whole image as in arXiv:2010.16188); 0 to the number
    of pixels / 1000.
    """

    id = "sad"

    def of_difference(self, difference: Array, whole: int) -> float:
        return float(np.abs(difference, out=difference).sum()) / whole / 1000


@register
class MattingMeanSquaredError(_MatteMetric):
    """MSE of alpha mattes, times 1000, the custom of matting; mean over images; 0..1000, lower is better."""

    id = "matting_mse"

    def of_difference(self, difference: Array, whole: int) -> float:
        return 1000 * mean_square(difference) / whole**2
