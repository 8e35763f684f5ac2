-- How much of each model's instances could be scored, and what kept the rest from it.
-- grain: model
-- inputs: task_results
-- columns:
--   model: model name
SELECT
    model,
    count_if(status = 'scored') AS tasks_scored,
    count_if(status = 'unsupported') AS tasks_unsupported,
    count_if(status = 'refused') AS tasks_refused,
    sum(n_instances)::BIGINT AS instances,
    sum(n_scored)::BIGINT AS instances_scored,
    sum(n_missing)::BIGINT AS instances_missing,
    sum(n_unreadable)::BIGINT AS instances_unreadable,
    sum(n_duplicate)::BIGINT AS instances_duplicate
FROM task_results
WHERE profile = 'corrected'
GROUP BY model
ORDER BY model
