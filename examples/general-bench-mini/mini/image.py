"""Image tasks: handwritten digits, textures, photographs."""

from __future__ import annotations

import io

import numpy as np
from sklearn.datasets import load_digits
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from .core import Answer, Example, Examples, Task, classifier, matrix, numbers, rng, sample, targets

DIGITS = "scikit-learn digits"
TEXTURES = "scikit-image textures"
PHOTOGRAPHS = "scikit-image photographs"


def png(pixels: np.ndarray) -> bytes:
    """A grey image, uint8, as PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG", optimize=True)
    return file.getvalue()


def tuned_svc(rows: np.ndarray, labels: list, folds: int = 3):
    """A support vector classifier; scaling of the columns, C and gamma from a grid search."""
    near = [factor / rows.shape[1] for factor in (0.3, 1, 3)]
    grid = [
        {"standardscaler": [StandardScaler()], "svc__C": [1, 3, 10, 30], "svc__gamma": near},
        {"standardscaler": ["passthrough"], "svc__C": [1, 3, 10, 30], "svc__gamma": ["scale"]},
    ]
    return GridSearchCV(make_pipeline(StandardScaler(), SVC()), grid, cv=folds).fit(rows, labels)


def _digit_split() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Images (n, 8, 8) of 0..16 and labels: the first 1200 for training, the rest for testing."""
    data = load_digits()
    return (data.images[:1200], data.target[:1200]), (data.images[1200:], data.target[1200:])


def digit_recognition() -> Task:
    (images, labels), (test_images, test_labels) = _digit_split()

    def example(i: int, image: np.ndarray, label: int, delivered: bool) -> Example:
        path = f"images/{i:04d}.png"
        return Example(
            row={"input": {"image": path, "prompt": "Which digit is written here?"}},
            view=image.ravel(),
            answer=str(label),
            media={path: png(image * 15)} if delivered else {},
        )

    train = [example(i, images[i], labels[i], False) for i in range(len(images))]
    chosen = sample(range(len(test_images)), 120, "digits")
    test = [example(k + 1, test_images[i], test_labels[i], True) for k, i in enumerate(chosen)]

    return Task(
        title="Handwritten Digit Recognition",
        short_title="Digit Recog",
        modality="image",
        paradigm="comprehension",
        folder="Handwritten-Digit-Recognition",
        type="classification",
        skill="Image Recognition",
        metric="accuracy",
        unit="percent",
        kind="label",
        reference_path="output.answer",
        train=train,
        test=test,
        specialist=classifier(tuned_svc, matrix),
        specialist_name="RBF support vector classifier, grid search",
        source=DIGITS,
    )


def number_reading() -> Task:
    (images, labels), (test_images, test_labels) = _digit_split()

    def strips(pool: np.ndarray, truth: np.ndarray, count: int, name: str) -> list[Example]:
        picks = rng(name).integers(len(pool), size=(count, 4))
        return [
            Example(
                row={
                    "input": {
                        "image": f"images/strip_{k:03d}.png",
                        "prompt": "Read the four-digit number.",
                    }
                },
                view=np.hstack(pool[row]).ravel(),
                answer="".join(str(truth[i]) for i in row),
                media={f"images/strip_{k:03d}.png": png(np.hstack(pool[row]) * 15)},
            )
            for k, row in enumerate(picks, 1)
        ]

    def specialist(train: Examples, test: Examples) -> list[Answer]:
        def cells(examples: Examples) -> np.ndarray:
            pages = matrix(examples).reshape(len(examples), 8, 4, 8)
            return pages.transpose(0, 2, 1, 3).reshape(len(examples) * 4, 64)

        model = tuned_svc(cells(train), [c for e in train for c in str(e.answer)])
        found = model.predict(cells(test)).reshape(len(test), 4)
        return ["".join(row) for row in found]

    return Task(
        title="Handwritten Number Reading",
        short_title="Number Reading",
        modality="image",
        paradigm="comprehension",
        folder="handwritten_number_reading",
        type="OCR",
        skill="Text Recognition",
        metric="anls",
        unit="percent",
        kind="text",
        reference_path="output.text",
        train=strips(images, labels, 300, "strips of training digits"),
        test=strips(test_images, test_labels, 80, "strips of test digits"),
        specialist=specialist,
        specialist_name="cutting into cells, RBF support vector classifier",
        source=DIGITS,
        note="four digits of the source side by side",
    )


