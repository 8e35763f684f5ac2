-- Where synergy shows: a model's tasks of each skill, its mean score beside the specialists', and
-- what of it counts from level 3 on (corrected profile).
-- grain: model, modality, paradigm, skill
-- inputs: task_results, stg_tasks
-- columns:
--   model: model name
--   modality: image, video, audio, 3d or language
--   paradigm: comprehension, generation or language
--   skill: skill cluster of scope D; null for tasks without one
--   tasks_total: tasks
--   tasks_supported: tasks that the model has a score for
--   tasks_won: tasks at or above the specialist
--   mean_score: mean score over all tasks, unsupported ones as 0, 0..100
--   mean_specialist_score: mean score of the specialists, 0..100
--   mean_won_score: mean over all tasks of the scores won, the others as 0, 0..100
SELECT
    task_results.model,
    task_results.modality,
    task_results.paradigm,
    stg_tasks.skill,
    count(*) AS tasks_total,
    count_if(task_results.status = 'scored') AS tasks_supported,
    count_if(task_results.wins) AS tasks_won,
    sum(exact(task_results.score))::DOUBLE / count(*) AS mean_score,
    sum(exact(task_results.specialist_score))::DOUBLE / count(*)
        AS mean_specialist_score,
    sum(exact(CASE WHEN task_results.wins THEN task_results.score ELSE 0 END))::DOUBLE / count(*)
        AS mean_won_score
FROM task_results
INNER JOIN stg_tasks ON task_results.task_id = stg_tasks.task_id
WHERE task_results.profile = 'corrected'
GROUP BY ALL
