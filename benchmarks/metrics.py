"""Every family of metrics against the plain library loop, side by side on the same input.

    python -m benchmarks.metrics [--out benchmarks/results/metrics.md] [--only ID ...] [--quick]
                                 [--processes N]

Each line of the table measures one metric on varied synthetic input (seeded): our batch from the
columns in memory to the task's score, and a loop over the same instances with the library that
computes the metric, or, where none does, the loop from the definition that the tests compare with.
Both run in one process on one thread, by turns; the table shows medians of the processor time, which
other programs on the machine disturb least, and the largest difference of the two task scores.
Structures start as JSON documents and media as files, on both sides.

The pipeline spreads a night's batches over a process for each core. `--processes` adds what so many
score at the same time, each the same batch on a core of its own; the loop still has one.
"""

from __future__ import annotations

import os

os.environ["POLARS_MAX_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
# As `flows.runtime` has it for the pipeline's workers.
os.environ["MALLOC_TRIM_THRESHOLD_"] = str(64 * 2**20)
os.environ["MALLOC_MMAP_THRESHOLD_"] = str(32 * 2**20)

import contextlib
import io
import itertools
import json
import math
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from benchmarks.command import parser, tell
from tasks.metrics import Batch, get_metric
from tests import test_metrics_code as code
from tests import test_metrics_corpus as corpus
from tests import test_metrics_detection as detection
from tests import test_metrics_features as features
from tests import test_metrics_geometry as geometry
from tests import test_metrics_image as image
from tests import test_metrics_segmentation as segmentation
from tests import test_metrics_text as text
from tests import test_metrics_tracking as tracking

TURNS = 3
#: Says that this process started in the environment above.
_SET = "GENERAL_LEVEL_BENCHMARK"
#: Ratios that a metric is to reach, where it is not 1.
TARGETS = {
    "video masks: decoded": 5.0,
    "video masks: runs": 5.0,
    "arrays": 5.0,
    "boxes": 5.0,
    "masks": 5.0,
    "rows": 50.0,
    "bleu_1": 15.0,
    "rouge_1": 15.0,
    "rouge_l": 15.0,
}

Score = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Line:
    """One measurement: two ways to the same task score.

    Attributes:
        variant: what distinguishes it from other lines of the metric.
        what: what the loop is.
    """

    metric: str
    instances: int
    ours: Score
    loop: Score
    what: str
    variant: str = ""


class Inputs:
    """Where the inputs of a run come from: numbers of instances, and files under one folder."""

    def __init__(self, folder: Path, quick: bool) -> None:
        self._folder, self._quick = folder, quick

    def count(self, instances: int) -> int:
        """The number of instances, fewer for a quick run."""
        return max(4, instances // 5) if self._quick else instances

    def files(self, name: str) -> image.Files:
        """A writer of files in a folder of that name."""
        where = self._folder / name
        where.mkdir(exist_ok=True)
        return image.Files(where)


Maker = Callable[[Inputs], Iterable[Line]]
_MAKERS: list[tuple[tuple[str, ...], Maker]] = []


def measures(*metric_ids: str) -> Callable[[Maker], Maker]:
    """Decorator of a function that makes the lines of these metrics."""

    def register(make: Maker) -> Maker:
        _MAKERS.append((metric_ids, make))
        return make

    return register


@dataclass(frozen=True, slots=True)
class Scored:
    """Our score of a batch. A refused row would be a mistake of the input."""

    metric_id: str
    batch: Batch

    def __call__(self) -> float:
        metric = get_metric(self.metric_id)
        stats = metric.compute(self.batch)
        for name in ("refused", "reference_refused"):
            if name in stats.columns and stats[name].null_count() < stats.height:
                raise ValueError(f"{self.metric_id}: {stats[name].drop_nulls()[0]}")
        return metric.aggregate(stats)


def scored(metric_id: str, batch: Batch) -> Score:
    return Scored(metric_id, batch)


def documents(values: Iterable[Any]) -> list[str]:
    return [json.dumps(value) for value in values]


def of_documents(given: Sequence[str], expected: Sequence[str], task_type: str = "") -> Batch:
    return Batch(pl.Series(given), pl.Series(expected), task_type)


def structures(
    metric_id: str, given: Sequence[Any], expected: Sequence[Any], loop: Any, what: str
) -> Line:
    """A metric on structures; `loop` gives the task score from both sides, decoded."""
    ours, theirs = documents(given), documents(expected)
    return Line(
        metric_id,
        len(ours),
        scored(metric_id, of_documents(ours, theirs)),
        lambda: loop([json.loads(d) for d in ours], [json.loads(d) for d in theirs]),
        what,
    )


def path_of(value: Any) -> str:
    """The path of a file that `image.Files` wrote."""
    return value["$file"]["url"].removeprefix("file://")


def media(
    metric_id: str, given: Sequence[Any], expected: Sequence[Any], each: Any, read: Any, what: str
) -> Line:
    """A metric on files: the mean of `each` number that two files have, read by `read`."""
    pairs = [(path_of(a), path_of(b)) for a, b in zip(given, expected, strict=True)]
    return Line(
        metric_id,
        len(pairs),
        scored(metric_id, of_documents(documents(given), documents(expected))),
        lambda: float(np.mean([each(read(a), read(b)) for a, b in pairs])),
        what,
    )


def pixels(path: str) -> Any:
    with Image.open(path) as picture:
        return np.asarray(picture)


# Labels and text -------------------------------------------------------------------------------


def sentences(count: int, seed: int, low: int, high: int) -> tuple[list[str], list[list[str]]]:
    """Predictions that keep six words of ten of a reference, and one or two references each."""
    rng = random.Random(seed)
    words = [
        "".join(rng.choices("etaoinshrdlucmfwypvbgk", k=rng.randint(2, 9))) for _ in range(5000)
    ]
    words[:8] = ["the", "of", "don't", "U.S.", "3.14", "naïve", "well-known", "(see"]
    weights = list(itertools.accumulate(1 / rank for rank in range(1, len(words) + 1)))

    def sentence() -> str:
        chosen = rng.choices(words, cum_weights=weights, k=rng.randint(low, high))
        return " ".join(chosen).capitalize() + rng.choice(".?!")

    references = [[sentence() for _ in range(rng.choice([1, 1, 2]))] for _ in range(count)]
    predictions = [
        " ".join(w if rng.random() < 0.6 else rng.choice(words) for w in refs[-1].split(" "))
        for refs in references
    ]
    return predictions, references


def mean_of_best(each: Any, predictions: list[str], references: list[list[str]]) -> float:
    pairs = zip(predictions, references, strict=True)
    return sum(max(each(p, r) for r in refs) for p, refs in pairs) / len(predictions)


def labels(count: int, names: Sequence[str], seed: int = 1) -> tuple[list[str], list[str]]:
    rng = random.Random(seed)
    expected = rng.choices(names, k=count)
    return [e if rng.random() < 0.6 else f" {rng.choice(names)}" for e in expected], expected


def exact(predictions: list[str], references: list[str]) -> float:
    hits = sum(p.strip() == r.strip() for p, r in zip(predictions, references, strict=True))
    return hits / len(predictions)


def macro_recall(predictions: list[str], references: list[str]) -> float:
    hits: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for p, r in zip(predictions, references, strict=True):
        name = r.strip()
        counts[name] += 1
        hits[name] += p.strip() == name
    return sum(hits[name] / counts[name] for name in counts) / len(counts)


def weighted_f1(predictions: list[str], references: list[str]) -> float:
    hits: Counter[str] = Counter()
    named: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for p, r in zip(predictions, references, strict=True):
        given, name = p.strip().lower(), r.strip().lower()
        counts[name] += 1
        named[given] += 1
        hits[name] += given == name
    f1 = {name: 2 * hits[name] / (named[name] + counts[name]) for name in counts}
    return sum(f1[name] * counts[name] for name in counts) / len(predictions)


def micro_f1(predictions: list[str], references: list[str]) -> float:
    tp = fp = fn = 0
    for p, r in zip(predictions, references, strict=True):
        given = {label.strip() for label in p.lower().split("<p>")}
        expected = {label.strip() for label in r.lower().split(", ")}
        tp += len(given & expected)
        fp += len(given - expected)
        fn += len(expected - given)
    return 2 * tp / (2 * tp + fp + fn)


def plain_lines(
    metric_id: str, ours: Score, loop: Callable[[list[str], list[str]], float], columns: Batch
) -> Iterator[Line]:
    """A Python loop over one reference each, that starts where ours does, and after what that costs."""
    references = columns.references.list.first()
    lists = columns.predictions.to_list(), references.to_list()
    count = len(references)
    yield Line(
        metric_id,
        count,
        ours,
        lambda: loop(columns.predictions.to_list(), columns.references.list.first().to_list()),
        "Python loop over the columns as lists",
        "columns",
    )
    yield Line(
        metric_id, count, ours, lambda: loop(*lists), "Python loop over lists in memory", "lists"
    )


def by_row(metric_id: str, columns: Batch, loop: Callable[[list[str], list[str]], float]) -> Line:
    """A scorer that asks scikit-learn about one row at a time."""
    lists = columns.predictions.to_list(), columns.references.list.first().to_list()
    ours, what = scored(metric_id, columns), "scikit-learn, one row at a time"
    return Line(metric_id, len(lists[0]), ours, lambda: loop(*lists), what, "rows")


@measures("accuracy", "macro_accuracy", "f_score")
def label_lines(inputs: Inputs) -> Iterator[Line]:
    from sklearn.metrics import accuracy_score, f1_score, recall_score

    names = [f"Class {number}" for number in range(30)]
    given, expected = labels(inputs.count(20_000), names)
    columns = text.batch(given, [[e] for e in expected])

    def stripped() -> tuple[list[str], list[str]]:
        references = columns.references.list.first().to_list()
        return [r.strip() for r in references], [p.strip() for p in columns.predictions.to_list()]

    libraries: dict[str, tuple[Score, str, Callable[..., float]]] = {
        "accuracy": (lambda: float(accuracy_score(*stripped())), "accuracy_score", exact),
        "macro_accuracy": (
            lambda: float(recall_score(*stripped(), average="macro")),
            "recall_score",
            macro_recall,
        ),
        "f_score": (
            lambda: float(f1_score(*stripped(), average="weighted")),
            "f1_score",
            weighted_f1,
        ),
    }
    for metric_id, (library, name, loop) in libraries.items():
        ours = scored(metric_id, columns)
        yield Line(metric_id, len(given), ours, library, f"scikit-learn {name}")
        yield from plain_lines(metric_id, ours, loop, columns)

    def accuracy_by_row(predictions: list[str], references: list[str]) -> float:
        pairs = zip(predictions, references, strict=True)
        return float(np.mean([accuracy_score([r.strip()], [p.strip()]) for p, r in pairs]))

    few = inputs.count(3_000)
    yield by_row(
        "accuracy", text.batch(given[:few], [[e] for e in expected[:few]]), accuracy_by_row
    )


@measures("micro_f1")
def label_set_lines(inputs: Inputs) -> Iterator[Line]:
    from sklearn.metrics import confusion_matrix, f1_score
    from sklearn.preprocessing import MultiLabelBinarizer

    rng = random.Random(2)
    names = [f"Entity {number}" for number in range(400)]
    expected = [rng.sample(names, rng.randint(1, 5)) for _ in range(inputs.count(10_000))]
    found = [[n if rng.random() < 0.7 else rng.choice(names) for n in e] for e in expected]
    given, wanted = ["<p>".join(f) for f in found], [", ".join(e) for e in expected]
    columns = text.batch(given, [[w] for w in wanted], "ner")
    ours = scored("micro_f1", columns)

    def library() -> float:
        sides = [
            [{label.strip() for label in row.lower().split(cut)} for row in rows]
            for rows, cut in ((wanted, ", "), (given, "<p>"))
        ]
        binarise = MultiLabelBinarizer(sparse_output=True).fit(itertools.chain(*sides))
        return float(f1_score(*(binarise.transform(side) for side in sides), average="micro"))

    yield Line("micro_f1", len(given), ours, library, "scikit-learn MultiLabelBinarizer, f1_score")
    yield from plain_lines("micro_f1", ours, micro_f1, columns)

    def micro_f1_by_row(predictions: list[str], references: list[str]) -> float:
        counts = np.zeros((2, 2))
        for p, r in zip(predictions, references, strict=True):
            sides = r.lower().split(", "), p.lower().split("<p>")
            rows = MultiLabelBinarizer().fit_transform(
                [[label.strip() for label in side] for side in sides]
            )
            counts += confusion_matrix(*rows, labels=[0, 1])
        (_, fp), (fn, tp) = counts
        return float(2 * tp / (2 * tp + fp + fn))

    few = inputs.count(3_000)
    rows = text.batch(given[:few], [[w] for w in wanted[:few]], "ner")
    yield by_row("micro_f1", rows, micro_f1_by_row)


@measures("token_f1", "bleu_1", "rouge_1", "rouge_l")
def text_lines(inputs: Inputs) -> Iterator[Line]:
    what = {
        "bleu_1": ("nltk word_tokenize, sentence_bleu", 5_000),
        "rouge_1": ("rouge_score", 5_000),
        "rouge_l": ("rouge_score", 5_000),
    }
    for metric_id, (library, count) in what.items():
        given, expected = sentences(inputs.count(count), 3, 5, 30)
        yield Line(
            metric_id,
            len(given),
            scored(metric_id, text.batch(given, expected)),
            lambda each=text.REFERENCE[metric_id], g=given, e=expected: mean_of_best(each, g, e),
            library,
        )
    given, expected = sentences(inputs.count(10_000), 3, 5, 30)
    columns = text.batch(given, expected)
    each, ours = text.REFERENCE["token_f1"], scored("token_f1", columns)
    yield Line(
        "token_f1",
        len(given),
        ours,
        lambda: mean_of_best(each, columns.predictions.to_list(), columns.references.to_list()),
        "Python loop over the columns as lists",
        "columns",
    )
    yield Line(
        "token_f1",
        len(given),
        ours,
        lambda: mean_of_best(each, given, expected),
        "Python loop over lists in memory",
        "lists",
    )
    yield distinct_words_line(inputs.count(3_000))


def distinct_words_line(count: int) -> Line:
    """Token F1 of texts in which no word stands twice, which is the F1 of two sets."""
    from sklearn.metrics import f1_score
    from sklearn.preprocessing import MultiLabelBinarizer

    rng = random.Random(6)
    words = [f"word{number}" for number in range(2_000)]
    expected = [rng.sample(words, rng.randint(5, 30)) for _ in range(count)]
    given = [
        list(dict.fromkeys(w if rng.random() < 0.6 else rng.choice(words) for w in e))
        for e in expected
    ]

    def f1_by_row(predictions: list[str], references: list[str]) -> float:
        scores = []
        for p, r in zip(predictions, references, strict=True):
            sides = MultiLabelBinarizer().fit_transform([r.split(), p.split()])
            scores.append(f1_score(*sides))
        return float(np.mean(scores))

    columns = text.batch([" ".join(g) for g in given], [[" ".join(e)] for e in expected])
    return by_row("token_f1", columns, f1_by_row)


@measures("bleu_1_corpus", "bleu_4", "cider", "wer", "anls")
def corpus_lines(inputs: Inputs) -> Iterator[Line]:
    import jiwer
    import sacrebleu
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider

    given, expected = sentences(inputs.count(1500), 4, 6, 14)
    columns = text.batch(given, expected)
    count = len(given)

    def bleu(order: int) -> float:
        truth = {i: [r.lower() for r in refs] for i, refs in enumerate(expected)}
        found = {i: [p.lower()] for i, p in enumerate(given)}
        return Bleu(order).compute_score(truth, found, verbose=0)[0][order - 1]

    def cider() -> float:
        truth = {
            i: [" ".join(corpus.cider_words(r)) for r in refs] for i, refs in enumerate(expected)
        }
        found = {i: [" ".join(corpus.cider_words(p))] for i, p in enumerate(given)}
        return float(Cider().compute_score(truth, found)[0])

    # On one reference each, cut into the words that the definition has, which sacrebleu then takes
    # as they are.
    firsts = [refs[0] for refs in expected]
    single = text.batch(given, [[r] for r in firsts])

    def sacre(order: int) -> float:
        metric = sacrebleu.BLEU(
            max_ngram_order=order, tokenize="none", force=True, smooth_method="none"
        )
        lower = [[t.lower() for t in side] for side in (given, firsts)]
        return metric.corpus_score(lower[0], [lower[1]]).score / 100

    for metric_id, order in (("bleu_1_corpus", 1), ("bleu_4", 4)):
        ours = scored(metric_id, columns)
        yield Line(metric_id, count, ours, lambda n=order: bleu(n), f"pycocoevalcap Bleu({order})")
        ours = scored(metric_id, single)
        yield Line(
            metric_id, count, ours, lambda n=order: sacre(n), "sacrebleu corpus_score", "sacrebleu"
        )
    yield Line("cider", count, scored("cider", columns), cider, "pycocoevalcap Cider")
    yield Line(
        "wer",
        count,
        scored("wer", text.batch(given, [[r] for r in firsts])),
        lambda: float(jiwer.wer(firsts, given)),
        "jiwer",
    )
    answers, truths = sentences(inputs.count(1000), 5, 1, 4)

    def similarity(prediction: str, reference: str) -> float:
        p, r = prediction.strip().lower(), reference.strip().lower()
        distance = corpus.edit_distance(p, r) / max(len(p), len(r), 1)
        return 1 - distance if distance < 0.5 else 0.0

    yield Line(
        "anls",
        len(answers),
        scored("anls", text.batch(answers, truths)),
        lambda: mean_of_best(similarity, answers, truths),
        "loop over the definition",
    )


@measures("codebleu")
def code_lines(inputs: Inputs) -> Iterator[Line]:
    pairs = [
        (p, rs)
        for p, rs in zip(*code.pairs(inputs.count(60)), strict=True)
        if code.unambiguous([p], [rs])
    ]
    given, expected = [p for p, _ in pairs], [rs for _, rs in pairs]
    yield Line(
        "codebleu",
        len(pairs),
        scored("codebleu", text.batch(given, expected)),
        lambda: code.package(given, expected),
        "codebleu calc_codebleu",
    )


@measures("mae", "rmse")
def error_lines(inputs: Inputs) -> Iterator[Line]:
    from sklearn.metrics import mean_absolute_error, mean_squared_error

    rng = np.random.default_rng(1)
    expected = [rng.normal(0, 50, n).tolist() for n in rng.integers(1, 9, inputs.count(20_000))]
    given = [
        [x + y for x, y in zip(row, rng.normal(size=len(row)), strict=True)] for row in expected
    ]
    columns = corpus.arrays(given, expected)

    def flat() -> list[list[float]]:
        return [list(itertools.chain(*side)) for side in (expected, given)]

    losses: dict[str, Score] = {
        "mae": lambda: float(mean_absolute_error(*flat())),
        "rmse": lambda: math.sqrt(mean_squared_error(*flat())),
    }
    for metric_id, loss in losses.items():
        yield Line(
            metric_id, len(given), scored(metric_id, columns), loss, "scikit-learn, lists in memory"
        )


# Detection -------------------------------------------------------------------------------------


def untied(predictions: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """The same detections with scores all different, so that no order is left to chance."""
    rng = random.Random(11)
    return [[d | {"score": rng.random()} for d in found] for found in predictions]


def coco(
    metric_id: str,
    predictions: list[list[dict[str, Any]]],
    references: list[list[dict[str, Any]]],
    kind: Any = "bbox",
    overlap: Any = None,
) -> float:
    """AP by pycocotools, from the annotations of both sides on."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    names = sorted({o["label"] for objects in references for o in objects}, key=str)
    category = {name: number for number, name in enumerate(names, 1)}
    sides = []
    with contextlib.redirect_stdout(io.StringIO()):
        for rows in (references, predictions):
            annotations: list[dict[str, Any]] = []
            for image_id, objects in enumerate(rows, 1):
                for o in objects:
                    if o["label"] in category:
                        o |= {"image_id": image_id, "category_id": category[o["label"]]}
                        extra = {"id": len(annotations) + 1}
                        annotations.append({"iscrowd": 0, "area": 1.0} | o | extra)
            data: Any = COCO()
            data.dataset = {
                "images": [
                    {"id": i, "height": HEIGHT, "width": WIDTH} for i in range(1, len(rows) + 1)
                ],
                "categories": [{"id": number} for number in category.values()],
                "annotations": annotations,
            }
            data.createIndex()
            sides.append(data)
        run: Any = COCOeval(sides[0], sides[1], kind)
        run.params.iouThrs = detection.THRESHOLDS[metric_id]
        run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
        run.params.maxDets = [20 if kind == "keypoints" else 100]
        if overlap:
            run.computeIoU = lambda i, label: detection.overlap_matrix(run, i, label, overlap)
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"]
    return float(precision[precision > -1].mean())


#: Pixels of the images and video frames that masks are of.
HEIGHT, WIDTH = 240, 320


def outline(rng: np.random.Generator, y: float, x: float, radius: float, size: Any = None) -> Any:
    """A mask with a wavy edge around a point, as of an object."""
    height, width = size or (HEIGHT, WIDTH)
    mask = np.zeros((height, width), dtype=bool)
    top, left = (max(0, int(centre - 2 * radius)) for centre in (y, x))
    part = mask[top : int(y + 2 * radius), left : int(x + 2 * radius)]
    rows, columns = np.mgrid[: part.shape[0], : part.shape[1]]
    rows, columns = rows + top - y, columns + left - x
    angle = np.arctan2(rows, columns)
    waves = 1 + sum(rng.uniform(0, 0.2) * np.sin(k * angle + rng.uniform(0, 6)) for k in (2, 3, 7))
    part[:] = np.hypot(rows, columns) < radius * waves
    return mask


def mask_scenes(count: int) -> tuple[list[list[dict[str, Any]]], list[list[dict[str, Any]]]]:
    """Images of up to six objects, each found up to twice."""
    rng = np.random.default_rng(6)
    predictions: list[list[dict[str, Any]]] = []
    references: list[list[dict[str, Any]]] = []
    for _ in range(count):
        found, objects = [], []
        for _ in range(rng.integers(1, 7)):
            y, x, r = rng.uniform(0, HEIGHT), rng.uniform(0, WIDTH), rng.uniform(8, 60)
            label = str(rng.choice(["a", "b", "c"]))
            objects.append({"segmentation": detection.runs(outline(rng, y, x, r)), "label": label})
            for _ in range(rng.integers(0, 3)):
                mask = outline(rng, y + rng.normal(0, 3), x + rng.normal(0, 3), r)
                found.append({"segmentation": detection.runs(mask), "label": label})
        predictions.append(found)
        references.append(objects)
    return untied(predictions), references


@measures("ap", "ap50")
def image_detection_lines(inputs: Inputs) -> Iterator[Line]:
    given, expected = detection.scenes(inputs.count(600), ties=False)
    for metric_id in ("ap", "ap50"):
        line = structures(
            metric_id,
            given,
            expected,
            lambda p, r, m=metric_id: coco(m, p, r),
            "pycocotools COCOeval: load, evaluate, accumulate",
        )
        yield Line(line.metric, line.instances, line.ours, line.loop, line.what, "boxes")
    given, expected = mask_scenes(inputs.count(150))
    line = structures(
        "ap",
        given,
        expected,
        lambda p, r: coco("ap", p, r, "segm"),
        "pycocotools COCOeval: load, evaluate, accumulate",
    )
    yield Line(line.metric, line.instances, line.ours, line.loop, line.what, "masks")


@measures("keypoint_ap50")
def keypoint_lines(inputs: Inputs) -> Iterator[Line]:
    given, expected = detection.people(inputs.count(300))
    yield structures(
        "keypoint_ap50",
        untied(given),
        expected,
        lambda p, r: coco("keypoint_ap50", p, r, "keypoints"),
        "pycocotools COCOeval: load, evaluate, accumulate",
    )


@measures("map")
def space_lines(inputs: Inputs) -> Iterator[Line]:
    given, expected = detection.rooms(inputs.count(300))

    def overlap(d: dict[str, Any], g: dict[str, Any]) -> float:
        return detection.iou_3d(d["box"], g["box"])

    yield structures(
        "map",
        untied(given),
        expected,
        lambda p, r: coco("map", p, r, overlap=overlap),
        "pycocotools COCOeval over a loop of 3D IoU",
    )


@measures("recall_at_50")
def relation_lines(inputs: Inputs) -> Iterator[Line]:
    rng = random.Random(1)

    def end(near: dict[str, Any] | None = None) -> dict[str, Any]:
        if near:
            return near | {"box": [v + rng.gauss(0, 1.5) for v in near["box"]]}
        x, y = rng.uniform(0, 50), rng.uniform(0, 50)
        box = [x, y, x + rng.uniform(12, 40), y + rng.uniform(12, 40)]
        return {"label": rng.choice(["man", "dog", "hat"]), "box": box}

    def triple(near: dict[str, Any] | None = None) -> dict[str, Any]:
        ends = [end(near and near[name]) for name in ("subject", "object")]
        predicate = rng.choice(["on", "near", "has"])
        return {"subject": ends[0], "predicate": predicate, "object": ends[1]}

    expected = [[triple() for _ in range(rng.randint(1, 12))] for _ in range(inputs.count(300))]
    given = [[triple(r) for r in rs for _ in range(rng.choice([0, 1, 2, 12]))] for rs in expected]
    yield structures(
        "recall_at_50", untied(given), expected, detection.recall, "loop over the definition"
    )


# Segmentation ----------------------------------------------------------------------------------


def class_maps(count: int, classes: int = 19) -> list[tuple[Any, Any]]:
    """Blocks of classes with an ignored border, and a prediction that moves and renames some."""
    rng = np.random.default_rng(3)
    pairs = []
    for _ in range(count):
        blocks = rng.integers(0, classes, (HEIGHT // 16, WIDTH // 16), dtype=np.uint8)
        reference = np.kron(blocks, np.ones((16, 16), dtype=np.uint8))
        prediction = np.roll(reference, rng.integers(0, 9, 2), axis=(0, 1))
        noisy = rng.random(prediction.shape) < 0.05
        prediction[noisy] = rng.integers(0, classes, noisy.sum())
        reference[0], reference[:, 0] = 255, 255
        pairs.append((prediction, reference))
    return pairs


#: Pixels of a video's frames, as in DAVIS.
FRAME = (480, 854)


def video(
    rng: np.random.Generator, frames: int, size: tuple[int, int] = (HEIGHT, WIDTH)
) -> tuple[list[Any], list[Any]]:
    """Masks of one object that moves, predicted and expected."""
    height, width = size
    y, x = rng.uniform(height / 4, height * 3 / 4), rng.uniform(width / 4, width * 3 / 4)
    r = rng.uniform(height / 16, height / 4)
    sides: tuple[list[Any], list[Any]] = [], []
    for _ in range(frames):
        y, x = y + rng.normal(0, 3), x + rng.normal(0, 3)
        sides[0].append(outline(rng, y + rng.normal(0, 4), x + rng.normal(0, 4), r, size))
        sides[1].append(outline(rng, y, x, r, size))
    return sides


@measures("miou")
def mean_iou_lines(inputs: Inputs) -> Iterator[Line]:
    from sklearn.metrics import jaccard_score

    files = inputs.files("miou")
    pairs = class_maps(inputs.count(20))
    given, expected = ([files.png(side) for side in sides] for sides in zip(*pairs, strict=True))
    paths = [(path_of(p), path_of(r)) for p, r in zip(given, expected, strict=True)]
    ours = scored("miou", of_documents(documents(given), documents(expected)))

    def library() -> float:
        sides: tuple[list[Any], list[Any]] = [], []
        for pair in paths:
            prediction, reference = map(pixels, pair)
            valid = reference != 255
            sides[0].append(reference[valid])
            sides[1].append(prediction[valid])
        return float(jaccard_score(*map(np.concatenate, sides), average="macro"))

    def confusion() -> float:
        counts = np.zeros((256, 256))
        for pair in paths:
            prediction, reference = (pixels(path).astype(np.int64) for path in pair)
            valid = reference != 255
            codes = reference[valid] * 256 + prediction[valid]
            counts += np.bincount(codes, minlength=65_536).reshape(256, 256)
        shared, either = counts.diagonal(), counts.sum(axis=0) + counts.sum(axis=1)
        seen = either > 0
        return float((shared[seen] / (either - shared)[seen]).mean())

    yield Line("miou", len(paths), ours, library, "scikit-learn jaccard_score", "label maps")
    yield Line(
        "miou", len(paths), ours, confusion, "NumPy confusion matrix a map", "label maps: NumPy"
    )
    yield from video_lines(inputs)


def video_lines(inputs: Inputs) -> Iterator[Line]:
    from pycocotools import mask as coco_mask

    rng = np.random.default_rng(4)
    sides: tuple[list[Any], list[Any]] = [], []
    for _ in range(inputs.count(20)):
        for side, masks in zip(sides, video(rng, int(rng.integers(10, 25)), FRAME), strict=True):
            side.append({"1": {"mask": [segmentation.rle(mask) for mask in masks]}})

    def looped(each: Any) -> Any:
        def mean(predictions: list[Any], references: list[Any]) -> float:
            pairs = zip(predictions, references, strict=True)
            return float(np.mean([each(p["1"]["mask"], r["1"]["mask"]) for p, r in pairs]))

        return mean

    def decoded(predictions: list[Any], references: list[Any]) -> float:
        masks = [
            [np.asarray(coco_mask.decode(rle), dtype=bool) for rle in side]
            for side in (predictions, references)
        ]
        return float(segmentation.published_iou(*masks))

    def on_runs(predictions: list[Any], references: list[Any]) -> float:
        shared = total = 0.0
        for p, r in zip(predictions, references, strict=True):
            iou = float(np.asarray(coco_mask.iou([p], [r], [0]))[0, 0])  # type: ignore[arg-type]
            areas = float(coco_mask.area(p)) + float(coco_mask.area(r))
            shared += iou * areas / (1 + iou)
            total += areas
        return shared / (total - shared)

    for variant, each, what in (
        ("video masks: decoded", decoded, "pycocotools decode, NumPy sums a frame"),
        ("video masks: runs", on_runs, "pycocotools iou and area a frame"),
    ):
        line = structures("miou", *sides, looped(each), what)
        yield Line(line.metric, line.instances, line.ours, line.loop, line.what, variant)


@measures("instance_miou")
def part_lines(inputs: Inputs) -> Iterator[Line]:
    rng = np.random.default_rng(8)
    predictions, references = [], []
    for _ in range(inputs.count(300)):
        parts = np.array(
            segmentation.SHAPENET_PARTS[str(rng.choice(["chair", "car", "motorbike"]))]
        )
        reference = rng.choice(parts, 1024)
        kept = rng.random(1024) < 0.7
        predictions.append(np.where(kept, reference, rng.choice(parts, 1024)).tolist())
        references.append({"labels": reference.tolist(), "parts": parts.tolist()})

    def loop(given: list[Any], expected: list[Any]) -> float:
        scores = []
        for labels_given, reference in zip(given, expected, strict=True):
            a, b = np.array(labels_given), np.array(reference["labels"])
            ious = []
            for part in reference["parts"]:
                p, r = a == part, b == part
                ious.append((p & r).sum() / (p | r).sum() if (p | r).any() else 1.0)
            scores.append(np.mean(ious))
        return float(np.mean(scores))

    yield structures("instance_miou", predictions, references, loop, "NumPy loop over the parts")


@measures("dice")
def dice_lines(inputs: Inputs) -> Iterator[Line]:
    from pycocotools import mask as coco_mask

    rng = np.random.default_rng(9)
    given, expected = video(rng, inputs.count(300))

    def loop(predictions: list[Any], references: list[Any]) -> float:
        scores = []
        for pair in zip(predictions, references, strict=True):
            a, b = (np.asarray(coco_mask.decode(rle), dtype=bool) for rle in pair)
            scores.append(2 * (a & b).sum() / (a.sum() + b.sum()))
        return float(np.mean(scores))

    masks = [[segmentation.rle(mask) for mask in side] for side in (given, expected)]
    yield structures("dice", masks[0], masks[1], loop, "pycocotools decode, NumPy sums")


@measures("pq")
def panoptic_lines(inputs: Inputs) -> Iterator[Line]:
    rng = np.random.default_rng(10)
    files = inputs.files("pq")
    sides: tuple[list[Any], list[Any]] = [], []
    for _ in range(inputs.count(20)):
        blocks = rng.integers(0, 25, (6, 8))
        names = rng.choice([3, 7, 11, 19, 255], 25)
        renamed = np.where(rng.random(25) < 0.8, names, rng.choice([3, 7, 11], 25))
        instance = np.kron(blocks, np.ones((20, 20), dtype=np.int64))
        moved = np.roll(instance, int(rng.integers(0, 6)), axis=1)
        for side, classes, numbers in ((0, renamed[moved], moved), (1, names[instance], instance)):
            ids = np.where(classes == 255, 255, classes * 1000 + numbers)
            sides[side].append(files.png(ids.astype(np.uint16)))
    paths = [(path_of(p), path_of(r)) for p, r in zip(*sides, strict=True)]

    def loop() -> float:
        images = []
        for pair in paths:
            ids = [pixels(path).astype(np.int64) for path in pair]
            classes = [np.where(i == 255, 255, i // 1000) for i in ids]
            segments = (
                segmentation.segments_of(c, i % 1000) for c, i in zip(classes, ids, strict=True)
            )
            images.append((*segments, set(np.flatnonzero(classes[1].ravel() == 255).tolist())))
        return float(segmentation.panoptic_by_definition(images))

    yield Line(
        "pq",
        len(paths),
        scored("pq", of_documents(documents(sides[0]), documents(sides[1]))),
        loop,
        "loop over the definition, sets of pixels",
    )


@measures("structure_measure", "roc_auc")
def grey_map_lines(inputs: Inputs) -> Iterator[Line]:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(11)
    files = inputs.files("grey")
    _, masks = video(rng, inputs.count(40))
    given = [files.png(segmentation.grey_map(rng, mask)) for mask in masks]
    expected = [files.png(mask * np.uint8(255)) for mask in masks]
    yield media(
        "structure_measure",
        given,
        expected,
        lambda p, r: segmentation.structure_measure_of_library([p], [r > 128]),
        pixels,
        "py_sod_metrics Smeasure",
    )
    yield media(
        "roc_auc",
        given,
        expected,
        lambda p, r: roc_auc_score(r.ravel() > 128, p.ravel()),
        pixels,
        "scikit-learn roc_auc_score",
    )


# Tracking and poses ----------------------------------------------------------------------------


@measures("success_auc", "m_viou", "amota", "rte", "normal_rmse")
def tracking_lines(inputs: Inputs) -> Iterator[Line]:
    def pooled(predictions: list[Any], references: list[Any]) -> float:
        pairs = zip(predictions, references, strict=True)
        return float(np.mean(np.concatenate([tracking.segment_errors(p, r) for p, r in pairs])))

    def mean(each: Any) -> Any:
        return lambda p, r: float(np.mean(each(p, r)))

    loops = {
        "success_auc": (mean(tracking.success_auc), 300),
        "m_viou": (mean(tracking.m_viou), 300),
        "amota": (tracking.amota, 15),
        "rte": (pooled, 60),
        "normal_rmse": (mean(tracking.normal_rmse), 100),
    }
    for metric_id, (loop, count) in loops.items():
        given, expected = tracking.DATA[metric_id](inputs.count(count))
        yield structures(metric_id, given, expected, loop, "loop over the definition")


# Pixels ----------------------------------------------------------------------------------------


@measures("psnr", "image_rmse")
def pixel_lines(inputs: Inputs) -> Iterator[Line]:
    from skimage.metrics import peak_signal_noise_ratio

    ours, theirs = image.pairs(inputs.count(10), 480, 720)
    files = inputs.files("pixels")
    given, expected = [files.png(p) for p in ours], [files.png(r) for r in theirs]

    def psnr(prediction: Any, reference: Any) -> float:
        return float(peak_signal_noise_ratio(reference, prediction, data_range=255))

    yield media("psnr", given, expected, psnr, pixels, "scikit-image, PNG files")
    metric: Any = get_metric("psnr")
    pairs = list(zip(ours, theirs, strict=True))
    yield Line(
        "psnr",
        len(pairs),
        lambda: float(np.mean([metric.measure_frame(p, r) for p, r in pairs])),
        lambda: float(np.mean([psnr(p, r) for p, r in pairs])),
        "scikit-image, arrays in memory",
        "arrays",
    )
    yield media(
        "image_rmse",
        given,
        expected,
        lambda p, r: math.sqrt(np.mean((p.astype(float) - r) ** 2)),
        pixels,
        "NumPy, PNG files",
    )


@measures("ms_ssim")
def similarity_lines(inputs: Inputs) -> Iterator[Line]:
    from sewar.full_ref import msssim

    files = inputs.files("ms_ssim")
    sides = [
        [np.asarray(Image.fromarray(picture).convert("L")) for picture in side]
        for side in image.pairs(inputs.count(10), 180, 300, seed=5)
    ]
    given, expected = ([files.png(grey) for grey in side] for side in sides)
    lines = (
        (image.ms_ssim, "loop over the definition", ""),
        (lambda p, r: np.real(msssim(r, p)), "sewar, which halves half a pixel off", "sewar"),
    )
    for each, what, variant in lines:
        line = media("ms_ssim", given, expected, each, pixels, what)
        yield Line(line.metric, line.instances, line.ours, line.loop, line.what, variant)


@measures("absrel", "epe", "sad")
def dense_lines(inputs: Inputs) -> Iterator[Line]:
    rng = np.random.default_rng(12)
    files = inputs.files("dense")
    count, shape = inputs.count(20), (HEIGHT, WIDTH)
    depths = [rng.gamma(2, 5, (4, 1, *shape)).astype(np.float32) for _ in range(count)]
    guesses = [(d * rng.normal(1, 0.1, d.shape) + 3).astype(np.float32) for d in depths]
    yield media(
        "absrel",
        [files.npy(g) for g in guesses],
        [files.npy(d) for d in depths],
        geometry.absrel,
        np.load,
        "NumPy, least squares",
    )
    flows = [rng.normal(0, 20, (*shape, 2)).astype(np.float32) for _ in range(count)]
    near = [flow + rng.normal(0, 2, flow.shape).astype(np.float32) for flow in flows]

    def read_flo(path: str) -> Any:
        width, height = np.fromfile(path, "<i4", 2, offset=4)
        return np.fromfile(path, "<f4", offset=12).reshape(height, width, 2).astype(np.float64)

    yield media(
        "epe",
        [files.bytes(geometry.flo(flow), ".flo") for flow in near],
        [files.bytes(geometry.flo(flow), ".flo") for flow in flows],
        lambda p, r: np.linalg.norm(p - r, axis=-1).mean(),
        read_flo,
        "NumPy, .flo files",
    )
    mattes = [image.smooth_image(rng, *shape)[..., 0] for _ in range(count)]
    yield media(
        "sad",
        [files.png(image.degraded(rng, matte)) for matte in mattes],
        [files.png(matte) for matte in mattes],
        lambda p, r: np.abs(p / 255 - r / 255).sum() / 1000,
        pixels,
        "NumPy, PNG files",
    )


@measures("chamfer_distance")
def point_lines(inputs: Inputs) -> Iterator[Line]:
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(13)
    files = inputs.files("points")
    clouds = [rng.normal(size=(2048, 3)).astype(np.float32) for _ in range(inputs.count(20))]
    moved = [cloud + rng.normal(0, 0.05, cloud.shape).astype(np.float32) for cloud in clouds]

    def chamfer(a: Any, b: Any) -> float:
        brute = NearestNeighbors(n_neighbors=1, algorithm="brute")
        ways = ((a.astype(float), b.astype(float)), (b.astype(float), a.astype(float)))
        return sum((brute.fit(other).kneighbors(one)[0] ** 2).mean() for one, other in ways)

    yield media(
        "chamfer_distance",
        [files.npy(cloud) for cloud in moved],
        [files.npy(cloud) for cloud in clouds],
        chamfer,
        np.load,
        "scikit-learn NearestNeighbors, all pairs",
    )


# Features --------------------------------------------------------------------------------------


@measures("fid")
def frechet_lines(inputs: Inputs) -> Iterator[Line]:
    rng = np.random.default_rng(14)
    files = inputs.files("fid")
    width = 256
    for count, variant in ((inputs.count(2000), "more rows than features"), (128, "fewer")):
        mix = rng.normal(size=(width, width)) / 16
        real, made = (
            rng.normal(size=(count, width)) @ mix,
            rng.normal(size=(count, width)) @ mix + 0.1,
        )
        given, expected = files.npy(made), files.npy(real)
        paths = path_of(given), path_of(expected)
        yield Line(
            "fid",
            count,
            scored(
                "fid",
                of_documents(
                    documents({**given, "row": row} for row in range(count)),
                    documents([expected] * count),
                ),
            ),
            lambda pair=paths: float(features.frechet(*map(np.load, pair))),
            "NumPy cov, scipy sqrtm",
            variant,
        )


@measures("clip_score", "mos", "mcd", "pcc", "n_way_accuracy")
def feature_lines(inputs: Inputs) -> Iterator[Line]:
    from scipy.spatial.distance import cosine
    from scipy.stats import hypergeom

    rng = np.random.default_rng(15)

    def mean(each: Any) -> Any:
        return lambda given, real: float(np.mean(list(map(each, given, real))))

    count = inputs.count(500)
    real = rng.normal(size=(count, 512))
    made = real + rng.normal(0, 1.5, real.shape)
    yield structures(
        "clip_score",
        made.tolist(),
        real.tolist(),
        mean(lambda a, b: max(0.0, 1 - cosine(a, b))),
        "scipy cosine",
    )
    ratings = [rng.integers(1, 6, rng.integers(3, 12)).tolist() for _ in range(inputs.count(3000))]
    yield structures(
        "mos",
        ratings,
        [None] * len(ratings),
        mean(lambda given, _: sum(given) / len(given)),
        "Python loop",
    )
    tracks = [rng.normal(size=(60, 13)).cumsum(axis=0) for _ in range(inputs.count(10))]
    warped = [track[np.sort(rng.integers(0, 60, 55))] + 0.01 for track in tracks]
    yield structures(
        "mcd",
        [track.tolist() for track in warped],
        [track.tolist() for track in tracks],
        mean(features.distortion),
        "loop over the definition",
    )
    bars = [rng.poisson(1.5, (int(rng.integers(4, 24)), 12)) for _ in range(inputs.count(200))]

    def consistency(piece: list[list[float]], _: None) -> float:
        histograms = [np.array(bar) / sum(bar) for bar in piece if sum(bar)]
        pairs = itertools.combinations(histograms, 2)
        return float(np.mean([np.minimum(a, b).sum() for a, b in pairs]))

    yield structures(
        "pcc",
        [piece.tolist() for piece in bars],
        [None] * len(bars),
        mean(consistency),
        "NumPy loop over pairs of bars",
    )
    targets = rng.integers(0, 1000, inputs.count(200))
    outputs = rng.normal(size=(len(targets), 1000))
    outputs[np.arange(len(targets)), targets] += 2

    def chance(given: list[float], label: int) -> float:
        others = np.delete(given, label)
        above = int((others >= given[label]).sum())
        return float(hypergeom.pmf(0, len(given) - 1, above, 49))

    yield structures(
        "n_way_accuracy",
        outputs.tolist(),
        targets.tolist(),
        mean(chance),
        "scipy hypergeom",
    )


# Measuring -------------------------------------------------------------------------------------


def forget() -> None:
    """Empties what our side remembers of words, so that no turn gains by the one before.

    Caches of one entry stay: they hold what is loaded once, on the loop's side too.
    """
    for name, module in list(sys.modules.items()):
        if name.startswith("tasks.metrics"):
            for value in vars(module).values():
                if hasattr(value, "cache_clear") and value.cache_parameters()["maxsize"] != 1:
                    value.cache_clear()


def measured(line: Line, turns: int) -> tuple[float, float, float]:
    """Median processor seconds of ours and of the loop, and the largest difference of their scores."""
    ours, loops, worst = [], [], 0.0
    line.ours()
    for _ in range(turns):
        forget()
        began = time.process_time()
        score = line.ours()
        between = time.process_time()
        expected = line.loop()
        ours.append(between - began)
        loops.append(time.process_time() - between)
        worst = max(worst, abs(score - expected))
    return median(ours), median(loops), worst


#: Seconds for which the processes of `together` are busy, so that all of them are most of the time.
_BUSY = 2.0


def _seconds_each(score: Score) -> float:
    """Median processor seconds that a score takes in a worker, over some time."""
    score()
    taken: list[float] = []
    until = time.monotonic() + _BUSY
    while time.monotonic() < until:
        forget()
        began = time.process_time()
        score()
        taken.append(time.process_time() - began)
    return median(taken)


def together(line: Line, pool: ProcessPoolExecutor, processes: int) -> float:
    """Instances a second of ours in that many processes at the same time."""
    each = pool.map(_seconds_each, [line.ours] * processes)
    return sum(line.instances / seconds for seconds in each)


def shown(per_second: float) -> str:
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.1f}"


def turns_of(quick: bool) -> int:
    return 1 if quick else TURNS


def table(chosen: set[str], quick: bool, many: int) -> tuple[list[str], list[str]]:
    """Measures; a row for each line, and the names of those below their target.

    Args:
        chosen: ids of the metrics to measure.
        many: processes that score at the same time as well; 0 for none.
    """
    rows, missed = [], []
    # Forked from a fresh process: Polars does not survive a fork of this one.
    pool = ProcessPoolExecutor(many or 1, get_context("forkserver"))
    with tempfile.TemporaryDirectory() as folder, pool:
        list(pool.map(time.sleep, [1.0] * many))  # all of them are there before the first line
        inputs = Inputs(Path(folder), quick)
        lines = (
            line
            for metric_ids, make in _MAKERS
            if not chosen.isdisjoint(metric_ids)
            for line in make(inputs)
            if line.metric in chosen
        )
        for line in lines:
            ours, loop, worst = measured(line, turns_of(quick))
            ratio, cells = loop / ours, ""
            if many and isinstance(line.ours, Scored):
                rate = together(line, pool, many)
                ratio = rate * loop / line.instances
                cells = f" {shown(rate)} | {ratio:.1f}x |"
            elif many:
                cells = " | |"
            name = line.metric + (f" ({line.variant})" if line.variant else "")
            rows.append(
                f"| {name} | {line.instances:,} | {shown(line.instances / ours)} "
                f"| {shown(line.instances / loop)} | {loop / ours:.1f}x | {line.what} "
                f"| {worst:.1e} |{cells}"
            )
            if ratio < TARGETS.get(line.variant or line.metric, 1.0):
                missed.append(name)
            print(rows[-1], flush=True)
    return rows, missed


def report(rows: list[str], missed: list[str], quick: bool, many: int) -> str:
    """What `table` found, as Markdown."""
    extra = f" {many} processes /s | ratio to one loop |" if many else ""
    return "\n".join(
        [
            "# Metrics against the plain library loop",
            "",
            f"`python -m benchmarks.metrics{' --quick' if quick else ''}"
            f"{f' --processes {many}' if many else ''}`, one process, "
            f"one thread, by turns, medians of {turns_of(quick)}. Structures are JSON documents and media "
            "are files, on both sides; text and labels are columns on ours, lists in memory on the loop's, "
            "but for `columns`, where the loop starts from the same columns."
            + (
                f" Last, {many} processes that score the batch each at the same time."
                if many
                else ""
            ),
            "",
            f"| metric | instances | ours /s | loop /s | ratio | the loop | equal to |{extra}",
            f"|---|---|---|---|---|---|---|{'---|---|' if many else ''}",
            *rows,
            "",
            f"Below the target: {', '.join(missed) or 'none'}.",
        ]
    )


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--only", nargs="+", metavar="ID", help="measure these metrics alone")
    options.add_argument("--quick", action="store_true", help="a fifth of the instances, one turn")
    options.add_argument("--processes", type=int, default=0, help="score in so many as well")
    arguments = options.parse_args()
    known = [metric_id for metric_ids, _ in _MAKERS for metric_id in metric_ids]
    unknown = sorted(set(arguments.only or ()) - set(known))
    if unknown:
        options.error(f"{unknown[0]} is not measured here; these are: {', '.join(known)}")
    if _SET not in os.environ:
        # The C library reads its part of the environment when a process starts: this one starts again.
        command = [sys.executable, "-m", "benchmarks.metrics", *sys.argv[1:]]
        os.execve(command[0], command, os.environ | {_SET: "1"})
    quick, many = arguments.quick, arguments.processes
    rows, missed = table(set(arguments.only or known), quick, many)
    tell(report(rows, missed, quick, many), arguments.out)


if __name__ == "__main__":
    main()
