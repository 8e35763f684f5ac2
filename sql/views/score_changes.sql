-- What the last published run changed in task scores: those whose figure moved, came or went.
-- grain: profile, model, task
-- inputs: runs, score_history
-- columns:
--   run_id: the last published run
--   profile: corrected or published
--   model: model name
--   task_id: canonical task id
--   raw_score: score in the task's unit; NULL when the score is no longer there
--   raw_score_before: the same in the run before; NULL when it is new
--   change: normalised score minus the one before, -100..100; from or to 0 when it came or went
WITH last_two AS (
    SELECT
        run_id,
        count(*) OVER () AS runs,
        row_number() OVER (ORDER BY published_at DESC, run_id DESC) AS age
    FROM runs
    QUALIFY age <= 2
),

now AS (
    SELECT score_history.* FROM score_history
    INNER JOIN last_two ON score_history.run_id = last_two.run_id AND last_two.age = 1
),

before AS (
    SELECT score_history.* FROM score_history
    INNER JOIN last_two ON score_history.run_id = last_two.run_id AND last_two.age = 2
)

SELECT
    last_two.run_id,
    coalesce(now.profile, before.profile) AS profile,
    coalesce(now.model, before.model) AS model,
    coalesce(now.task_id, before.task_id) AS task_id,
    now.raw_score,
    before.raw_score AS raw_score_before,
    coalesce(now.score, 0) - coalesce(before.score, 0) AS change
FROM now
FULL JOIN before
    ON
        now.profile = before.profile
        AND now.model = before.model
        AND now.task_id = before.task_id
INNER JOIN last_two ON last_two.age = 1
WHERE
    now.raw_score IS DISTINCT FROM before.raw_score
    AND last_two.runs > 1
ORDER BY abs(change) DESC, model ASC, task_id ASC
