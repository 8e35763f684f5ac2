-- The leaderboard: board A, corrected profile, equal weights for the modalities, best first.
-- grain: model
-- inputs: leaderboards
-- columns:
--   rank: place, 1 is best; ties share it
--   model: model name
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
