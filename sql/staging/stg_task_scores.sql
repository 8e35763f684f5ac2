-- What is known of each model's tasks: one row each, a scored figure before an imported one.
-- A figure that the metric cannot give is refused here, with the reason, so that it never counts.
-- Profiles: corrected (the specification), published (the published scorer's rules), and quick (the
-- corrected rules on the quick board's instances, which counts and coverage are then of).
-- grain: profile, model, task
-- inputs: raw_task_scores, stg_tasks, model_key, task_key, profile_key, status_key
-- columns:
--   profile: corrected, published or quick
--   model: model name
--   task_id: canonical task id
--   status: scored, unsupported or refused
--   raw_score: score in the task's unit; null unless scored
--   raw_score_answered: the same over the answered instances only
--   n_instances: instances of the task
--   n_scored: instances with one readable prediction
--   n_missing: instances without a prediction
--   n_unreadable: instances whose prediction could not be read
--   n_duplicate: instances with several predictions
--   n_extra: predictions without an instance
--   coverage: n_scored / n_instances, 0..1
--   reason: why it is not scored, or why it is stale
--   origin: scored from predictions, or imported from past results
--   scorer_version: version of the scorer and metric, or of the import
--   score_key: hash of all that the score depends on
--   duration_s: seconds it took to score
--   source: file it came from
--   stale_since: since when the task could not be scored again; the score is the last good one
WITH keyed AS (
    SELECT
        * REPLACE (
            profile::profile_key AS profile,
            model::model_key AS model,
            -- Null where the catalogue knows the task no more.
            try_cast(task_id AS task_key) AS task_id,
            status::status_key AS status
        )
    FROM raw_task_scores
),

repeated AS (
    SELECT
        profile,
        model,
        task_id
    FROM keyed
    GROUP BY ALL
    HAVING count(*) > 1
),

ranked AS (
    SELECT
        keyed.*,
        row_number() OVER (
            PARTITION BY keyed.profile, keyed.model, keyed.task_id
            ORDER BY keyed.origin = 'scored' DESC, keyed.source
        ) AS preference
    FROM keyed
    SEMI JOIN repeated
        ON
            keyed.profile = repeated.profile
            AND keyed.model = repeated.model
            AND keyed.task_id = repeated.task_id
),

-- Nearly all tasks have one figure: only the others are ranked.
known AS (
    SELECT * FROM keyed
    ANTI JOIN repeated
        ON
            keyed.profile = repeated.profile
            AND keyed.model = repeated.model
            AND keyed.task_id = repeated.task_id
    UNION ALL
    SELECT * EXCLUDE (preference) FROM ranked
    WHERE preference = 1
),

chosen AS (
    SELECT
        known.*,
        coalesce(
            isnan(known.raw_score)
            OR known.raw_score NOT BETWEEN stg_tasks.minimum AND stg_tasks.maximum,
            false
        ) AS out_of_range,
        stg_tasks.minimum,
        stg_tasks.maximum
    FROM known
    INNER JOIN stg_tasks ON known.task_id = stg_tasks.task_id
),

checked AS (
    SELECT
        profile,
        model,
        task_id,
        CASE WHEN out_of_range THEN 'refused'::status_key ELSE status END AS status,
        CASE WHEN status = 'scored' AND NOT out_of_range THEN raw_score END AS raw_score,
        raw_score_answered,
        n_instances,
        n_scored,
        n_missing,
        n_unreadable,
        n_duplicate,
        n_extra,
        coverage,
        CASE
            WHEN out_of_range
                THEN concat('raw score ', raw_score, ' is outside ', minimum, ' to ', maximum)
            ELSE reason
        END AS reason,
        origin,
        scorer_version,
        score_key,
        duration_s,
        source,
        stale_since
    FROM chosen
)

SELECT * FROM checked
