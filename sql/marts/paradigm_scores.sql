-- The halves that levels are made of: means over all tasks of a modality's paradigm on a board.
-- Sums run in the order of task ids with compensation (fsum), so that they are the same to the bit
-- whatever the number of threads.
-- grain: profile, board, model, modality, paradigm
-- inputs: board_tasks, task_results
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
WITH summed AS (
    SELECT
        task_results.profile,
        board_tasks.board_id,
        task_results.model,
        board_tasks.modality,
        board_tasks.paradigm,
        count(*) AS tasks_total,
        count_if(task_results.status = 'scored') AS tasks_supported,
        count_if(task_results.wins) AS tasks_won,
        fsum(task_results.score ORDER BY task_results.task_id) AS sum_scores,
        fsum(
            CASE WHEN task_results.wins THEN task_results.score ELSE 0 END
            ORDER BY task_results.task_id
        ) AS sum_won_scores
    FROM board_tasks
    INNER JOIN task_results ON board_tasks.task_id = task_results.task_id
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
