"""Language tasks: names of places and languages, the standard library, jobs, feelings."""

from __future__ import annotations

import ast
import csv
import datetime
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import wheels
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MultiLabelBinarizer, StandardScaler
from sklearn.svm import LinearSVC

from . import sources
from .core import (
    Answer,
    Example,
    Examples,
    Task,
    classifier,
    matrix,
    numbers,
    rng,
    sample,
    targets,
    texts,
)

CLDR = "CLDR through Babel"
STDLIB = "Python standard library"
EMPLOYMENT = "US employment"
VADER = "VADER lexicon"


def _split(examples: list[Example], count: int, name: str) -> tuple[list[Example], list[Example]]:
    """Training and test examples; `count` for testing."""
    order = rng(name).permutation(len(examples))
    return [examples[i] for i in order[count:]], [examples[i] for i in order[:count]]


def _task(*, title: str, folder: str, type: str, **details: Any) -> Task:
    return Task(
        title=title,
        folder=folder,
        type=type,
        modality="language",
        paradigm="language",
        **details,
    )


# --- places and languages ------------------------------------------------------------------------


def _territories() -> list[dict[str, Any]]:
    """Countries and areas with two-letter codes, and what CLDR knows of them."""
    from babel import Locale
    from babel.core import get_global
    from babel.languages import get_official_languages
    from babel.numbers import get_territory_currencies

    english = Locale("en")
    zones: dict[str, list[str]] = defaultdict(list)
    for zone, territory in sorted(get_global("zone_territories").items()):
        if "/" in zone and not zone.startswith("Etc"):
            zones[territory].append(zone)
    found = []
    for code, name in sorted(english.territories.items()):
        # The date is fixed, so that the answer does not depend on the day of the run.
        currencies = get_territory_currencies(code, datetime.date(2024, 1, 1))
        official = get_official_languages(code, de_facto=True)
        names = [english.languages.get(tongue) for tongue in official]
        if re.fullmatch("[A-Z]{2}", code) and currencies and all(names) and names and zones[code]:
            found.append(
                {
                    "code": code,
                    "name": name,
                    "zones": [z.replace("_", " ") for z in zones[code][:3]],
                    "currency": english.currencies[currencies[0]],
                    "currency_code": currencies[0],
                    "languages": names,
                }
            )
    return found


def currency_question() -> Task:
    from babel import Locale

    def make(place: dict[str, Any]) -> Example:
        context = (
            f"{place['name']} speaks {', '.join(place['languages'])}. "
            f"Time zones: {', '.join(place['zones'])}."
        )
        question = f"What is the currency of {place['name']}?"
        return Example(
            {"input": {"question": question, "context": context}},
            f"{context} {question}",
            place["currency"],
            accepted=[place["currency_code"]],
            hint=place,
        )

    train, test = _split([make(p) for p in _territories()], 70, "currency")

    def specialist(train: Examples, test: Examples) -> list[Answer]:
        """Links a place to a currency of the same root, else to its neighbours' currency."""
        known = sorted(set(Locale("en").currencies.values()))
        known = [k for k in known if not re.search(r"\(|\d|Unit|Gold|Silver", k)]
        words = make_pipeline(
            TfidfVectorizer(token_pattern=r"[\w/]+"), LogisticRegression(C=30, max_iter=2000)
        )
        fallback = classifier(words.fit, texts)(train, test)
        last = Counter(str(e.answer).split()[-1] for e in train)
        answers: list[Answer] = []
        for example, other in zip(test, fallback, strict=True):
            root = example.hint["name"].split()[-1].casefold()[:5]
            linked = [k for k in known if k.casefold().startswith(root)]
            answers.append(max(linked, key=lambda k: last[k.split()[-1]]) if linked else other)
        return answers

    return _task(
        title="Currency Question Answering",
        short_title="Currency QA",
        folder="Currency-Question-Answering",
        type="OpenQA",
        skill="Question Answering",
        metric="token_f1",
        unit="percent",
        kind="text",
        reference_path="output.answer",
        train=train,
        test=test,
        specialist=specialist,
        specialist_name="linking names to CLDR currencies, logistic regression as fallback",
        source=CLDR,
        note="two accepted answers: the currency's name and its code",
    )


