-- General-Level scores: every model on every board, under both profiles and both aggregations.
-- modality_mean (paper section 3.2.1): each level is the mean, with equal weights, of the
-- modalities' own levels. task_mean: each level of all tasks pooled.
-- Level 5 = level 4 * w_L, where w_L is the synergy on language tasks.
-- grain: profile, aggregation, board, model
-- inputs: boards, group_levels, language_scores
-- columns:
--   profile: corrected, published or quick
--   aggregation: modality_mean or task_mean
--   board_id: board
--   model: model name
--   tasks_total: tasks of the board
--   tasks_supported: tasks that the model has a score for
--   tasks_won: tasks at or above the specialist
--   level_2: no synergy, 0..100
--   level_3: task-level synergy, 0..100
--   level_4: comprehension-generation synergy, 0..100; null where the board ends before
--   level_5: total synergy, 0..100; null where the board ends before
--   language_score: S_L, 0..100
--   language_weight: w_L, 0..1
--   level_reached: the highest level whose score is above 0; 1 when none is
WITH mean_of_modalities AS (
    SELECT
        profile,
        aggregation,
        board_id,
        model,
        sum(tasks_total)::BIGINT AS tasks_total,
        sum(tasks_supported)::BIGINT AS tasks_supported,
        sum(tasks_won)::BIGINT AS tasks_won,
        sum(exact(level_2))::DOUBLE / count(*) AS level_2,
        sum(exact(level_3))::DOUBLE / count(*) AS level_3,
        sum(exact(level_4))::DOUBLE / count(level_4) AS level_4
    FROM group_levels
    WHERE aggregation = 'modality_mean'
    GROUP BY ALL
),

averaged AS (
    FROM mean_of_modalities
    UNION ALL
    SELECT
        profile,
        aggregation,
        board_id,
        model,
        tasks_total,
        tasks_supported,
        tasks_won,
        level_2,
        level_3,
        level_4
    FROM group_levels
    WHERE aggregation = 'task_mean'
),

weighed AS (
    SELECT
        averaged.*,
        CASE
            WHEN boards.max_level >= 5 THEN averaged.level_4 * language_scores.language_weight
        END AS level_5,
        language_scores.language_score,
        language_scores.language_weight
    FROM averaged
    INNER JOIN boards ON averaged.board_id = boards.board_id
    INNER JOIN language_scores
        ON
            averaged.profile = language_scores.profile
            AND averaged.model = language_scores.model
),

placed AS (
    SELECT
        *,
        CASE
            WHEN level_5 > 0 THEN 5
            WHEN level_4 > 0 THEN 4
            WHEN level_3 > 0 THEN 3
            WHEN level_2 > 0 THEN 2
            ELSE 1
        END AS level_reached
    FROM weighed
)

SELECT * FROM placed
