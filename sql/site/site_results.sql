-- What pages of models and tasks show: every model on every task (corrected profile).
-- grain: model, task
-- inputs: task_results, task_intervals
-- columns:
--   model: model name
--   task_id: canonical task id
--   status: scored, unsupported or refused
--   raw_score: score in the task's unit
--   score: normalised score, 0..100
--   wins: at or above the specialist
--   coverage: instances with one readable prediction / instances, 0..1
--   n_instances: instances of the task
--   reason: why it is not scored, or why it is stale
--   origin: scored or imported
--   stale_since: since when the task could not be scored again
--   raw_low: lower end of the 95 % interval, in the task's unit
--   raw_high: upper end of the 95 % interval
--   p_at_or_above_specialist: share of the resamples at or above the specialist, 0..1
SELECT
    task_results.model,
    task_results.task_id,
    task_results.status,
    task_results.raw_score,
    task_results.score,
    task_results.wins,
    task_results.coverage,
    task_results.n_instances,
    task_results.reason,
    task_results.origin,
    task_results.stale_since,
    task_intervals.raw_low,
    task_intervals.raw_high,
    task_intervals.p_at_or_above_specialist
FROM task_results
LEFT JOIN task_intervals
    ON
        task_results.model = task_intervals.model
        AND task_results.task_id = task_intervals.task_id
WHERE task_results.profile = 'corrected'