def official_languages() -> Task:
    def make(place: dict[str, Any]) -> Example:
        text = (
            f"{place['name']} pays in {place['currency']}. "
            f"Its time zones: {', '.join(place['zones'])}."
        )
        prompt = "Name its official languages, separated by commas."
        labels = frozenset(name.lower() for name in place["languages"])
        return Example({"input": {"text": text, "prompt": prompt}}, text, labels)

    train, test = _split([make(p) for p in _territories()], 70, "official languages")

    def specialist(train: Examples, test: Examples) -> list[Answer]:
        vectors = TfidfVectorizer(token_pattern=r"\w+", ngram_range=(1, 2), sublinear_tf=True)
        coder = MultiLabelBinarizer()
        model = OneVsRestClassifier(LinearSVC(C=1.0))
        model.fit(
            vectors.fit_transform(texts(train)),
            coder.fit_transform([e.answer for e in train]),
        )
        margins = model.decision_function(vectors.transform(texts(test)))
        names = np.array(coder.classes_)
        return [frozenset(names[(row > -0.3) | (row == row.max())].tolist()) for row in margins]

    return _task(
        title="Official Language Labelling",
        short_title="Official Lang",
        folder="officialLanguageLabelling",
        type="multi label classification",
        skill="Classification",
        metric="micro_f1",
        unit="percent",
        kind="labels",
        reference_path="output.languages",
        train=train,
        test=test,
        specialist=specialist,
        specialist_name="one linear support vector classifier a language, words and word pairs",
        source=CLDR,
    )


def name_translation() -> Task:
    from babel import Locale

    english, spanish, italian = Locale("en"), Locale("es"), Locale("it")
    pairs = []
    for book in ("territories", "languages"):
        ours, theirs, kin = (getattr(locale, book) for locale in (english, spanish, italian))
        pairs += [
            (ours[code], kin[code], theirs[code])
            for code in set(ours) & set(theirs) & set(kin)
            if ours[code] != theirs[code] and not re.search(r"[\d(]", ours[code])
        ]

    def make(name: str, kin: str, goal: str) -> Example:
        return Example(
            {"in": "English", "out": "Spanish", "input": {"text": name, "also in Italian": kin}},
            f"{name}\n{kin}",
            goal,
            hint=(name, kin),
        )

    train, test = _split([make(*p) for p in sorted(set(pairs))], 100, "translation")

    def specialist(train: Examples, test: Examples) -> list[Answer]:
        """Word by word: a learned word table, else the Italian word with rewritten ending."""
        table: dict[str, Counter[str]] = defaultdict(Counter)
        endings: dict[str, Counter[str]] = defaultdict(Counter)
        for e in train:
            kin, goal = e.hint[1].lower().split(), str(e.answer).lower().split()
            if len(kin) != len(goal):
                continue
            for a, b in zip(kin, goal, strict=True):
                table[a][b] += 1
                for size in (1, 2, 3, 4):
                    stem = a[:-size]
                    if b.startswith(stem) and len(stem) > 1:
                        endings[a[-size:]][b[len(stem) :]] += 1

        def word(source: str) -> str:
            if source in table:
                return table[source].most_common(1)[0][0]
            for size in (4, 3, 2, 1):
                rewrites = endings.get(source[-size:])
                if rewrites and rewrites.most_common(1)[0][1] >= 2:
                    return source[:-size] + rewrites.most_common(1)[0][0]
            return source

        return [" ".join(map(word, e.hint[1].lower().split())) for e in test]

    return _task(
        title="Name Translation (en-es)",
        short_title="Name Trans",
        folder="name_translation_en_es",
        type="Translation",
        skill="Translation",
        metric="rouge_1",
        unit="percent",
        kind="text",
        reference_path="output.translation",
        train=train,
        test=test,
        specialist=specialist,
        specialist_name="word table and rewritten endings from the Italian name",
        source=CLDR,
        note="names of places and languages; the Italian name is given as help",
    )


# --- the standard library ------------------------------------------------------------------------


