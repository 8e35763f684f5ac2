-- Levels 2 to 4 inside one group of tasks: one modality of a board (for the aggregation
-- modality_mean), or all modalities of the board pooled (for task_mean).
-- On boards of one paradigm (scope C) there are no two halves: levels 2 and 3 are that paradigm's
-- means, and level 4 does not exist. A group of a two-paradigm board that has tasks of one
-- paradigm only counts the absent half as 0, so that a catalogue gains nothing by leaving it out.
-- grain: profile, aggregation, board, model, modality
-- inputs: boards, paradigm_scores, aggregation_key, modality_key
-- columns:
--   profile: corrected, published or quick
--   aggregation: modality_mean or task_mean
--   board_id: board
--   model: model name
--   modality: modality, or 'all' where they are pooled
--   tasks_total: tasks
--   tasks_supported: tasks that the model has a score for
--   tasks_won: tasks at or above the specialist
--   comprehension_score: mean over the M comprehension tasks
--   generation_score: mean over the N generation tasks
--   comprehension_won: S_C, the mean over the M tasks of the scores won
--   generation_won: S_G, the mean over the N tasks of the scores won
--   level_2: mean of the two halves (paper section 3.2)
--   level_3: mean of S_C and S_G
--   level_4: harmonic mean of S_C and S_G; null on boards of one paradigm
WITH modality_halves AS (
    SELECT
        profile,
        board_id,
        model,
        modality,
        sum(tasks_total)::BIGINT AS tasks_total,
        sum(tasks_supported)::BIGINT AS tasks_supported,
        sum(tasks_won)::BIGINT AS tasks_won,
        sum(tasks_total) FILTER (paradigm = 'comprehension') AS comprehension_tasks,
        sum(tasks_total) FILTER (paradigm = 'generation') AS generation_tasks,
        any_value(sum_scores) FILTER (paradigm = 'comprehension') AS comprehension_sum,
        any_value(sum_scores) FILTER (paradigm = 'generation') AS generation_sum,
        any_value(sum_won_scores) FILTER (paradigm = 'comprehension') AS comprehension_won_sum,
        any_value(sum_won_scores) FILTER (paradigm = 'generation') AS generation_won_sum
    FROM paradigm_scores
    GROUP BY ALL
),

pooled_halves AS (
    SELECT
        profile,
        board_id,
        model,
        'all'::modality_key AS modality,
        sum(tasks_total)::BIGINT AS tasks_total,
        sum(tasks_supported)::BIGINT AS tasks_supported,
        sum(tasks_won)::BIGINT AS tasks_won,
        sum(comprehension_tasks) AS comprehension_tasks,
        sum(generation_tasks) AS generation_tasks,
        sum(exact(comprehension_sum))::DOUBLE AS comprehension_sum,
        sum(exact(generation_sum))::DOUBLE AS generation_sum,
        sum(exact(comprehension_won_sum))::DOUBLE AS comprehension_won_sum,
        sum(exact(generation_won_sum))::DOUBLE AS generation_won_sum
    FROM modality_halves
    GROUP BY ALL
),

groups AS (
    SELECT
        'modality_mean'::aggregation_key AS aggregation,
        *
    FROM modality_halves
    UNION ALL
    SELECT
        'task_mean'::aggregation_key AS aggregation,
        *
    FROM pooled_halves
),

halves AS (
    SELECT
        profile,
        aggregation,
        board_id,
        model,
        modality,
        tasks_total,
        tasks_supported,
        tasks_won,
        coalesce(comprehension_sum / comprehension_tasks, 0) AS comprehension_score,
        coalesce(generation_sum / generation_tasks, 0) AS generation_score,
        coalesce(comprehension_won_sum / comprehension_tasks, 0) AS comprehension_won,
        coalesce(generation_won_sum / generation_tasks, 0) AS generation_won
    FROM groups
),

levelled AS (
    SELECT
        halves.*,
        CASE
            WHEN boards.paradigms = 'comprehension' THEN halves.comprehension_score
            WHEN boards.paradigms = 'generation' THEN halves.generation_score
            ELSE (halves.comprehension_score + halves.generation_score) / 2
        END AS level_2,
        CASE
            WHEN boards.paradigms = 'comprehension' THEN halves.comprehension_won
            WHEN boards.paradigms = 'generation' THEN halves.generation_won
            ELSE (halves.comprehension_won + halves.generation_won) / 2
        END AS level_3,
        CASE
            WHEN boards.max_level >= 4
                THEN harmonic_mean(halves.comprehension_won, halves.generation_won)
        END AS level_4
    FROM halves
    INNER JOIN boards ON halves.board_id = boards.board_id
)

SELECT * FROM levelled
