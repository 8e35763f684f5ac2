-- Every score lies in 0..100. Rows are offences.
-- inputs: task_results
SELECT 'task_results' AS model_name, model, task_id, score FROM task_results WHERE isnan(score) OR score NOT BETWEEN 0 AND 100
