-- A model's tasks add up to its levels and to w_L, to 1e-9. Rows are offences.
-- inputs: level_contributions, levels
WITH summed AS (
    SELECT
        board_id,
        model,
        sum(level_2) AS level_2,
        sum(level_3) AS level_3,
        sum(level_4) AS level_4,
        sum(level_5) AS level_5,
        sum(language_weight) AS language_weight
    FROM level_contributions
    GROUP BY ALL
)

SELECT
    levels.board_id,
    levels.model,
    summed.level_2,
    summed.level_3,
    summed.level_4,
    summed.level_5,
    summed.language_weight
FROM levels
LEFT JOIN summed ON levels.board_id = summed.board_id AND levels.model = summed.model
WHERE
    levels.profile = 'corrected'
    AND levels.aggregation = 'modality_mean'
    AND NOT coalesce(
        abs(levels.level_2 - summed.level_2) <= 1e-9
        AND abs(levels.level_3 - summed.level_3) <= 1e-9
        AND (levels.level_4 IS NULL OR abs(levels.level_4 - summed.level_4) <= 1e-9)
        AND (
            levels.level_5 IS NULL
            OR (
                abs(levels.level_5 - summed.level_5) <= 1e-9
                AND abs(levels.language_weight - summed.language_weight) <= 1e-9
            )
        ), false
    )
