"""What has to be scored: content decides.

A (model, task) is scored again only when its predictions, its references, the way it is scored
(metric, metric version, unit) or the scorer's version changed. A changed specialist needs no
scoring: the join with specialists happens at publishing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
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


def plan_scores(
    store: Store, model: str, catalogue: Catalogue, references: Manifest, *, force: bool = False
) -> ScorePlan:
    """Compares what is stored with what was scored.

    Args:
        references: the manifest of the references, read once for all models.
        force: score everything again.
    """
    predictions = store.read_struct(Manifest, "predictions", quote_name(model), "manifest.json")
    plan = ScorePlan(model)
    known = read_task_scores(store, model, ["profile", *_COMPARED]).filter(profile="corrected")
    before = {row["task_id"]: row for row in known.select(_COMPARED).iter_rows(named=True)}
    jobs: list[ScoreJob] = []
    entries = predictions.tasks if predictions else {}
    for task_id, entry in sorted(entries.items()):
        if task_id not in catalogue:
            # The catalogue of this run does not hold the task: keep quiet about it, keep its score.
            continue
        modality, metric_id, unit = catalogue.scored_by(task_id)
        reference = references.tasks.get(task_id)
        if reference is None or reference.rows == 0:
            plan.unscorable[task_id] = ("refused", "the dataset holds no references for this task")
            continue
        if not has_metric(metric_id):
            plan.unscorable[task_id] = (
                "unsupported",
                f"metric {metric_id} is not computed from predictions; import its figure",
            )
            continue
        metrics = {"corrected": metric_id}
        published = published_metric(modality, reference.task_type, metric_id)
        if published is not None and has_metric(published):
            metrics["published"] = published
        key = score_key(entry, reference, metrics, unit)
        old = before.get(task_id)
        if old is not None and old["score_key"] == key and not force:
            plan.unchanged.append(task_id)
            continue
        jobs.append(
            ScoreJob(
                task_id=task_id,
                unit=unit,
                predictions=entry,
                references=reference,
                metrics=metrics,
                key=key,
                reason=_why(old, entry, reference, force),
            )
        )
    plan.removed = sorted(set(before) - set(entries))
    plan.batches = _in_batches(jobs)
    return plan


def score_key(
    predictions: TaskEntry, references: TaskEntry, metrics: dict[str, str], unit: str
) -> str:
    """Hash of everything a score depends on (sha256, 64 hex digits)."""
    parts = [
        SCORER_VERSION,
        predictions.content_sha256,
        references.content_sha256,
        references.task_type,
        unit,
        *(f"{p}={m}@{get_metric(m).version}" for p, m in sorted(metrics.items())),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


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
