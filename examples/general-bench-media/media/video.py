"""Video tasks: digits that move before a panning camera, camouflaged horses, flow, restored frames."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from scipy import ndimage

from . import figures
from .codec import as_is, flo, in_file, in_frames, npy, png, strip
from .core import Instance, Method, Predict, Task, Written, asked, each, rng, rounded
from .image import TEST_PHOTOS, TRAIN_PHOTOS, _byte
from .pixels import SOLID, PixelClassifier, boosting, box, forest, ink, parts
from .sources import DIGITS, HORSE, PHOTOGRAPHS, crops, digits, photo, texture

_SIDE = 40


def _pan(random: np.random.Generator, names: tuple[str, ...], frames: int, side: int) -> np.ndarray:
    """A camera that moves slowly over a photograph, (frames, side, side)."""
    while True:
        picture = photo(names[int(random.integers(len(names)))])
        step = random.uniform(-2, 2, 2)
        start = random.uniform(0, np.array(picture.shape) - side)
        places = start + step * np.arange(frames)[:, None]
        if (places < 0).any() or (places > np.array(picture.shape) - side - 1).any():
            continue
        grid = np.mgrid[:side, :side]
        film = np.stack(
            [
                ndimage.map_coordinates(picture, grid + place[:, None, None], order=1)
                for place in places
            ]
        )
        if film.std() > 15:
            return film


def _path(random: np.random.Generator, frames: int, reach: int) -> np.ndarray:
    """Whole-pixel places (frames, 2) of something that drifts and turns within 0..reach."""
    place, speed, places = random.uniform(0, reach, 2), random.uniform(-2.5, 2.5, 2), []
    for _ in range(frames):
        places.append(np.rint(place))
        speed = speed + random.normal(scale=0.6, size=2)
        bounces = (place + speed < 0) | (place + speed > reach)
        speed = np.where(bounces, -speed, speed)
        place = np.clip(place + speed, 0, reach)
    return np.array(places, dtype=int)


def _moving_digit(
    split: str, random: np.random.Generator, frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """A film with a digit on it, and the digit's mask in each frame."""
    film = 0.8 * _pan(random, TRAIN_PHOTOS if split == "train" else TEST_PHOTOS, frames, _SIDE)
    pool, _ = digits(split)
    size = int(random.integers(11, 15))
    shape = ink(pool[int(random.integers(len(pool)))], size)
    drawn = np.zeros(film.shape)
    for k, (y, x) in enumerate(_path(random, frames, _SIDE - size)):
        drawn[k, y : y + size, x : x + size] = shape
    return _byte(film * (1 - drawn) + 215 * drawn), drawn > SOLID


