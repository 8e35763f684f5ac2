-- A model's ten dearest tasks: what matching their specialists would bring to its next level (level 5
-- once it is there), on board A.
-- grain: model, task
-- inputs: level_gains, leaderboards
-- columns:
--   model: model name
--   task_id: canonical task id
--   gap: normalised points that are missing, 0..100
--   level_2_gain: what level 2 would gain; so level_3_gain to level_5_gain
--   next_level_gain: what the next level would gain
WITH valued AS (
    SELECT
        level_gains.model,
        level_gains.task_id,
        level_gains.gap,
        level_gains.level_2_gain,
        level_gains.level_3_gain,
        level_gains.level_4_gain,
        level_gains.level_5_gain,
        CASE leaderboards.level_reached
            WHEN 1 THEN level_gains.level_2_gain
            WHEN 2 THEN level_gains.level_3_gain
            WHEN 3 THEN level_gains.level_4_gain
            ELSE level_gains.level_5_gain
        END AS next_level_gain
    FROM level_gains
    INNER JOIN leaderboards ON level_gains.model = leaderboards.model
    WHERE
        leaderboards.board_id = 'A'
        AND leaderboards.profile = 'corrected'
        AND leaderboards.aggregation = 'modality_mean'
)

SELECT * FROM valued
QUALIFY
    row_number() OVER (
        PARTITION BY model
        ORDER BY next_level_gain DESC, level_3_gain DESC, gap ASC, task_id ASC
    ) <= 10
ORDER BY model ASC, next_level_gain DESC, level_3_gain DESC, gap ASC, task_id ASC
