"""What a run is asked to do, and what it tells afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tasks.warehouse import StageRun


@dataclass(slots=True)
class IngestReport:
    """What one source gave: counts of task files by state, rows kept and rows refused."""

    name: str
    files: dict[str, int] = field(default_factory=dict)  # new, changed, unchanged, removed
    rows: int = 0
    quarantined: int = 0
    failures: list[str] = field(default_factory=list)


@dataclass(slots=True)
class ScoreReport:
    """What was scored of one model and why (reason -> number of tasks), and what was left alone."""

    model: str
    scored: dict[str, int] = field(default_factory=dict)  # no Counter: asdict() would spoil it
    unchanged: int = 0
    removed: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    instances: int = 0
    worker_seconds: float = 0.0
    failures: list[str] = field(default_factory=list)


@dataclass(slots=True)
class RunReport:
    """The outcome of one run: stages, timings in seconds, and the published tables' place."""

    run_id: str
    store: str
    ingest: list[IngestReport] = field(default_factory=list)
    imports: list[dict[str, Any]] = field(default_factory=list)
    scores: list[ScoreReport] = field(default_factory=list)
    published: dict[str, Any] | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def failures(self) -> list[str]:
        """What failed for good, a line each; the last good results of these stay published."""
        stages = (*self.ingest, *self.scores)
        return [failure for stage in stages for failure in stage.failures]

    @property
    def stages(self) -> list[StageRun]:
        """What the stages that are done took and did, in their order."""
        counts = {
            "ingest": {
                "tasks": sum(r.files.get(s, 0) for r in self.ingest for s in ("new", "changed")),
                "unchanged": sum(report.files.get("unchanged", 0) for report in self.ingest),
                "instances": sum(report.rows for report in self.ingest),
                "failures": sum(len(report.failures) for report in self.ingest),
            },
            "score": {
                "tasks": self.scored_tasks,
                "unchanged": sum(report.unchanged for report in self.scores),
                "instances": sum(report.instances for report in self.scores),
                "failures": sum(len(report.failures) for report in self.scores),
            },
            "publish": {"tasks": (self.published or {}).get("tables", {}).get("task_results", 0)},
        }
        return [StageRun(stage, took, **counts[stage]) for stage, took in self.seconds.items()]

    @property
    def scored_tasks(self) -> int:
        """(model, task) pairs that this run scored."""
        return sum(sum(report.scored.values()) for report in self.scores)
