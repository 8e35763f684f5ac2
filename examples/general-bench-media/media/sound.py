"""Audio tasks: cepstra of vowels that nine men spoke."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage

from . import figures
from .codec import as_is, in_file, npy
from .core import SEED, Instance, Instances, Method, Predict, Task, Written, each, rng, rounded
from .sources import VOWELS, utterances


def _cepstra(name: str, values: np.ndarray, prompt: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    path = f"cepstra/{name}.npy"
    return {"lpc_cepstra": path, "prompt": prompt}, {path: npy(values)}


def speaker_segmentation() -> Task:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    spoken, speakers = utterances("TRAIN")
    rows = np.concatenate(spoken).astype(float)
    truth = np.repeat(speakers, [len(u) for u in spoken])

    def framewise(model: Any) -> Predict:
        model.fit(rows, truth)
        return each(lambda frames: model.predict(frames.astype(float)).tolist())

    def smoothed(model: Any) -> Predict:
        """The likeliest speaker once the logarithms of the chances are evened out over 11 frames."""
        model.fit(rows, truth)

        def answer(frames: np.ndarray) -> list[int]:
            chance = np.log(model.predict_proba(frames.astype(float)) + 1e-6)
            even = ndimage.uniform_filter1d(chance, 11, axis=0, mode="nearest")
            return model.classes_[even.argmax(axis=1)].tolist()

        return each(answer)

    def viterbi(model: Any) -> Predict:
        """The best path of a hidden Markov model that stays with a speaker in 19 of 20 frames."""
        model.fit(rows, truth)

        def answer(frames: np.ndarray) -> list[int]:
            chance = np.log(model.predict_proba(frames.astype(float)) + 1e-6)
            move = np.full((9, 9), np.log(0.05 / 8))
            np.fill_diagonal(move, np.log(0.95))
            score, back = chance[0], []
            for now in chance[1:]:
                ways = score[:, None] + move
                back.append(ways.argmax(axis=0))
                score = ways.max(axis=0) + now
            path = [int(score.argmax())]
            for step in reversed(back):
                path.append(int(step[path[-1]]))
            return model.classes_[path[::-1]].tolist()

        return each(answer)

    random = rng("speaker segmentation")
    tested, who = utterances("TEST")
    instances = []
    for k in range(1, 31):
        chosen = random.permutation(len(tested))[:4]
        frames = np.concatenate([tested[i] for i in chosen])
        labels = np.repeat(who[chosen], [len(tested[i]) for i in chosen]).tolist()
        shown = _cepstra(f"{k:03d}", frames, "Which of the speakers 1 to 9 speaks in each frame?")
        instances.append(Instance(frames, labels, *shown))
    return Task(
        title="Speaker Segmentation",
        short_title="Speaker Seg",
        modality="audio",
        paradigm="comprehension",
        folder="Speaker-Segmentation",
        type="speaker segmentation",
        skill="Speaker Understanding",
        metric="miou",
        instances=instances,
        write=as_is,
        methods=(
            Method("nearest mean of a speaker, frame by frame", framewise(NearestCentroid())),
            Method(
                "nearest neighbours, frame by frame",
                framewise(make_pipeline(StandardScaler(), KNeighborsClassifier(9))),
                in_file("labels", ".npy", lambda v: npy(np.array(v, dtype=np.uint8))),
            ),
            Method(
                "linear discriminant analysis, evened out over time",
                smoothed(LinearDiscriminantAnalysis()),
            ),
        ),
        specialist=Method(
            "RBF support vector classifier and a hidden Markov model",
            viterbi(
                make_pipeline(StandardScaler(), CalibratedClassifierCV(SVC(C=3), ensemble=False))
            ),
        ),
        figure=figures.mean_jaccard,
        library="scikit-learn jaccard_score",
        source=VOWELS,
        note="four utterances one after the other; a speaker's number a frame",
    )


def packet_loss_concealment() -> Task:
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.linear_model import Ridge

    random = rng("packet loss")

    def lossy(frames: np.ndarray) -> np.ndarray:
        """Which frames arrived: of every six, three in a row are lost; first and last never."""
        kept = (np.arange(len(frames)) - int(random.integers(1, 4))) % 6 >= 3
        kept[[0, -1]] = True
        return kept

    def hold(view: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        frames, kept = view
        last = np.maximum.accumulate(np.where(kept, np.arange(len(kept)), 0))
        return frames[last]

    def linear(view: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        frames, kept = view
        at = np.arange(len(kept))
        known = frames[kept].astype(float)
        filled = [np.interp(at, at[kept], channel) for channel in known.T]
        return np.where(kept[:, None], frames, np.stack(filled, axis=1)).astype(np.float16)

    def look(view: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """What is known around each frame: the line between, and the known ones before and after."""
        frames, kept = view
        at = np.arange(len(kept))
        before = np.maximum.accumulate(np.where(kept, at, 0))
        after = np.minimum.accumulate(np.where(kept, at, len(at) - 1)[::-1])[::-1]
        share = ((at - before) / np.maximum(after - before, 1))[:, None]
        known = [linear(view), frames[before], frames[after], share]
        return np.concatenate([k.astype(float) for k in known], axis=1)

    def learned(model: Any) -> Predict:
        """What a regression adds to the line between the known frames."""
        views = [(frames, lossy(frames)) for frames in utterances("TRAIN")[0]]
        rows = np.concatenate([look(view)[~view[1]] for view in views])
        goal = np.concatenate([(f - linear((f, kept)))[~kept] for f, kept in views]).astype(float)
        model.fit(rows, goal)

        def answer(view: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
            filled = linear(view).astype(float) + model.predict(look(view))
            return np.where(view[1][:, None], view[0], filled).astype(np.float16)

        return each(answer)

    tested, _ = utterances("TEST")
    instances = []
    for k, i in enumerate(random.permutation(len(tested))[:40], 1):
        kept = lossy(tested[i])
        shown, media = _cepstra(f"{k:03d}", np.where(kept[:, None], tested[i], 0), "Fill the gaps.")
        shown["arrived"] = kept.astype(int).tolist()
        instances.append(Instance((tested[i], kept), tested[i], shown, media))

    def listed(name: str, value: np.ndarray) -> Written:
        return {"cepstra": value.astype(float).tolist(), "without_c0": True}, {}

    return Task(
        title="Packet Loss Concealment",
        short_title="Concealment",
        modality="audio",
        paradigm="generation",
        folder="packet_loss_concealment",
        type="speech restoration",
        skill="Speech Generation",
        metric="mcd",
        unit="raw",
        direction="lower",
        instances=instances,
        write=in_file("filled", ".npy", npy, without_c0=True),
        write_truth=in_file("references", ".npy", npy, without_c0=True),
        methods=(
            Method("the last frame that arrived", each(hold), listed),
            Method("a line between the frames that arrived", each(linear)),
            Method("a line corrected by ridge regression", learned(Ridge(1.0))),
        ),
        specialist=Method(
            "a line corrected by extremely randomised trees",
            learned(ExtraTreesRegressor(60, min_samples_leaf=5, random_state=SEED)),
        ),
        figure=figures.cepstral_distortion,
        library="scipy cdist, warping in plain lines",
        source=VOWELS,
        note="LPC cepstra 1 to 12 in the place of mel-cepstra; half of the frames are lost",
    )


def speech_frame_generation() -> Task:
    from sklearn.mixture import GaussianMixture
    from sklearn.neighbors import KernelDensity

    def summaries(split: str) -> np.ndarray:
        """Mean and spread of each coefficient of an utterance, (utterances, 24)."""
        spoken = [u.astype(float) for u in utterances(split)[0]]
        return np.stack([np.concatenate([u.mean(axis=0), u.std(axis=0)]) for u in spoken])

    train = summaries("TRAIN")
    chosen = rng("speech generation").permutation(len(utterances("TEST")[0]))[:60]
    real = summaries("TEST")[chosen].astype(np.float32)

    def drawn(name: str, draw: Callable[[np.random.Generator, int], np.ndarray]) -> Predict:
        def answer(instances: Instances) -> list[list[float]]:
            return rounded(draw(rng(name), len(instances)), 5)

        return answer

    def mixture(random: np.random.Generator, count: int) -> np.ndarray:
        model = GaussianMixture(6, covariance_type="tied", reg_covar=1e-4, random_state=SEED)
        return model.fit(train).sample(count)[0]

    prompt = "Say a vowel: mean and spread of its cepstra."
    instances = [Instance(None, real[k], {"prompt": prompt}) for k in range(len(real))]
    return Task(
        title="Vowel Generation",
        short_title="Vowel Gen",
        modality="audio",
        paradigm="generation",
        folder="VowelGeneration",
        type="audio generation",
        skill="Audio Generation",
        metric="fad",
        unit="raw",
        direction="lower",
        instances=instances,
        write=as_is,
        write_truth=lambda name, value: ("real.npy", {"real.npy": npy(real)}),
        methods=(
            Method(
                "independent normals",
                drawn("vowels 1", lambda r, n: r.normal(train.mean(0), train.std(0), (n, 24))),
            ),
            Method(
                "a single Gaussian",
                drawn(
                    "vowels 2",
                    lambda r, n: r.multivariate_normal(train.mean(0), np.cov(train.T), n),
                ),
            ),
            Method("a mixture of six Gaussians", drawn("vowels 3", mixture)),
        ),
        specialist=Method(
            "kernel density estimate",
            drawn(
                "vowels 4",
                lambda r, n: KernelDensity(bandwidth=0.02).fit(train).sample(n, random_state=SEED),
            ),
        ),
        figure=figures.frechet,
        library="scipy.linalg.sqrtm",
        source=VOWELS,
        note="features are mean and spread of 12 cepstra: a stand-in for those of a network",
    )


TASKS = (speaker_segmentation, packet_loss_concealment, speech_frame_generation)
