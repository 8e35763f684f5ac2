"""The measure of the specialists, by scikit-learn, NLTK, rouge_score, codebleu, COCO caption code.

Independent of the pipeline's own metrics on purpose: the figures in the catalogue come from
outside of what they are used to check. Higher-is-better figures are fractions (0..1).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from .core import Answer, Examples


def _text(answer: Answer) -> str:
    return answer if isinstance(answer, str) else str(answer)


def accuracy(predicted: list[Answer], test: Examples) -> float:
    hits = (_text(p).strip() in e.references for p, e in zip(predicted, test, strict=True))
    return sum(hits) / len(test)


def macro_accuracy(predicted: list[Answer], test: Examples) -> float:
    from sklearn.metrics import balanced_accuracy_score

    return float(balanced_accuracy_score([e.answer for e in test], predicted))


def token_f1(predicted: list[Answer], test: Examples) -> float:
    """Whitespace tokens, set overlap over token counts, best reference (SCORING of OpenQA)."""

    def f1(ours: list[str], theirs: list[str]) -> float:
        common = len(set(ours) & set(theirs))
        return 2 * common / (len(ours) + len(theirs)) if common else 0.0

    return float(
        np.mean(
            [
                max(f1(_text(p).split(), r.split()) for r in e.references)
                for p, e in zip(predicted, test, strict=True)
            ]
        )
    )


def micro_f1(predicted: list[Answer], test: Examples) -> float:
    from sklearn.metrics import f1_score
    from sklearn.preprocessing import MultiLabelBinarizer

    ours = [{p} if isinstance(p, str) else set(p) for p in predicted]
    theirs = [{e.answer} if isinstance(e.answer, str) else set(e.answer) for e in test]
    coder = MultiLabelBinarizer().fit([*ours, *theirs])
    return float(f1_score(coder.transform(theirs), coder.transform(ours), average="micro"))


def _rouge(kind: str, predicted: list[Answer], test: Examples) -> float:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([kind], use_stemmer=True)
    scores = [
        max(scorer.score(r, _text(p))[kind].fmeasure for r in e.references)
        for p, e in zip(predicted, test, strict=True)
    ]
    return float(np.mean(scores))


def bleu_1(predicted: list[Answer], test: Examples) -> float:
    """Sentence BLEU-1, Punkt sentences and Treebank words, smoothing 4, best reference."""
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    smooth = SmoothingFunction().method4
    words = word_tokens
    return float(
        np.mean(
            [
                max(
                    float(
                        sentence_bleu(
                            [words(r)], words(_text(p)), weights=(1.0,), smoothing_function=smooth
                        )
                    )
                    for r in e.references
                )
                for p, e in zip(predicted, test, strict=True)
            ]
        )
    )


def word_tokens(text: str) -> list[str]:
    from nltk.tokenize import NLTKWordTokenizer
    from punkt import sent_tokenize

    words = NLTKWordTokenizer()
    return [token for sentence in sent_tokenize(text) for token in words.tokenize(sentence)]


def _coco(scorer: str, predicted: list[Answer], test: Examples) -> float:
    """COCO caption scores; the captions are lower-case words, so no tokeniser is called for."""
    truth = {i: e.references for i, e in enumerate(test)}
    ours = {i: [_text(p)] for i, p in enumerate(predicted)}
    if scorer == "cider":
        from pycocoevalcap.cider.cider import Cider

        return float(Cider().compute_score(truth, ours)[0])
    from pycocoevalcap.bleu.bleu import Bleu

    bleu = Bleu(4).compute_score(truth, ours, verbose=0)[0]
    return float(bleu[0 if scorer == "bleu_1_corpus" else 3])


def codebleu(predicted: list[Answer], test: Examples) -> float:
    from codebleu import calc_codebleu

    references = [[_text(e.answer)] for e in test]
    return float(calc_codebleu(references, list(map(_text, predicted)), lang="python")["codebleu"])


def edit_distance(a: list[str] | str, b: list[str] | str) -> int:
    """Levenshtein distance of two sequences."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


def anls(predicted: list[Answer], test: Examples) -> float:
    """Mean Levenshtein similarity; 0 for an answer of which half is wrong (arXiv:1905.13648)."""
    values = []
    for p, e in zip(predicted, test, strict=True):
        ours = _text(p).strip().lower()
        best = max(
            1 - edit_distance(ours, r.lower()) / max(len(ours), len(r), 1) for r in e.references
        )
        values.append(best if best > 0.5 else 0.0)
    return float(np.mean(values))


def wer(predicted: list[Answer], test: Examples) -> float:
    """Word errors over reference words, as a fraction, over the whole test set."""
    errors = [
        edit_distance(_text(p).split(), _text(e.answer).split())
        for p, e in zip(predicted, test, strict=True)
    ]
    return sum(errors) / sum(len(_text(e.answer).split()) for e in test)


def _differences(predicted: list[Answer], test: Examples) -> np.ndarray:
    return np.array(predicted, float) - np.array([e.answer for e in test], float)


def mae(predicted: list[Answer], test: Examples) -> float:
    return float(np.abs(_differences(predicted, test)).mean())


def mse(predicted: list[Answer], test: Examples) -> float:
    return float((_differences(predicted, test) ** 2).mean())


def rmse(predicted: list[Answer], test: Examples) -> float:
    return math.sqrt(mse(predicted, test))


LOWER_IS_BETTER = frozenset({"wer", "mae", "mse", "rmse"})

FIGURES: dict[str, Callable[[list[Answer], Examples], float]] = {
    "accuracy": accuracy,
    "macro_accuracy": macro_accuracy,
    "em_at_1": accuracy,
    "token_f1": token_f1,
    "micro_f1": micro_f1,
    "rouge_1": functools.partial(_rouge, "rouge1"),
    "rouge_l": functools.partial(_rouge, "rougeL"),
    "bleu_1": bleu_1,
    "bleu_1_corpus": functools.partial(_coco, "bleu_1_corpus"),
    "bleu_4": functools.partial(_coco, "bleu_4"),
    "cider": functools.partial(_coco, "cider"),
    "codebleu": codebleu,
    "anls": anls,
    "wer": wer,
    "mae": mae,
    "mse": mse,
    "rmse": rmse,
}


def figure(metric: str, unit: str, predicted: list[Answer], test: Examples) -> float:
    """The task's figure in its unit, rounded to six decimals to the specialist's disadvantage.

    Rounding the other way would turn a model's exact tie into a loss.
    """
    value = FIGURES[metric](predicted, test) * (100 if unit == "percent" else 1)
    step = 1e6
    if metric in LOWER_IS_BETTER:
        return math.ceil(value * step - 1e-3) / step
    return math.floor(value * step + 1e-3) / step
