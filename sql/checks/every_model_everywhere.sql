-- Each model has one row for each task in each profile. Rows are offences.
-- inputs: task_results, stg_tasks
SELECT
    profile,
    model,
    count(*) AS n_rows
FROM task_results
GROUP BY ALL
HAVING n_rows <> (SELECT count(*) FROM stg_tasks)
