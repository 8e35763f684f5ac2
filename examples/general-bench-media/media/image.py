"""Image tasks: digits pasted on photographs, textures, a page; restored and generated images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage

from . import figures
from .codec import as_is, in_file, npy, png, rle
from .core import SEED, Instance, Instances, Method, Predict, Task, Written, asked, each, rng
from .pixels import SOLID, PixelClassifier, boosting, box, forest, ink, parts, place
from .sources import DIGITS, PAGE, PHOTOGRAPHS, TEXTURES, crops, digits, photo, texture

TRAIN_PHOTOS = ("camera", "chelsea")
TEST_PHOTOS = ("coffee", "astronaut", "rocket")


def _byte(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _picture(name: str, pixels: np.ndarray, prompt: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    path = f"images/{name}.png"
    return {"image": path, "prompt": prompt}, {path: png(pixels)}


# --- digits on photographs: boxes and masks ------------------------------------------------------


def _scenes(split: str, name: str, count: int) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    """Pictures of 56 x 56 with two to four digits, and each digit's mask."""
    random = rng(f"{name} {split}")
    pool, _ = digits(split)
    photos = TRAIN_PHOTOS if split == "train" else TEST_PHOTOS
    scenes = []
    for ground in crops(photos, 56, count, random):
        canvas, taken, masks = 0.75 * ground, np.zeros((56, 56), dtype=bool), []
        for _ in range(int(random.integers(2, 5))):
            size = int(random.integers(12, 21))
            spot = place(random, canvas, taken, size)
            if spot is None:
                continue
            y, x = spot
            drawn = np.zeros((56, 56))
            drawn[y : y + size, x : x + size] = ink(pool[int(random.integers(len(pool)))], size)
            canvas = canvas * (1 - drawn) + float(random.uniform(190, 250)) * drawn
            taken[max(y - 1, 0) : y + size + 1, max(x - 1, 0) : x + size + 1] = True
            masks.append(drawn > SOLID)
        scenes.append((_byte(canvas), masks))
    return scenes


#: Finds masks in a picture, each with its confidence.
Find = Callable[[np.ndarray], list[tuple[np.ndarray, float]]]


def _bright(image: np.ndarray) -> list[tuple[np.ndarray, float]]:
    return [(p, float(image[p].mean() / 255)) for p in parts(image > 180, 12)]


def _local(image: np.ndarray) -> list[tuple[np.ndarray, float]]:
    from skimage.filters import threshold_local

    above = image - threshold_local(image, 21, "gaussian").astype(float)
    return [(p, float(above[p].mean() / 255)) for p in parts(above > 30, 15)]


def _classified(model: PixelClassifier) -> Find:
    def find(image: np.ndarray) -> list[tuple[np.ndarray, float]]:
        chance = model.probabilities(image)[..., 1]
        return [(p, float(chance[p].mean())) for p in parts(chance > 0.5, 20)]

    return find


def _template_boxes(image: np.ndarray) -> list[dict[str, Any]]:
    """Correlation with the mean of the training digits at four sizes, best ones kept apart."""
    from skimage.feature import match_template

    mean = digits("train")[0].mean(axis=0)
    found = []
    for size in (12, 14, 17, 20):
        response = match_template(image.astype(float), ink(mean, size))
        peaks = (ndimage.maximum_filter(response, 5) == response) & (response > 0.3)
        inset = size // 6
        found += [
            (float(response[y, x]), [int(x) + inset, int(y), size - 2 * inset, size])
            for y, x in np.argwhere(peaks)
        ]
    kept: list[tuple[float, list[int]]] = []
    for score, (x, y, w, h) in sorted(found, reverse=True):
        centres = [
            (abs(x + w / 2 - a - c / 2), abs(y + h / 2 - b - d / 2)) for _, (a, b, c, d) in kept
        ]
        if all(max(distance) > 8 for distance in centres):
            kept.append((score, [x, y, w, h]))
    return [{"bbox": b, "score": round(s, 6)} for s, b in kept]


