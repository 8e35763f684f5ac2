"""PSNR, RMSE and MS-SSIM of images and videos against scikit-image, sewar and the definition."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest
from PIL import Image
from scipy.signal import convolve2d
from sewar.full_ref import msssim
from skimage.metrics import peak_signal_noise_ratio

from tasks.metrics import Batch, frames, get_metric


def documents(values):
    return pl.Series([json.dumps(v) for v in values])


def batch(predictions, references):
    return Batch(documents(predictions), documents(references))


def file(path):
    return {"$file": {"path": path.name, "url": path.as_uri(), "member": ""}}


def folder(path):
    listed = [{"path": p.name, "url": p.as_uri(), "member": ""} for p in sorted(path.iterdir())]
    return {"$files": listed}


class Files:
    """Writes images and arrays, each under a new name, and gives the values that name them."""

    def __init__(self, root):
        self._root, self._count = root, 0

    def path(self, suffix):
        self._count += 1
        return self._root / f"{self._count:05d}{suffix}"

    def png(self, pixels):
        path = self.path(".png")
        Image.fromarray(pixels).save(path)
        return file(path)

    def npy(self, array):
        path = self.path(".npy")
        np.save(path, array)
        return file(path)

    def npz(self, **arrays):
        path = self.path(".npz")
        np.savez(path, **arrays)
        return file(path)

    def bytes(self, data, suffix):
        path = self.path(suffix)
        path.write_bytes(data)
        return file(path)

    def video(self, images, names=None):
        where = self.path("")
        where.mkdir()
        for i, pixels in enumerate(images):
            Image.fromarray(pixels).save(where / (names[i] if names else f"{i:04d}.png"))
        return folder(where)


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def smooth_image(rng, height, width, colours=3):
    """Blobs and waves: neighbouring pixels alike, as in a photograph."""
    y, x = np.mgrid[:height, :width]
    planes = []
    for _ in range(colours):
        a, b, c = rng.uniform(0.01, 0.3, 3)
        planes.append(128 + 100 * np.sin(a * x + b * y + rng.uniform(0, 6)) * np.cos(c * y))
    pixels = np.stack(planes, -1) + rng.normal(0, 6, (height, width, colours))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def degraded(rng, pixels):
    noise = rng.normal(0, rng.uniform(0.5, 60), pixels.shape)
    return np.clip(pixels + noise + rng.uniform(-20, 20), 0, 255).astype(np.uint8)


def pairs(count, low=12, high=60, seed=1):
    rng = np.random.default_rng(seed)
    references = [smooth_image(rng, *rng.integers(low, high, 2)) for _ in range(count)]
    return [degraded(rng, r) for r in references], references


def scores(metric_id, predictions, references):
    metric = get_metric(metric_id)
    stats = metric.compute(batch(predictions, references))
    assert stats["refused"].null_count() == stats.height, stats["refused"].drop_nulls().to_list()
    assert stats["reference_refused"].null_count() == stats.height
    return metric.instance_scores(stats).to_list(), metric.aggregate(stats)


def refusal(metric_id, prediction, reference):
    stats = get_metric(metric_id).compute(batch([prediction], [reference]))
    return stats["refused"][0], stats["reference_refused"][0]


def test_psnr_agrees_with_scikit_image(files):
    ours, theirs = pairs(200)
    # The extremes: all pixels off by 255, and one pixel off by 1.
    ours += [np.zeros((300, 400, 3), np.uint8), theirs[0] ^ 0]
    theirs += [np.full((300, 400, 3), 255, np.uint8), theirs[0].copy()]
    ours[-1][0, 0, 0] ^= 1
    expected = [
        peak_signal_noise_ratio(r, p, data_range=255) for p, r in zip(ours, theirs, strict=True)
    ]
    found, mean = scores("psnr", [files.png(p) for p in ours], [files.png(r) for r in theirs])
    assert found == pytest.approx(expected, abs=1e-9)
    assert mean == pytest.approx(np.mean(expected), abs=1e-9)
    assert min(found) == 0.0


def test_image_rmse_agrees_with_its_definition(files):
    ours, theirs = pairs(200, seed=2)
    expected = [
        math.sqrt(np.mean((p.astype(float) - r) ** 2)) for p, r in zip(ours, theirs, strict=True)
    ]
    found, mean = scores("image_rmse", [files.png(p) for p in ours], [files.png(r) for r in theirs])
    assert found == pytest.approx(expected, abs=1e-9)
    assert mean == pytest.approx(np.mean(expected), abs=1e-9)


def ms_ssim(a, b):
    """MS-SSIM written from the paper: full 2-D window, one scale after the other."""
    y, x = np.mgrid[-5:6, -5:6]
    window = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(values):
        return convolve2d(values, window, mode="valid")

    a, b = a.astype(float), b.astype(float)
    weights = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]
    terms = []
    for _ in weights:
        if min(a.shape) < 11:
            break
        ma, mb = mean(a), mean(b)
        va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
        cs = (2 * cov + 58.5225) / (va + vb + 58.5225)
        luminance = (2 * ma * mb + 6.5025) / (ma**2 + mb**2 + 6.5025)
        terms.append((cs.mean(), (cs * luminance).mean()))
        rows, columns = (range(0, n, 2) for n in a.shape)
        a, b = (
            np.array(
                [
                    [
                        (v[i, j] + v[k, j] + v[i, m] + v[k, m]) / 4
                        for j in columns
                        for m in [min(j + 1, v.shape[1] - 1)]
                    ]
                    for i in rows
                    for k in [min(i + 1, v.shape[0] - 1)]
                ]
            )
            for v in (a, b)
        )
    used = np.array(weights[: len(terms)]) / sum(weights[: len(terms)])
    values = [cs for cs, _ in terms[:-1]] + [terms[-1][1]]
    return float(np.prod(np.maximum(values, 0) ** used))


def test_ms_ssim_agrees_with_the_paper(files):
    ours, theirs = pairs(140, low=11, high=90, seed=3)
    more = pairs(20, low=161, high=230, seed=4)
    ours, theirs = ours + more[0], theirs + more[1]
    grey = [[np.asarray(Image.fromarray(i).convert("L")) for i in side] for side in (ours, theirs)]
    expected = [ms_ssim(p, r) for p, r in zip(*grey, strict=True)]
    found, mean = scores("ms_ssim", [files.png(p) for p in ours], [files.png(r) for r in theirs])
    assert found == pytest.approx(expected, abs=1e-9)
    assert mean == pytest.approx(np.mean(expected), abs=1e-9)
    assert min(found) < 0.5 < 0.95 < max(found)


def test_ms_ssim_is_near_sewar_which_halves_half_a_pixel_off(files):
    ours, theirs = pairs(10, low=180, high=260, seed=5)
    grey = [[np.asarray(Image.fromarray(i).convert("L")) for i in side] for side in (ours, theirs)]
    expected = [float(np.real(msssim(r, p))) for p, r in zip(*grey, strict=True)]
    found, _ = scores("ms_ssim", [files.png(p) for p in grey[0]], [files.png(r) for r in grey[1]])
    assert found == pytest.approx(expected, abs=0.02)


def test_a_negative_ms_ssim_scale_counts_zero(files):
    rng = np.random.default_rng(6)
    pixels = smooth_image(rng, 64, 64, 1)[..., 0]
    assert scores("ms_ssim", [files.png(255 - pixels)], [files.png(pixels)])[1] == 0.0


@pytest.mark.parametrize(
    ("metric_id", "best"), [("psnr", 100.0), ("image_rmse", 0.0), ("ms_ssim", 1.0)]
)
def test_the_same_image(files, metric_id, best):
    pixels = smooth_image(np.random.default_rng(7), 40, 50)
    found, mean = scores(metric_id, [files.png(pixels)] * 2, [files.png(pixels)] * 2)
    assert found == pytest.approx([best, best], abs=1e-12)
    assert mean == pytest.approx(best, abs=1e-12)


def test_videos_are_means_over_all_frames_in_whatever_form(files):
    ours, theirs = pairs(9, low=30, high=31, seed=8)
    expected = [
        peak_signal_noise_ratio(r, p, data_range=255) for p, r in zip(ours, theirs, strict=True)
    ]
    long, short = slice(0, 7), slice(7, 9)
    found, mean = scores(
        "psnr",
        [files.video(ours[long]), files.npy(np.stack(ours[short]))],
        [files.npz(frames=np.stack(theirs[long])), files.video(theirs[short])],
    )
    assert found == pytest.approx([np.mean(expected[long]), np.mean(expected[short])], abs=1e-9)
    assert mean == pytest.approx(np.mean(expected), abs=1e-9)  # by frames, not by videos


def test_an_array_of_one_image_is_one_frame_in_colour(files):
    ours, theirs = pairs(1, seed=9)
    png = scores("ms_ssim", [files.png(ours[0])], [files.png(theirs[0])])
    assert scores("ms_ssim", [files.npy(ours[0])], [files.npy(theirs[0])]) == png
    grey = [np.asarray(Image.fromarray(i).convert("L")) for i in (ours[0], theirs[0])]
    assert scores("ms_ssim", [files.npy(grey[0])], [files.npy(grey[1])]) == png


def test_frames_of_two_folders_are_matched_by_name(files):
    ours, theirs = pairs(3, low=20, high=21, seed=10)
    reference = files.video(theirs, ["a.png", "b.png", "c.png"])
    straight = scores("psnr", [files.video(ours, ["a.png", "b.png", "c.png"])], [reference])
    extra = files.video([*ours[::-1], theirs[0]], ["c.png", "b.png", "a.png", "0.png"])
    assert scores("psnr", [extra], [reference]) == straight
    assert "2 frames are missing, the first one is a" in str(
        refusal("psnr", files.video(ours, ["x.png", "b.png", "y.png"]), reference)[0]
    )


def test_a_long_reference_is_decoded_again(files, monkeypatch):
    ours, theirs = pairs(4, low=20, high=21, seed=11)
    given, expected = files.video(ours), files.video(theirs)
    kept = scores("psnr", [given], [expected])
    monkeypatch.setattr(frames, "_KEPT", 2000)
    assert scores("psnr", [given], [expected]) == kept


def test_bad_files_are_refused_with_a_reason(files):
    rng = np.random.default_rng(12)
    pixels = smooth_image(rng, 30, 40)
    good = files.png(pixels)
    cut = files.bytes(b"\x89PNG\r\n\x1a\n rubbish", ".png")
    assert refusal("psnr", files.png(pixels[:20]), good) == (
        "expected the shape (30, 40, 3), found (20, 40, 3)",
        None,
    )
    assert "no readable image" in str(refusal("psnr", cut, good)[0])
    assert "no readable image" in str(refusal("psnr", good, cut)[1])
    assert "no longer there" in str(
        refusal("psnr", {"$file": {"path": "x", "url": "file:///nowhere/x", "member": ""}}, good)[0]
    )
    assert "expected the path" in str(refusal("psnr", [[1, 2]], good)[0])
    assert "expected uint8" in str(refusal("psnr", files.npy(pixels / 255), good)[0])
    two = files.video([pixels, pixels])
    assert refusal("psnr", good, two)[0] == "expected 2 frames, found fewer"
    assert refusal("psnr", two, good)[0] == "expected 1 frames, found more"
    assert "11 pixels" in str(refusal("ms_ssim", good, files.png(pixels[:10]))[1])
    broken = files.video([pixels, pixels])
    broken["$files"][1] = cut["$file"]
    assert refusal("psnr", two, broken)[0] is None
    assert "no readable image" in str(refusal("psnr", two, broken)[1])
    worst = get_metric("psnr").worst(batch([None], [broken]))
    assert "no readable image" in worst["reference_refused"][0]


def test_without_an_answer_the_worst_value_counts(files):
    rng = np.random.default_rng(13)
    dark = files.png(np.full((20, 20, 3), 55, np.uint8))
    video = files.video([smooth_image(rng, 20, 20) for _ in range(3)])
    assert get_metric("image_rmse").worst(batch([None], [dark])).row(0)[:2] == (200.0, 1.0)
    assert get_metric("psnr").worst(batch([None], [video])).row(0)[:2] == (0.0, 3.0)
    assert get_metric("ms_ssim").worst(batch([None], [video])).row(0)[:2] == (-3.0, 3.0)


@pytest.mark.parametrize("metric_id", ["psnr", "image_rmse", "ms_ssim"])
def test_rows_may_come_in_any_order_and_any_part(files, metric_id):
    ours, theirs = pairs(20, seed=14)
    predictions, references = [files.png(p) for p in ours], [files.png(r) for r in theirs]
    metric = get_metric(metric_id)
    whole = metric.compute(batch(predictions, references))
    assert metric.aggregate(whole[::-1]) == pytest.approx(metric.aggregate(whole), abs=1e-12)
    part = metric.compute(batch(predictions[3:9], references[3:9]))
    assert part.equals(whole[3:9])
    assert metric.compute(batch(predictions[::-1], references[::-1])).equals(whole[::-1])
