-- Level 3 never exceeds level 2, nor level 4 level 3, nor level 5 level 4.
-- A rounding's width is allowed. Rows are offences.
-- inputs: levels
SELECT
    profile,
    aggregation,
    board_id,
    model,
    level_2,
    level_3,
    level_4,
    level_5
FROM levels
WHERE
    level_3 > level_2 * (1 + 1e-12)
    OR level_4 > level_3 * (1 + 1e-12)
    OR level_5 > level_4