def module_choice() -> Task:
    pool = [f for f in sources.functions() if 60 <= len(f.doc) <= 400]
    modules = Counter(f.module for f in pool)
    common = sorted(m for m, n in modules.items() if n >= 12)
    pool = [f for f in pool if f.module in common]
    random = rng("module options")

    def make(function: sources.Function) -> Example:
        others = [m for m in common if m != function.module]
        options = [function.module, *random.choice(others, 3, replace=False).tolist()]
        options = [options[i] for i in random.permutation(4)]
        letters = dict(zip("ABCD", options, strict=True))
        question = f"To which module does this belong? {function.name}: {function.doc}"
        return Example(
            {"input": {"question": question, "options": letters}},
            question,
            "ABCD"[options.index(function.module)],
            options=options,
            hint=function,
        )

    train, test = _split([make(f) for f in sample(pool, 900, "module choice")], 100, "modules")

    def specialist(train: Examples, test: Examples) -> list[Answer]:
        vectors = TfidfVectorizer(token_pattern=r"[A-Za-z]{2,}", sublinear_tf=True)
        texts = [f"{e.hint.module} {e.hint.signature} {e.hint.doc}" for e in train]
        model = LogisticRegression(C=100, max_iter=3000)
        model.fit(vectors.fit_transform(texts), [e.hint.module for e in train])
        shown = [f"{e.hint.name} {e.hint.doc} {' '.join(e.options)}" for e in test]
        weights = model.predict_proba(vectors.transform(shown))
        classes = {m: i for i, m in enumerate(model.classes_)}
        return [
            "ABCD"[int(np.argmax([row[classes[o]] if o in classes else 0 for o in e.options]))]
            for e, row in zip(test, weights, strict=True)
        ]

    return _task(
        title="Library Module Choice",
        short_title="Module Choice",
        folder="Library-Module-Choice",
        type="MultipleChoiceQA",
        skill="Question Answering",
        metric="accuracy",
        unit="percent",
        kind="choice",
        reference_path="output.answer",
        train=train,
        test=test,
        specialist=specialist,
        specialist_name="logistic regression over words of names and docstrings",
        source=STDLIB,
    )


def _of_functions(
    make: Callable[[sources.Function], Example | None], count: int, name: str
) -> tuple[list[Example], list[Example]]:
    """Training and test examples of the functions from which `make` makes one."""
    return _split([e for e in map(make, sources.functions()) if e], count, name)


def _likeness(train: Examples) -> Callable[[Examples], np.ndarray]:
    """How like examples are to those of the training split by their words, (examples, train)."""
    vectors = TfidfVectorizer(token_pattern=r"[A-Za-z]{2,}", sublinear_tf=True)
    rows = vectors.fit_transform(texts(train))
    return lambda examples: cosine_similarity(vectors.transform(texts(examples)), rows)


def _spaced(name: str) -> str:
    """A function's name as words: `getDefaultValue`, `get_default` -> `get default`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_+", " ", name).strip().lower()


def _ranked(
    train: Examples,
    test: Examples,
    candidates: Callable[[Example, list[str]], list[str]],
) -> list[Answer]:
    """Picks, among a task's candidates, the one whose overlap with the answer is predicted best."""
    likeness = _likeness(train)
    answers = np.array([str(e.answer) for e in train])

    def offers(examples: Examples, own: bool) -> list[tuple[list[str], np.ndarray]]:
        found = likeness(examples)
        if own:
            np.fill_diagonal(found, -1)
        result = []
        for example, row in zip(examples, found, strict=True):
            near = np.argsort(-row, kind="stable")[:3]
            texts = candidates(example, answers[near].tolist())
            view = Counter(re.findall("[a-z]+", str(example.view).lower()))
            features = []
            for place, text in enumerate(texts):
                tokens = re.findall("[a-z]+", text.lower())
                inside = sum(t in view for t in tokens) / max(len(tokens), 1)
                kind = np.eye(len(texts))[place]
                features.append([*kind, *(kind * row[near[0]]), inside, len(tokens) / 20])
            result.append((texts, np.array(features)))
        return result

    def overlap(a: str, b: str) -> float:
        ours, theirs = (Counter(re.findall("[a-z]+", t.lower())) for t in (a, b))
        return 2 * sum((ours & theirs).values()) / max(sum((ours + theirs).values()), 1)

    known = offers(train, own=True)
    goal = [
        overlap(text, str(e.answer))
        for e, (texts, _) in zip(train, known, strict=True)
        for text in texts
    ]
    model = Ridge(1.0).fit(np.concatenate([features for _, features in known]), goal)
    return [
        texts[int(np.argmax(model.predict(features)))]
        for texts, features in offers(test, own=False)
    ]


