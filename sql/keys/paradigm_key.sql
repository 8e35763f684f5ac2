-- The paradigms, as a type.
-- grain: paradigm
-- inputs:
-- columns:
--   paradigm: comprehension, generation or language
SELECT unnest(['comprehension', 'generation', 'language']) AS paradigm
