-- Every score lies in 0..100. Rows are offences.
-- inputs: task_results
SELECT
    model,
    task_id,
    score
FROM task_results
WHERE isnan(score) OR score NOT BETWEEN 0 AND 100
