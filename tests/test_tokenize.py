"""The tokeniser's fast path gives NLTK's tokens exactly, and needs no download."""

from __future__ import annotations

import inspect
import random
import statistics
import string

import polars as pl
import punkt
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.tokenize.destructive import NLTKWordTokenizer
from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

from tasks.metrics.tokenize import word_bags

PIECES = (
    "Dr. Smith U.S. etc. e.g. 3.14 1,000 it's don't 'tis cannot gonna (see below) ... wait... "
    "what?! No! yes. a. Mr. well-known -- co. Inc. $5 #1 50% http://a.b/c?d=e foo:bar x: 'quoted' "
    "O'Neil's 's n't a.b. 1. 2). end.) Hello world the St. Jan. naïve 日本語。 emoji😀. [x] a;b and/or "
    ". , ? ! ' wouldn't've D'ye more'n <p> x.y.z A I no. p.m. s' '' \"hi\" `` The cat sat. ran, "
    "(U.S. e.g.) i.e., D.C. a.m. p.m.) J. No.' yes.) Mr.'s Dr.? 7. x! B? ).' 'n' ('quoted). 1st. co.-op "
    '"Stop" "Stop." "Stop," stop." etc." (e.g., "U.S." u.s.? u.s.. "( (" " 5"x7" "a.b" "A. "? ." ?" '
    'end.") "(see yes.)No U.S., etc.), wait...what "...and and..." hm.. no?? (!) -- "-- .-- ). .) ."( '
    '[a.] St.) Ph.D., vs. Fig. 2.5? "\'Tis o\'clock. "it\'s." cannot? _x_ -x. a@b.c. ;. :" ," [a!"! 1.(,{?'
).split()
#: What chunks are made of: marks that end sentences or look like it, quotes, brackets.
SIGNS = "ab.?!\"'()[]{},;:-A1é_$%&*<>`"


def punkt_parameters() -> PunktParameters:
    """NLTK's Punkt parameters from the published English model."""
    model = punkt.load_model("english")
    parameters = PunktParameters()
    parameters.abbrev_types = set(model.abbrev_types)
    parameters.collocations = set(model.collocations)
    parameters.sent_starters = set(model.sent_starters)
    parameters.ortho_context.update(model.ortho_context)
    return parameters


SENTENCES = PunktSentenceTokenizer(punkt_parameters())
TREEBANK = NLTKWordTokenizer()


def word_tokenize(text: str) -> list[str]:
    """What `nltk.word_tokenize` does, on the same parameters."""
    return [token for s in SENTENCES.tokenize(text) for token in TREEBANK.tokenize(s)]


def check(texts: list[str]) -> None:
    """The tokens of a whole column are NLTK's tokens of each text."""
    found = word_bags(pl.Series(texts, dtype=pl.String)).to_lists()
    for text, tokens in zip(texts, found, strict=True):
        assert tokens == word_tokenize(text), text


def test_six_thousand_awkward_texts():
    rng = random.Random(1)
    check([" ".join(rng.choices(PIECES, k=rng.randint(0, 12))) for _ in range(6_000)])


def test_chunks_of_any_signs_between_words():
    rng = random.Random(2)

    def chunk() -> str:
        if rng.random() < 0.5:
            return rng.choice(PIECES)
        return "".join(rng.choices(SIGNS, k=rng.randint(1, 6)))

    check([" ".join(chunk() for _ in range(rng.randint(1, 6))) for _ in range(6_000)])


def test_what_ends_a_sentence_inside_a_chunk_at_the_end_need_not_do_so_before_another():
    check(
        [
            '""1 x" below)',
            'end. x.y.z [a!"! etc. and/or',
            'St. 5"x7" 1.(,{? 1a(%[ end.',
            'The sign says "STOP." Then it rained.',
        ]
    )


def test_real_prose():
    texts = [
        inspect.getdoc(o) or "" for m in (statistics, random, string) for o in vars(m).values()
    ]
    lines = [line for text in texts for line in (text, " ".join(text.split()), *text.splitlines())]
    assert len(lines) > 500
    check(lines)


@settings(max_examples=1500, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(),
            st.text(alphabet="ab .,?!'\"()`-:;0123\n\t\u00a0“”…é"),
            st.lists(st.sampled_from(PIECES)).map(" ".join),
        ),
        max_size=4,
    )
)
def test_any_texts(texts):
    check(texts)
