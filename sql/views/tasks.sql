-- The catalogue: every task with its metric and its specialist.
-- grain: task
-- inputs: stg_tasks
-- columns:
--   task_id: canonical id, modality.paradigm.title
--   title: title as published
--   short_title: short title as published
--   modality: image, video, audio, 3d or language
--   paradigm: comprehension, generation or language
--   skill: skill cluster of scope D, where known
--   domain: domains, separated by semicolons (arXiv:2505.04620, appendix A.6, as the next four)
--   capability: general capabilities that the task asks for, separated by semicolons
--   data_source: data that the task is made of
--   n_instances_published: number of instances
--   specialist_model: the specialist
--   metric_id: canonical metric
--   unit: unit of raw scores: percent, fraction, raw, decibel or opinion
--   direction: higher or lower raw scores are better
--   specialist_raw: the specialist's (SoTA) raw score
--   specialist_score: the specialist's score on 0..100 (level 1)
SELECT
    task_id,
    title,
    short_title,
    modality,
    paradigm,
    skill,
    domain,
    capability,
    data_source,
    n_instances_published,
    specialist_model,
    metric_id,
    unit,
    direction,
    specialist_raw,
    specialist_score
FROM stg_tasks
ORDER BY task_id
