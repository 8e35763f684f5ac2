-- The ids of metrics that tasks have, as a type.
-- grain: metric
-- inputs: raw_tasks
-- columns:
--   metric_id: canonical metric
SELECT DISTINCT metric_id FROM raw_tasks
ORDER BY metric_id
