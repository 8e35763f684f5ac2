-- What the last published run changed in task scores: those whose figure moved, came or went.
-- Empty as long as there is one run only.
-- grain: profile, model, task
-- inputs: runs, score_history
-- columns:
--   run_id: the last published run
--   profile: corrected, published or quick
--   model: model name
--   task_id: canonical task id
--   raw_score: score in the task's unit; NULL when the score is no longer there
--   raw_score_before: the same before; NULL when it is new
--   change: normalised score minus the one before, -100..100; from or to 0 when it came or went
WITH last_run AS (
    SELECT
        count(*) AS runs,
        max_by(run_id, (published_at, run_id)) AS run_id
    FROM runs
),

with_before AS (
    SELECT
        *,
        lag(raw_score) OVER earlier AS raw_score_before,
        lag(score) OVER earlier AS score_before
    FROM score_history
    WINDOW earlier AS (PARTITION BY profile, model, task_id ORDER BY run_id ASC)
)

SELECT
    with_before.run_id,
    with_before.profile,
    with_before.model,
    with_before.task_id,
    with_before.raw_score,
    with_before.raw_score_before,
    coalesce(with_before.score, 0) - coalesce(with_before.score_before, 0) AS change
FROM with_before
INNER JOIN last_run ON with_before.run_id = last_run.run_id
WHERE
    last_run.runs > 1
    AND with_before.raw_score IS DISTINCT FROM with_before.raw_score_before
ORDER BY abs(change) DESC, with_before.model ASC, with_before.task_id ASC
