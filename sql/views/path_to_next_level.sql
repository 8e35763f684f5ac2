-- The shortest way up: the tasks whose gaps to the specialist are smallest in sum, and which, when
-- their scores become the specialists', give the model a score on the next level of board A (corrected
-- profile, modality_mean). Level 3 asks for one task. Level 4 asks for one in each half of one
-- modality, less what is won there already. Level 5 asks for a language task. (Level 2 asks only for
-- a score above 0: the nearest task that a specialist can do is named.) A model at level 5 has no rows,
-- nor has one for which the catalogue holds no such tasks.
-- grain: model, step
-- inputs: level_gains, levels, group_levels
-- columns:
--   model: model name
--   level_reached: the highest level whose score is above 0; 1 when none is
--   next_level: the level that the steps lead to
--   step: 1, 2: the smallest gap first
--   task_id: canonical task id
--   gap: normalised points that the task is short of the specialist, 0..100
--   total_gap: sum of the gaps of all steps
WITH reached AS (
    SELECT
        model,
        level_reached
    FROM levels
    WHERE board_id = 'A' AND profile = 'corrected' AND aggregation = 'modality_mean'
),

-- A specialist of score 0, as the levels' sums know scores, is won for nothing.
nearest_of_half AS (
    SELECT
        model,
        modality,
        paradigm,
        task_id,
        gap
    FROM level_gains
    WHERE exact(specialist_score) > 0
    QUALIFY row_number() OVER (PARTITION BY model, modality, paradigm ORDER BY gap, task_id) = 1
),

nearest AS (
    SELECT
        model,
        modality = 'language' AS language,
        task_id,
        gap
    FROM nearest_of_half
    QUALIFY row_number() OVER (PARTITION BY model, language ORDER BY gap, task_id) = 1
),

halves_to_win AS (
    SELECT
        groups.model,
        groups.modality,
        half.paradigm
    FROM group_levels AS groups
    CROSS JOIN LATERAL (
        VALUES ('comprehension', groups.comprehension_won), ('generation', groups.generation_won)
    ) AS half (paradigm, won)
    WHERE
        groups.board_id = 'A'
        AND groups.profile = 'corrected'
        AND groups.aggregation = 'modality_mean'
        AND half.won = 0
),

cheapest_modality AS (
    SELECT
        halves_to_win.model,
        halves_to_win.modality,
        sum(nearest_of_half.gap) AS total_gap
    FROM halves_to_win
    LEFT JOIN nearest_of_half
        ON
            halves_to_win.model = nearest_of_half.model
            AND halves_to_win.modality = nearest_of_half.modality
            AND halves_to_win.paradigm = nearest_of_half.paradigm
    GROUP BY halves_to_win.model, halves_to_win.modality
    HAVING count(*) = count(nearest_of_half.gap)
    QUALIFY
        row_number() OVER (
            PARTITION BY halves_to_win.model
            ORDER BY total_gap, count(*), halves_to_win.modality
        ) = 1
),

steps AS (
    SELECT
        reached.model,
        reached.level_reached,
        nearest.task_id,
        nearest.gap
    FROM reached
    INNER JOIN nearest
        ON
            reached.model = nearest.model
            AND (
                (reached.level_reached <= 2 AND NOT nearest.language)
                OR (reached.level_reached = 4 AND nearest.language)
            )
    UNION ALL
    SELECT
        reached.model,
        reached.level_reached,
        nearest_of_half.task_id,
        nearest_of_half.gap
    FROM reached
    INNER JOIN cheapest_modality ON reached.model = cheapest_modality.model
    INNER JOIN halves_to_win
        ON
            reached.model = halves_to_win.model
            AND cheapest_modality.modality = halves_to_win.modality
    INNER JOIN nearest_of_half
        ON
            halves_to_win.model = nearest_of_half.model
            AND halves_to_win.modality = nearest_of_half.modality
            AND halves_to_win.paradigm = nearest_of_half.paradigm
    WHERE reached.level_reached = 3
)

SELECT
    model,
    level_reached,
    level_reached + 1 AS next_level,
    row_number() OVER (PARTITION BY model ORDER BY gap, task_id) AS step,
    task_id,
    gap,
    sum(gap) OVER (PARTITION BY model) AS total_gap
FROM steps
ORDER BY model, step