def _film(name: str, frames: np.ndarray, prompt: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A film as an input: its frames side by side in one picture."""
    path = f"films/{name}.png"
    return {"film": path, "frames": len(frames), "prompt": prompt}, {path: png(strip(frames))}


def _corners(mask: np.ndarray) -> list[int]:
    x, y, w, h = box(mask)
    return [x, y, x + w, y + h]


# --- tracking ------------------------------------------------------------------------------------

View = tuple[np.ndarray, list[int]]


def _constant(view: View) -> list[list[int]]:
    return [view[1]] * len(view[0])


def _by_phase(view: View) -> list[list[float]]:
    """Each step is the shift between the surroundings of the box in two frames."""
    from skimage.registration import phase_cross_correlation

    frames, first = view
    w, h = first[2] - first[0], first[3] - first[1]
    x, y = float(first[0]), float(first[1])
    boxes = [[x, y, x + w, y + h]]
    for before, now in pairwise(frames):
        rows = slice(max(int(y) - 4, 0), int(y) + h + 4)
        columns = slice(max(int(x) - 4, 0), int(x) + w + 4)
        shift, *_ = phase_cross_correlation(before[rows, columns], now[rows, columns])
        y = float(np.clip(y - shift[0], 0, _SIDE - h))
        x = float(np.clip(x - shift[1], 0, _SIDE - w))
        boxes.append([x, y, x + w, y + h])
    return rounded(boxes)


def _by_template(view: View, renew: float) -> list[list[float]]:
    """Best correlation with the first view of the object near its last place.

    Args:
        renew: how much of the template is taken from the latest view.
    """
    from skimage.feature import match_template

    frames, (x1, y1, x2, y2) = view
    w, h = x2 - x1, y2 - y1
    template, x, y = frames[0][y1:y2, x1:x2].astype(float), x1, y1
    boxes = [[x1, y1, x2, y2]]
    for frame in frames[1:]:
        top, left = max(y - 6, 0), max(x - 6, 0)
        field = frame[top : y + h + 6, left : x + w + 6].astype(float)
        response = match_template(field, template)
        dy, dx = np.unravel_index(response.argmax(), response.shape)
        y, x = top + int(dy), left + int(dx)
        template = (1 - renew) * template + renew * frame[y : y + h, x : x + w]
        boxes.append([x, y, x + w, y + h])
    return rounded(boxes)


def digit_tracking() -> Task:
    random = rng("tracking")
    instances = []
    for k in range(1, 25):
        film, masks = _moving_digit("test", random, 10)
        truth = [_corners(mask) for mask in masks]
        shown, media = _film(f"{k:03d}", film, "Follow the object of the first frame's box.")
        instances.append(Instance((film, truth[0]), truth, shown | {"box": truth[0]}, media))

    def numbered(name: str, value: list[list[float]]) -> Written:
        """By frame, as COCO's boxes."""
        sized = [[a, b, round(c - a, 2), round(d - b, 2)] for a, b, c, d in value]
        return {str(k): {"bbox": bbox} for k, bbox in enumerate(sized)}, {}

    return Task(
        title="Handwritten Digit Tracking",
        short_title="Digit Track",
        modality="video",
        paradigm="comprehension",
        folder="Handwritten-Digit-Tracking",
        type="object tracking",
        skill="Object Tracking",
        metric="success_auc",
        instances=instances,
        write=as_is,
        methods=(
            Method("the first box throughout", each(_constant)),
            Method("phase correlation from frame to frame", each(_by_phase), numbered),
            Method(
                "template matching",
                each(lambda view: _by_template(view, 0.0)),
                in_file("boxes", ".npy", lambda v: npy(np.array(v, dtype=np.float32))),
            ),
        ),
        specialist=Method(
            "template matching with a renewed template", each(lambda view: _by_template(view, 0.2))
        ),
        figure=figures.success_auc,
        library="pycocotools' box IoU, curve in plain lines",
        source=DIGITS,
        note="a digit on the film of a camera that pans over a photograph",
    )


# --- grounding -----------------------------------------------------------------------------------


def _appearing(split: str, random: np.random.Generator) -> tuple[np.ndarray, dict[int, list[int]]]:
    """A film of 12 frames with a digit in some of them, and its box by frame, from 1 on."""
    clean, masks = _moving_digit(split, random, 12)
    length = int(random.integers(4, 9))
    start = int(random.integers(12 - length + 1))
    other = _pan(random, TRAIN_PHOTOS if split == "train" else TEST_PHOTOS, 12, _SIDE)
    film = clean.copy()
    for k in range(12):
        if not start <= k < start + length:
            film[k] = _byte(0.8 * other[k])
    return film, {k + 1: _corners(masks[k]) for k in range(start, start + length)}


def digit_grounding() -> Task:
    random = rng("grounding train")
    train = [_moving_digit("train", random, 12) for _ in range(12)]
    images = [frame for film, _ in train for frame in film[::3]]
    labels = [mask for _, masks in train for mask in masks[::3]]
    trees = PixelClassifier(forest(), images, labels)
    boosted = PixelClassifier(boosting(), images, labels)

    def everywhere(film: np.ndarray) -> dict[int, list[int]]:
        return {k: [10, 10, 30, 30] for k in range(1, len(film) + 1)}

    def brightest(film: np.ndarray) -> dict[int, list[int]]:
        """The largest bright part of each frame."""
        found = {k: parts(frame > 190, 20) for k, frame in enumerate(film, 1)}
        return {k: _corners(max(ps, key=np.sum)) for k, ps in found.items() if ps}

    def classified(model: PixelClassifier) -> Predict:
        """The part that most looks like a digit; frames alone among others are evened out."""

        def answer(film: np.ndarray) -> dict[int, list[int]]:
            best, boxes = np.zeros(len(film)), {}
            for k, frame in enumerate(film):
                chance = model.probabilities(frame)[..., 1]
                found = [p for p in parts(chance > 0.5, 15) if max(box(p)[2:]) < 18]
                if found:
                    part = max(found, key=lambda p: float(chance[p].sum()))
                    best[k], boxes[k + 1] = chance[part].sum(), _corners(part)
            shown = ndimage.median_filter(best, 3, mode="nearest") > 18
            return {k: b for k, b in boxes.items() if shown[k - 1]}

        return each(answer)

    def tube(name: str, value: dict[int, list[int]]) -> Written:
        """As HC-STVG annotates: start, end and the sized boxes between."""
        first, last = min(value), max(value)
        sized = [[a, b, c - a, d - b] for a, b, c, d in (value[k] for k in range(first, last + 1))]
        head = {"tube_start_frame": first, "tube_end_frame": last}
        return head | {"trajectory": sized, "frame_count": 12}, {}

    def by_frame(name: str, value: dict[int, list[int]]) -> Written:
        return [{"frame": k, "box": b} for k, b in value.items()], {}

    random = rng("grounding test")
    prompt = "When and where is a handwritten digit?"
    return Task(
        title="Handwritten Digit Grounding",
        short_title="Digit Ground",
        modality="video",
        paradigm="comprehension",
        folder="handwritten_digit_grounding",
        type="spatio-temporal grounding",
        skill="Video Grounding",
        metric="m_viou",
        instances=asked(prompt, _film, (_appearing("test", random) for _ in range(20))),
        write=by_frame,
        write_truth=tube,
        methods=(
            Method("the middle of the picture, always", each(everywhere)),
            Method("the largest bright part", each(brightest)),
            Method("extremely randomised trees on pixels", classified(trees)),
        ),
        specialist=Method("gradient boosting on pixels", classified(boosted)),
        figure=figures.m_viou,
        library="pycocotools' box IoU, sums in plain lines",
        source=DIGITS,
        note="a digit in 4 to 8 of 12 frames; other frames pan over another photograph",
    )


# --- camouflage ----------------------------------------------------------------------------------


def camouflaged_horses() -> Task:
    from skimage import data
    from skimage.transform import resize

    outline = ~data.horse()
    frames, height, width = 5, 40, 48

    def film(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A horse of the same texture as the ground, moving with what is inside it."""
        picture = texture(("brick", "grass", "gravel")[int(random.integers(3))], "test")
        y, x, b, a = (
            int(random.integers(s - e))
            for s, e in zip(picture.shape * 2, (48, 56) * 2, strict=True)
        )
        ground, coat = picture[y : y + 40, x : x + 48], picture[b : b + 40, a : a + 48]
        tall = int(random.integers(20, 27))
        horse = resize(outline.astype(float), (tall, round(tall * 1.22))) > 0.5
        horse = horse[:, ::-1] if random.random() < 0.5 else horse
        places = np.minimum(_path(random, frames, 40), (height - tall, width - horse.shape[1]))
        start, step = places[0], random.integers(1, 3, 2) * random.choice([-1, 1], 2)
        masks, shown = np.zeros((frames, height, width), dtype=bool), []
        for k in range(frames):
            spot = np.clip(start + k * step, 0, (height - tall, width - horse.shape[1]))
            masks[k, spot[0] : spot[0] + tall, spot[1] : spot[1] + horse.shape[1]] = horse
            moved = np.roll(coat, tuple(spot), axis=(0, 1))
            shown.append(np.where(masks[k], moved, ground))
        noise = random.normal(scale=4, size=masks.shape)
        return _byte(np.stack(shown) + noise), masks.astype(np.uint8) * 255

    def stretched(maps: np.ndarray) -> np.ndarray:
        return _byte(255 * np.clip(maps, 0, np.percentile(maps, 98)) / np.percentile(maps, 98))

    def contrast(film: np.ndarray) -> np.ndarray:
        return stretched(np.abs(film - film.mean(axis=(1, 2), keepdims=True)))

    def steps(film: np.ndarray) -> np.ndarray:
        """Differences of neighbouring frames."""
        moved = np.abs(np.diff(film.astype(float), axis=0))
        return stretched(np.concatenate([moved, moved[-1:]]))

    def from_ground(film: np.ndarray, sigma: float) -> np.ndarray:
        """Smoothed differences to the median of the film."""
        moved = np.abs(film - np.median(film, axis=0))
        return stretched(np.stack([ndimage.gaussian_filter(m, sigma) for m in moved]))

    def both(film: np.ndarray) -> np.ndarray:
        """Differences to the median, closed to shapes: large and solid parts alone."""
        maps = from_ground(film, 1.5)
        solid = [ndimage.grey_closing(ndimage.grey_opening(m, (3, 3)), (7, 7)) for m in maps]
        return stretched(np.stack(solid).astype(float))

    random = rng("camouflage")
    made = (film(random) for _ in range(12))
    return Task(
        title="Camouflaged Horse Segmentation",
        short_title="Camouflage Seg",
        modality="video",
        paradigm="comprehension",
        folder="CamouflagedHorseSegmentation",
        type="video camouflaged object segmentation",
        skill="Video Segmentation",
        metric="structure_measure",
        instances=asked("Segment the animal in each frame.", _film, made),
        write=in_frames("maps"),
        write_truth=in_frames("references"),
        methods=(
            Method("contrast with the mean grey", each(contrast)),
            Method("difference of neighbouring frames", each(steps)),
            Method(
                "smoothed difference to the film's median",
                each(lambda film: from_ground(film, 1.5)),
                in_file("maps", ".npy", npy),
            ),
        ),
        specialist=Method("difference to the median, closed to shapes", each(both)),
        figure=figures.structure_measure,
        library="py_sod_metrics Smeasure",
        source=HORSE,
        note="a silhouette with the texture of its ground; folders of frames",
        zipped=True,
    )


# --- optical flow --------------------------------------------------------------------------------


def optical_flow() -> Task:
    from skimage.registration import optical_flow_ilk, optical_flow_tvl1, phase_cross_correlation

    random = rng("flow")
    size, margin = 32, 8

    def bent_film(piece: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        whole = random.uniform(-1.5, 1.5, 2)
        bent = ndimage.gaussian_filter(random.normal(size=(size, size, 2)), (7, 7, 0)) * 25
        truth = (whole + bent).clip(-6, 6).astype(np.float16)
        y, x = np.mgrid[margin : margin + size, margin : margin + size]
        # What the first frame shows at a place is in the second where the flow points.
        at = y + truth[..., 1].astype(float), x + truth[..., 0].astype(float)
        film = _byte(
            np.stack(
                [
                    ndimage.map_coordinates(piece, at, order=3),
                    piece[margin:-margin, margin:-margin],
                ]
            )
        )
        return film, truth

    def dense(method: Any, **options: Any) -> Predict:
        def answer(film: np.ndarray) -> np.ndarray:
            v, u = method(film[0] / 255, film[1] / 255, **options)
            return np.stack([u, v], axis=-1).astype(np.float16)

        return each(answer)

    def shift(film: np.ndarray) -> np.ndarray:
        """One shift of the whole picture."""
        moved, *_ = phase_cross_correlation(film[0], film[1], upsample_factor=10)
        return np.full((size, size, 2), -moved[::-1], dtype=np.float16)

    pieces = crops(TEST_PHOTOS, size + 2 * margin, 20, random)
    return Task(
        title="Optical Flow Estimation",
        short_title="Flow",
        modality="video",
        paradigm="comprehension",
        folder="Optical-Flow-Estimation",
        type="optical flow",
        skill="Motion Understanding",
        metric="epe",
        unit="raw",
        direction="lower",
        instances=asked("Estimate the flow.", _film, map(bent_film, pieces)),
        write=in_file("flows", ".npy", npy),
        write_truth=in_file("references", ".npy", npy),
        methods=(
            Method("nothing moves", each(lambda film: np.zeros((size, size, 2), dtype=np.float16))),
            Method(
                "phase correlation of the whole picture",
                each(shift),
                in_file("flows", ".npy", lambda f: npy(np.moveaxis(f, -1, 0))),
            ),
            Method(
                "iterative Lucas-Kanade",
                dense(optical_flow_ilk, radius=5),
                in_file("flows", ".flo", flo),
            ),
        ),
        specialist=Method("TV-L1", dense(optical_flow_tvl1)),
        figure=figures.end_point_error,
        library="scikit-learn paired_euclidean_distances",
        source=PHOTOGRAPHS,
        note="photographs warped by a known smooth flow; .npy in two orders and .flo",
    )


# --- restoration ---------------------------------------------------------------------------------


def video_denoising() -> Task:
    from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

    random = rng("video denoising")
    films = (_pan(random, TEST_PHOTOS, 5, 36) for _ in range(12))
    made = ((_byte(f + random.normal(scale=20, size=f.shape)), _byte(f)) for f in films)
    return Task(
        title="Video Denoising",
        short_title="Video Denoise",
        modality="video",
        paradigm="generation",
        folder="Video-Denoising",
        type="video denoising",
        skill="Video Restoration",
        metric="psnr",
        unit="decibel",
        instances=asked("Remove the noise.", _film, made),
        write=in_frames("films"),
        write_truth=in_frames("references"),
        methods=(
            Method("nothing done", each(lambda film: film)),
            Method(
                "Gaussian filter of each frame",
                each(lambda film: _byte(ndimage.gaussian_filter(film + 0.0, (0, 0.9, 0.9)))),
                in_file("films", ".npy", npy),
            ),
            Method(
                "total variation in space and time",
                each(lambda film: _byte(255 * denoise_tv_chambolle(film / 255, weight=0.1))),
            ),
        ),
        specialist=Method(
            "non-local means in space and time",
            each(
                lambda film: _byte(
                    255
                    * denoise_nl_means(
                        film / 255, patch_size=3, patch_distance=3, h=0.06, sigma=20 / 255
                    )
                )
            ),
        ),
        figure=figures.psnr,
        library="scikit-image peak_signal_noise_ratio",
        source=PHOTOGRAPHS,
        note="a camera that pans over a photograph; folders of frames, one model an array",
        zipped=True,
    )


def frame_interpolation() -> Task:
    from skimage.registration import optical_flow_ilk, optical_flow_tvl1

    random = rng("interpolation")
    films = (_byte(_pan(random, TEST_PHOTOS, 3, 48)) for _ in range(20))
    made = ((film[[0, 2]], film[1]) for film in films)

    def warped(method: Any, **options: Any) -> Predict:
        """Both frames warped half of the way along the flow between them."""

        def answer(film: np.ndarray) -> np.ndarray:
            first, last = film / 255
            flow = np.stack(method(first, last, **options))
            grid = np.mgrid[: first.shape[0], : first.shape[1]]
            sides = [
                ndimage.map_coordinates(side, grid + way * flow, order=1, mode="nearest")
                for side, way in ((first, -0.5), (last, 0.5))
            ]
            return _byte(255 * np.mean(sides, axis=0))

        return each(answer)

    return Task(
        title="Video Frame Interpolation",
        short_title="Frame Interp",
        modality="video",
        paradigm="generation",
        folder="video_frame_interpolation",
        type="frame interpolation",
        skill="Video Generation",
        metric="ms_ssim",
        unit="raw",
        instances=asked("Draw the frame between the two.", _film, made),
        write=in_file("frames", ".png", png),
        write_truth=in_file("references", ".png", png),
        methods=(
            Method("the frame before", each(lambda film: film[0])),
            Method("mean of both frames", each(lambda film: _byte(film.mean(axis=0)))),
            Method("warping by iterative Lucas-Kanade", warped(optical_flow_ilk, radius=7)),
        ),
        specialist=Method("warping by TV-L1 flow", warped(optical_flow_tvl1)),
        figure=figures.ms_ssim,
        library="scipy.signal",
        source=PHOTOGRAPHS,
        note="the middle frame of a pan over a photograph, 48 x 48 pixels: three scales",
    )


TASKS = (
    digit_tracking,
    digit_grounding,
    camouflaged_horses,
    optical_flow,
    video_denoising,
    frame_interpolation,
)
