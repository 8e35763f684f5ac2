-- What to improve: tasks that a model loses, with what passing the specialist would bring to its
-- level 2 and level 3, dearest first. Passing means a score equal to the specialist's.
-- grain: model, task
-- inputs: task_results, stg_tasks
-- columns:
--   model: model name
--   task_id: canonical task id
--   skill: skill cluster
--   raw_score: the model's score in the task's unit
--   specialist_raw: the specialist's, in the same unit
--   gap: normalised points that are missing, 0..100
--   level_2_gain: what board A's level 2 would gain (modality_mean)
--   level_3_gain: what board A's level 3 would gain (modality_mean)
WITH halves AS (
    SELECT
        modality,
        paradigm,
        count(*) AS tasks
    FROM stg_tasks
    WHERE modality <> 'language'
    GROUP BY ALL
),

modalities AS (
    SELECT count(DISTINCT modality) AS number FROM halves
),

lost AS (
    SELECT
        task_results.*,
        stg_tasks.skill,
        -- One half of one modality's mean, and one of the board's modalities.
        1 / (halves.tasks * 2 * modalities.number) AS weight
    FROM task_results
    INNER JOIN stg_tasks ON task_results.task_id = stg_tasks.task_id
    INNER JOIN halves
        ON
            task_results.modality = halves.modality
            AND task_results.paradigm = halves.paradigm
    CROSS JOIN modalities
    WHERE
        task_results.profile = 'corrected'
        AND task_results.status = 'scored'
        AND NOT task_results.wins
)

SELECT
    model,
    task_id,
    skill,
    raw_score,
    specialist_raw,
    greatest(specialist_score - score, 0) AS gap,
    greatest(specialist_score - score, 0) * weight AS level_2_gain,
    greatest(specialist_score, score) * weight AS level_3_gain
FROM lost
ORDER BY model, gap, task_id
