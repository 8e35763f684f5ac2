-- The ways to average over modalities, as a type (levels tells which).
-- grain: aggregation
-- inputs:
-- columns:
--   aggregation: modality_mean or task_mean
SELECT unnest(['modality_mean', 'task_mean']) AS aggregation
