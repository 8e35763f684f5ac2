"""Distances of two images or videos: PSNR, MS-SSIM and RMSE of pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from tasks.media import Array, Refused, load_array, load_image, name_of
from tasks.metrics.base import register
from tasks.metrics.frames import FrameMetric

#: Pixel values of which the squared differences are summed at once: they stay in the cache, and
#: their sum stays below 2**32 (32,768 times 255 squared).
_BLOCK = 2**15


class _ImageMetric(FrameMetric):
    """Compares 8-bit images of the same size, in colour (RGB) or as luminance (L).

    Accepts, on both sides: an image file; a folder of frames; an .npy or .npz of uint8 as
    (height, width[, 3]) or (frames, height, width[, 3]). Transparency is dropped.
    """

    mode = "RGB"

    def read_file(self, value: object) -> Iterable[Array]:
        if name_of(value).lower().endswith((".npy", ".npz")):
            return self._frames_of_array(value)
        return [load_image(value, self.mode)]

    def _frames_of_array(self, value: object) -> Iterator[Array]:
        frames = load_array(value)
        coloured = frames.ndim >= 3 and frames.shape[-1] == 3
        if frames.ndim == 2 + coloured:
            frames = frames[None]
        if frames.dtype != np.uint8 or frames.ndim != 3 + coloured:
            found = f"{frames.dtype} of {frames.shape}"
            raise Refused(
                f"{name_of(value)}: expected uint8 (frames, height, width, 3), not {found}"
            )
        for frame in frames:
            yield _converted(frame, self.mode)


def _converted(frame: Array, mode: str) -> Array:
    from PIL import Image

    return np.asarray(Image.fromarray(np.ascontiguousarray(frame)).convert(mode))


def _squared_error(a: Array, b: Array) -> int:
    """Exact sum of the squared differences of two uint8 arrays.

    The square of a difference of two bytes fits in 16 bits, and comes out right there whatever the
    sign, so that nothing wider is made than the processor takes many of at once; a conversion to
    float64 costs ten times that.
    """
    a, b, total = a.ravel(), b.ravel(), 0
    for start in range(0, a.size, _BLOCK):
        x, y = a[start : start + _BLOCK], b[start : start + _BLOCK]
        square = np.subtract(x, y, dtype=np.int16).view(np.uint16)
        square *= square
        total += int(square.sum(dtype=np.uint32))
    return total


@register
class PeakSignalToNoiseRatio(_ImageMetric):
    """PSNR in decibel: 10 log10(255^2 / MSE) over all pixels and RGB channels, higher is better.

    As `skimage.metrics.peak_signal_noise_ratio(data_range=255)` frame by frame, then the mean over
    all frames of all instances, as the published scorer takes it; an image is one frame.

    A frame counts 100 dB at most, the customary value for an identical frame, whose PSNR is
    infinite: one such frame would make the mean infinite. (The published scorer leaves identical
    frames out, so that a perfect video scores 0.) Without an answer each frame counts 0.
    """

    id = "psnr"
    _MOST = 100.0

    def measure_frame(self, prediction: Array, reference: Array) -> float:
        error = _squared_error(prediction, reference)
        if error == 0:
            return self._MOST
        return min(self._MOST, 10 * math.log10(255**2 * reference.size / error))

    def worst_frame(self, reference: Array) -> float:
        return 0.0


@register
class ImageRootMeanSquareError(_ImageMetric):
    """RMSE of pixels on 0..255, over all pixels and RGB channels of an image, then the mean; 0..255.

    Lower is better. Published shadow removal (DeshadowNet, SRD) reports its "RMSE" in the CIE Lab
    space at 256 x 256 pixels, and its scripts mostly compute a mean absolute error there; this is
    the root mean square in RGB at full size. Without an answer: the largest RMSE that any image
    could have to the reference.
    """

    id = "image_rmse"

    def measure_frame(self, prediction: Array, reference: Array) -> float:
        return math.sqrt(_squared_error(prediction, reference) / reference.size)

    def worst_frame(self, reference: Array) -> float:
        return self.measure_frame(np.where(reference < 128, np.uint8(255), np.uint8(0)), reference)


@register
class MultiScaleStructuralSimilarity(_ImageMetric):
    """MS-SSIM (Wang, Simoncelli and Bovik, Asilomar 2003) of the luminance; higher is better.

    Five scales with the weights of the paper, a Gaussian window of 11 x 11 and sigma 1.5 (only where
    it fits whole), K = 0.01 and 0.03, halving by the mean of 2 x 2 pixels, an odd edge repeated, as
    in the authors' program. Luminance is the 8-bit ITU-R 601 grey.

    The shorter side needs 161 pixels for five scales; a smaller image has as many scales as the
    window fits in, their weights scaled to sum 1. Below 11 pixels there is none: refused. A negative
    mean of a scale counts 0, as no real power of it exists (`tf.image.ssim_multiscale` and
    pytorch-msssim do the same; sewar takes the real part of a complex one, and samples half a pixel
    off when it halves). So an answer gets 0..1; without one it is -1, the end of the scale.
    """

    id = "ms_ssim"
    mode = "L"
    _WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
    _WINDOW, _SIGMA = 11, 1.5
    _C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def check_reference(self, frame: Array) -> None:
        if min(frame.shape) < self._WINDOW:
            raise Refused(f"expected {self._WINDOW} pixels a side at least, found {frame.shape}")

    def measure_frame(self, prediction: Array, reference: Array) -> float:
        a, b = prediction.astype(np.float64), reference.astype(np.float64)
        terms: list[float] = []
        while True:
            similarity, contrast_structure = self._similarity(a, b)
            last = len(terms) + 1 == len(self._WEIGHTS) or min(a.shape) <= 2 * (self._WINDOW - 1)
            terms.append(max(0.0, similarity if last else contrast_structure))
            if last:
                break
            a, b = _halved(a), _halved(b)
        weights = self._WEIGHTS[: len(terms)]
        return float(np.prod(np.array(terms) ** (weights / weights.sum())))

    def worst_frame(self, reference: Array) -> float:
        return -1.0

    def _similarity(self, a: Array, b: Array) -> tuple[float, float]:
        """Means of SSIM, and of its contrast and structure alone."""
        mean_a, mean_b = self._smooth(a), self._smooth(b)
        squares = mean_a**2 + mean_b**2
        products = mean_a * mean_b
        variances = self._smooth(a * a + b * b) - squares
        covariance = self._smooth(a * b) - products
        contrast_structure = (2 * covariance + self._C2) / (variances + self._C2)
        luminance = (2 * products + self._C1) / (squares + self._C1)
        return float((luminance * contrast_structure).mean()), float(contrast_structure.mean())

    def _smooth(self, values: Array) -> Array:
        from scipy.ndimage import gaussian_filter

        radius = self._WINDOW // 2
        smooth = gaussian_filter(values, self._SIGMA, radius=radius)
        return smooth[radius:-radius, radius:-radius]


def _halved(values: Array) -> Array:
    height, width = values.shape
    even = np.pad(values, ((0, height % 2), (0, width % 2)), mode="edge")
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
