-- What became of a task, as a type.
-- grain: status
-- inputs:
-- columns:
--   status: scored, unsupported or refused
SELECT unnest(['scored', 'unsupported', 'refused']) AS status
