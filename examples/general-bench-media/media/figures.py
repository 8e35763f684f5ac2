"""The measures, by outside libraries; independent of the pipeline's own metrics on purpose.

Each takes answers and truths as they are delivered, and gives the figure in the catalogue's unit.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections import defaultdict
from typing import Any

import numpy as np

from .core import Figure

# --- pycocotools ---------------------------------------------------------------------------------


def coco_ap(thresholds: list[float], kind: str) -> Figure:
    """COCOeval over boxes ("bbox") or masks ("segm"); answers are COCO-like lists of objects."""

    def figure(answers: list[Any], truths: list[Any]) -> float:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        # All pictures have one size, which only masks tell.
        height, width = truths[0][0].get("segmentation", {}).get("size", (0, 0))
        size = {"height": height, "width": width}
        annotations, detections = [], []
        for image, (given, expected) in enumerate(zip(answers, truths, strict=True), 1):
            for o in expected:
                area = float(o["bbox"][2] * o["bbox"][3]) if kind == "bbox" else 1.0
                fixed = {"image_id": image, "category_id": 1, "iscrowd": 0, "area": area}
                annotations.append(o | fixed | {"id": len(annotations) + 1})
            detections += [o | {"image_id": image, "category_id": 1} for o in given]
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = {
                "images": [size | {"id": i} for i in range(1, len(truths) + 1)],
                "annotations": annotations,
                "categories": [{"id": 1}],
                "info": {},
            }
            truth.createIndex()
            run = COCOeval(truth, truth.loadRes(detections), kind)
            run.params.iouThrs = np.array(thresholds)
            run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
            run.params.maxDets = [100]
            run.evaluate()
            run.accumulate()
        return 100 * float(run.eval["precision"].mean())

    return figure


def _box_ious(given: list[list[float]], expected: list[list[float]]) -> list[float]:
    """IoU of corners, pair by pair."""
    from pycocotools import mask

    def sized(box: list[float]) -> list[float]:
        return [box[0], box[1], box[2] - box[0], box[3] - box[1]]

    return [
        float(mask.iou(np.array([sized(a)]), np.array([sized(b)]), [0])[0, 0])
        for a, b in zip(given, expected, strict=True)
    ]


def success_auc(answers: list[Any], truths: list[Any]) -> float:
    thresholds = np.linspace(0, 1, 21)
    videos = [
        np.mean([(iou > thresholds).mean() for iou in _box_ious(given, expected)])
        for given, expected in zip(answers, truths, strict=True)
    ]
    return 100 * float(np.mean(videos))


def m_viou(answers: list[Any], truths: list[Any]) -> float:
    """Answers and truths are {frame: corners}."""
    videos = []
    for given, expected in zip(answers, truths, strict=True):
        both = sorted(given.keys() & expected.keys())
        ious = _box_ious([given[k] for k in both], [expected[k] for k in both])
        videos.append(sum(ious) / len(given.keys() | expected.keys()))
    return 100 * float(np.mean(videos))


def panoptic_quality(answers: list[Any], truths: list[Any]) -> float:
    """Segments' IoU by pycocotools; answers and truths are maps of class * 1000 + instance."""
    from pycocotools import mask

    sums: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for given, expected in zip(answers, truths, strict=True):
        sides = []
        for side in (given, expected):
            ids = [int(i) for i in np.unique(side)]
            runs = [mask.encode(np.asfortranarray((side == i).astype(np.uint8))) for i in ids]
            sides.append((ids, runs))
        (ours, our_runs), (theirs, their_runs) = sides
        ious = mask.iou(our_runs, their_runs, [0] * len(their_runs))
        for i, a in enumerate(ours):
            found = [ious[i, j] for j, b in enumerate(theirs) if b // 1000 == a // 1000]
            best = max(found, default=0.0)
            sums[a // 1000][0] += best if best > 0.5 else 0.0
            # TP + FP/2 + FN/2 is half of the number of segments on both sides.
            sums[a // 1000][1] += 0.5
        for b in theirs:
            sums[b // 1000][2] += 0.5
    return 100 * float(np.mean([iou / (ours + theirs) for iou, ours, theirs in sums.values()]))


# --- scikit-learn --------------------------------------------------------------------------------


def mean_jaccard(answers: list[Any], truths: list[Any]) -> float:
    """Mean IoU of the classes over all elements of all instances."""
    from sklearn.metrics import jaccard_score

    given, expected = (np.concatenate([np.ravel(v) for v in side]) for side in (answers, truths))
    return 100 * float(jaccard_score(expected, given, average="macro"))


def mean_dice(answers: list[Any], truths: list[Any]) -> float:
    from sklearn.metrics import f1_score

    pairs = zip(answers, truths, strict=True)
    return 100 * float(np.mean([f1_score(b.ravel() > 0, a.ravel() > 0) for a, b in pairs]))


def mean_cosine(answers: list[Any], truths: list[Any]) -> float:
    from sklearn.metrics.pairwise import paired_cosine_distances

    cosines = 1 - paired_cosine_distances(np.stack(answers), np.stack(truths))
    return 100 * float(np.maximum(cosines, 0).mean())


def end_point_error(answers: list[Any], truths: list[Any]) -> float:
    from sklearn.metrics.pairwise import paired_euclidean_distances as distances

    pairs = zip(answers, truths, strict=True)
    return float(
        np.mean(
            [
                distances(a.reshape(-1, 2).astype(float), b.reshape(-1, 2).astype(float)).mean()
                for a, b in pairs
            ]
        )
    )


def normal_rmse(answers: list[Any], truths: list[Any]) -> float:
    from sklearn.metrics.pairwise import paired_cosine_distances

    shapes = []
    for given, expected in zip(answers, truths, strict=True):
        a, b = (np.asarray(side, dtype=float).reshape(-1, 3) for side in (given, expected))
        cosines = np.clip(np.abs(1 - paired_cosine_distances(a, b)), 0, 1)
        shapes.append(math.sqrt((np.rad2deg(np.arccos(cosines)) ** 2).mean()))
    return float(np.mean(shapes))


def chamfer(answers: list[Any], truths: list[Any]) -> float:
    from sklearn.neighbors import NearestNeighbors

    def directed(points: np.ndarray, others: np.ndarray) -> float:
        near = NearestNeighbors(n_neighbors=1).fit(others.astype(float))
        return float((near.kneighbors(points.astype(float))[0] ** 2).mean())

    pairs = zip(answers, truths, strict=True)
    return float(np.mean([directed(a, b) + directed(b, a) for a, b in pairs]))


def relative_depth_error(answers: list[Any], truths: list[Any]) -> float:
    """Absolute relative error after scikit-learn's linear regression of truth on answer."""
    from sklearn.linear_model import LinearRegression

    errors = []
    for given, expected in zip(answers, truths, strict=True):
        valid = (expected > 1e-3) & (expected < 80)
        a = np.maximum(given[valid].astype(float), 1e-3)[:, None]
        b = expected[valid].astype(float)
        fitted = np.clip(LinearRegression().fit(a, b).predict(a), 1e-3, 80)
        errors.append(float((np.abs(fitted - b) / b).mean()))
    return float(np.mean(errors))


# --- scikit-image --------------------------------------------------------------------------------


def psnr(answers: list[Any], truths: list[Any]) -> float:
    """Of images, or of all the frames of videos (frames, height, width)."""
    from skimage.metrics import peak_signal_noise_ratio

    frames = [
        peak_signal_noise_ratio(b, a, data_range=255)
        for given, expected in zip(answers, truths, strict=True)
        for a, b in zip(_as_frames(given), _as_frames(expected), strict=True)
    ]
    return float(np.mean(frames))


def _as_frames(value: np.ndarray) -> np.ndarray:
    return value if value.ndim == 3 else value[None]


# --- scipy ---------------------------------------------------------------------------------------


def ms_ssim(answers: list[Any], truths: list[Any]) -> float:
    """Wang, Simoncelli and Bovik 2003, by scipy.signal with a written-out Gaussian window."""
    from scipy.signal import convolve2d

    steps = np.arange(-5, 6)
    window = np.exp(-(steps[:, None] ** 2 + steps[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def smooth(values: np.ndarray) -> np.ndarray:
        return convolve2d(values, window, mode="valid")

    def one(a: np.ndarray, b: np.ndarray) -> float:
        weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
        scales = min(5, 1 + int(math.log2(min(a.shape) / 11)))
        weights = weights[:scales] / weights[:scales].sum()
        product = 1.0
        for scale, weight in enumerate(weights, 1):
            mean_a, mean_b = smooth(a), smooth(b)
            variance_a, variance_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
            cs = (2 * (smooth(a * b) - mean_a * mean_b) + c2) / (variance_a + variance_b + c2)
            light = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
            product *= max(0.0, float((cs * light if scale == scales else cs).mean())) ** weight
            a, b = (v.reshape(v.shape[0] // 2, 2, -1, 2).mean(axis=(1, 3)) for v in (a, b))
        return product

    pairs = zip(answers, truths, strict=True)
    return float(np.mean([one(a.astype(float), b.astype(float)) for a, b in pairs]))


def frechet(answers: list[Any], truths: list[Any]) -> float:
    """Frechet distance of two sets of feature rows, by scipy.linalg.sqrtm."""
    from scipy.linalg import sqrtm

    a, b = (np.stack(side).astype(float) for side in (answers, truths))
    covariance_a, covariance_b = np.cov(a.T), np.cov(b.T)
    root = sqrtm(covariance_a @ covariance_b).real
    step = a.mean(axis=0) - b.mean(axis=0)
    return float(step @ step + np.trace(covariance_a + covariance_b - 2 * root))


def cepstral_distortion(answers: list[Any], truths: list[Any]) -> float:
    """Mel-cepstral distortion: distances by scipy, the warping path cell by cell."""
    from scipy.spatial.distance import cdist

    def one(given: np.ndarray, expected: np.ndarray) -> float:
        distance = cdist(given.astype(float), expected.astype(float))
        best: dict[tuple[int, int], tuple[float, int]] = {(-1, -1): (0.0, 0)}
        for i, j in np.ndindex(*distance.shape):
            before = ((i - 1, j - 1), (i - 1, j), (i, j - 1))
            cost, length = min(best[cell] for cell in before if cell in best)
            best[i, j] = (cost + distance[i, j], length + 1)
        cost, length = best[distance.shape[0] - 1, distance.shape[1] - 1]
        return 10 / math.log(10) * math.sqrt(2) * cost / length

    return float(np.mean([one(a, b) for a, b in zip(answers, truths, strict=True)]))


# --- py_sod_metrics ------------------------------------------------------------------------------


def structure_measure(answers: list[Any], truths: list[Any]) -> float:
    """S-measure of the frames (frames, height, width) of each video, mean over the videos."""
    from py_sod_metrics import Smeasure

    videos = []
    for given, expected in zip(answers, truths, strict=True):
        measure = Smeasure()
        for a, b in zip(given, expected, strict=True):
            measure.step(pred=a, gt=b)
        videos.append(measure.get_results()["sm"])
    return 100 * float(np.mean(videos))
