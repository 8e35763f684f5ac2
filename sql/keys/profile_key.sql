-- The profiles, as a type: whose rules a score is by (stg_task_scores tells which).
-- grain: profile
-- inputs:
-- columns:
--   profile: corrected, published or quick
SELECT unnest(['corrected', 'published', 'quick']) AS profile
