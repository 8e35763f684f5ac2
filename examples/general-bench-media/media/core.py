"""What a task of the example is: instances, algorithms, and how answers become files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SEED = 20250504

#: The three models, weak to strong. Each has one algorithm a task; the fourth is the specialist's.
MODELS = ("plain-rules", "classic-methods", "fitted-methods")

#: The JSON value of one answer, and the files that it names by path.
Written = tuple[Any, dict[str, bytes]]
#: Makes it from the instance's name and the answer.
Write = Callable[[str, Any], Written]


@dataclass(slots=True)
class Instance:
    """One instance.

    Attributes:
        view: what the algorithms read; the delivered input holds the same.
        truth: the reference, as measured and as delivered.
        shown: the annotation's `input`.
        media: files of the input by path.
    """

    view: Any
    truth: Any
    shown: dict[str, Any]
    media: dict[str, bytes] = field(default_factory=dict)


Instances = Sequence[Instance]
#: The input that delivers a view, and its files: from the instance's name, the view and the prompt.
Show = Callable[[str, Any, str], tuple[dict[str, Any], dict[str, bytes]]]
#: Answers to all instances, already as exact as they are delivered.
Predict = Callable[[Instances], list[Any]]
Figure = Callable[[list[Any], list[Any]], float]


@dataclass(frozen=True, slots=True)
class Method:
    """An algorithm and its name, and how its answers are written if not as the task's."""

    name: str
    predict: Predict
    write: Write | None = None


@dataclass(slots=True)
class Task:
    """A task with its delivered instances; whatever the algorithms were fitted on stays out.

    Attributes:
        methods: those of `MODELS`, in their order.
        figure: the metric of answers and truths by outside libraries, in the task's unit.
        library: which library measures it.
        shared: files that belong to the task and not to an instance.
    """

    title: str
    short_title: str
    modality: str
    paradigm: str
    folder: str
    type: str
    skill: str
    metric: str
    instances: list[Instance]
    write: Write
    methods: tuple[Method, Method, Method]
    specialist: Method
    figure: Figure
    library: str
    source: str
    note: str
    write_truth: Write | None = None
    unit: str = "percent"
    direction: str = "higher"
    zipped: bool = False
    #: Makes one file of all the answers; by default each answer has its own.
    shared: Callable[[list[Any]], dict[str, bytes]] | None = None

    @property
    def task_id(self) -> str:
        slug = re.sub(r"[^a-z0-9]+", "-", self.title.casefold()).strip("-")
        return f"{self.modality}.{self.paradigm}.{slug}"

    @property
    def path(self) -> str:
        return f"{self.modality}/{self.paradigm}/{self.folder}"


def asked(prompt: str, show: Show, made: Iterable[tuple[Any, Any]]) -> list[Instance]:
    """Numbered instances of views and their truths that all ask the same."""
    return [
        Instance(view, truth, *show(f"{number:03d}", view, prompt))
        for number, (view, truth) in enumerate(made, 1)
    ]


def rng(name: str) -> np.random.Generator:
    """Random numbers that depend on the name only, so that tasks can be made one by one."""
    return np.random.default_rng([SEED, *name.encode()])


def each(function: Callable[[Any], Any]) -> Predict:
    """An algorithm that looks at one instance's view at a time."""
    return lambda instances: [function(instance.view) for instance in instances]


def rounded(values: Any, decimals: int = 2) -> list[Any]:
    """Nested lists of rounded numbers, as JSON shows them."""
    return np.round(np.asarray(values, dtype=float), decimals).tolist()
