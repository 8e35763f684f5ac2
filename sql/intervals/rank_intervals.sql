-- How sure each rank is: the ranks that the models have among replicates of all their levels (95 %
-- intervals; corrected profile, modality_mean; boards of scopes A, B and C). All models' replicates
-- are of the same draws of instances, so that what is hard for all moves no rank.
-- grain: board, model
-- inputs: raw_rank_intervals, leaderboards
-- columns:
--   board_id: board
--   model: model name
--   rank: place on the board, 1 is best; ties share it
--   rank_low: best rank of the interval
--   rank_high: worst rank of the interval
--   p_first: share of the replicates in which the model is first, 0..1
SELECT
    intervals.board_id,
    intervals.model,
    leaderboards.rank,
    intervals.rank_low,
    intervals.rank_high,
    intervals.p_first
FROM raw_rank_intervals AS intervals
INNER JOIN leaderboards
    ON
        intervals.board_id = leaderboards.board_id
        AND intervals.model = leaderboards.model
WHERE leaderboards.profile = 'corrected' AND leaderboards.aggregation = 'modality_mean'
