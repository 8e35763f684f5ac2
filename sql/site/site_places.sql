-- What boards show: places with level scores, and their 95 % intervals where there are any.
-- grain: profile, aggregation, board, model
-- inputs: leaderboards, level_intervals, rank_intervals
-- columns:
--   profile: corrected, published or quick
--   aggregation: modality_mean or task_mean
--   board_id: board
--   rank: place on the board, 1 is best; ties share it
--   model: model name
--   level_reached: the highest level whose score is above 0
--   level_2: no synergy, 0..100; so level_3 to level_5
--   tasks_supported: tasks that the model has a score for
--   tasks_won: tasks at or above the specialist
--   tasks_total: tasks of the board
--   low_2: lower end of level 2's interval; so low_3 to low_5
--   high_2: upper end of level 2's interval; so high_3 to high_5
--   share_bootstrapped: share of the supported tasks that have replicates, 0..1
--   rank_low: best rank of 95 % of the resamples
--   rank_high: worst rank of 95 % of the resamples
WITH by_board AS (
    SELECT
        'corrected' AS profile,
        'modality_mean' AS aggregation,
        board_id,
        model,
        max(low) FILTER (level = 2) AS low_2,
        max(low) FILTER (level = 3) AS low_3,
        max(low) FILTER (level = 4) AS low_4,
        max(low) FILTER (level = 5) AS low_5,
        max(high) FILTER (level = 2) AS high_2,
        max(high) FILTER (level = 3) AS high_3,
        max(high) FILTER (level = 4) AS high_4,
        max(high) FILTER (level = 5) AS high_5,
        max(share_bootstrapped) AS share_bootstrapped
    FROM level_intervals
    GROUP BY board_id, model
),

ranks AS (
    SELECT
        'corrected' AS profile,
        'modality_mean' AS aggregation,
        board_id,
        model,
        rank_low,
        rank_high
    FROM rank_intervals
)

SELECT
    leaderboards.*,
    by_board.* EXCLUDE (profile, aggregation, board_id, model),
    ranks.rank_low,
    ranks.rank_high
FROM leaderboards
LEFT JOIN by_board
    ON
        leaderboards.profile = by_board.profile
        AND leaderboards.aggregation = by_board.aggregation
        AND leaderboards.board_id = by_board.board_id
        AND leaderboards.model = by_board.model
LEFT JOIN ranks
    ON
        leaderboards.profile = ranks.profile
        AND leaderboards.aggregation = ranks.aggregation
        AND leaderboards.board_id = ranks.board_id
        AND leaderboards.model = ranks.model
ORDER BY
    leaderboards.board_id,
    leaderboards.profile,
    leaderboards.aggregation,
    leaderboards.rank,
    leaderboards.model
