-- How sure each level is: the task scores' replicates carried through to the levels (95 % intervals;
-- corrected profile, modality_mean). Scores without replicates count as exact.
-- grain: board, model, level
-- inputs: raw_level_intervals, levels, board_tasks, task_results, task_intervals
-- columns:
--   board_id: board
--   model: model name
--   level: 2 to 5
--   score: the level's score, 0..100
--   low: lower end of the interval
--   high: upper end of the interval
--   standard_error: standard deviation of the replicates
--   share_bootstrapped: share of the board's supported tasks that have replicates, 0..1
WITH scores AS (
    SELECT
        board_id,
        model,
        unnest([2, 3, 4, 5]) AS level,
        unnest([level_2, level_3, level_4, level_5]) AS score
    FROM levels
    WHERE profile = 'corrected' AND aggregation = 'modality_mean'
),

shares AS (
    SELECT
        board_tasks.board_id,
        task_results.model,
        count(task_intervals.task_id) / count(*) AS share_bootstrapped
    FROM board_tasks
    INNER JOIN task_results ON board_tasks.task_id = task_results.task_id
    LEFT JOIN task_intervals
        ON
            task_results.model = task_intervals.model
            AND task_results.task_id = task_intervals.task_id
    WHERE task_results.profile = 'corrected' AND task_results.status = 'scored'
    GROUP BY ALL
)

SELECT
    intervals.board_id,
    intervals.model,
    intervals.level,
    scores.score,
    intervals.low,
    intervals.high,
    intervals.standard_error,
    coalesce(shares.share_bootstrapped, 0) AS share_bootstrapped
FROM raw_level_intervals AS intervals
INNER JOIN scores
    ON
        intervals.board_id = scores.board_id
        AND intervals.model = scores.model
        AND intervals.level = scores.level
LEFT JOIN shares
    ON intervals.board_id = shares.board_id AND intervals.model = shares.model
