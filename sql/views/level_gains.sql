-- What to improve: every task that a model has not won, with what the levels of board A would gain
-- (corrected profile, modality_mean) if its score became the specialist's and nothing else changed.
-- Gains are exact: the levels after less the levels before. Level 4 gains through the harmonic mean of
-- the task's modality, and level 5 what level 4 gains times w_L. A language task moves level 5 alone,
-- through w_L. Gains of several tasks do not add up: see path_to_next_level.
-- grain: model, task
-- inputs: task_results, stg_tasks, board_halves, group_levels, levels, language_scores
-- columns:
--   model: model name
--   task_id: canonical task id
--   modality: image, video, audio, 3d or language
--   paradigm: comprehension, generation or language
--   skill: skill cluster of scope D; null for tasks without one
--   status: scored, unsupported or refused
--   raw_score: the model's score in the task's unit; null unless scored
--   score: normalised score, 0..100; 0 unless scored
--   specialist_raw: the specialist's score in the same unit
--   specialist_score: the specialist's normalised score, 0..100
--   gap: normalised points that are missing, 0..100
--   level_2_gain: what level 2 would gain
--   level_3_gain: what level 3 would gain
--   level_4_gain: what level 4 would gain
--   level_5_gain: what level 5 would gain
WITH not_won AS (
    SELECT
        task_results.model,
        task_results.task_id,
        task_results.modality,
        task_results.paradigm,
        stg_tasks.skill,
        task_results.status,
        task_results.raw_score,
        task_results.score,
        task_results.specialist_raw,
        task_results.specialist_score,
        -- Saturated maps may give both the same score.
        greatest(task_results.specialist_score - task_results.score, 0) AS gap
    FROM task_results
    INNER JOIN stg_tasks ON task_results.task_id = stg_tasks.task_id
    WHERE task_results.profile = 'corrected' AND NOT task_results.wins
),

halves AS (
    SELECT
        groups.model,
        board_halves.*,
        groups.level_4,
        CASE
            WHEN board_halves.paradigm = 'comprehension' THEN groups.comprehension_won
            ELSE groups.generation_won
        END AS won,
        CASE
            WHEN board_halves.paradigm = 'comprehension' THEN groups.generation_won
            ELSE groups.comprehension_won
        END AS other_won
    FROM board_halves
    INNER JOIN group_levels AS groups
        ON
            board_halves.board_id = groups.board_id
            AND board_halves.modality = groups.modality
    WHERE
        board_halves.board_id = 'A'
        AND groups.profile = 'corrected'
        AND groups.aggregation = 'modality_mean'
),

board_levels AS (
    SELECT
        model,
        level_4
    FROM levels
    WHERE board_id = 'A' AND profile = 'corrected' AND aggregation = 'modality_mean'
),

gained AS (
    SELECT
        not_won.*,
        coalesce(not_won.gap * halves.weight, 0) AS level_2_gain,
        coalesce(not_won.specialist_score * halves.weight, 0) AS level_3_gain,
        coalesce(
            (
                harmonic_mean(
                    halves.won + not_won.specialist_score / halves.tasks, halves.other_won
                )
                - halves.level_4
            ) / halves.modalities, 0
        ) AS level_4_gain
    FROM not_won
    LEFT JOIN halves
        ON
            not_won.model = halves.model
            AND not_won.modality = halves.modality
            AND not_won.paradigm = halves.paradigm
)

SELECT
    gained.*,
    CASE
        WHEN gained.modality = 'language'
            THEN
                coalesce(board_levels.level_4, 0)
                * gained.specialist_score / 100 / language_scores.language_tasks
        ELSE gained.level_4_gain * language_scores.language_weight
    END AS level_5_gain
FROM gained
INNER JOIN language_scores
    ON language_scores.profile = 'corrected' AND gained.model = language_scores.model
LEFT JOIN board_levels ON gained.model = board_levels.model
ORDER BY gained.model, gained.gap, gained.task_id
