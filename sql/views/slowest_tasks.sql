-- Where scoring time goes: seconds spent on each task over all models, dearest first.
-- grain: task
-- inputs: task_results
-- columns:
--   task_id: canonical task id
--   metric_id: canonical metric
--   models: models scored on it
--   seconds: seconds spent scoring it, over all models
--   instances_per_second: instances scored a second
SELECT
    task_id,
    metric_id,
    count(*) AS models,
    sum(duration_s) AS seconds,
    sum(n_instances) / nullif(sum(duration_s), 0) AS instances_per_second
FROM task_results
WHERE profile = 'corrected' AND duration_s IS NOT NULL
GROUP BY ALL
ORDER BY seconds DESC, task_id ASC
