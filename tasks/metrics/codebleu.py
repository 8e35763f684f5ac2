"""CodeBLEU for Python (Ren et al. 2020, arXiv:2009.10297), in counts that can be recombined.

The four parts are the package `codebleu`'s, whose parser and data-flow extraction are called here;
the counting is ours, so that a text is cut and parsed once for all of them, and counts are kept by
instance.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import polars as pl

from tasks.metrics.base import Batch, SumsMetric, register

_ORDERS = (1, 2, 3, 4)
_Ngrams = Counter[tuple[str, ...]]
#: Smoothing method 1 of Chen and Cherry (2014): what an order without a match counts.
_EPSILON = 0.1
#: The package measures the length of (tokens, weights) pairs: every weighted reference is 2 long.
_WEIGHTED_REFERENCE_LENGTH = 2
_KEYWORD_WEIGHT, _OTHER_WEIGHT = 1.0, 0.2


@register
class CodeBleu(SumsMetric):
    """Mean of n-gram, keyword-weighted n-gram, syntax-tree and data-flow match; 0..1.

    Published as `calc_codebleu(references, predictions, lang="python")` with equal weights. What the
    score depends on, and is kept:

    - n-grams of white-space tokens, smoothed with 0.1 where an order has no match;
    - the weighted part is a recall, weighted for unigrams only, and only when no token repeats;
    - the weighted part's brevity penalty takes every reference for two tokens long;
    - the syntax part counts the reference's sub-trees that the prediction has;
    - comments and docstrings are dropped for both trees when Python's tokeniser can read the code;
    - without any data flow in the references that part counts as 1.

    Where the package merges data flows it orders their sources by Python's string hash, which differs
    from run to run; here they keep the order of the text, so that a score is the same on every machine.
    """

    id = "codebleu"
    statistics = (
        *(f"matches_{n}" for n in _ORDERS),
        *(f"total_{n}" for n in _ORDERS),
        *(f"weighted_matches_{n}" for n in _ORDERS),
        *(f"weighted_total_{n}" for n in _ORDERS),
        "length",
        "reference_length",
        "weighted_reference_length",
        "syntax_matches",
        "syntax_total",
        "flow_matches",
        "flow_total",
    )

    def compute(self, batch: Batch) -> pl.DataFrame:
        pairs = zip(batch.predictions.to_list(), batch.references.to_list(), strict=True)
        rows = [_counts(p.strip(), [r.strip() for r in references]) for p, references in pairs]
        return pl.DataFrame(rows, schema=dict.fromkeys(self.statistics, pl.Float64), orient="row")

    def worst(self, batch: Batch) -> pl.DataFrame:
        stats = self.compute(Batch(batch.silence(), batch.references))
        # An empty program still shares the root of an empty tree, and a reference without tokens.
        matches = [name for name in self.statistics if "matches" in name]
        return stats.with_columns(pl.lit(0.0).alias(name) for name in matches)

    def score_of(self, sums: Mapping[str, float]) -> float:
        return _score(sums)

    def instance_scores(self, stats: pl.DataFrame) -> pl.Series:
        return pl.Series([_score(row) for row in stats.iter_rows(named=True)], dtype=pl.Float64)


def _score(sums: Mapping[str, float]) -> float:
    ngrams = _brevity(sums, "reference_length") * _geometric_mean(sums, "matches", "total")
    weighted = _geometric_mean(sums, "weighted_matches", "weighted_total")
    weighted *= _brevity(sums, "weighted_reference_length")
    syntax = sums["syntax_matches"] / sums["syntax_total"] if sums["syntax_total"] else 0.0
    flow = sums["flow_matches"] / sums["flow_total"] if sums["flow_total"] else 0.0
    # The package takes a data-flow match of 0 for "none to compare", whatever its cause.
    return (ngrams + weighted + syntax + (flow or 1.0)) / 4


def _brevity(sums: Mapping[str, float], reference_length: str) -> float:
    length, expected = sums["length"], sums[reference_length]
    if length > expected:
        return 1.0
    return math.exp(1 - expected / length) if length else 0.0


def _geometric_mean(sums: Mapping[str, float], matches: str, total: str) -> float:
    if not sums[f"{matches}_1"]:
        return 0.0
    logs = (math.log((sums[f"{matches}_{n}"] or _EPSILON) / sums[f"{total}_{n}"]) for n in _ORDERS)
    return math.exp(math.fsum(logs) / len(_ORDERS))


def _counts(prediction: str, references: Sequence[str]) -> list[float]:
    """One instance's statistics, in the order of `CodeBleu.statistics`."""
    from codebleu.bleu import closest_ref_length

    tokens, others = prediction.split(), [reference.split() for reference in references]
    given, expected = _ngrams(tokens), [_ngrams(words) for words in others]
    plain = [_precision(found, [ngrams[n] for ngrams in expected]) for n, found in enumerate(given)]
    weighted = [_recall(found, [ngrams[n] for ngrams in expected]) for n, found in enumerate(given)]
    trees = [0, 0, 0, 0]
    code = prediction
    for reference in references:
        # As in the package, a prediction is stripped again for each further reference.
        code = _without_comments(code)
        parsed, wanted = _Parsed(code), _Parsed(_without_comments(reference))
        counted = (*_syntax(parsed, wanted), *_flow(parsed, wanted))
        trees = [a + b for a, b in zip(trees, counted, strict=True)]
    row = [
        *(matches for matches, _ in plain),
        *(total for _, total in plain),
        *(matches for matches, _ in weighted),
        *(total for _, total in weighted),
        len(tokens),
        closest_ref_length(others, len(tokens)),
        _WEIGHTED_REFERENCE_LENGTH,
        *trees,
    ]
    return [float(value) for value in row]


