-- Levels of every published run: board A, corrected profile, equal weights for the modalities.
-- grain: model, run
-- inputs: level_history, runs
-- columns:
--   model: model name
--   published_at: when the run was published
--   level_2: no synergy, 0..100; so level_3 to level_5
SELECT
    level_history.model,
    runs.published_at,
    level_history.level_2,
    level_history.level_3,
    level_history.level_4,
    level_history.level_5
FROM level_history
INNER JOIN runs ON level_history.run_id = runs.run_id
WHERE
    level_history.board_id = 'A'
    AND level_history.profile = 'corrected'
    AND level_history.aggregation = 'modality_mean'
ORDER BY level_history.model, runs.published_at
