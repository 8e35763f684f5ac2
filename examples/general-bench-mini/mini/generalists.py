"""Three generalists: one method each, applied to every task that the method's input allows.

A generalist sees of an instance its view (numbers or text) and its options, of a task its training
split and the kind of its answers, and nothing else: no title, no metric, no test answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import ComplementNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import FeatureUnion
from sklearn.preprocessing import MultiLabelBinarizer, StandardScaler
from sklearn.svm import SVC

from .core import SEED, Answer, Examples, Task, matrix, targets, texts

#: Numbers or text of the training and test split as rows that scikit-learn takes.
Rows = tuple[object, object]


def _letter(example_options: list[str], weights: dict[str, float]) -> str:
    """The letter of the option with the largest weight; A when no option has any."""
    values = [weights.get(option, 0.0) for option in example_options]
    return chr(ord("A") + int(np.argmax(values)))


def _label(example, kind: str) -> str:
    """The label to learn: the answer, or the text of the right option."""
    return example.options[ord(example.answer) - ord("A")] if kind == "choice" else example.answer


def _is_text(task: Task) -> bool:
    return isinstance(task.train[0].view, str)


def _text_features(kinds: str) -> FeatureUnion:
    makers = {
        "characters": TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), min_df=2),
        "words": TfidfVectorizer(token_pattern=r"\w+", sublinear_tf=True),
    }
    return FeatureUnion([(kind, makers[kind]) for kind in kinds.split("+")])


def _rows(task: Task, test: Examples, kinds: str = "characters+words") -> Rows:
    if _is_text(task):
        features = _text_features(kinds).fit(texts(task.train))
        return tuple(features.transform(texts(split)) for split in (task.train, test))
    views = [matrix(split) for split in (task.train, test)]
    scaler = StandardScaler().fit(views[0])
    return tuple(scaler.transform(v) for v in views)


# --- majority-baseline ---------------------------------------------------------------------------


def majority(task: Task, test: Examples) -> list[Answer]:
    """The commonest answer of the training split, whatever the input; for numbers their mean."""
    if task.kind == "numbers":
        mean = targets(task.train).mean(axis=0)
        return [mean.tolist() for _ in test]
    counts = Counter(e.answer for e in task.train)
    # Free texts hardly ever repeat: of equally common answers the alphabetically first is taken.
    best = min(counts, key=lambda a: (-counts[a], sorted(a) if isinstance(a, frozenset) else a))
    return [best for _ in test]


# --- nearest-neighbour ---------------------------------------------------------------------------


def _neighbours(
    task: Task, test: Examples, count: int, kinds: str = "characters+words"
) -> tuple[np.ndarray, np.ndarray]:
    """Distances and positions of the nearest training instances, (test, count)."""
    from sklearn.neighbors import NearestNeighbors

    train_rows, test_rows = _rows(task, test, kinds)
    # TF-IDF rows of the union are compared by angle, numbers by distance.
    metric = "cosine" if _is_text(task) else "euclidean"
    search = NearestNeighbors(n_neighbors=min(count, len(task.train)), metric=metric)
    return search.fit(train_rows).kneighbors(test_rows)


def nearest_neighbour(task: Task, test: Examples) -> list[Answer]:
    """Answers of the three nearest training instances: their vote or mean; for text the nearest."""
    distances, positions = _neighbours(task, test, 3)
    answers: list[Answer] = []
    for example, row, near in zip(test, positions, distances, strict=True):
        found = [task.train[i] for i in row]
        if task.kind == "numbers":
            answers.append(targets(found).mean(axis=0).tolist())
        elif task.kind in ("label", "choice"):
            votes: dict[str, float] = {}
            for neighbour, distance in zip(found, near, strict=True):
                label = _label(neighbour, task.kind)
                votes[label] = votes.get(label, 0.0) + 1 / (distance + 1e-6)
            if task.kind == "choice":
                answers.append(_letter(example.options, votes))
            else:
                answers.append(max(votes, key=lambda k: votes[k]))
        else:
            answers.append(found[0].answer)
    return answers


# --- tuned-ensemble ------------------------------------------------------------------------------


def _folds() -> KFold:
    return KFold(3, shuffle=True, random_state=SEED)


def _classifiers(text: bool) -> list:
    if text:
        return [
            LogisticRegression(C=10, max_iter=2000),
            ComplementNB(alpha=0.3),
            KNeighborsClassifier(5, metric="cosine", weights="distance"),
        ]
    return [
        LogisticRegression(C=0.1, max_iter=2000),
        SVC(C=10, gamma="scale"),
        ExtraTreesClassifier(300, random_state=SEED),
        KNeighborsClassifier(3, weights="distance"),
    ]


def _probabilities(model, rows) -> np.ndarray:
    """Class probabilities; for a margin classifier the soft maximum of its margins."""
    if hasattr(model, "predict_proba"):
        return model.predict_proba(rows)
    margins = model.decision_function(rows)
    if margins.ndim == 1:
        margins = np.stack([-margins, margins], axis=1)
    powers = np.exp(2 * (margins - margins.max(axis=1, keepdims=True)))
    return powers / powers.sum(axis=1, keepdims=True)


def _ensemble_labels(task: Task, test: Examples) -> list[Answer]:
    train_rows, test_rows = _rows(task, test)
    labels = np.array([_label(e, task.kind) for e in task.train])
    total = np.zeros((len(test), len(set(labels))))
    classes: np.ndarray | None = None
    for model in _classifiers(_is_text(task)):
        accuracies = []
        for inside, outside in _folds().split(labels):
            fold = clone(model).fit(train_rows[inside], labels[inside])
            accuracies.append((fold.predict(train_rows[outside]) == labels[outside]).mean())
        model.fit(train_rows, labels)
        # Squared, so that a member that is merely good does not outvote an excellent one.
        total += _probabilities(model, test_rows) * np.mean(accuracies) ** 2
        classes = model.classes_
    assert classes is not None
    if task.kind == "choice":
        weights = [dict(zip(classes, row, strict=True)) for row in total]
        return [_letter(e.options, w) for e, w in zip(test, weights, strict=True)]
    return [str(classes[i]) for i in total.argmax(axis=1)]


def _ensemble_numbers(task: Task, test: Examples) -> list[Answer]:
    """Ridge, trees and neighbours, mixed with the weights that fit best out of fold."""
    from scipy.optimize import nnls

    train_rows, test_rows = _rows(task, test)
    goal = targets(task.train)
    scale = goal.std(axis=0) + 1e-9
    goal_scaled = (goal - goal.mean(axis=0)) / scale
    if goal.shape[1] == 1:
        goal_scaled = goal_scaled.ravel()
    members = [
        RidgeCV(np.logspace(-1, 4, 11)),
        ExtraTreesRegressor(200, min_samples_leaf=2, max_features=0.5, random_state=SEED),
        KNeighborsRegressor(5, weights="distance"),
    ]
    inside = [cross_val_predict(m, train_rows, goal_scaled, cv=_folds()).ravel() for m in members]
    weights, _ = nnls(np.stack(inside, axis=1), goal_scaled.ravel())
    weights /= max(weights.sum(), 1e-9)
    mixed = sum(
        w * m.fit(train_rows, goal_scaled).predict(test_rows).reshape(len(test), -1)
        for w, m in zip(weights, members, strict=True)
    )
    return (mixed * scale + goal.mean(axis=0)).tolist()


def _ensemble_sets(task: Task, test: Examples) -> list[Answer]:
    """One classifier a label, with the threshold that gives the best micro-F1 out of fold."""
    train_rows, test_rows = _rows(task, test)
    coder = MultiLabelBinarizer()
    goal = coder.fit_transform([e.answer for e in task.train])
    common = goal.sum(axis=0) >= 3
    names = np.array(coder.classes_)[common]
    goal = goal[:, common]
    one = LogisticRegression(C=30, max_iter=2000, class_weight="balanced", solver="liblinear")
    model = OneVsRestClassifier(one)
    inside = cross_val_predict(model, train_rows, goal, cv=_folds(), method="predict_proba")

    def micro(threshold: float) -> float:
        chosen = inside >= threshold
        return 2 * (chosen & (goal == 1)).sum() / max(chosen.sum() + goal.sum(), 1)

    best = max(np.linspace(0.1, 0.9, 33), key=micro)
    found = model.fit(train_rows, goal).predict_proba(test_rows)
    return [frozenset(names[row >= best]) or frozenset([str(names[row.argmax()])]) for row in found]


def _words(text: str) -> Counter[str]:
    return Counter(text.lower().split())


def _agreement(a: str, b: str) -> float:
    """F1 of two texts' words, counted, blended with that of their letter pairs."""

    def f1(x: Counter[str], y: Counter[str]) -> float:
        return 2 * sum((x & y).values()) / max(sum(x.values()) + sum(y.values()), 1)

    pairs = [Counter(t[i : i + 2] for i in range(len(t) - 1)) for t in (a.lower(), b.lower())]
    return 0.7 * f1(_words(a), _words(b)) + 0.3 * f1(*pairs)


