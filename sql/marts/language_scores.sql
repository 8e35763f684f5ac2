-- The language tasks' synergy, which weighs level 5: S_L, over all language tasks of the catalogue.
-- grain: profile, model
-- inputs: task_results
-- columns:
--   profile: corrected, published or quick
--   model: model name
--   language_tasks: language tasks of the catalogue (T)
--   language_won: language tasks at or above the specialist
--   language_score: S_L, mean over all language tasks of the scores won, the others as 0
--   language_weight: w_L = S_L / 100
WITH summed AS (
    SELECT
        profile,
        model,
        count_if(modality = 'language') AS language_tasks,
        count_if(modality = 'language' AND wins) AS language_won,
        sum(exact(score)) FILTER (modality = 'language' AND wins)
            AS sum_won_scores
    FROM task_results
    GROUP BY ALL
),

weighed AS (
    SELECT
        profile,
        model,
        language_tasks,
        language_won,
        coalesce(sum_won_scores::DOUBLE / nullif(language_tasks, 0), 0) AS language_score,
        language_score / 100 AS language_weight
    FROM summed
)

SELECT * FROM weighed
