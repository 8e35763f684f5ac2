-- Printed counts of supported and won tasks beside those that follow from the printed task results.
-- The variable `printed` names a CSV of model, modality, paradigm, supported and won.
-- grain: model, modality, paradigm
-- inputs: task_results
-- columns:
--   model: model name
--   modality: image, video, audio, 3d or language
--   paradigm: comprehension, generation or language
--   printed_supported: supported tasks as printed
--   supported: tasks with a printed result
--   printed_won: won tasks as printed
--   won: tasks whose printed result is at or above the specialist
--   agrees: both counts are the printed ones
WITH printed AS (
    SELECT
        model,
        modality,
        paradigm,
        supported AS printed_supported,
        won AS printed_won
    FROM read_csv(getvariable('printed'), header = true)
),

counted AS (
    SELECT
        model,
        modality,
        paradigm,
        count(raw_score) AS supported,
        count_if(wins) AS won
    FROM task_results
    WHERE profile = 'corrected'
    GROUP BY ALL
),

beside AS (
    SELECT
        printed.model,
        printed.modality,
        printed.paradigm,
        printed.printed_supported,
        counted.supported,
        printed.printed_won,
        counted.won,
        coalesce(
            printed.printed_supported = counted.supported AND printed.printed_won = counted.won,
            false
        ) AS agrees
    FROM printed
    LEFT JOIN counted
        ON
            printed.model = counted.model
            AND printed.modality = counted.modality
            AND printed.paradigm = counted.paradigm
)

SELECT * FROM beside
ORDER BY agrees, modality, paradigm, model
