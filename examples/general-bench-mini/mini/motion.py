"""Video tasks: the track of an actor's hand, taken from video (GunPoint)."""

from __future__ import annotations

import numpy as np
import wheels
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

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
    targets,
    train_and_test,
)

GUNPOINT = "GunPoint"
FRAMES_A_SECOND = 30


def _tracks(split: str) -> tuple[np.ndarray, list[str]]:
    """Hand positions in percent of the training range, (n, 150), and the action's name."""
    arrays, labels = wheels.series("GunPoint", split)
    raw = np.stack([a[:, 0] for a in arrays])
    training = np.stack([a[:, 0] for a in wheels.series("GunPoint", "TRAIN")[0]])
    low, high = training.min(), training.max()
    names = {"1": "gun-draw", "2": "point"}
    return np.round(100 * (raw - low) / (high - low), 1), [names[label] for label in labels]


def hand_action() -> Task:
    def make(track: np.ndarray, action: str) -> Example:
        prompt = "Does the actor draw a gun (gun-draw) or point a finger (point)?"
        shown = numbers(track[::2], 1)
        return Example({"input": {"hand_track": shown, "prompt": prompt}}, track[::2], action)

    train, test = train_and_test(make, _tracks, 100, "hand action")

    def features(examples: Examples) -> np.ndarray:
        rows = matrix(examples)
        return np.hstack([rows, 4 * np.diff(rows, axis=1)]) / 100

    grid = {"C": [1, 10, 100, 1000], "gamma": [0.003, 0.01, 0.03, 0.1]}

    return Task(
        title="Hand Action Recognition",
        short_title="Hand Action",
        modality="video",
        paradigm="comprehension",
        folder="Hand-Action-Recognition",
        type="video classification",
        skill="Action Recognition",
        metric="accuracy",
        unit="percent",
        kind="label",
        reference_path="output.text",
        train=train,
        test=test,
        specialist=classifier(GridSearchCV(SVC(), grid, cv=5).fit, features),
        specialist_name="support vector classifier on positions and speeds, grid search",
        source=GUNPOINT,
        note="hand height in percent of the range, every second frame",
    )


def _timing(track: np.ndarray) -> tuple[int, int]:
    """Frames at which the hand crosses half its way, up and down."""
    high = np.flatnonzero(track > (track.min() + track.max()) / 2)
    return int(high[0]), int(high[-1])


def _caption(action: str, up: int, down: int) -> list[str]:
    """Two captions of one clip, in lower-case words; times to half a second."""

    def seconds(frames: int) -> str:
        halves = round(2 * frames / FRAMES_A_SECOND)
        words = ("zero", "one", "two", "three", "four", "five")
        return words[halves // 2] + (" and a half seconds" if halves % 2 else " seconds")

    what = {"gun-draw": ("draws a gun", "aims it"), "point": ("lifts a hand", "points a finger")}
    first, second = what[action]
    return [
        f"after {seconds(up)} the actor {first} and {second} for {seconds(down - up)}",
        f"the actor {first} after {seconds(up)} and {second} for {seconds(down - up)}",
    ]


def hand_captioning() -> Task:
    def make(track: np.ndarray, action: str) -> Example:
        up, down = _timing(track)
        caption, other = _caption(action, up, down)
        prompt = "Describe what the actor does, and when."
        return Example(
            {"input": {"hand_track": numbers(track[::3], 1), "prompt": prompt}},
            track[::3],
            caption,
            accepted=[other],
            hint=(action, up, down),
        )

    train, test = train_and_test(make, _tracks, 80, "hand captioning")

    def specialist(train: Examples, test: Examples) -> list[Answer]:
        rows, test_rows = matrix(train), matrix(test)
        grid = {"C": [10, 100, 1000], "gamma": [1e-6, 1e-5, 1e-4]}
        action = GridSearchCV(SVC(), grid, cv=5).fit(rows, [e.hint[0] for e in train])
        times = ExtraTreesRegressor(300, random_state=SEED).fit(rows, [e.hint[1:] for e in train])
        return [
            _caption(str(a), *map(round, t))[0]
            for a, t in zip(action.predict(test_rows), times.predict(test_rows), strict=True)
        ]

    return Task(
        title="Hand Motion Captioning",
        short_title="Hand Caption",
        modality="video",
        paradigm="comprehension",
        folder="handMotionCaptioning",
        type="video captioning",
        skill="Video Captioning",
        metric="bleu_1_corpus",
        unit="percent",
        kind="text",
        reference_path="output.text",
        train=train,
        test=test,
        specialist=specialist,
        specialist_name="action classifier and timing trees that fill a sentence",
        source=GUNPOINT,
        note="captions by rule from the recorded action and the measured times",
    )


def trajectory_prediction() -> Task:
    def make(track: np.ndarray, _: str) -> Example:
        prompt = "Where is the hand in frames 85, 90, ... 150?"
        return Example(
            {"input": {"hand_track": numbers(track[:80:2], 1), "prompt": prompt}},
            track[:80:2],
            numbers(track[84::5], 1),
        )

    train, test = train_and_test(make, _tracks, 100, "trajectory")

    def specialist(train: Examples, test: Examples) -> list[Answer]:
        goal = targets(train)
        mean = goal.mean(axis=0)
        kernel = ConstantKernel(10.0) * RBF(100.0, (10, 3000)) + WhiteKernel(0.1, (1e-3, 10))
        model = GaussianProcessRegressor(kernel, random_state=SEED)
        scale = goal.std()
        model.fit(matrix(train), (goal - mean) / scale)
        return (model.predict(matrix(test)) * scale + mean).tolist()

    return Task(
        title="Hand Trajectory Prediction",
        short_title="Hand Traj Pred",
        modality="video",
        paradigm="generation",
        folder="Hand-Trajectory-Prediction",
        type="video prediction",
        skill="Video Prediction",
        metric="rmse",
        unit="raw",
        kind="numbers",
        reference_path="output.answer",
        train=train,
        test=test,
        specialist=specialist,
        specialist_name="Gaussian process regression, RBF kernel by marginal likelihood",
        source=GUNPOINT,
        note="hand height in percent of the range; 14 frames an instance",
    )


def track_inpainting() -> Task:
    hidden = np.arange(30, 66, 3)
    shown = np.r_[0:24:3, 72:150:6]

    def make(track: np.ndarray, _: str) -> Example:
        prompt = f"Where is the hand in frames {', '.join(str(f + 1) for f in hidden)}?"
        given = {"frames": (shown + 1).tolist(), "hand_track": numbers(track[shown], 1)}
        return Example(
            {"input": {**given, "prompt": prompt}}, track[shown], numbers(track[hidden], 1)
        )

    train, test = train_and_test(make, _tracks, 100, "inpainting of tracks")

    return Task(
        title="Hand Track Inpainting",
        short_title="Track Inpaint",
        modality="video",
        paradigm="generation",
        folder="hand_track_inpainting",
        type="video inpainting",
        skill="Video Restoration",
        metric="rmse",
        unit="raw",
        kind="numbers",
        reference_path="output.answer",
        train=train,
        test=test,
        specialist=regressor(RidgeCV(np.logspace(-2, 5, 22))),
        specialist_name="ridge regression, penalty by leave-one-out",
        source=GUNPOINT,
        note="hand height in percent of the range; 12 hidden frames an instance",
        text_ids=True,
    )


TASKS = (hand_action, hand_captioning, trajectory_prediction, track_inpainting)
