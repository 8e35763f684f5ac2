-- The ids of tasks, as a type.
-- grain: task
-- inputs: raw_tasks
-- columns:
--   task_id: canonical task id
SELECT task_id FROM raw_tasks
ORDER BY task_id
