-- The catalogue: every task with its metric and its specialist.
-- grain: task
-- inputs: stg_tasks
-- columns:
--   task_id: canonical id
SELECT * FROM stg_tasks