def _scene_classifiers(name: str) -> tuple[PixelClassifier, PixelClassifier]:
    scenes = _scenes("train", name, 40)
    images = [image for image, _ in scenes]
    labels = [np.any(masks, axis=0) for _, masks in scenes]
    # Neighbouring pixels tell the same: the forest is fitted on half of them.
    return (
        PixelClassifier(forest(), images[:20], labels[:20]),
        PixelClassifier(boosting(), images, labels),
    )


def digit_detection() -> Task:
    trees, boosted = _scene_classifiers("detection")

    def boxes(find: Find) -> Predict:
        return each(lambda image: [{"bbox": box(m), "score": round(s, 6)} for m, s in find(image)])

    def columns(name: str, value: list[dict[str, Any]]) -> Written:
        """Boxes and scores side by side, corners instead of sizes."""
        corners = [[x, y, x + w, y + h] for x, y, w, h in (o["bbox"] for o in value)]
        return {"boxes": corners, "scores": [o["score"] for o in value]}, {}

    scenes = _scenes("test", "detection", 40)
    made = ((image, [{"bbox": box(m)} for m in masks]) for image, masks in scenes)
    return Task(
        title="Handwritten Digit Detection",
        short_title="Digit Detect",
        modality="image",
        paradigm="comprehension",
        folder="Handwritten-Digit-Detection",
        type="object detection",
        skill="Object Detection",
        metric="ap50",
        instances=asked("Where are handwritten digits?", _picture, made),
        write=as_is,
        methods=(
            Method("fixed threshold, connected components", boxes(_bright)),
            Method("template matching at four sizes", each(_template_boxes), columns),
            Method("extremely randomised trees on pixels", boxes(_classified(trees))),
        ),
        specialist=Method("gradient boosting on pixels", boxes(_classified(boosted))),
        figure=figures.coco_ap([0.5], "bbox"),
        library="pycocotools",
        source=DIGITS,
        note="two to four digits on a crop of a photograph",
    )


def digit_segmentation() -> Task:
    trees, boosted = _scene_classifiers("segmentation")

    def masks(find: Find) -> Predict:
        return each(
            lambda image: [{"segmentation": rle(m), "score": round(s, 6)} for m, s in find(image)]
        )

    scenes = _scenes("test", "segmentation", 40)
    made = ((image, [{"segmentation": rle(m)} for m in found]) for image, found in scenes)
    return Task(
        title="Handwritten Digit Instance Segmentation",
        short_title="Digit Inst Seg",
        modality="image",
        paradigm="comprehension",
        folder="handwritten_digit_instance_segmentation",
        type="instance segmentation",
        skill="Instance Segmentation",
        metric="ap",
        instances=asked("Segment each handwritten digit.", _picture, made),
        write=as_is,
        methods=(
            Method("fixed threshold, connected components", masks(_bright)),
            Method("threshold above the local mean", masks(_local)),
            Method("extremely randomised trees on pixels", masks(_classified(trees))),
        ),
        specialist=Method("gradient boosting on pixels", masks(_classified(boosted))),
        figure=figures.coco_ap(np.linspace(0.5, 0.95, 10).tolist(), "segm"),
        library="pycocotools",
        source=DIGITS,
        note="masks as COCO RLE; ink from 0.4 on belongs to the digit",
    )


# --- textures: label maps and panoptic maps ------------------------------------------------------

_TEXTURES = ("brick", "grass", "gravel")


