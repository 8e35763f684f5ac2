-- The halves that levels are made of: means over all tasks of a modality's paradigm on a board.
-- A board takes all tasks of its modalities' paradigms, or those of one skill: sums over skills are made
-- once, and serve every board. Sums are exact.
-- grain: profile, board, model, modality, paradigm
-- inputs: board_halves, stg_boards, stg_tasks, task_results
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
        count_if(task_results.status = 'scored')::BIGINT AS tasks_supported,
        count_if(task_results.wins)::BIGINT AS tasks_won,
        sum(exact(task_results.score)) AS sum_scores,
        sum(exact(CASE WHEN task_results.wins THEN task_results.score ELSE 0 END))
            AS sum_won_scores
    FROM task_results
    INNER JOIN stg_tasks ON task_results.task_id = stg_tasks.task_id
    WHERE task_results.modality <> 'language'  -- those are on no board
    GROUP BY ALL
),

whole_sums AS (
    SELECT
        profile,
        model,
        modality,
        paradigm,
        sum(tasks_total)::BIGINT AS tasks_total,
        sum(tasks_supported)::BIGINT AS tasks_supported,
        sum(tasks_won)::BIGINT AS tasks_won,
        sum(sum_scores) AS sum_scores,
        sum(sum_won_scores) AS sum_won_scores
    FROM skill_sums
    GROUP BY ALL
),

halves AS (
    SELECT
        board_halves.board_id,
        board_halves.modality,
        board_halves.paradigm,
        stg_boards.skill
    FROM board_halves
    INNER JOIN stg_boards ON board_halves.board_id = stg_boards.board_id
),

summed AS (
    SELECT
        halves.board_id,
        whole_sums.*
    FROM halves
    INNER JOIN whole_sums
        ON halves.modality = whole_sums.modality AND halves.paradigm = whole_sums.paradigm
    WHERE halves.skill IS NULL
    UNION ALL BY NAME
    SELECT
        halves.board_id,
        skill_sums.* EXCLUDE (skill)
    FROM halves
    INNER JOIN skill_sums
        ON
            halves.modality = skill_sums.modality
            AND halves.paradigm = skill_sums.paradigm
            AND halves.skill = skill_sums.skill
)

SELECT
    profile,
    board_id,
    model,
    modality,
    paradigm,
    tasks_total,
    tasks_supported,
    tasks_won,
    sum_scores::DOUBLE AS sum_scores,
    sum_won_scores::DOUBLE AS sum_won_scores,
    sum_scores::DOUBLE / tasks_total AS mean_score,
    sum_won_scores::DOUBLE / tasks_total AS mean_won_score
FROM summed
