-- The figures that this run changed: a row since which run a score holds, so that a year of nights
-- without change costs nothing. A score that is no longer there has the status gone.
-- grain: profile, model, task, first run with this figure
-- inputs: task_results, this_run, previous_scores
-- columns:
--   run_id: the run since which the figure holds
--   profile: corrected, published or quick
--   model: model name
--   task_id: canonical task id
--   status: scored, refused, or gone
--   raw_score: score in the task's unit
--   score: normalised score, 0..100
--   specialist_raw: the specialist's raw score
--   wins: at or above the specialist
--   coverage: instances with one readable prediction / instances
WITH latest AS (
    SELECT previous_scores.* FROM previous_scores
    QUALIFY
        row_number() OVER (PARTITION BY profile, model, task_id ORDER BY run_id DESC) = 1
),

now AS (
    SELECT
        profile,
        model,
        task_id,
        status,
        raw_score,
        score,
        specialist_raw,
        wins,
        coverage
    FROM task_results
    WHERE status <> 'unsupported'
),

changed AS (
    SELECT
        coalesce(now.profile, latest.profile) AS profile,
        coalesce(now.model, latest.model) AS model,
        coalesce(now.task_id, latest.task_id) AS task_id,
        coalesce(now.status, 'gone') AS status,
        now.raw_score,
        now.score,
        now.specialist_raw,
        coalesce(now.wins, false) AS wins,
        now.coverage
    FROM now
    FULL JOIN latest
        ON
            now.profile = latest.profile
            AND now.model = latest.model
            AND now.task_id = latest.task_id
    WHERE
        coalesce(now.status, 'gone') IS DISTINCT FROM latest.status
        OR now.raw_score IS DISTINCT FROM latest.raw_score
        OR now.specialist_raw IS DISTINCT FROM latest.specialist_raw
        OR now.coverage IS DISTINCT FROM latest.coverage
)

SELECT
    this_run.run_id,
    changed.*
FROM changed
CROSS JOIN this_run
