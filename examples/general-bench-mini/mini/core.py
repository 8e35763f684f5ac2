"""What a task of the example is: its instances, its split, its specialist."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

SEED = 20250504

#: One answer: a label, free text, a set of labels, or numbers.
Answer = str | frozenset[str] | list[float]
#: label: one of the training labels; choice: the letter of one of the instance's options;
#: labels: a set of labels; text: free text; numbers: a fixed number of values.
Kind = Literal["label", "choice", "labels", "text", "numbers"]
View = np.ndarray | str


@dataclass(slots=True)
class Example:
    """One instance.

    Attributes:
        row: what stands in the annotation beside `id` and `output`.
        view: all that a generalist may look at, made from `row` alone: numbers (1-d) or text.
        answer: the reference that models are trained on and specialists scored against.
        accepted: further references that count as right (text only).
        options: the choices, for kind `choice`.
        media: files that belong to the instance, by path relative to the task folder.
        hint: what the task's own specialist reads; never given to a generalist.
    """

    row: dict[str, Any]
    view: View
    answer: Answer
    accepted: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    media: dict[str, bytes] = field(default_factory=dict)
    hint: Any = None

    @property
    def references(self) -> list[str]:
        """Every text that counts as right; for text answers only."""
        return [str(self.answer), *self.accepted]


Examples = Sequence[Example]
Specialist = Callable[[Examples, Examples], list[Answer]]


@dataclass(slots=True)
class Task:
    """A task with its training split (never delivered) and its test split (the delivered one)."""

    title: str
    short_title: str
    modality: str
    paradigm: str
    folder: str
    type: str
    skill: str
    metric: str
    unit: str
    kind: Kind
    reference_path: str
    train: list[Example]
    test: list[Example]
    specialist: Specialist
    specialist_name: str
    source: str
    note: str = ""
    text_ids: bool = False
    zipped: bool = False

    @property
    def slug(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.title.casefold()).strip("-")

    @property
    def task_id(self) -> str:
        if self.modality == "language":
            return f"language.{self.slug}"
        return f"{self.modality}.{self.paradigm}.{self.slug}"

    @property
    def path(self) -> str:
        """Folder of the task inside a dataset or a submission."""
        if self.modality == "language":
            return f"nlp/{self.folder}"
        return f"{self.modality}/{self.paradigm}/{self.folder}"

    def instance_id(self, position: int) -> int | str:
        return f"{self.slug}-{position + 1:03d}" if self.text_ids else position + 1


def rng(name: str) -> np.random.Generator:
    """Random numbers that depend on the task's name only, so that tasks can be made one by one."""
    return np.random.default_rng([SEED, *name.encode()])


def sample(items: Sequence[Any], count: int, name: str) -> list[Any]:
    """`count` items (all if fewer) without repetition, in their original order."""
    order = rng(name).permutation(len(items))[:count]
    return [items[i] for i in sorted(order)]


def train_and_test(
    make: Callable[..., Example], read: Callable[[str], Sequence[Any]], count: int, name: str
) -> tuple[list[Example], list[Example]]:
    """Examples of all that `read` has of the split TRAIN, and of `count` of the split TEST."""
    train, test = (list(zip(*read(split), strict=True)) for split in ("TRAIN", "TEST"))
    return [make(*item) for item in train], [make(*item) for item in sample(test, count, name)]


def numbers(values: Any, decimals: int = 2) -> list[float]:
    """A flat list of rounded numbers, as JSON shows them; whole numbers stay whole."""
    rounded = np.round(np.asarray(values, dtype=float).ravel(), decimals)
    return [int(v) if v == int(v) else float(v) for v in rounded]


def resample(series: np.ndarray, length: int) -> np.ndarray:
    """A (frames, channels) series at `length` evenly spaced moments, flat."""
    at = np.linspace(0, len(series) - 1, length)
    steps = np.arange(len(series))
    return np.stack([np.interp(at, steps, channel) for channel in series.T], axis=1).ravel()


def matrix(examples: Examples) -> np.ndarray:
    """The numeric views of examples, one row each."""
    return np.stack([np.asarray(e.view, dtype=float) for e in examples])


def texts(examples: Examples) -> list[str]:
    """The views of examples as text."""
    return [str(e.view) for e in examples]


def targets(examples: Examples) -> np.ndarray:
    """The numeric answers of examples, one row each."""
    return np.array([e.answer for e in examples], dtype=float)


def classifier(fit: Callable[[Any, list], Any], rows: Callable[[Examples], Any]) -> Specialist:
    """A specialist for labels: a model that `fit` makes, reading what `rows` makes of examples."""

    def specialist(train: Examples, test: Examples) -> list[Answer]:
        model = fit(rows(train), [e.answer for e in train])
        return list(map(str, model.predict(rows(test))))

    return specialist


def regressor(model: Any, guess: Callable[[Examples], Any] = lambda _: 0.0) -> Specialist:
    """A specialist for numbers: a model that reads the views and corrects a simple guess, if any."""

    def specialist(train: Examples, test: Examples) -> list[Answer]:
        model.fit(matrix(train), targets(train) - guess(train))
        return (model.predict(matrix(test)) + guess(test)).tolist()

    return specialist
