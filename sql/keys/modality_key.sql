-- The modalities, and 'all' for tasks of all of them pooled, as a type.
-- grain: modality
-- inputs: raw_tasks
-- columns:
--   modality: image, video, audio, 3d, language or all
SELECT DISTINCT modality FROM raw_tasks
UNION ALL
SELECT 'all' AS modality
ORDER BY modality