def texture_recognition() -> Task:
    from skimage import data
    from skimage.feature import local_binary_pattern

    def patches(split: str, count: int) -> list[Example]:
        examples = []
        for label in ("brick", "grass", "gravel"):
            picture = getattr(data, label)()
            half = picture[:, :240] if split == "train" else picture[:, 272:]
            seed = int(rng(f"{label} {split}").integers(2**31))
            found = extract_patches_2d(half, (16, 16), max_patches=count, random_state=seed)
            examples.extend((label, patch) for patch in found)
        order = rng(f"textures {split}").permutation(len(examples))
        return [
            Example(
                row={
                    "input": {
                        "image": f"images/{k:04d}.png",
                        "prompt": "Is this brick, grass or gravel?",
                    }
                },
                view=examples[i][1].astype(float).ravel(),
                answer=examples[i][0],
                media={f"images/{k:04d}.png": png(examples[i][1])} if split == "test" else {},
            )
            for k, i in enumerate(order, 1)
        ]

    def features(examples: Examples) -> np.ndarray:
        rows = []
        for e in examples:
            patch = np.asarray(e.view).reshape(16, 16)
            pattern = local_binary_pattern(patch.astype(np.uint8), 8, 1, "uniform")
            histogram = np.bincount(pattern.astype(int).ravel(), minlength=10) / pattern.size
            steps = [np.abs(np.diff(patch, n=n, axis=a)).mean() for n in (1, 2) for a in (0, 1)]
            rows.append([*histogram, *steps, *np.percentile(patch, [5, 25, 50, 75, 95])])
        return np.array(rows)

    return Task(
        title="Texture Recognition",
        short_title="Texture Recog",
        modality="image",
        paradigm="comprehension",
        folder="TextureRecognition",
        type="classification",
        skill="Image Recognition",
        metric="macro_accuracy",
        unit="percent",
        kind="label",
        reference_path="output.answer",
        train=patches("train", 100),
        test=patches("test", 30),
        specialist=classifier(tuned_svc, features),
        specialist_name="local binary patterns, grey steps and a tuned support vector classifier",
        source=TEXTURES,
        note="training patches from the left part of each photograph, test patches from the right",
        zipped=True,
    )


def digit_inpainting() -> Task:
    (images, _), (test_images, _) = _digit_split()

    def example(image: np.ndarray) -> Example:
        return Example(
            row={
                "input": {"pixels": image[:4].astype(int).tolist(), "prompt": "Draw rows 5 to 8."}
            },
            view=image[:4].ravel(),
            answer=numbers(image[4:]),
        )

    def specialist(train: Examples, test: Examples) -> list[Answer]:
        from sklearn.kernel_ridge import KernelRidge

        grid = {"alpha": [0.01, 0.03, 0.1, 0.3], "gamma": [0.0005, 0.001, 0.002, 0.004]}
        model = GridSearchCV(KernelRidge(kernel="rbf"), grid, cv=3)
        goal = targets(train)
        model.fit(matrix(train), goal - goal.mean(axis=0))
        return np.clip(model.predict(matrix(test)) + goal.mean(axis=0), 0, 16).tolist()

    return Task(
        title="Digit Image Inpainting",
        short_title="Digit Inpaint",
        modality="image",
        paradigm="generation",
        folder="Digit-Image-Inpainting",
        type="image inpainting",
        skill="Image Restoration",
        metric="rmse",
        unit="raw",
        kind="numbers",
        reference_path="output.answer",
        train=[example(i) for i in images],
        test=[example(test_images[i]) for i in sample(range(len(test_images)), 100, "inpainting")],
        specialist=specialist,
        specialist_name="RBF kernel ridge regression, grid search",
        source=DIGITS,
        note="ink of 0 to 16; 32 pixels an instance, row by row",
    )


def super_resolution() -> Task:
    from skimage import color, data

    def patches(picture: np.ndarray, count: int, name: str) -> list[Example]:
        grey = color.rgb2gray(picture) * 255 if picture.ndim == 3 else picture.astype(float)
        seed = int(rng(name).integers(2**31))
        found = extract_patches_2d(grey, (8, 8), max_patches=count, random_state=seed)
        examples = []
        for patch in np.round(found):
            small = np.round(patch.reshape(4, 2, 4, 2).mean(axis=(1, 3)))
            examples.append(
                Example(
                    row={
                        "input": {
                            "pixels": small.astype(int).tolist(),
                            "prompt": "Draw this grey patch at twice the size.",
                        }
                    },
                    view=small.ravel(),
                    answer=numbers(patch),
                )
            )
        return examples

    def specialist(train: Examples, test: Examples) -> list[Answer]:
        def split(examples: Examples) -> tuple[np.ndarray, np.ndarray]:
            rows = matrix(examples)
            mean = rows.mean(axis=1, keepdims=True)
            return rows - mean, mean

        rows, mean = split(train)
        model = RidgeCV(np.logspace(-2, 4, 13)).fit(rows, targets(train) - mean)
        rows, mean = split(test)
        return np.clip(model.predict(rows) + mean, 0, 255).tolist()

    return Task(
        title="Grey Image Super-Resolution",
        short_title="Grey SR",
        modality="image",
        paradigm="generation",
        folder="greyImageSuperResolution",
        type="super-resolution",
        skill="Image Restoration",
        metric="mae",
        unit="raw",
        kind="numbers",
        reference_path="output.answer",
        train=patches(data.camera(), 700, "camera") + patches(data.chelsea(), 300, "chelsea"),
        test=patches(data.coffee(), 80, "coffee"),
        specialist=specialist,
        specialist_name="linear upscaling filters of mean-free patches, ridge",
        source=PHOTOGRAPHS,
        note="grey levels of 0 to 255; 64 pixels an instance, row by row",
        text_ids=True,
    )


TASKS = (
    digit_recognition,
    number_reading,
    texture_recognition,
    digit_inpainting,
    super_resolution,
)
