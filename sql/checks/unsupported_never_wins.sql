-- What is not scored counts 0 and wins nothing. Rows are offences.
-- inputs: task_results
SELECT
    model,
    task_id,
    status,
    score,
    wins
FROM task_results
WHERE status <> 'scored' AND (score <> 0 OR wins)
