-- What a task weighs on a board: one share of its paradigm of its modality, which is one half of the
-- modality (the whole on boards of one paradigm), which is one of the board's modalities.
-- grain: board, modality, paradigm
-- inputs: board_tasks, stg_boards
-- columns:
--   board_id: A, B-..., C-... or D-...
--   modality: modality
--   paradigm: comprehension or generation
--   tasks: tasks of the board in it
--   modalities: modalities of the board that have tasks
--   weight: share of one task in levels 2 and 3 (modality_mean), 0..1
WITH counted AS (
    SELECT
        board_id,
        modality,
        paradigm,
        count(*) AS tasks
    FROM board_tasks
    GROUP BY ALL
),

of_board AS (
    SELECT
        board_id,
        count(DISTINCT modality) AS modalities
    FROM counted
    GROUP BY board_id
)

SELECT
    counted.board_id,
    counted.modality,
    counted.paradigm,
    counted.tasks,
    of_board.modalities,
    1 / (
        counted.tasks
        * len(string_split(stg_boards.paradigms, '|'))
        * of_board.modalities
    ) AS weight
FROM counted
INNER JOIN of_board ON counted.board_id = of_board.board_id
INNER JOIN stg_boards ON counted.board_id = stg_boards.board_id
