-- The leaderboard: board A, corrected profile, equal weights for the modalities, best first.
-- grain: model
-- inputs: leaderboards
-- columns:
--   rank: place, 1 is best; ties share it
--   model: model name
--   level_reached: the highest level whose score is above 0
--   level_2: no synergy, 0..100
--   level_3: task-level synergy, 0..100
--   level_4: comprehension-generation synergy, 0..100
--   level_5: total synergy, 0..100
--   tasks_supported: tasks that the model has a score for
--   tasks_won: tasks at or above the specialist
--   tasks_total: tasks of the board
SELECT
    rank,
    model,
    level_reached,
    level_2,
    level_3,
    level_4,
    level_5,
    tasks_supported,
    tasks_won,
    tasks_total
FROM leaderboards
WHERE board_id = 'A' AND profile = 'corrected' AND aggregation = 'modality_mean'
ORDER BY rank, model
