-- The tasks of the catalogue, each with its specialist (level 1).
-- grain: task
-- inputs: raw_tasks
-- columns:
--   task_id: canonical id, modality.paradigm.title
--   modality: image, video, audio, 3d or language
--   paradigm: comprehension, generation or language
--   title: title as published
--   short_title: short title as published
--   skill: skill cluster of scope D, where known
--   metric_id: canonical metric
--   unit: unit of raw scores: percent, fraction, raw, decibel or opinion
--   direction: higher or lower raw scores are better
--   map: how a raw score becomes 0..100
--   threshold: the map's constant
--   minimum: least raw score that the metric can give
--   maximum: greatest raw score that the metric can give
--   specialist_raw: the specialist's (SoTA) raw score
--   specialist_score: the specialist's score on 0..100, by the same map (level 1)
SELECT
    task_id,
    modality,
    paradigm,
    title,
    short_title,
    skill,
    metric_id,
    unit,
    direction,
    map,
    threshold,
    minimum,
    maximum,
    specialist_raw,
    normalise(map, threshold, unit, minimum, maximum, specialist_raw) AS specialist_score
FROM raw_tasks
