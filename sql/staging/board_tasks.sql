-- Which tasks count on which board. Language tasks are on no board: they weigh level 5 only.
-- grain: board, task
-- inputs: stg_boards, stg_tasks, board_key
-- columns:
--   board_id: A, B-..., C-... or D-...
--   max_level: the highest level that the board knows
--   modality: the task's modality
--   paradigm: the task's paradigm
--   task_id: canonical task id
SELECT
    stg_boards.board_id::board_key AS board_id,
    stg_boards.max_level,
    stg_tasks.modality,
    stg_tasks.paradigm,
    stg_tasks.task_id
FROM stg_boards
INNER JOIN stg_tasks
    ON
        list_contains(string_split(stg_boards.modalities, '|'), stg_tasks.modality)
        AND list_contains(string_split(stg_boards.paradigms, '|'), stg_tasks.paradigm)
        AND (stg_boards.skill IS NULL OR stg_boards.skill = stg_tasks.skill)
