"""Score: stored predictions and references to per-instance statistics and task scores."""

from tasks.score.batch import BatchScores, refused_row, score_batch
from tasks.score.plan import ScoreJob, ScorePlan, plan_scores, scorings
from tasks.score.state import drop_stale_parts, finish_scores, read_task_scores, scored_models
from tasks.score.unscored import unscored_rows

__all__ = [
    "BatchScores",
    "ScoreJob",
    "ScorePlan",
    "drop_stale_parts",
    "finish_scores",
    "plan_scores",
    "read_task_scores",
    "refused_row",
    "score_batch",
    "scored_models",
    "scorings",
    "unscored_rows",
]
