-- Printed level scores beside the ones that follow from the printed task results, and why they differ.
-- The variable `printed` names a CSV of model, modality, level, score and printed_as (a model may
-- stand in a table twice, under two names). Where a figure does not
-- follow, the first of the known slips that gives it to 0.01 is its verdict.
-- grain: model, printed_as, modality, level
-- inputs: task_results, levels
-- columns:
--   model: model name
--   printed_as: its name in the table
--   modality: image, video, audio or 3d; all for the overall score
--   level: 2, 3 or 4
--   printed: the score as printed, 0..100
--   recomputed: the score that the printed task results give; null where none is printed
--   verdict: agrees, or in which way it does not follow
WITH printed AS (
    SELECT
        model,
        printed_as,
        modality,
        level::INTEGER AS level,
        score::DOUBLE AS printed
    FROM read_csv(getvariable('printed'), header = true)
),

halves AS (
    SELECT
        model,
        modality,
        paradigm,
        count(*) AS tasks,
        count(origin) AS results,
        count_if(wins) AS wins,
        avg(score) AS level_2,
        avg(if(wins, score, 0)) AS level_3,
        count_if(metric_id = 'ms_ssim' AND status = 'unsupported') AS unsupported_ms_ssim
    FROM task_results
    WHERE profile = 'corrected' AND modality <> 'language'
    GROUP BY ALL
),

modalities AS (
    SELECT
        model,
        modality,
        sum(results) AS results,
        sum(wins) AS wins,
        bool_or(results > 0 AND results < tasks) AS row_missing,
        sum(level_2 * tasks) / sum(tasks) AS pooled_2,
        sum(level_3 * tasks) / sum(tasks) AS pooled_3,
        max(level_3) AS larger_half_3,
        -- An unsupported MS-SSIM of 0 on the map (x + 1) / 2 is 50, of one half's mean.
        sum(unsupported_ms_ssim * 50 / tasks) / 2 AS ms_ssim_at_50
    FROM halves
    GROUP BY ALL
),

recomputed AS (
    UNPIVOT (
        SELECT
            model,
            CASE WHEN board_id = 'A' THEN 'all' ELSE board_id[3:] END AS modality,
            level_2 AS "2",
            level_3 AS "3",
            level_4 AS "4"
        FROM levels
        WHERE profile = 'corrected' AND aggregation = 'modality_mean'
    )
    ON "2", "3", "4" INTO NAME level VALUE recomputed
),

overall AS (
    -- What the printed scores of the modalities give for the overall one.
    SELECT
        model,
        printed_as,
        level,
        sum(printed) / 4 AS mean_of_printed
    FROM printed
    WHERE modality <> 'all'
    GROUP BY ALL
),

beside AS (
    SELECT
        printed.*,
        recomputed.recomputed,
        modalities.* EXCLUDE (model, modality),
        overall.mean_of_printed
    FROM printed
    LEFT JOIN recomputed
        ON
            printed.model = recomputed.model
            AND printed.modality = recomputed.modality
            AND printed.level = recomputed.level::INTEGER
    LEFT JOIN modalities
        ON printed.model = modalities.model AND printed.modality = modalities.modality
    LEFT JOIN overall
        ON
            printed.modality = 'all'
            AND printed.model = overall.model
            AND printed.printed_as = overall.printed_as
            AND printed.level = overall.level
),

judged AS (
    SELECT
        model,
        printed_as,
        modality,
        level,
        printed,
        recomputed,
        CASE
            WHEN abs(round(coalesce(recomputed, 0), 2) - printed) < 0.0101 THEN 'agrees'
            WHEN modality = 'all' AND abs(mean_of_printed - printed) < 0.0101
                THEN 'follows from the printed modalities'
            WHEN modality = 'all' THEN 'not the mean of the printed modalities'
            WHEN coalesce(results, 0) = 0 THEN 'no task results printed'
            WHEN level = 2 AND abs(recomputed + ms_ssim_at_50 - printed) < 0.0101
                THEN 'an unsupported MS-SSIM counted 50'
            WHEN level = 2 AND abs(pooled_2 - printed) < 0.0101
                THEN 'mean over all tasks instead of two halves'
            WHEN level = 3 AND abs(pooled_3 - printed) < 0.0101
                THEN 'mean over all tasks instead of two halves'
            WHEN level = 3 AND abs(larger_half_3 - printed) < 0.0101 THEN 'one half, not halved'
            WHEN level > 2 AND wins = 0 THEN 'above 0 although no task is won'
            WHEN level > 2 AND printed = 0 THEN 'wins not counted'
            WHEN printed = 0 THEN 'results not counted'
            WHEN row_missing THEN 'a result table lacks its row'
            ELSE 'not explained'
        END AS verdict
    FROM beside
)

SELECT * FROM judged
ORDER BY modality, level, verdict, model
