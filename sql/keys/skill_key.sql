-- The skill clusters of scope D, as a type.
-- grain: skill
-- inputs: raw_tasks
-- columns:
--   skill: skill cluster, without spaces around it
SELECT DISTINCT trim(skill) AS skill FROM raw_tasks
WHERE trim(skill) <> ''
ORDER BY skill
