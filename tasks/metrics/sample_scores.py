"""Metrics whose input is a score, rating, vote or classifier output for each generated sample."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tasks.media import Array, Refused, is_file
from tasks.metrics.base import Floats, register
from tasks.metrics.features import ArrayFiles, FeatureMean, Integers, NumbersMean, means_within


def _in_range(value: Any, low: float, high: float, files: ArrayFiles) -> Array:
    """One number or a list of numbers, all in the range. Raises `Refused`."""
    scores = files.load(value)
    if scores.ndim > 1:
        raise Refused(f"expected a number or a list of numbers, found {scores.ndim} dimensions")
    worst = scores.min() if scores.min() < low else scores.max()
    if not low <= worst <= high:
        raise Refused(f"expected scores in {low:g}..{high:g}, found {worst:g}")
    return scores


def _mean(scores: Array) -> float:
    return float(scores.mean(dtype=np.float64))


def _booleans(value: Any) -> bool:
    """Whether the value is true, false or a list of these; a mixture with numbers is refused."""
    items = value if isinstance(value, list) else [value]
    kinds = {isinstance(item, bool) for item in items}
    if len(kinds) > 1:
        raise Refused("expected either numbers or true and false, found both")
    return kinds == {True}


def _percent(value: Any, files: ArrayFiles, *, yes_or_no: bool = True) -> float:
    """The mean score as a fraction: numbers in 0..100, `{"fraction": numbers in 0..1}`, or
    true/false where a sample either passes or not."""
    if isinstance(value, dict) and set(value) == {"fraction"}:
        return _mean(_in_range(value["fraction"], 0, 1, files))
    if _booleans(value):
        if not yes_or_no:
            raise Refused("expected scores in 0..100, found true or false")
        return _mean(files.load(value))
    scores = _in_range(value, 0, 100, files)
    if is_file(value) and scores.dtype == np.uint8 and scores.max() <= 1:
        raise Refused("a file of true and false is not told from scores of 0 and 1: give floats")
    return _mean(scores) / 100


def _share(value: Any, files: ArrayFiles) -> float:
    """The share of true: true/false or 0/1, one or a list; or the share under `{"fraction": x}`."""
    if isinstance(value, dict) and set(value) == {"fraction"}:
        return _mean(_in_range(value["fraction"], 0, 1, files))
    votes = _in_range(value, 0, 1, files)
    if not ((votes == 0) | (votes == 1)).all():
        raise Refused('expected true or false (1 or 0); a share goes under {"fraction": x}')
    return _mean(votes)


@register
class MeanOpinionScore(NumbersMean):
    """MOS: mean over the instances of the mean of their ratings; 1..5, higher.

    Prediction: one rating or a list of ratings in 1..5 (a file also). No reference is needed. An
    unanswered instance has 1, the scale's worst. A 0 is below the scale and refused.

    ITU-T P.800.
    """

    id = "mos"
    version = 2
    is_fraction = False
    unanswered = 1.0

    def of_numbers(self, values: Floats, firsts: Integers) -> Floats:
        return means_within(values, firsts, 1, 5)

    def measure(self, prediction: Any, reference: Any, files: ArrayFiles) -> float:
        if _booleans(prediction):
            raise Refused("expected ratings in 1..5, found true or false")
        return _mean(_in_range(prediction, 1, 5, files))


class _Percent(NumbersMean):
    """Scores of 0..100, the mean over an instance's; `yes_or_no` where true and false do as well."""

    version = 2
    yes_or_no: ClassVar[bool] = False

    def of_numbers(self, values: Floats, firsts: Integers) -> Floats:
        return means_within(values, firsts, 0, 100) / 100

    def measure(self, prediction: Any, reference: Any, files: ArrayFiles) -> float:
        return _percent(prediction, files, yes_or_no=self.yes_or_no)


@register
class Musiq(_Percent):
    """MUSIQ image quality (arXiv:2108.05997), mean over the frames, then the instances; 0..1.

    Prediction: the model's score on its own scale 0..100, or a list of one a frame (a file also);
    `{"fraction": x}` for the scale 0..1. No reference is needed.
    """

    id = "musiq"


