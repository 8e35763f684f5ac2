"""What has to be scored: content decides.

A (model, task) is scored again only when its predictions, its references, the way it is scored
(metric, metric version, unit) or the scorer's version changed. A changed specialist needs no
scoring: the join with specialists happens at publishing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tasks.catalog import Catalogue
from tasks.metrics import get_metric, has_metric
from tasks.schema import Manifest, TaskEntry
from tasks.score.published import published_metric
from tasks.score.state import read_task_scores
from tasks.storage import Store, quote_name
from tasks.version import SCORER_VERSION

#: A batch is one unit of work for a process. A model is cut into four batches, so that several
#: processes share it evenly, but not into smaller ones than make up for a task run's 10 ms, nor into
#: larger ones than are worth losing to a kill (about a second of work, measured).
BATCHES = 4
SMALLEST_BATCH, LARGEST_BATCH = 30_000, 400_000

#: Cost of one instance relative to a label metric's, roughly, from `benchmarks/full_model.py`.
_METRIC_COST = {"codebleu": 100, "cider": 40, "bleu_1": 8, "rouge_l": 16, "rouge_1": 5}


#: What tells whether a stored score still holds.
_COMPARED = [
    "task_id",
    "status",
    "score_key",
    "prediction_sha256",
    "reference_sha256",
    "stale_since",
]


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """One task of one model to be scored, with everything a worker process needs.

    `metrics` maps the profile to the metric that scores it; a profile without one has no figure.
    """

    task_id: str
    unit: str
    predictions: TaskEntry
    references: TaskEntry
    metrics: dict[str, str]
    key: str
    reason: str

    @property
    def cost(self) -> int:
        """Relative cost: rows times the weight of the metric."""
        weight = max((_METRIC_COST.get(m, 1) for m in self.metrics.values()), default=1)
        return 50 + self.references.rows * weight


@dataclass(slots=True)
class ScorePlan:
    """The jobs of one model, in batches; and the tasks that need none, by reason."""

    model: str
    batches: list[list[ScoreJob]] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    #: Tasks that arrived and cannot be scored: task id -> (status, reason).
    unscorable: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def jobs(self) -> list[ScoreJob]:
        return [job for batch in self.batches for job in batch]


@dataclass(frozen=True, slots=True)
class Scoring:
    """How a task with references is scored, the same for every model.

    Attributes:
        unit: the catalogue's.
        metrics: by profile, as in `ScoreJob`.
        basis: what a score depends on beside the predictions and the scorer's version.
    """

    unit: str
    references: TaskEntry
    metrics: dict[str, str]
    basis: str

    def key(self, predictions: TaskEntry) -> str:
        """Hash of everything a score depends on (sha256, 64 hex digits)."""
        parts = f"{SCORER_VERSION}\n{predictions.content_sha256}\n{self.basis}"
        return hashlib.sha256(parts.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class NoScoring:
    """Why a task cannot be scored, whatever the model: its status and the reason."""

    status: str
    reason: str


def scorings(catalogue: Catalogue, references: Manifest) -> dict[str, Scoring | NoScoring]:
    """How each task of the catalogue is scored, by task id.

    Args:
        references: the manifest of the references.
    """
    found: dict[str, Scoring | NoScoring] = {}
    for task_id in catalogue.tasks["task_id"]:
        modality, metric_id, unit = catalogue.scored_by(task_id)
        reference = references.tasks.get(task_id)
        if reference is None or reference.rows == 0:
            found[task_id] = NoScoring("refused", "the dataset holds no references for this task")
            continue
        if not has_metric(metric_id):
            told = f"metric {metric_id} is not computed from predictions; import its figure"
            found[task_id] = NoScoring("unsupported", told)
            continue
        metrics = {"corrected": metric_id}
        published = published_metric(modality, reference.task_type, metric_id)
        if published is not None and has_metric(published):
            metrics["published"] = published
        versions = [f"{p}={m}@{get_metric(m).version}" for p, m in sorted(metrics.items())]
        basis = "\n".join([reference.content_sha256, reference.task_type, unit, *versions])
        found[task_id] = Scoring(unit, reference, metrics, basis)
    return found


def plan_scores(
    store: Store, model: str, how: Mapping[str, Scoring | NoScoring], *, force: bool = False
) -> ScorePlan:
    """Compares what is stored with what was scored.

    Args:
        how: the `scorings` of the run's catalogue and references.
        force: score everything again.
    """
    predictions = store.read_struct(Manifest, "predictions", quote_name(model), "manifest.json")
    plan = ScorePlan(model)
    known = read_task_scores(store, model, ["profile", *_COMPARED]).filter(profile="corrected")
    before = {row["task_id"]: row for row in known.select(_COMPARED).iter_rows(named=True)}
    jobs: list[ScoreJob] = []
    entries = predictions.tasks if predictions else {}
    for task_id, entry in sorted(entries.items()):
        scoring = how.get(task_id)
        if scoring is None:
            # The catalogue of this run does not hold the task: keep quiet about it, keep its score.
            continue
        if isinstance(scoring, NoScoring):
            plan.unscorable[task_id] = (scoring.status, scoring.reason)
            continue
        key = scoring.key(entry)
        old = before.get(task_id)
        if old is not None and old["score_key"] == key and not force:
            plan.unchanged.append(task_id)
            continue
        jobs.append(
            ScoreJob(
                task_id=task_id,
                unit=scoring.unit,
                predictions=entry,
                references=scoring.references,
                metrics=scoring.metrics,
                key=key,
                reason=_why(old, entry, scoring.references, force),
            )
        )
    plan.removed = sorted(set(before) - set(entries))
    plan.batches = _in_batches(jobs)
    return plan


def _why(
    old: dict[str, object] | None, predictions: TaskEntry, references: TaskEntry, force: bool
) -> str:
    if old is None:
        return "new"
    if old["status"] == "refused" or old["stale_since"] is not None:
        return "failed before"
    if old["prediction_sha256"] != predictions.content_sha256:
        return "predictions changed"
    if old["reference_sha256"] != references.content_sha256:
        return "references changed"
    return "forced" if force else "metric changed"


def _in_batches(jobs: Sequence[ScoreJob]) -> list[list[ScoreJob]]:
    """Packs jobs in the order of where their rows lie, so that a batch reads few files."""
    share = sum(job.cost for job in jobs) / BATCHES
    limit = min(max(share, SMALLEST_BATCH), LARGEST_BATCH)
    batches: list[list[ScoreJob]] = []
    cost = 0
    for job in sorted(jobs, key=lambda j: (j.predictions.part, j.predictions.row_groups)):
        if not batches or cost >= limit or (cost and cost + job.cost > LARGEST_BATCH):
            batches.append([])
            cost = 0
        batches[-1].append(job)
        cost += job.cost
    # The dearest first, so that no long batch is left alone at the end.
    return sorted(batches, key=lambda batch: -sum(job.cost for job in batch))
