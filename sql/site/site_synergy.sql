-- The synergy map in the order in which it is read: skills by their numbers, I-C-2 before I-C-10.
-- grain: model, modality, paradigm, skill
-- inputs: synergy_map
-- columns:
--   model: model name
--   modality: image, video, audio, 3d or language
--   paradigm: comprehension, generation or language
--   skill: skill cluster of scope D; null for tasks without one
--   tasks_total: tasks
--   tasks_supported: tasks that the model has a score for
--   tasks_won: tasks at or above the specialist
--   mean_score: mean score over all tasks, 0..100
--   mean_specialist_score: mean score of the specialists, 0..100
SELECT
    model,
    modality,
    paradigm,
    skill,
    tasks_total,
    tasks_supported,
    tasks_won,
    mean_score,
    mean_specialist_score
FROM synergy_map
ORDER BY
    model,
    list_position(['image', 'video', 'audio', '3d', 'language'], modality),
    paradigm,
    regexp_replace(skill, '[0-9]+$', ''),
    try_cast(regexp_extract(skill, '[0-9]+$') AS INTEGER),
    skill
