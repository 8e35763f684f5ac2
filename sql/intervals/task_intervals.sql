-- How sure each task score is: bootstrap intervals (95 %) over the task's instances, corrected
-- profile. A task has none when its score was imported, when it has a single instance, or when its
-- metric keeps nothing of the instances (FID, FVD, FAD).
-- grain: model, task
-- inputs: raw_task_intervals
-- columns:
--   model: model name
--   task_id: canonical task id
--   raw_low: lower end of the interval, in the task's unit
--   raw_high: upper end of the interval, in the task's unit
--   score_low: lower end of the interval of the normalised score, 0..100
--   score_high: upper end of the interval of the normalised score, 0..100
--   standard_error: standard deviation of the replicates, in the task's unit
--   p_at_or_above_specialist: share of the replicates at or above the specialist, 0..1
--   replicates: number of replicates
SELECT
    model,
    task_id,
    raw_low,
    raw_high,
    score_low,
    score_high,
    standard_error,
    p_at_or_above_specialist,
    replicates
FROM raw_task_intervals
