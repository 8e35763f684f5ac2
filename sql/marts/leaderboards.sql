-- Ranks on every board. The higher level reached is the better; within a level its score decides,
-- then the scores of the levels below. Equal in all of them is a tie: the same rank.
-- grain: profile, aggregation, board, model
-- inputs: levels
-- columns:
--   profile: corrected, published or quick
--   aggregation: modality_mean or task_mean
--   board_id: board
--   rank: place on the board, 1 is best; ties share it
--   model: model name
--   level_reached: the highest level whose score is above 0
--   level_2: no synergy
--   level_3: task-level synergy
--   level_4: comprehension-generation synergy
--   level_5: total synergy
--   tasks_supported: tasks that the model has a score for
--   tasks_won: tasks at or above the specialist
--   tasks_total: tasks of the board
WITH ranked AS (
    SELECT
        profile,
        aggregation,
        board_id,
        rank() OVER (
            PARTITION BY profile, aggregation, board_id
            ORDER BY level_5 DESC NULLS LAST, level_4 DESC NULLS LAST, level_3 DESC, level_2 DESC
        ) AS rank,
        model,
        level_reached,
        level_2,
        level_3,
        level_4,
        level_5,
        tasks_supported,
        tasks_won,
        tasks_total
    FROM levels
)

SELECT * FROM ranked
