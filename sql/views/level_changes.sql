-- What the last published run changed: every level score beside the one of the run before it.
-- Boards of scopes A, B and C: of the many of scope D no levels are kept.
-- grain: profile, aggregation, board, model, level
-- inputs: runs, level_history
-- columns:
--   run_id: the last published run
--   run_id_before: the published run before it
--   profile: corrected, published or quick
--   aggregation: modality_mean or task_mean
--   board_id: board
--   model: model name
--   level: 2, 3, 4 or 5
--   score: level score of the last run, 0..100; NULL when the model is no longer there
--   score_before: level score of the run before; NULL when the model is new
--   change: score minus score before; below 0 is a regression
WITH last_two AS (
    SELECT
        run_id,
        row_number() OVER (ORDER BY published_at DESC, run_id DESC) AS age
    FROM runs
    QUALIFY age <= 2
),

last_and_before AS (
    SELECT
        max(CASE WHEN age = 1 THEN run_id END) AS run_id,
        max(CASE WHEN age = 2 THEN run_id END) AS run_id_before
    FROM last_two
),

scores AS (
    SELECT
        last_two.age,
        history.profile,
        history.aggregation,
        history.board_id,
        history.model,
        level.number AS level,
        level.score
    FROM level_history AS history
    INNER JOIN last_two ON history.run_id = last_two.run_id
    CROSS JOIN LATERAL (
        VALUES
        (2, history.level_2), (3, history.level_3), (4, history.level_4), (5, history.level_5)
    ) AS level (number, score)
)

SELECT
    last_and_before.run_id,
    last_and_before.run_id_before,
    profile,
    aggregation,
    board_id,
    model,
    level,
    max(CASE WHEN age = 1 THEN score END) AS score,
    max(CASE WHEN age = 2 THEN score END) AS score_before,
    max(CASE WHEN age = 1 THEN score END) - max(CASE WHEN age = 2 THEN score END) AS change
FROM scores
CROSS JOIN last_and_before
GROUP BY last_and_before.run_id, last_and_before.run_id_before, profile, aggregation, board_id, model, level
ORDER BY profile, aggregation, board_id, model, level