@register
class Aesthetic(_Percent):
    """Score of an aesthetic predictor of 0..10 (LAION), mean; 0..1, shown times 100.

    Prediction: the score on the printed scale 0..100 (the predictor's times 10), or a list of one a
    frame (a file also); `{"fraction": x}` for the scale 0..1. No reference is needed.
    """

    id = "aesthetic"


class _VBench(_Percent):
    """A VBench dimension (arXiv:2311.17982), mean over the instances; 0..1, shown times 100.

    Prediction: the video's score on the printed scale 0..100, or a list of one a frame, whose mean
    counts (a file also). VBench itself gives 0..1: such scores go under `{"fraction": x}`. Where a
    video or frame either passes or not, true and false do as well. No reference is needed.
    """

    yes_or_no = True


@register
class VBenchSubjectConsistency(_VBench):
    """VBench: DINO similarity of each frame with the first and the one before; 0..1."""

    id = "vbench_subject_consistency"


@register
class VBenchBackgroundConsistency(_VBench):
    """VBench: CLIP similarity of each frame with the first and the one before; 0..1."""

    id = "vbench_background_consistency"


@register
class VBenchTemporalFlickering(_VBench):
    """VBench: (255 - mean absolute difference of consecutive frames) / 255; 0..1."""

    id = "vbench_temporal_flickering"


@register
class VBenchDynamicDegree(_VBench):
    """VBench: share of videos in which the optical flow says that something moves; 0..1."""

    id = "vbench_dynamic_degree"


@register
class VBenchAestheticQuality(_VBench):
    """VBench: LAION aesthetic predictor, a tenth of its scale 0..10; 0..1."""

    id = "vbench_aesthetic_quality"


@register
class VBenchImagingQuality(_VBench):
    """VBench: MUSIQ over the frames; 0..1."""

    id = "vbench_imaging_quality"


@register
class VBenchObjectClass(_VBench):
    """VBench: share of frames in which the object of the prompt is found; 0..1."""

    id = "vbench_object_class"


@register
class VBenchMultipleObjects(_VBench):
    """VBench: share of frames in which all objects of the prompt are found; 0..1."""

    id = "vbench_multiple_objects"


@register
class VBenchSpatialRelationship(_VBench):
    """VBench: how well the objects stand as the prompt says; 0..1."""

    id = "vbench_spatial_relationship"


@register
class VBenchColor(_VBench):
    """VBench: share of frames whose caption names the colour of the prompt; 0..1."""

    id = "vbench_color"


@register
class VBenchHumanAction(_VBench):
    """VBench: share of videos in which the action of the prompt is recognised; 0..1."""

    id = "vbench_human_action"


@register
class VBenchTemporalStyle(_VBench):
    """VBench: ViCLIP similarity of video and prompt; 0..1."""

    id = "vbench_temporal_style"


@register
class VBenchAppearanceStyle(_VBench):
    """VBench: CLIP similarity of the frames and the style in the prompt; 0..1."""

    id = "vbench_appearance_style"


@register
class VBenchImageToVideoMean(_VBench):
    """Equal mean of four VBench dimensions, mean over the instances; 0..1, shown times 100.

    Prediction: an object of the four dimensions `subject_consistency`, `overall_consistency`,
    `dynamic_degree` and `motion_smoothness`, each as a VBench dimension is given; or their mean. The
    published kit adds the four up.
    """

    id = "vbench_i2v_mean"
    _DIMENSIONS = (
        "subject_consistency",
        "overall_consistency",
        "dynamic_degree",
        "motion_smoothness",
    )

    def measure(self, prediction: Any, reference: Any, files: ArrayFiles) -> float:
        if not isinstance(prediction, dict) or is_file(prediction) or "fraction" in prediction:
            return super().measure(prediction, reference, files)
        if set(prediction) != set(self._DIMENSIONS):
            raise Refused(
                f"expected {', '.join(self._DIMENSIONS)}; found {', '.join(prediction) or 'none'}"
            )
        scores = [_percent(prediction[name], files) for name in self._DIMENSIONS]
        return sum(scores) / len(scores)