def _ngrams(tokens: Sequence[str]) -> list[_Ngrams]:
    """How often each n-gram occurs, for each order."""
    return [Counter(zip(*(tokens[i:] for i in range(n)), strict=False)) for n in _ORDERS]


def _precision(given: _Ngrams, references: Sequence[_Ngrams]) -> tuple[int, int]:
    """N-grams of the prediction that a reference has as often, and all of them, at least 1."""
    matches = sum(
        min(count, max(expected.get(ngram, 0) for expected in references))
        for ngram, count in given.items()
    )
    return matches, max(1, given.total())


def _recall(given: _Ngrams, references: Sequence[_Ngrams]) -> tuple[float, float]:
    """N-grams of the references that the prediction has as often, and all of them, at least 1 each;
    unigrams by the weight of their word."""
    matches = total = 0.0
    for expected in references:
        clipped = {ngram: min(count, given.get(ngram, 0)) for ngram, count in expected.items()}
        matches += _weight(clipped)
        total += max(1, _weight(expected))
    return matches, total


def _weight(counts: Mapping[tuple[str, ...], int]) -> float:
    if not counts or len(next(iter(counts))) > 1:
        return sum(counts.values())
    keywords = _keywords()
    return sum(
        count * (_KEYWORD_WEIGHT if word in keywords else _OTHER_WEIGHT)
        for (word,), count in counts.items()
    )


def _without_comments(code: str) -> str:
    from codebleu.parser import remove_comments_and_docstrings

    try:
        return remove_comments_and_docstrings(code, "python")
    except Exception:  # the tokeniser's many ways of refusing text that is no Python
        return code


class _Parsed:
    """Code with its tree; a parser, for the package, that has parsed it already."""

    def __init__(self, code: str) -> None:
        self.code = code
        self._tree = _parser().parse(code.encode("utf8", "replace"))

    def parse(self, _: bytes) -> Any:
        return self._tree

    def sub_trees(self) -> list[str]:
        """The root and every inner node as S-expressions."""
        waiting, trees = [self._tree.root_node], []
        while waiting:
            node = waiting.pop()
            trees.append(str(node))
            waiting += [child for child in node.children if child.child_count]
        return trees


def _syntax(prediction: _Parsed, reference: _Parsed) -> tuple[int, int]:
    """Sub-trees of the reference that the prediction has, and all of them."""
    found = set(prediction.sub_trees())
    expected = reference.sub_trees()
    return sum(tree in found for tree in expected), len(expected)


def _flow(prediction: _Parsed, reference: _Parsed) -> tuple[int, int]:
    """Data flows of the reference that the prediction has, and all of them."""
    found, expected = _flows(prediction), _flows(reference)
    matches = 0
    for flow in expected:
        if flow in found:
            found.remove(flow)
            matches += 1
    return matches, len(expected)


def _flows(parsed: _Parsed) -> list[Any]:
    from codebleu.dataflow_match import get_data_flow, normalize_dataflow
    from codebleu.parser import DFG_python

    try:
        flows = get_data_flow(parsed.code, [parsed, DFG_python])
    except RecursionError:
        return []
    name_at = {place: name for name, place, *_ in flows}
    ordered = [
        (name, place, kind, _sources(names, places, name_at), places)
        for name, place, kind, names, places in flows
    ]
    return normalize_dataflow(ordered)


def _sources(names: list[str], places: list[int], name_at: dict[int, str]) -> list[str]:
    """The names that a value comes from, in the order of the text.

    The package gives them in that order, but where it merges flows the order is lost in a set.
    """
    by_place = [name_at.get(place) for place in places]
    if names == by_place:
        return names
    known = [name for name in dict.fromkeys(by_place) if name in names]
    return [*known, *sorted(set(names).difference(known))]  # type: ignore[list-item]


@lru_cache(maxsize=1)
def _parser() -> Any:
    import warnings

    from codebleu.utils import get_tree_sitter_language
    from tree_sitter import Parser

    with warnings.catch_warnings():
        # tree-sitter 0.22 warns of the integer handle that its grammars of that age give.
        warnings.simplefilter("ignore")
        language = get_tree_sitter_language("python")
    parser = Parser()
    parser.language = language
    return parser


@lru_cache(maxsize=1)
def _keywords() -> frozenset[str]:
    from codebleu.codebleu import PACKAGE_DIR

    text = (PACKAGE_DIR / "keywords" / "python.txt").read_text(encoding="utf-8")
    return frozenset(line.strip() for line in text.splitlines())
