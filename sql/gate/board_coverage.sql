-- How much of each board a submission answers, and the highest level that it can reach at best: a
-- task that is not answered scores 0. Level 3 needs an answered task; level 4 both comprehension and
-- generation in one modality (modality_mean); level 5 a language task besides.
-- grain: board
-- inputs: stg_boards, board_tasks, stg_tasks, gate_tasks
-- columns:
--   board_id: A, B-..., C-... or D-...
--   scope: A, B, C or D
--   title: title
--   max_level: the highest level that the board knows
--   tasks: tasks of the board
--   tasks_answered: those with at least one answer that the metric takes
--   instances: instances of the board's tasks
--   instances_answered: those with an answer that the metric takes
--   reachable_level: the highest level that can come out above 0; 1 when none can
--   limited_by: what is missing for a higher level of the board; null at its highest
WITH halves AS (
    SELECT
        board_tasks.board_id,
        board_tasks.modality,
        board_tasks.paradigm,
        count(*) AS tasks,
        count_if(gate_tasks.instances_answered > 0) AS tasks_answered,
        sum(gate_tasks.instances)::BIGINT AS instances,
        sum(gate_tasks.instances_answered)::BIGINT AS instances_answered
    FROM board_tasks
    INNER JOIN gate_tasks ON board_tasks.task_id = gate_tasks.task_id
    GROUP BY ALL
),

modalities AS (
    SELECT
        board_id,
        modality,
        count_if(tasks_answered > 0) = 2 AS both_paradigms
    FROM halves
    GROUP BY ALL
),

two_sided AS (
    SELECT
        board_id,
        count_if(both_paradigms) AS modalities
    FROM modalities
    GROUP BY board_id
),

answered_language AS (
    SELECT count(*) AS tasks
    FROM gate_tasks
    INNER JOIN stg_tasks ON gate_tasks.task_id = stg_tasks.task_id
    WHERE stg_tasks.modality = 'language' AND gate_tasks.instances_answered > 0
),

summed AS (
    SELECT
        stg_boards.board_id,
        stg_boards.scope,
        stg_boards.title,
        stg_boards.max_level,
        sum(halves.tasks)::BIGINT AS tasks,
        sum(halves.tasks_answered)::BIGINT AS tasks_answered,
        sum(halves.instances)::BIGINT AS instances,
        sum(halves.instances_answered)::BIGINT AS instances_answered
    FROM stg_boards
    INNER JOIN halves ON stg_boards.board_id = halves.board_id
    GROUP BY ALL
),

limited AS (
    SELECT
        summed.*,
        CASE
            WHEN summed.tasks_answered = 0 THEN 1
            WHEN two_sided.modalities = 0 THEN 3
            WHEN answered_language.tasks = 0 THEN 4
            ELSE 5
        END AS limit_level
    FROM summed
    INNER JOIN two_sided ON summed.board_id = two_sided.board_id
    CROSS JOIN answered_language
)

SELECT
    board_id,
    scope,
    title,
    max_level,
    tasks,
    tasks_answered,
    instances,
    instances_answered,
    least(limit_level, max_level) AS reachable_level,
    CASE
        WHEN limit_level >= max_level THEN NULL
        WHEN limit_level = 1 THEN 'no task of it is answered'
        WHEN limit_level = 3 THEN 'no modality has both comprehension and generation answered'
        ELSE 'no language task is answered'
    END AS limited_by
FROM limited