def docstring_summary() -> Task:
    def make(function: sources.Function) -> Example | None:
        parts = re.split(r"\n\s*\n", function.doc.strip(), maxsplit=1)
        if len(parts) < 2:
            return None
        summary, rest = " ".join(parts[0].split()), " ".join(parts[1].split())
        if not (4 <= len(summary.split()) <= 22 and 15 <= len(rest.split()) <= 120):
            return None
        document = f"{function.name}({', '.join(function.parameters)})\n{rest}"
        return Example({"document": document}, document, summary, hint=(function.name, rest))

    train, test = _of_functions(make, 80, "summary")

    def specialist(train: Examples, test: Examples) -> list[Answer]:
        def candidates(example: Example, near: list[str]) -> list[str]:
            name, rest = example.hint
            sentences = re.split(r"(?<=[.!?])\s", rest)
            lead = " ".join(sentences[0].split()[:20])
            second = " ".join(sentences[min(1, len(sentences) - 1)].split()[:20])
            return [lead, second, f"Return the {_spaced(name)}.", near[0], near[1]]

        return _ranked(train, test, candidates)

    return _task(
        title="Docstring Summarization",
        short_title="Doc Sum",
        folder="docstring_summarization",
        type="Summarization",
        skill="Summarization",
        metric="rouge_l",
        unit="percent",
        kind="text",
        reference_path="output.summary",
        train=train,
        test=test,
        specialist=specialist,
        specialist_name="ridge ranking of lead sentences, name phrase and retrieved summaries",
        source=STDLIB,
        text_ids=True,
    )


def code_explanation() -> Task:
    def make(function: sources.Function) -> Example | None:
        sentence = sources.first_sentence(function.doc)
        if not (4 <= len(sentence.split()) <= 20 and len(function.code) <= 500):
            return None
        code = function.code
        view = f"{_spaced(function.name)}\n{code}"
        return Example({"code": code}, view, sentence, hint=function.name)

    train, test = _of_functions(make, 80, "explanation")

    def specialist(train: Examples, test: Examples) -> list[Answer]:
        def candidates(example: Example, near: list[str]) -> list[str]:
            words = _spaced(example.hint)
            return [f"Return the {words}.", f"{words.capitalize()} of the object.", *near[:2]]

        return _ranked(train, test, candidates)

    return _task(
        title="Python Code Explanation",
        short_title="Code Expl",
        folder="PythonCodeExplanation",
        type="Code Explanation",
        skill="Code Understanding",
        metric="bleu_1",
        unit="percent",
        kind="text",
        reference_path="output.nl",
        train=train,
        test=test,
        specialist=specialist,
        specialist_name="ridge ranking of name phrases and retrieved explanations",
        source=STDLIB,
    )


def code_comment() -> Task:
    def make(function: sources.Function) -> Example | None:
        words = re.findall(r"[a-z]+", sources.first_sentence(function.doc).lower())
        if not (4 <= len(words) <= 12 and 60 <= len(function.code) <= 400):
            return None
        head = f"{_spaced(function.name)}\n{function.module} {function.signature}"
        row = {"input": {"module": function.module, "signature": function.signature}}
        return Example(row, head, " ".join(words), hint=function)

    train, test = _of_functions(make, 80, "comment")
    train = train[:250]

    def specialist(train: Examples, test: Examples) -> list[Answer]:
        def candidates(example: Example, near: list[str]) -> list[str]:
            name = " ".join(re.findall("[a-z]+", _spaced(example.hint.name)))
            return [f"return the {name}", f"return true if {name}", *near[:2]]

        return _ranked(train, test, candidates)

    return _task(
        title="Signature Comment Writing",
        short_title="Comment Writing",
        folder="signatureCommentWriting",
        type="Comment Writing",
        skill="Code Understanding",
        metric="cider",
        unit="percent",
        kind="text",
        reference_path="output.text",
        train=train,
        test=test,
        specialist=specialist,
        specialist_name="ridge ranking of name phrases and retrieved comments",
        source=STDLIB,
        note="comments as lower-case words without punctuation; 250 training instances",
    )