def _ensemble_text(task: Task, test: Examples) -> list[Answer]:
    """Retrieval, agreement among neighbours, or the input's own lines: what fits training best."""
    count = 12

    def consensus(width: int) -> Callable[[str, list[str]], str]:
        def choose(_: str, near: list[str]) -> str:
            pool = near[:width]
            return max(pool, key=lambda c: sum(_agreement(c, other) for other in pool))

        return choose

    def line(number: int) -> Callable[[str, list[str]], str]:
        def choose(view: str, _: list[str]) -> str:
            lines = [part for part in view.splitlines() if part.strip()] or [view]
            return lines[min(number, len(lines) - 1)].strip()

        return choose

    ways = [lambda _, near: near[0], consensus(3), consensus(6), consensus(count)]
    if _is_text(task):
        ways += [line(0), line(1)]
    best = (-1.0, ways[0], "")
    for kinds in ("characters+words", "words", "characters") if _is_text(task) else ("",):
        # The training split's neighbours leave the instance itself out.
        _, positions = _neighbours(task, task.train, count + 1, kinds)
        probe = [
            (str(e.view), str(e.answer), [str(task.train[j].answer) for j in row if j != i][:count])
            for i, (e, row) in enumerate(zip(task.train, positions, strict=True))
        ][:400]
        for way in ways:
            fit = float(np.mean([_agreement(way(view, near), goal) for view, goal, near in probe]))
            best = max(best, (fit, way, kinds), key=lambda found: found[0])
    _, way, kinds = best
    _, positions = _neighbours(task, test, count, kinds)
    return [
        way(str(e.view), [str(task.train[j].answer) for j in row])
        for e, row in zip(test, positions, strict=True)
    ]


def tuned_ensemble(task: Task, test: Examples) -> list[Answer]:
    """Several learners a kind of answer, mixed or chosen by cross-validation on training data."""
    if task.kind == "numbers":
        return _ensemble_numbers(task, test)
    if task.kind == "labels":
        return _ensemble_sets(task, test)
    if task.kind == "text":
        return _ensemble_text(task, test)
    return _ensemble_labels(task, test)


Generalist = Callable[[Task, Examples], list[Answer]]
#: name: method, and the modalities that it takes on.
GENERALISTS: dict[str, tuple[Generalist, frozenset[str]]] = {
    "majority-baseline": (majority, frozenset({"image", "audio", "language"})),
    "nearest-neighbour": (
        nearest_neighbour,
        frozenset({"image", "video", "audio", "3d", "language"}),
    ),
    "tuned-ensemble": (tuned_ensemble, frozenset({"image", "video", "audio", "3d", "language"})),
}
