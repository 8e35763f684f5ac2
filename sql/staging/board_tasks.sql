-- Which tasks count on which board. Language tasks are on no board: they weigh level 5 only.
-- grain: board, task
-- inputs: raw_boards, stg_tasks
-- columns:
--   board_id: A, B-... or C-...
--   max_level: the highest level that the board knows
--   modality: the task's modality
--   paradigm: the task's paradigm
--   task_id: canonical task id
SELECT
    raw_boards.board_id,
    raw_boards.max_level,
    stg_tasks.modality,
    stg_tasks.paradigm,
    stg_tasks.task_id
FROM raw_boards
INNER JOIN stg_tasks
    ON
        list_contains(string_split(raw_boards.modalities, '|'), stg_tasks.modality)
        AND list_contains(string_split(raw_boards.paradigms, '|'), stg_tasks.paradigm)