def code_generation() -> Task:
    def make(function: sources.Function) -> Example | None:
        if not (40 <= len(function.code) <= 320 and len(function.code.splitlines()) <= 9):
            return None
        goal = f"{function.signature}\n{sources.first_sentence(function.doc)}"
        row = {"language": "python", "goal": goal, "context": []}
        return Example(row, goal, function.code, hint=function)

    train, test = _of_functions(make, 70, "code generation")

    def specialist(train: Examples, test: Examples) -> list[Answer]:
        """The body of the most similar function, its parameters renamed in order."""
        answers: list[Answer] = []
        for example, row in zip(test, _likeness(train)(test), strict=True):
            wanted = example.hint
            # Of about equally similar functions, one with as many parameters is easier to adapt.
            bonus = [0.15 * (len(e.hint.parameters) == len(wanted.parameters)) for e in train]
            near = train[int(np.argmax(row + bonus))].hint
            names = dict(zip(near.parameters, wanted.parameters, strict=False))
            tree = ast.parse(near.code)
            for node in ast.walk(tree):
                if isinstance(node, ast.Name):
                    node.id = names.get(node.id, node.id)
            body = ast.unparse(tree).split("\n", 1)[1]
            answers.append(f"{wanted.signature}\n{body}")
        return answers

    return _task(
        title="Python Code Generation",
        short_title="Code Gen",
        folder="Python-Code-Generation",
        type="Code Generation",
        skill="Code Generation",
        metric="codebleu",
        unit="percent",
        kind="text",
        reference_path="output.response.content",
        train=train,
        test=test,
        specialist=specialist,
        specialist_name="retrieved function under the wanted signature, parameters renamed",
        source=STDLIB,
    )


def parameter_recognition() -> Task:
    def make(function: sources.Function) -> Example | None:
        text = " ".join(function.doc.split())
        words = set(re.findall(r"\w+", text))
        named = frozenset(p.lower() for p in function.parameters if p in words)
        if not named or not 60 <= len(text) <= 450:
            return None
        prompt = "Which words of this text are names of the function's parameters?"
        return Example({"input": {"text": text, "prompt": prompt}}, text, named)

    train, test = _of_functions(make, 80, "parameters")

    def specialist(train: Examples, test: Examples) -> list[Answer]:
        seen: Counter[str] = Counter()
        as_name: Counter[str] = Counter()
        for e in train:
            words = set(re.findall(r"\w+", str(e.view).lower()))
            seen.update(words)
            as_name.update(words & set(e.answer))

        def features(example: Example, leave_out: bool) -> tuple[list[str], list[dict[str, Any]]]:
            text = str(example.view)
            tokens = list(re.finditer(r"\w+", text))
            counts = Counter(t.group().lower() for t in tokens)
            rows: dict[str, dict[str, Any]] = {}
            for k, token in enumerate(tokens):
                word = token.group().lower()
                n = seen[word] - leave_out
                hits = as_name[word] - (leave_out and word in example.answer)
                row = rows.setdefault(word, {"count": min(counts[word], 4)})
                row |= {
                    "prior": (hits + 0.15) / (n + 1),
                    "never": n == 0,
                    "underscore": "_" in word,
                    "digit": any(c.isdigit() for c in word),
                    "length": min(len(word), 12),
                    "before=" + (tokens[k - 1].group().lower() if k else "^"): 1,
                    "after=" + (tokens[k + 1].group().lower() if k + 1 < len(tokens) else "$"): 1,
                    "left=" + text[max(token.start() - 1, 0) : token.start()].strip(): 1,
                    "right=" + text[token.end() : token.end() + 1].strip(): 1,
                    "capital": token.group()[0].isupper(),
                }
            return list(rows), list(rows.values())

        known = [features(e, True) for e in train]
        goal = [w in e.answer for e, (words, _) in zip(train, known, strict=True) for w in words]
        vectors = DictVectorizer()
        rows = vectors.fit_transform([row for _, block in known for row in block])
        model = make_pipeline(
            StandardScaler(with_mean=False), LogisticRegression(max_iter=3000, solver="liblinear")
        )
        search = GridSearchCV(model, {"logisticregression__C": [0.001, 0.01, 0.1]}, cv=3)
        search.fit(rows, goal)
        answers: list[Answer] = []
        for e in test:
            words, block = features(e, False)
            chances = search.predict_proba(vectors.transform(block))[:, 1]
            chosen = [w for w, c in zip(words, chances, strict=True) if c >= 0.4]
            answers.append(frozenset(chosen or [words[int(chances.argmax())]]))
        return answers

    return _task(
        title="Parameter Name Recognition",
        short_title="Param NER",
        folder="parameter_name_recognition",
        type="ner",
        skill="Information Extraction",
        metric="micro_f1",
        unit="percent",
        kind="labels",
        reference_path="output.entities",
        train=train,
        test=test,
        specialist=specialist,
        specialist_name="logistic regression on words and their neighbours, grid search",
        source=STDLIB,
    )