def _mosaic(split: str, random: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Three textures that meet along wavy lines, and which one (1 to 3) a pixel is of."""
    seeds = random.uniform(0, size, (3, 2))
    grid = np.stack(np.mgrid[:size, :size], axis=-1) + 0.0
    waves = ndimage.gaussian_filter(random.normal(size=(size, size, 2)), (5, 5, 0)) * 40
    distance = np.linalg.norm((grid + waves)[:, :, None] - seeds, axis=-1)
    nearest = distance.argmin(axis=-1)
    canvas = np.zeros((size, size))
    for k, name in enumerate(_TEXTURES):
        picture = texture(name, split)
        y, x = (int(random.integers(side - size + 1)) for side in picture.shape)
        canvas = np.where(nearest == k, picture[y : y + size, x : x + size], canvas)
    return _byte(canvas), (nearest + 1).astype(np.uint8)


def _by_grey(images: list[np.ndarray], labels: list[np.ndarray]) -> Callable[..., np.ndarray]:
    """The class of the nearest mean grey."""
    grey, truth = (np.concatenate([np.ravel(v) for v in side]) for side in (images, labels))
    classes = np.unique(truth)
    means = np.array([grey[truth == c].mean() for c in classes])
    return lambda image: classes[np.abs(image[..., None] - means).argmin(axis=-1)].astype(np.uint8)


def _by_neighbours(images: list[np.ndarray], labels: list[np.ndarray]) -> Callable[..., np.ndarray]:
    """Nearest neighbours by local mean and spread."""
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def look(image: np.ndarray) -> np.ndarray:
        mean = ndimage.uniform_filter(image.astype(float), 7)
        spread = ndimage.uniform_filter((image - mean) ** 2, 7) ** 0.5
        return np.stack([mean, spread], axis=-1).reshape(-1, 2)

    rows = np.concatenate([look(image)[::5] for image in images])
    truth = np.concatenate([label.ravel()[::5] for label in labels])
    model = make_pipeline(StandardScaler(), KNeighborsClassifier(15)).fit(rows, truth)
    return lambda image: model.predict(look(image)).reshape(image.shape).astype(np.uint8)


def _by_pixels(model: PixelClassifier, blur: float) -> Callable[..., np.ndarray]:
    """The likeliest class once the chances are blurred."""

    def label(image: np.ndarray) -> np.ndarray:
        chance = ndimage.gaussian_filter(model.probabilities(image), (blur, blur, 0))
        return model.model.classes_[chance.argmax(axis=-1)].astype(np.uint8)

    return label


def texture_segmentation() -> Task:
    random = rng("texture train")
    train = [_mosaic("train", random, 48) for _ in range(40)]
    images, labels = [i for i, _ in train], [t for _, t in train]
    trees = PixelClassifier(forest(), images[:20], labels[:20])
    boosted = PixelClassifier(boosting(), images, labels)
    random = rng("texture test")
    prompt = "1 brick, 2 grass, 3 gravel: label each pixel."
    return Task(
        title="Texture Segmentation",
        short_title="Texture Seg",
        modality="image",
        paradigm="comprehension",
        folder="TextureSegmentation",
        type="semantic segmentation",
        skill="Semantic Segmentation",
        metric="miou",
        instances=asked(prompt, _picture, (_mosaic("test", random, 48) for _ in range(30))),
        write=in_file("labels", ".png", png),
        write_truth=in_file("references", ".png", png),
        methods=(
            Method("nearest mean grey", each(_by_grey(images, labels))),
            Method(
                "nearest neighbours by local mean and spread", each(_by_neighbours(images, labels))
            ),
            Method("extremely randomised trees, chances blurred", each(_by_pixels(trees, 3))),
        ),
        specialist=Method("gradient boosting, chances blurred", each(_by_pixels(boosted, 3))),
        figure=figures.mean_jaccard,
        library="scikit-learn jaccard_score",
        source=TEXTURES,
        note="three textures along wavy lines; label images as PNG",
        zipped=True,
    )


_THING = 10


def _desk(split: str, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Textures (classes 1 to 3) with digits (class 10) on them, as class * 1000 + instance."""
    image, stuff = _mosaic(split, random, 48)
    canvas, ids = image.astype(float), stuff.astype(np.uint16) * 1000
    pool, _ = digits(split)
    taken = np.zeros(canvas.shape, dtype=bool)
    for number in range(1, 3):
        size = int(random.integers(14, 20))
        spot = place(random, canvas, taken, size)
        if spot is None:
            continue
        y, x = spot
        drawn = np.zeros(canvas.shape)
        drawn[y : y + size, x : x + size] = ink(pool[int(random.integers(len(pool)))], size)
        canvas = canvas * (1 - drawn) + 250 * drawn
        taken[max(y - 1, 0) : y + size + 1, max(x - 1, 0) : x + size + 1] = True
        ids[drawn > SOLID] = _THING * 1000 + number
    return _byte(canvas), ids


def panoptic_segmentation() -> Task:
    random = rng("panoptic train")
    train = [_desk("train", random) for _ in range(60)]
    images, classes = [i for i, _ in train], [t // 1000 for _, t in train]
    trees = PixelClassifier(forest(), images[:25], classes[:25])
    boosted = PixelClassifier(boosting(), images, classes)

    def panoptic(label: Callable[..., np.ndarray], blur: bool) -> Predict:
        def answer(image: np.ndarray) -> np.ndarray:
            found = label(image)
            stuff = np.where(found == _THING, 0, found)
            if blur:
                # Under a digit and around it the ground is what surrounds it.
                votes = [ndimage.gaussian_filter((stuff == c) * 1.0, 2) for c in (1, 2, 3)]
                stuff = np.argmax(votes, axis=0) + 1
            ids = np.where(stuff == 0, 1, stuff).astype(np.uint16) * 1000
            for number, part in enumerate(parts(found == _THING, 12), 1):
                ids[part] = _THING * 1000 + number
            return ids

        return each(answer)

    def coloured(folder: str) -> Callable[[str, np.ndarray], Written]:
        """As COCO has it: a PNG of ids as colours, and a list of segments beside."""

        def write(name: str, value: np.ndarray) -> Written:
            path = f"{folder}/{name}.png"
            colours = np.stack([value % 256, value // 256, 0 * value], axis=-1).astype(np.uint8)
            info = [{"id": int(i), "category_id": int(i) // 1000} for i in np.unique(value)]
            return {"path": path, "segments_info": info}, {path: png(colours)}

        return write

    def segments(name: str, value: np.ndarray) -> Written:
        """A list of classes and masks."""
        ids = np.unique(value)
        return [{"category_id": int(i) // 1000, "segmentation": rle(value == i)} for i in ids], {}

    random = rng("panoptic test")
    prompt = "1 brick, 2 grass, 3 gravel, 10 each digit."
    return Task(
        title="Panoptic Texture and Digit Segmentation",
        short_title="Panoptic Seg",
        modality="image",
        paradigm="comprehension",
        folder="Panoptic-Texture-and-Digit-Segmentation",
        type="panoptic segmentation",
        skill="Panoptic Segmentation",
        metric="pq",
        instances=asked(prompt, _picture, (_desk("test", random) for _ in range(24))),
        write=in_file("maps", ".png", png),
        write_truth=coloured("references"),
        methods=(
            Method("nearest mean grey", panoptic(_by_grey(images, classes), False)),
            Method(
                "nearest neighbours by local mean and spread",
                panoptic(_by_neighbours(images, classes), True),
                segments,
            ),
            Method(
                "extremely randomised trees on pixels",
                panoptic(_by_pixels(trees, 0.7), True),
                coloured("maps"),
            ),
        ),
        specialist=Method("gradient boosting on pixels", panoptic(_by_pixels(boosted, 0.7), True)),
        figure=figures.panoptic_quality,
        library="pycocotools' mask IoU, counts in plain lines",
        source=TEXTURES,
        note="textures are stuff, pasted digits are things; ids as COCO colours, 16 bits, or RLE",
    )


# --- a page: ink ---------------------------------------------------------------------------------


def ink_segmentation() -> Task:
    paper = photo("page", 1)

    def notes(split: str, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
        random = rng(f"ink {split}")
        pool, _ = digits(split)
        # Strips in turn, as the light falls off from side to side.
        strips = (0, 192) if split == "train" else (96, 288)
        found = []
        for _ in range(count):
            part = paper[:, (left := strips[int(random.integers(2))]) : left + 96]
            y, x = (int(random.integers(side - 47)) for side in part.shape)
            canvas, drawn = part[y : y + 48, x : x + 48], np.zeros((48, 48))
            for row in (4, 26):
                for column in (4, 26):
                    size = int(random.integers(15, 20))
                    shape = ink(pool[int(random.integers(len(pool)))], size)
                    drawn[row : row + size, column : column + size] = shape
            found.append((_byte(canvas * (1 - drawn) + 75 * drawn), drawn > SOLID))
        return found

    train = notes("train", 40)
    images, labels = [i for i, _ in train], [t for _, t in train]
    trees = PixelClassifier(forest(), images[:15], labels[:15])
    boosted = PixelClassifier(boosting(), images, labels)

    def otsu(image: np.ndarray) -> np.ndarray:
        from skimage.filters import threshold_otsu

        return image < threshold_otsu(image)

    def classified(model: PixelClassifier) -> Predict:
        return each(lambda image: model.probabilities(image)[..., 1] > 0.5)

    return Task(
        title="Handwriting Ink Segmentation",
        short_title="Ink Seg",
        modality="image",
        paradigm="comprehension",
        folder="handwritingInkSegmentation",
        type="segmentation",
        skill="Semantic Segmentation",
        metric="dice",
        instances=asked("Segment the handwriting, not the print.", _picture, notes("test", 30)),
        write=in_file("masks", ".png", lambda m: png(m.astype(np.uint8) * 255)),
        write_truth=in_file("references", ".png", lambda m: png(m.astype(np.uint8) * 255)),
        methods=(
            Method("darker than half", each(lambda image: image < 128)),
            Method("Otsu's threshold", each(otsu), lambda name, mask: (rle(mask), {})),
            Method("extremely randomised trees on pixels", classified(trees)),
        ),
        specialist=Method("gradient boosting on pixels", classified(boosted)),
        figure=figures.mean_dice,
        library="scikit-learn f1_score",
        source=PAGE,
        note="four digits on a scanned page of uneven light; masks as PNG or RLE",
    )


# --- restoration ---------------------------------------------------------------------------------


def denoising() -> Task:
    from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

    random = rng("denoising")
    pieces = crops(TEST_PHOTOS, 48, 20, random)
    made = ((_byte(p + random.normal(scale=20, size=p.shape)), _byte(p)) for p in pieces)
    return Task(
        title="Photograph Denoising",
        short_title="Denoise",
        modality="image",
        paradigm="generation",
        folder="Photograph-Denoising",
        type="image denoising",
        skill="Image Restoration",
        metric="psnr",
        unit="decibel",
        instances=asked("Remove the noise.", _picture, made),
        write=in_file("images", ".png", png),
        write_truth=in_file("references", ".png", png),
        methods=(
            Method("nothing done", each(lambda image: image)),
            Method("Gaussian filter", each(lambda i: _byte(ndimage.gaussian_filter(i + 0.0, 0.9)))),
            Method(
                "total variation",
                each(lambda i: _byte(denoise_tv_chambolle(i / 255, weight=0.09) * 255)),
            ),
        ),
        specialist=Method(
            "non-local means",
            each(
                lambda i: _byte(
                    255
                    * denoise_nl_means(
                        i / 255, patch_size=5, patch_distance=7, h=0.06, sigma=20 / 255
                    )
                )
            ),
        ),
        figure=figures.psnr,
        library="scikit-image peak_signal_noise_ratio",
        source=PHOTOGRAPHS,
        note="Gaussian noise of 20 grey levels",
    )


def deblurring() -> Task:
    from skimage.filters import unsharp_mask
    from skimage.restoration import richardson_lucy, wiener

    random = rng("deblurring")
    steps = np.arange(-4, 5)
    psf = np.exp(-(steps[:, None] ** 2 + steps[None] ** 2) / (2 * 1.6**2))
    psf /= psf.sum()

    def blurred(piece: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        soft = ndimage.gaussian_filter(piece, 1.6) + random.normal(scale=1.0, size=piece.shape)
        return _byte(soft), _byte(piece)

    def padded(restore: Callable[[np.ndarray], np.ndarray]) -> Predict:
        """Restores with a mirrored margin, so that the edges do not ring."""
        return each(
            lambda i: _byte(255 * restore(np.pad(i / 255, 16, mode="reflect"))[16:-16, 16:-16])
        )

    prompt = "Sharpen; the blur is a Gaussian of 1.6 pixels."
    return Task(
        title="Photograph Deblurring",
        short_title="Deblur",
        modality="image",
        paradigm="generation",
        folder="photograph_deblurring",
        type="image deblurring",
        skill="Image Restoration",
        metric="ms_ssim",
        unit="raw",
        instances=asked(prompt, _picture, map(blurred, crops(TEST_PHOTOS, 64, 20, random))),
        write=in_file("images", ".png", png),
        write_truth=in_file("references", ".png", png),
        methods=(
            Method("nothing done", each(lambda image: image)),
            Method("unsharp mask", each(lambda i: _byte(255 * unsharp_mask(i, 1.6, 0.8)))),
            Method("Wiener filter", padded(lambda i: wiener(i, psf, 0.01, clip=False))),
        ),
        specialist=Method(
            "Richardson-Lucy, 20 rounds", padded(lambda i: richardson_lucy(i, psf, num_iter=20))
        ),
        figure=figures.ms_ssim,
        library="scipy.signal",
        source=PHOTOGRAPHS,
        note="64 x 64 pixels: three scales",
    )


# --- generation of digits ------------------------------------------------------------------------


def _extractor(width: int):
    """Principal components of the training digits: stands in for a network's features."""
    from sklearn.decomposition import PCA

    return PCA(width, random_state=SEED).fit(digits("train")[0].reshape(-1, 64))


def digit_generation() -> Task:
    from sklearn.mixture import GaussianMixture
    from sklearn.neighbors import KernelDensity

    extractor = _extractor(12)
    train = digits("train")[0].reshape(-1, 64)
    count = 60
    chosen = rng("digit generation").permutation(len(digits("test")[0]))[:count]
    real = extractor.transform(digits("test")[0][chosen].reshape(-1, 64)).astype(np.float32)

    def generated(pixels: np.ndarray) -> list[np.ndarray]:
        """Features of drawn images: 0..1 in 16 steps, as the real ones are."""
        drawn = np.rint(np.clip(pixels, 0, 1) * 16) / 16
        return list(extractor.transform(drawn).astype(np.float32))

    def independent(instances: Instances) -> list[np.ndarray]:
        random = rng("independent normals")
        return generated(random.normal(train.mean(0), train.std(0), (len(instances), 64)))

    def gaussian(instances: Instances) -> list[np.ndarray]:
        random = rng("one Gaussian")
        return generated(random.multivariate_normal(train.mean(0), np.cov(train.T), len(instances)))

    def mixture(instances: Instances) -> list[np.ndarray]:
        model = GaussianMixture(10, covariance_type="tied", reg_covar=1e-3, random_state=SEED)
        return generated(model.fit(train).sample(len(instances))[0])

    def kernels(instances: Instances) -> list[np.ndarray]:
        model = KernelDensity(bandwidth=0.05).fit(train)
        return generated(model.sample(len(instances), random_state=SEED))

    def row(name: str, value: np.ndarray) -> Written:
        return {"path": "features.npy", "row": int(name) - 1}, {}

    prompt = "Draw a handwritten digit."
    instances = [Instance(None, real[k], {"prompt": prompt}) for k in range(count)]
    return Task(
        title="Handwritten Digit Generation",
        short_title="Digit Gen",
        modality="image",
        paradigm="generation",
        folder="Handwritten-Digit-Generation",
        type="image generation",
        skill="Image Generation",
        metric="fid",
        unit="raw",
        direction="lower",
        instances=instances,
        write=row,
        write_truth=lambda name, value: ("real.npy", {"real.npy": npy(real)}),
        shared=lambda answers: {"features.npy": npy(np.stack(answers))},
        methods=(
            Method("independent normals", independent),
            Method("a single Gaussian", gaussian),
            Method("a mixture of ten Gaussians", mixture),
        ),
        specialist=Method("kernel density estimate", kernels),
        figure=figures.frechet,
        library="scipy.linalg.sqrtm",
        source=DIGITS,
        note="features are 12 principal components: a stand-in for those of a network",
    )


def digit_completion() -> Task:
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.linear_model import Ridge
    from sklearn.neighbors import KNeighborsRegressor

    extractor = _extractor(16)
    train = digits("train")[0].reshape(-1, 64)
    upper, lower = train[:, :32], train[:, 32:]
    chosen = rng("digit completion").permutation(len(digits("test")[0]))[:60]
    real = digits("test")[0][chosen].reshape(-1, 64)
    embedded = extractor.transform(real).astype(np.float32)

    def completed(predict: Callable[[np.ndarray], np.ndarray]) -> Predict:
        def answer(instances: Instances) -> list[np.ndarray]:
            given = np.stack([instance.view for instance in instances])
            drawn = np.hstack([given, np.clip(predict(given), 0, 1)])
            return list(extractor.transform(drawn).astype(np.float32))

        return answer

    mean = lower.mean(axis=0)
    nearest = KNeighborsRegressor(1).fit(upper, lower)
    ridge = Ridge(1.0).fit(upper, lower)
    kernel = KernelRidge(kernel="rbf", alpha=0.1, gamma=0.3).fit(upper, lower - mean)

    def row(name: str, value: np.ndarray) -> Written:
        return {"path": "embeddings.npy", "row": int(name) - 1}, {}

    instances = [
        Instance(
            real[k, :32],
            embedded[k],
            {"pixels": np.rint(real[k, :32] * 16).astype(int).tolist(), "prompt": "Draw the rest."},
        )
        for k in range(len(real))
    ]
    return Task(
        title="Digit Completion",
        short_title="Digit Compl",
        modality="image",
        paradigm="generation",
        folder="DigitCompletion",
        type="image outpainting",
        skill="Image Generation",
        metric="clip_image_score",
        instances=instances,
        write=row,
        write_truth=lambda name, value: (
            {"path": "originals.npy", "row": int(name) - 1},
            {"originals.npy": npy(embedded)},
        ),
        shared=lambda answers: {"embeddings.npy": npy(np.stack(answers))},
        methods=(
            Method(
                "mean of the lower halves", completed(lambda given: np.tile(mean, (len(given), 1)))
            ),
            Method("nearest neighbour", completed(nearest.predict)),
            Method("ridge regression", completed(ridge.predict)),
        ),
        specialist=Method(
            "kernel ridge regression", completed(lambda given: kernel.predict(given) + mean)
        ),
        figure=figures.mean_cosine,
        library="scikit-learn paired_cosine_distances",
        source=DIGITS,
        note="embeddings are 16 principal components: a stand-in for CLIP",
    )


TASKS = (
    digit_detection,
    digit_segmentation,
    texture_segmentation,
    panoptic_segmentation,
    ink_segmentation,
    denoising,
    deblurring,
    digit_generation,
    digit_completion,
)
