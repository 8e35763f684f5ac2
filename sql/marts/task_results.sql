-- Every model on every task of the catalogue, joined with the specialist.
-- A task that a model does not support counts 0 and never wins. Whether a model is at or above the
-- specialist is decided on raw values in the metric's direction, because normalised ones saturate;
-- only the published profile compares normalised values, as the published scorer does.
-- The quick profile has a model's rows if any of its tasks was scored on the quick instances.
-- grain: profile, model, task
-- inputs: stg_tasks, stg_task_scores, profile_key, status_key
-- columns:
--   profile: corrected, published or quick
--   model: model name
--   task_id: canonical task id
--   modality: the task's modality
--   paradigm: the task's paradigm
--   metric_id: canonical metric
--   status: scored, unsupported or refused
--   raw_score: score in the task's unit; null unless scored
--   score: normalised score, 0..100; 0 unless scored
--   specialist_raw: the specialist's raw score
--   specialist_score: the specialist's normalised score
--   wins: at or above the specialist
--   raw_score_answered: the raw score over the answered instances only
--   n_instances: instances of the task
--   n_scored: instances with one readable prediction
--   n_missing: instances without a prediction
--   n_unreadable: instances whose prediction could not be read
--   n_duplicate: instances with several predictions
--   n_extra: predictions without an instance
--   coverage: n_scored / n_instances, 0..1
--   reason: why it is not scored, or why it is stale
--   origin: scored or imported
--   scorer_version: version of the scorer and metric, or of the import
--   duration_s: seconds it took to score
--   source: file it came from
--   stale_since: since when the task could not be scored again; the score is the last good one
WITH known AS (
    SELECT
        profile,
        model,
        count(*) AS tasks
    FROM stg_task_scores
    GROUP BY ALL
),

models AS (
    SELECT
        unnest(['corrected', 'published']::profile_key[]) AS profile,
        model,
        0 AS tasks
    FROM known
    UNION ALL
    -- Imported figures are of all instances: who has nothing else is not on the quick board.
    SELECT
        profile,
        model,
        tasks
    FROM known
),

-- Nearly all models have a row for every task: only the others are compared task by task.
incomplete AS (
    SELECT
        profile,
        model
    FROM models
    GROUP BY ALL
    HAVING sum(tasks) < (SELECT count(*) FROM stg_tasks)
),

absent AS (
    SELECT
        incomplete.profile,
        incomplete.model,
        stg_tasks.task_id,
        'unsupported'::status_key AS status
    FROM incomplete
    CROSS JOIN stg_tasks
    ANTI JOIN stg_task_scores AS scores
        ON
            incomplete.profile = scores.profile
            AND incomplete.model = scores.model
            AND stg_tasks.task_id = scores.task_id
),

every_task AS (
    SELECT * FROM stg_task_scores
    UNION ALL BY NAME
    SELECT * FROM absent
),

normalised AS (
    SELECT
        every_task.*,
        stg_tasks.modality,
        stg_tasks.paradigm,
        stg_tasks.metric_id,
        stg_tasks.direction,
        stg_tasks.specialist_raw,
        stg_tasks.specialist_score,
        CASE
            WHEN every_task.raw_score IS NULL THEN 0
            ELSE
                normalise(
                    stg_tasks.map,
                    stg_tasks.threshold,
                    stg_tasks.unit,
                    stg_tasks.minimum,
                    stg_tasks.maximum,
                    every_task.raw_score
                )
        END AS score
    FROM every_task
    INNER JOIN stg_tasks ON every_task.task_id = stg_tasks.task_id
),

compared AS (
    SELECT
        profile,
        model,
        task_id,
        modality,
        paradigm,
        metric_id,
        status,
        raw_score,
        score,
        specialist_raw,
        specialist_score,
        coalesce(
            CASE
                WHEN profile = 'published' THEN raw_score IS NOT NULL AND score >= specialist_score
                WHEN direction = 'higher' THEN raw_score >= specialist_raw
                ELSE raw_score <= specialist_raw
            END,
            false
        ) AS wins,
        raw_score_answered,
        n_instances,
        n_scored,
        n_missing,
        n_unreadable,
        n_duplicate,
        n_extra,
        coverage,
        reason,
        origin,
        scorer_version,
        duration_s,
        source,
        stale_since
    FROM normalised
)

SELECT * FROM compared
