"""What a check finds: findings, tasks, boards, costs, and the verdict over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "unknown_task",
    "two_folders",
    "file",
    "unscorable",
    "row",
    "type",
    "media",
    "outside",
    "features",
    "missing",
    "duplicate",
    "extra",
    "reference",
    "ignored",
]

#: How people are told of each kind, in the order of gravity.
LABELS: dict[Kind, str] = {
    "unknown_task": "unknown task",
    "two_folders": "two folders for one task",
    "file": "file damaged or absent",
    "unscorable": "task cannot be scored",
    "row": "row not usable",
    "type": "wrong type",
    "media": "media not usable",
    "outside": "media outside the submission",
    "features": "features not usable",
    "missing": "no prediction",
    "duplicate": "id more than once",
    "extra": "id that no instance has",
    "reference": "reference not usable",
    "ignored": "files that are not read",
}
#: What to do about each kind of loss.
_REMEDIES: dict[Kind, str] = {
    "unknown_task": "give the folder the name of a task",
    "two_folders": "keep one folder for the task",
    "file": 'write the file again: a list of {"id": ..., "prediction": ...} in valid JSON',
    "unscorable": "see the reason; the answers themselves may be good",
    "row": "give each row an id and a prediction",
    "type": "make every prediction what is expected",
    "media": "put whole files beside prediction.json, in a format that the metric reads",
    "outside": "copy the files into the task's folder and name them from there",
    "features": "extract them again as the reason says",
    "missing": "answer every instance",
    "duplicate": "keep one row for each id",
}
#: Kinds that cost a submission nothing.
NOTES = frozenset({"extra", "reference", "ignored"})

READY, WITH_LOSSES, WORTHLESS = "ready", "ready with losses", "nothing can be scored"


@dataclass(frozen=True, slots=True)
class Example:
    """One case of a finding.

    Attributes:
        position: the row in its file, from 0; None for a file, or for a row that is not there.
        instance_id: its id, or the name of a file that is not read.
        reason: what is wrong in this case; empty where the finding says it all.
    """

    position: int | None
    instance_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of trouble in one task's file.

    Attributes:
        kind: one of `LABELS`.
        task_id: None where the task is not known.
        source: the file or folder.
        count: rows, instances or files.
        lost: tasks that it costs, 0..1: the share of the task's instances that count as wrong; 0 for
            a note.
        reason: what is wrong, in a sentence.
        examples: the first cases.
        nearest: names of tasks that may be meant.
    """

    kind: Kind
    task_id: str | None
    source: str
    count: int
    lost: float
    reason: str
    examples: tuple[Example, ...] = ()
    nearest: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return LABELS[self.kind]

    @property
    def is_note(self) -> bool:
        return self.kind in NOTES

    @property
    def first(self) -> Example:
        """The first case."""
        return self.examples[0] if self.examples else Example(None, None, "")

    @property
    def why(self) -> str:
        """What is wrong, and what is in the first case."""
        return f"{self.reason}; {self.first.reason}" if self.first.reason else self.reason

    @property
    def remedy(self) -> str:
        """What to do about it; empty for a note."""
        told = _REMEDIES.get(self.kind, "")
        return f"{told}: {' or '.join(self.nearest)}?" if self.nearest else told


@dataclass(frozen=True, slots=True)
class TaskCheck:
    """How one task's predictions meet its instances.

    Attributes:
        expected: what a prediction has to be.
        ground: what the ids were held against: `references`, `ids` (of inputs without references) or
            `nothing` (instances are then the ids that were predicted).
        n_instances: instances; n_answered + n_missing + n_unreadable + n_duplicate.
        n_answered: with one prediction that the metric takes, as far as it was looked at.
        n_extra: predictions whose id no instance has.
        n_media: answers that name a file or a folder of frames.
        n_media_read: those that were opened and decoded.
        files_bytes: size of the task's file and of the files that it names.
        store_bytes: what the predictions take in the store, and their scores about.
        seconds: of one core, that reading and measuring all instances takes, from those that were
            measured; None where nothing could be.
    """

    task_id: str
    title: str
    modality: str
    paradigm: str
    metric_id: str
    expected: str
    source: str
    ground: Literal["references", "ids", "nothing"]
    n_instances: int = 0
    n_answered: int = 0
    n_missing: int = 0
    n_unreadable: int = 0
    n_duplicate: int = 0
    n_extra: int = 0
    n_media: int = 0
    n_media_read: int = 0
    files_bytes: int = 0
    store_bytes: int = 0
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class BoardCoverage:
    """How much of a board the submission answers; columns of `sql/gate/board_coverage.sql`."""

    board_id: str
    scope: str
    title: str
    max_level: int
    tasks: int
    tasks_answered: int
    instances: int
    instances_answered: int
    reachable_level: int
    limited_by: str | None


@dataclass(frozen=True, slots=True)
class Cost:
    """What it takes to score the submission.

    Attributes:
        instances: of its tasks.
        read_bytes: of the submission's files; references come on top.
        store_bytes: about, in the store; media stay where they lie.
        core_seconds: about, of one core of this machine; None when nothing could be measured.
        seconds: about, with as many worker processes as this machine has cores.
        cores: of this machine.
        how: how the times were estimated.
    """

    instances: int
    read_bytes: int
    store_bytes: int
    core_seconds: float | None
    seconds: float | None
    cores: int
    how: str

    @property
    def time(self) -> str:
        """The time in words."""
        if self.seconds is None:
            return "not known"
        if self.seconds < 1:
            words = "under a second"
        elif self.seconds < 120:
            words = f"about {self.seconds:.0f} s"
        else:
            words = f"about {self.seconds / 60:.0f} min"
        return f"{words} on the {self.cores} cores of this machine"


@dataclass(slots=True)
class Report:
    """All that is known of a submission before it is scored.

    Attributes:
        root: path of the source, with which the findings' sources begin.
        held_against: what it was held against, in words.
        unchecked: what could not be looked at, in sentences.
        findings: gravest first.
    """

    model: str
    source: str
    root: str
    held_against: str
    unchecked: list[str] = field(default_factory=list)
    tasks: list[TaskCheck] = field(default_factory=list)
    boards: list[BoardCoverage] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    cost: Cost | None = None

    @property
    def verdict(self) -> str:
        if not any(task.n_answered for task in self.tasks):
            return WORTHLESS
        return READY if all(finding.is_note for finding in self.findings) else WITH_LOSSES

    def place(self, source: str) -> str:
        """A file by its place in the submission, as people tell it."""
        return source.removeprefix(self.root).lstrip("/!") or source

    @property
    def losses(self) -> list[Finding]:
        return [finding for finding in self.findings if not finding.is_note]

    @property
    def notes(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.is_note]

    @property
    def to_mend(self) -> list[Finding]:
        """The three findings that cost most."""
        return most_costly(self.losses)[:3]


def most_costly(findings: Sequence[Finding]) -> list[Finding]:
    """By what they cost, then by gravity, then by number of cases."""
    gravity = {kind: i for i, kind in enumerate(LABELS)}
    return sorted(findings, key=lambda f: (-f.lost, gravity[f.kind], -f.count, f.source))