class _Rate(NumbersMean):
    """Share of frames, votes or judgements that are true, mean over the instances; 0..1.

    Prediction: true/false or 0/1, or a list of these (a file also); a share that was counted
    elsewhere goes under `{"fraction": x}`. No reference is needed. Instances weigh the same, however
    many frames or votes they have: an unanswered one, whose number nobody knows, then costs as much
    as any other.
    """

    def of_numbers(self, values: Floats, firsts: Integers) -> Floats:
        votes = np.where((values == 0) | (values == 1), values, np.nan)
        return np.add.reduceat(votes, firsts) / np.diff(firsts, append=len(values))

    def measure(self, prediction: Any, reference: Any, files: ArrayFiles) -> float:
        return _share(prediction, files)


@register
class SuccessRate(_Rate):
    """Share of generated frames in which a detector finds what the prompt asks for; 0..1."""

    id = "success_rate"


@register
class UserPreference(_Rate):
    """Share of comparisons that people decided for the system; 0..1. A prediction holds votes."""

    id = "user_preference"


@register
class GptScore(_Rate):
    """Share of answers that a judging model accepts; 0..1. A prediction is the judgement."""

    id = "gpt_score"


@register
class FrameAccuracy(_Rate):
    """Share of edited frames that are nearer to the target prompt than to the source; 0..1.

    Prediction: as the other rates, one a frame; or the frames' CLIP similarities to both prompts,
    `{"target": [...], "source": [...]}`, on any one scale. A tie is no success.

    Fram-Acc of FRESCO (arXiv:2403.12962).
    """

    id = "frame_accuracy"

    def measure(self, prediction: Any, reference: Any, files: ArrayFiles) -> float:
        if not (isinstance(prediction, dict) and set(prediction) == {"target", "source"}):
            return _share(prediction, files)
        target, source = (files.load(prediction[name]) for name in ("target", "source"))
        if target.ndim > 1 or target.shape != source.shape:
            raise Refused("expected target and source to be lists of one similarity a frame each")
        return _mean(target > source)


@register
class EventAccuracy(_Rate):
    """Accuracy over the event frames of an orchestration; 0..1.

    Prediction: as the other rates, one an event. Or a piano-roll (events, pitches) of 0/1 at the
    event frames, with such a roll as reference: an event's accuracy is then TP / (TP + FP + FN) over
    its pitches, 1 where both are silent, and an instance's the mean over its events. The reference
    may be null where no roll is predicted.

    Projective orchestration (LOP, arXiv:1609.01203), which calls it event-level accuracy.
    """

    id = "event_accuracy"

    #: An instance whose reference is no roll is left out, whatever was predicted.
    compute = FeatureMean.compute

    def read_reference(self, value: Any, files: ArrayFiles) -> npt.NDArray[np.bool_] | None:
        return None if value is None else _roll(files.load(value))

    def measure(self, prediction: Any, reference: Any, files: ArrayFiles) -> float:
        if isinstance(prediction, dict) and not is_file(prediction):
            return _share(prediction, files)
        played = files.load(prediction)
        if played.ndim < 2:
            return _share(prediction, files)
        if reference is None:
            raise Refused("there is no reference roll: expected true or false, one an event")
        given = _roll(played)
        if given.shape != reference.shape:
            raise Refused(f"expected a roll of {reference.shape}, found {given.shape}")
        hits = (given & reference).sum(axis=1)
        notes = (given | reference).sum(axis=1)
        return _mean(np.where(notes > 0, hits / np.maximum(notes, 1), 1.0))


def _roll(array: Array) -> npt.NDArray[np.bool_]:
    if array.ndim != 2 or not ((array == 0) | (array == 1)).all():
        raise Refused("expected a piano-roll (events, pitches) of 0 and 1")
    return array.astype(bool)


