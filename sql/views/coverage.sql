-- How much of each model's instances could be scored, and what kept the rest from it.
-- grain: model
-- inputs: task_results
-- columns:
--   model: model name
--   tasks_scored: tasks with a score
--   tasks_unsupported: tasks that the model does not support
--   tasks_refused: tasks that arrived and could not be scored
--   tasks_stale: tasks with a score that could not be renewed; tasks_scored counts them too
--   instances: instances of the tasks that arrived
--   instances_scored: instances with one readable prediction
--   instances_missing: instances without a prediction
--   instances_unreadable: instances whose prediction could not be read
--   instances_duplicate: instances with several predictions
SELECT
    model,
    count_if(status = 'scored') AS tasks_scored,
    count_if(status = 'unsupported') AS tasks_unsupported,
    count_if(status = 'refused') AS tasks_refused,
    count_if(stale_since IS NOT NULL) AS tasks_stale,
    sum(n_instances)::BIGINT AS instances,
    sum(n_scored)::BIGINT AS instances_scored,
    sum(n_missing)::BIGINT AS instances_missing,
    sum(n_unreadable)::BIGINT AS instances_unreadable,
    sum(n_duplicate)::BIGINT AS instances_duplicate
FROM task_results
WHERE profile = 'corrected'
GROUP BY model
ORDER BY model
