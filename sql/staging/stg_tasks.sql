-- The tasks of the catalogue, each with its specialist (level 1).
-- grain: task
-- inputs: raw_tasks, task_key, modality_key, paradigm_key, skill_key, metric_key
-- columns:
--   task_id: canonical id, modality.paradigm.title
--   modality: image, video, audio, 3d or language
--   paradigm: comprehension, generation or language
--   title: title as published
--   short_title: short title as published
--   skill: skill cluster of scope D, where known
--   domain: domains, separated by semicolons (arXiv:2505.04620, appendix A.6, as the next four)
--   capability: general capabilities that the task asks for, separated by semicolons
--   data_source: data that the task is made of
--   n_instances_published: number of instances
--   specialist_model: the specialist
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
    task_id::task_key AS task_id,
    modality::modality_key AS modality,
    paradigm::paradigm_key AS paradigm,
    title,
    short_title,
    nullif(trim(skill), '')::skill_key AS skill,
    domain,
    capability,
    data_source,
    n_instances AS n_instances_published,
    specialist_model,
    metric_id::metric_key AS metric_id,
    unit,
    direction,
    map,
    threshold,
    minimum,
    maximum,
    specialist_raw,
    normalise(map, threshold, unit, minimum, maximum, specialist_raw) AS specialist_score
FROM raw_tasks