@register
class NWayAccuracy(FeatureMean):
    """50-way top-1 accuracy of generated images by an image classifier, mean; 0..1.

    The class of the original must win among itself and 49 other classes drawn at random
    (DreamDiffusion, arXiv:2306.16934). Published code draws trials; this is their
    expectation, without chance: with L of the K - 1 other classes below the true one, the 49 are
    all among them with probability C(L, 49) / C(K - 1, 49). A tie is lost.

    Prediction: the classifier's outputs (K,) for the generated image, logits or probabilities, K at
    least 50; or (n, K) of several images, whose mean accuracy counts; or `{"fraction": x}` counted
    elsewhere. Reference: the label (an integer from 0), or the outputs (K,) for the original, whose
    largest names the class (the first of equals); null where the predictions are fractions.
    """

    id = "n_way_accuracy"
    ways: ClassVar[int] = 50

    def read_reference(self, value: Any, files: ArrayFiles) -> tuple[int, int | None] | None:
        """The label, and the number of classes if the reference tells it."""
        if value is None:
            return None
        found = files.load(value)
        if found.ndim == 0 and not isinstance(value, bool) and found >= 0 and found == int(found):
            return int(found), None
        if found.ndim != 1 or len(found) < self.ways:
            raise Refused(
                f"expected a label from 0 on, or the outputs of a classifier of {self.ways} or more"
            )
        return int(found.argmax()), len(found)

    def measure(
        self, prediction: Any, reference: tuple[int, int | None] | None, files: ArrayFiles
    ) -> float:
        if isinstance(prediction, dict) and set(prediction) == {"fraction"}:
            return _share(prediction, files)
        if reference is None:
            raise Refused('there is no reference label: expected {"fraction": 0..1}')
        found = files.load(prediction)
        label, classes = reference
        least = max(self.ways, label + 1)
        if found.ndim not in (1, 2) or found.shape[-1] != (classes or max(found.shape[-1], least)):
            shape = " x ".join(map(str, found.shape)) or "one number"
            raise Refused(
                f"expected outputs for {classes or f'{least} or more'} classes, found {shape}"
            )
        outputs = np.atleast_2d(found)
        below = (outputs < outputs[:, label, None]).sum(axis=1)
        drawn = np.arange(self.ways - 1)
        chances = np.maximum(below[:, None] - drawn, 0) / (outputs.shape[1] - 1 - drawn)
        return float(chances.prod(axis=1).mean())


@register
class PitchClassConsistency(FeatureMean):
    """PCC: mean overlap of the pitch-class histograms of all pairs of bars, mean; 0..1.

    Prediction: (bars, 12) counts or durations of the pitch classes C to B in each bar, a nested list
    or a file; or `{"fraction": x}` counted elsewhere. Each bar's histogram is made to sum to 1; the
    overlap of two is the sum over the classes of the smaller value. Silent bars have no histogram
    and are left out; a piece of fewer than two others is refused. No reference is needed.

    Theme Transformer (arXiv:2111.04093), pitch class consistency.
    """

    id = "pcc"

    def measure(self, prediction: Any, reference: Any, files: ArrayFiles) -> float:
        if isinstance(prediction, dict) and set(prediction) == {"fraction"}:
            return _share(prediction, files)
        found = files.load(prediction)
        if found.ndim != 2 or found.shape[1] != 12:
            shape = " x ".join(map(str, found.shape)) or "one number"
            raise Refused(f"expected pitch-class histograms (bars, 12), found {shape}")
        if found.min() < 0:
            raise Refused("a pitch-class histogram holds a negative number")
        bars = found.astype(np.float64)
        largest = bars.max(axis=1, keepdims=True)
        sounding = largest[:, 0] > 0
        bars = bars[sounding] / largest[sounding]
        if len(bars) < 2:
            raise Refused(f"expected two or more bars with notes, found {len(bars)}")
        bars = np.sort(bars / bars.sum(axis=1, keepdims=True), axis=0)
        # Of n sorted values, the k-th is the smaller one in n - 1 - k pairs.
        n = len(bars)
        total = (np.arange(n - 1, -1, -1) @ bars).sum()
        return float(total / (n * (n - 1) / 2))
