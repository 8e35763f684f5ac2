"""3D tasks: terrain (Jacksboro fault) and the three-axis motion of a wrist (BasicMotions)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import wheels
from scipy.interpolate import RBFInterpolator
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .core import (
    SEED,
    Answer,
    Example,
    Examples,
    Task,
    classifier,
    matrix,
    numbers,
    regressor,
    rng,
)
from .image import tuned_svc

TERRAIN = "Jacksboro fault elevation"
MOTIONS = "BasicMotions"


def _patches(size: int, count: int, split: str, name: str) -> np.ndarray:
    """Square patches of elevation in metres: western part for training, eastern for testing."""
    grid = wheels.elevation()
    part = grid[:, :260] if split == "train" else grid[:, 260:]
    random = rng(f"{name} {split}")
    places = [
        (y, x)
        for y in range(0, part.shape[0] - size + 1, 4 if split == "train" else size // 2)
        for x in range(0, part.shape[1] - size + 1, 4 if split == "train" else size // 2)
    ]
    chosen = random.permutation(len(places))[:count]
    return np.stack([part[y : y + size, x : x + size] for y, x in (places[i] for i in chosen)])


def _slope(patch: np.ndarray) -> tuple[str, str]:
    """How steep a patch is, and the direction in which it falls (north is up)."""
    y, x = np.mgrid[: patch.shape[0], : patch.shape[1]]
    plane = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1)
    east, south, _ = np.linalg.lstsq(plane, patch.ravel(), rcond=None)[0]
    names = ("east", "southeast", "south", "southwest", "west", "northwest", "north", "northeast")
    direction = names[round(np.arctan2(-south, -east) / (np.pi / 4)) % 8]
    relief = patch.max() - patch.min()
    return ("gentle" if relief < 60 else "hilly" if relief < 150 else "steep"), direction


def _feature(patch: np.ndarray) -> str:
    """What stands in the middle of a patch."""
    size = len(patch)
    middle = patch[size // 4 : -size // 4, size // 4 : -size // 4].mean()
    edge = (patch.sum() - patch[1:-1, 1:-1].sum()) / (4 * size - 4)
    tilt = (middle - edge) / max(patch.max() - patch.min(), 1)
    return "a hill" if tilt > 0.1 else "a hollow" if tilt < -0.1 else "an even slope"


def _terrain_caption(steepness: str, direction: str, feature: str) -> str:
    return f"{steepness} land that falls towards the {direction} with {feature} in the middle"


def terrain_captioning() -> Task:
    def make(patch: np.ndarray) -> Example:
        coarse = np.round(patch.reshape(6, 3, 6, 3).mean(axis=(1, 3)) - patch.mean())
        parts = (*_slope(patch), _feature(patch))
        return Example(
            {
                "input": {
                    "heights": coarse.astype(int).tolist(),
                    "prompt": "Describe the lie of the land (first row north, metres).",
                }
            },
            coarse.ravel(),
            _terrain_caption(*parts),
            hint=parts,
        )

    def specialist(train: Examples, test: Examples) -> list[Answer]:
        def features(examples: Examples) -> np.ndarray:
            grids = matrix(examples).reshape(-1, 6, 6)
            south, east = np.gradient(grids, axis=(1, 2))
            tilt = np.stack([south.mean((1, 2)), east.mean((1, 2))], axis=1)
            angle = np.arctan2(tilt[:, 0], tilt[:, 1])[:, None]
            relief = (grids.max((1, 2)) - grids.min((1, 2)))[:, None]
            bump = (grids[:, 2:4, 2:4].mean((1, 2)) / np.maximum(relief[:, 0], 1))[:, None]
            return np.hstack([angle, relief, bump, tilt, matrix(examples)])

        rows, test_rows = features(train), features(test)
        columns = []
        for part in range(3):
            model = ExtraTreesClassifier(300, max_features=0.5, random_state=SEED)
            model.fit(rows, [e.hint[part] for e in train])
            columns.append(map(str, model.predict(test_rows)))
        return [_terrain_caption(*parts) for parts in zip(*columns, strict=True)]

    return Task(
        title="Terrain Captioning",
        short_title="Terrain Cap",
        modality="3d",
        paradigm="comprehension",
        folder="terrain_captioning",
        type="3d captioning",
        skill="3D Captioning",
        metric="bleu_4",
        unit="percent",
        kind="text",
        reference_path="output.text",
        train=[make(p) for p in _patches(18, 600, "train", "captioning")],
        test=[make(p) for p in _patches(18, 80, "test", "captioning")],
        specialist=specialist,
        specialist_name="slope features and three tree classifiers that fill a sentence",
        source=TERRAIN,
        note="captions by rule from the full elevation, of which the input is a coarse view",
    )


def terrain_question() -> Task:
    corners = ("northwest", "northeast", "southwest", "southeast")

    def make(patch: np.ndarray) -> Example:
        middle = patch[4:10, 4:10]
        means = [middle[y : y + 3, x : x + 3].mean() for y in (0, 3) for x in (0, 3)]
        ring = np.ones((14, 14), bool)
        ring[3:11, 3:11] = False
        seen = (patch - patch[ring].mean())[ring].reshape(-1)[::2]
        return Example(
            {
                "input": {
                    "rim_heights": numbers(seen, 0),
                    "prompt": "Only the rim of the land is seen. Which corner of its middle is "
                    "highest: northwest, northeast, southwest or southeast?",
                }
            },
            seen,
            corners[int(np.argmax(means))],
        )

    return Task(
        title="Terrain Question Answering",
        short_title="Terrain QA",
        modality="3d",
        paradigm="comprehension",
        folder="Terrain-Question-Answering",
        type="3d question answering",
        skill="3D Question Answering",
        metric="em_at_1",
        unit="percent",
        kind="label",
        reference_path="output.answer",
        train=[make(p) for p in _patches(14, 900, "train", "question")],
        test=[make(p) for p in _patches(14, 100, "test", "question")],
        specialist=classifier(tuned_svc, matrix),
        specialist_name="RBF support vector classifier, grid search",
        source=TERRAIN,
        note="west trains, east tests",
    )


def terrain_completion() -> Task:
    hole = np.zeros((10, 10), bool)
    hole[3:7, 3:7] = True

    def make(patch: np.ndarray) -> Example:
        relative = np.round(patch - patch[~hole].mean())
        shown = [
            [None if hole[y, x] else int(relative[y, x]) for x in range(10)] for y in range(10)
        ]
        prompt = "Fill in the missing 4 by 4 heights (metres), row by row."
        return Example(
            {"input": {"heights": shown, "prompt": prompt}},
            relative[~hole],
            numbers(relative[hole]),
        )

    def specialist(train: Examples, test: Examples) -> list[Answer]:
        # Thin-plate splines need no training; smoothing 0 keeps the known heights.
        known, wanted = np.argwhere(~hole), np.argwhere(hole)
        heights = matrix(test).T
        spline = RBFInterpolator(known, heights, kernel="thin_plate_spline")
        return spline(wanted).T.tolist()

    return Task(
        title="Terrain Completion",
        short_title="Terrain Comp",
        modality="3d",
        paradigm="generation",
        folder="terrain_completion",
        type="3d completion",
        skill="3D Completion",
        metric="rmse",
        unit="raw",
        kind="numbers",
        reference_path="output.answer",
        train=[make(p) for p in _patches(10, 1500, "train", "completion")],
        test=[make(p) for p in _patches(10, 100, "test", "completion")],
        specialist=specialist,
        specialist_name="thin-plate spline through the known heights",
        source=TERRAIN,
        note="metres; 16 heights an instance; west trains, east tests",
    )


def _windows(
    make: Callable[[np.ndarray, str], Example], length: int, step: int, split: str
) -> list[Example]:
    arrays, labels = wheels.series("BasicMotions", split)
    return [
        make(np.round(array[start : start + length], 2), label)
        for array, label in zip(arrays, labels, strict=True)
        for start in range(0, len(array) - length + 1, step)
    ]


def motion_recognition() -> Task:
    def make(window: np.ndarray, label: str) -> Example:
        prompt = "What does the wearer do: Standing, Running, Walking or Badminton?"
        shown = {"acceleration": window[:, :3].tolist(), "prompt": prompt}
        return Example({"input": shown}, window[:, :3].ravel(), label)

    def features(examples: Examples) -> np.ndarray:
        windows = matrix(examples).reshape(len(examples), -1, 3)
        spectrum = np.abs(np.fft.rfft(windows - windows.mean(1, keepdims=True), axis=1))
        steps = np.abs(np.diff(windows, axis=1)).mean(1)
        return np.hstack(
            [windows.mean(1), windows.std(1), steps, spectrum.reshape(len(examples), -1)]
        )

    return Task(
        title="3D Motion Recognition",
        short_title="3D-Motion Recog",
        modality="3d",
        paradigm="comprehension",
        folder="3d_motion_recognition",
        type="3d classification",
        skill="3D Motion Understanding",
        metric="accuracy",
        unit="percent",
        kind="label",
        reference_path="output.answer",
        train=_windows(make, 20, 10, "TRAIN"),
        test=_windows(make, 20, 40, "TEST"),
        specialist=classifier(ExtraTreesClassifier(500, random_state=SEED).fit, features),
        specialist_name="extremely randomised trees on level, spread and spectrum",
        source=MOTIONS,
        note="two seconds of three-axis wrist acceleration",
    )


def motion_generation() -> Task:
    def make(window: np.ndarray, _: str) -> Example:
        prompt = "Go on: the next three moments of the motion, three axes each."
        return Example(
            {"input": {"acceleration": window[:12, :3].tolist(), "prompt": prompt}},
            window[:12, :3].ravel(),
            numbers(window[12:15, :3]),
        )

    return Task(
        title="3D Motion Continuation",
        short_title="3D-Motion Cont",
        modality="3d",
        paradigm="generation",
        folder="3dMotionContinuation",
        type="3d motion prediction",
        skill="3D Motion Generation",
        metric="mse",
        unit="raw",
        kind="numbers",
        reference_path="output.answer",
        train=_windows(make, 15, 5, "TRAIN"),
        test=_windows(make, 15, 40, "TEST"),
        specialist=regressor(make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 5, 26)))),
        specialist_name="vector autoregression of order 12, ridge",
        source=MOTIONS,
        note="acceleration as recorded; nine numbers an instance",
        text_ids=True,
    )


TASKS = (
    terrain_captioning,
    terrain_question,
    motion_recognition,
    terrain_completion,
    motion_generation,
)