# --- figures and feelings ------------------------------------------------------------------------


def employment_forecast() -> Task:
    path = wheels.package_file("vega_datasets", "_data", "us-employment.csv")
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    sectors = [c for c in rows[0] if c not in ("month", "nonfarm_change")]

    def windows(first: int, last: int) -> list[Example]:
        found = []
        for sector in sectors:
            levels = np.array([float(row[sector]) for row in rows])
            for end in range(first, last):
                past = levels[end - 12 : end]
                title = sector.replace("_", " ")
                found.append(
                    Example(
                        {
                            "input": {
                                "sector": title,
                                "until": rows[end - 1]["month"],
                                "thousands": numbers(past, 1),
                                "prompt": "How many thousand jobs in the third month from here?",
                            }
                        },
                        past,
                        numbers(levels[end + 2], 1),
                    )
                )
        return found

    split = next(i for i, row in enumerate(rows) if row["month"].startswith("2013-01"))
    train = windows(12, split - 2)
    test = sample(windows(split, len(rows) - 2), 100, "employment")

    def specialist(train: Examples, test: Examples) -> list[Answer]:
        """Ridge on growth rates of the last eleven months, added to the last level."""

        def growth(examples: Examples) -> tuple[np.ndarray, np.ndarray]:
            levels = matrix(examples)
            return 1e3 * np.diff(np.log(levels), axis=1), levels[:, -1]

        rates, last = growth(train)
        model = RidgeCV(np.logspace(-2, 5, 22))
        model.fit(rates, 1e3 * np.log(targets(train)[:, 0] / last))
        rates, last = growth(test)
        return [[float(v)] for v in last * np.exp(model.predict(rates) / 1e3)]

    return _task(
        title="Employment Forecasting",
        short_title="Jobs Forecast",
        folder="EmploymentForecasting",
        type="Time Series",
        skill="Time Series Prediction",
        metric="mae",
        unit="raw",
        kind="numbers",
        reference_path="output.target",
        train=train,
        test=test,
        specialist=specialist,
        specialist_name="ridge regression of growth rates",
        source=EMPLOYMENT,
        note="thousands of jobs; trained on months before 2013, tested on later ones",
    )


def word_sentiment() -> Task:
    path = wheels.package_file("vaderSentiment", "vader_lexicon.txt")
    pairs = []
    for line in path.read_text("utf-8").splitlines():
        word, mean, spread = line.split("\t")[:3]
        # Clear cases only: the ten raters' mean lies more than its spread away from zero.
        if re.fullmatch("[a-z]{4,}", word) and abs(float(mean)) > max(float(spread), 1.0):
            pairs.append((word, "positive" if float(mean) > 0 else "negative"))
    prompt = "Is this word positive or negative?"
    examples = [
        Example({"input": {"text": word, "prompt": prompt}}, word, label)
        for word, label in sample(pairs, 1600, "sentiment")
    ]
    train, test = _split(examples, 100, "feelings")

    model = make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 5), sublinear_tf=True),
        LinearSVC(class_weight="balanced"),
    )
    search = GridSearchCV(model, {"linearsvc__C": [0.03, 0.1, 0.3, 1, 3]}, cv=5)
    return _task(
        title="Word Sentiment Classification",
        short_title="Word Sentiment",
        folder="wordSentimentClassification",
        type="classification",
        skill="Sentiment Analysis",
        metric="micro_f1",
        unit="percent",
        kind="label",
        reference_path="output.label",
        train=train,
        test=test,
        specialist=classifier(search.fit, texts),
        specialist_name="linear support vector classifier on letter sequences, grid search",
        source=VADER,
    )


TASKS = (
    module_choice,
    currency_question,
    official_languages,
    name_translation,
    docstring_summary,
    code_explanation,
    code_comment,
    code_generation,
    parameter_recognition,
    employment_forecast,
    word_sentiment,
)
