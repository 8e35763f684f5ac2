-- The boards that models are ranked on. A: all modalities. B: modalities and combinations of them.
-- C: a paradigm of a modality. D: a skill of such a paradigm.
-- grain: board
-- inputs: stg_boards, board_tasks, board_key
-- columns:
--   board_id: A, B-..., C-... or D-...
--   scope: A, B, C or D
--   title: title
--   modalities: modalities of the board's tasks, separated by bars
--   paradigms: paradigms of the board's tasks, separated by bars
--   skill: the skill of a board of scope D; null otherwise
--   max_level: the highest level that the board knows
--   tasks: tasks that count on the board
WITH counted AS (
    SELECT
        board_id,
        count(*) AS tasks
    FROM board_tasks
    GROUP BY board_id
)

SELECT
    stg_boards.board_id::board_key AS board_id,
    stg_boards.scope,
    stg_boards.title,
    stg_boards.modalities,
    stg_boards.paradigms,
    stg_boards.skill,
    stg_boards.max_level,
    coalesce(counted.tasks, 0) AS tasks
FROM stg_boards
LEFT JOIN counted ON stg_boards.board_id = counted.board_id
