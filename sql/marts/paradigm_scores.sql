-- The halves that levels are made of: means over all tasks of a modality's paradigm on a board.
-- Tasks of one skill are on the same boards, so they are summed first and once. Sums are exact.
-- grain: profile, board, model, modality, paradigm
-- inputs: board_tasks, stg_tasks, task_results
-- columns:
--   profile: corrected, published or quick
--   board_id: board
--   model: model name
--   modality: modality
--   paradigm: comprehension or generation
--   tasks_total: tasks of the board in it
--   tasks_supported: tasks that the model has a score for
--   tasks_won: tasks at or above the specialist
--   sum_scores: sum of the scores
--   sum_won_scores: sum of the scores of the tasks won
--   mean_score: mean score over all tasks, unsupported ones as 0
--   mean_won_score: mean over all tasks of the scores won, the others as 0
WITH skill_sums AS (
    SELECT
        task_results.profile,
        task_results.model,
        task_results.modality,
        task_results.paradigm,
        stg_tasks.skill,
        count(*) AS tasks_total,
        count_if(task_results.status = 'scored') AS tasks_supported,
        count_if(task_results.wins) AS tasks_won,
        sum(exact(task_results.score)) AS sum_scores,
        sum(exact(CASE WHEN task_results.wins THEN task_results.score ELSE 0 END))
            AS sum_won_scores
    FROM task_results
    INNER JOIN stg_tasks ON task_results.task_id = stg_tasks.task_id
    GROUP BY ALL
),

board_skills AS (
    SELECT DISTINCT
        board_tasks.board_id,
        board_tasks.modality,
        board_tasks.paradigm,
        stg_tasks.skill
    FROM board_tasks
    INNER JOIN stg_tasks ON board_tasks.task_id = stg_tasks.task_id
),

summed AS (
    SELECT
        skill_sums.profile,
        board_skills.board_id,
        skill_sums.model,
        board_skills.modality,
        board_skills.paradigm,
        sum(skill_sums.tasks_total)::BIGINT AS tasks_total,
        sum(skill_sums.tasks_supported)::BIGINT AS tasks_supported,
        sum(skill_sums.tasks_won)::BIGINT AS tasks_won,
        sum(skill_sums.sum_scores)::DOUBLE AS sum_scores,
        sum(skill_sums.sum_won_scores)::DOUBLE AS sum_won_scores
    FROM board_skills
    INNER JOIN skill_sums
        ON
            board_skills.modality = skill_sums.modality
            AND board_skills.paradigm = skill_sums.paradigm
            AND board_skills.skill IS NOT DISTINCT FROM skill_sums.skill
    GROUP BY ALL
),

averaged AS (
    SELECT
        *,
        sum_scores / tasks_total AS mean_score,
        sum_won_scores / tasks_total AS mean_won_score
    FROM summed
)

SELECT * FROM averaged
