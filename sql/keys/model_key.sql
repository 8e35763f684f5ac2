-- The names of models, as a type.
-- grain: model
-- inputs: raw_task_scores
-- columns:
--   model: model name
SELECT DISTINCT model FROM raw_task_scores
ORDER BY model
