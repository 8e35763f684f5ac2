-- What each task adds to each level (corrected profile, modality_mean): the sums over a board's tasks
-- are its levels, and the sum of language_weight is w_L. A language task is listed on the boards that
-- have a level 5: it adds to none of the levels but to w_L, which weighs level 5.
-- Level 4 is a harmonic mean H of the halves S_C and S_G, and H grows k times when both do, so that by
-- Euler's theorem H = S_C * dH/dS_C + S_G * dH/dS_G, where dH/dS_C = 2 * S_G^2 / (S_C + S_G)^2. A task
-- adds its share of its half times the half's derivative, and the summands leave no rest. A summand of
-- level 5 is that of level 4 times w_L. What a change of one task would bring is in level_gains.
-- grain: board, model, task
-- inputs: boards, board_tasks, board_halves, task_results, group_levels, language_scores
-- columns:
--   board_id: board
--   model: model name
--   task_id: canonical task id
--   score: normalised score, 0..100; 0 unless scored
--   wins: at or above the specialist
--   weight: share of the task in levels 2 and 3, 0..1; 0 for a language task
--   level_2: summand of level 2
--   level_3: summand of level 3
--   level_4: summand of level 4; null where the board ends before
--   level_5: summand of level 5; null where the board ends before
--   language_weight: summand of w_L; 0 for all but language tasks
WITH results AS (
    SELECT
        model,
        task_id,
        modality,
        score,
        wins,
        CASE WHEN wins THEN score ELSE 0 END AS won_score
    FROM task_results
    WHERE profile = 'corrected'
),

halves AS (
    SELECT
        groups.board_id,
        groups.model,
        groups.modality,
        half.paradigm,
        -- dH/dS of this half; without one of the halves, level 4 is 0 and has no summands.
        CASE
            WHEN half.won = 0 OR half.other_won = 0 THEN 0
            ELSE 2 * (half.other_won / (half.won + half.other_won)) ** 2
        END AS derivative
    FROM group_levels AS groups
    CROSS JOIN LATERAL (
        VALUES
        ('comprehension', groups.comprehension_won, groups.generation_won),
        ('generation', groups.generation_won, groups.comprehension_won)
    ) AS half (paradigm, won, other_won)
    WHERE groups.profile = 'corrected' AND groups.aggregation = 'modality_mean'
),

added AS (
    SELECT
        board_tasks.board_id,
        board_tasks.max_level,
        results.model,
        results.task_id,
        results.score,
        results.wins,
        board_halves.weight,
        results.score * board_halves.weight AS level_2,
        results.won_score * board_halves.weight AS level_3,
        results.won_score / board_halves.tasks * halves.derivative / board_halves.modalities
            AS level_4,
        0 AS language_weight
    FROM board_tasks
    INNER JOIN board_halves
        ON
            board_tasks.board_id = board_halves.board_id
            AND board_tasks.modality = board_halves.modality
            AND board_tasks.paradigm = board_halves.paradigm
    INNER JOIN results ON board_tasks.task_id = results.task_id
    INNER JOIN halves
        ON
            board_tasks.board_id = halves.board_id
            AND results.model = halves.model
            AND board_tasks.modality = halves.modality
            AND board_tasks.paradigm = halves.paradigm
    UNION ALL
    SELECT
        boards.board_id,
        boards.max_level,
        results.model,
        results.task_id,
        results.score,
        results.wins,
        0 AS weight,
        0 AS level_2,
        0 AS level_3,
        0 AS level_4,
        results.won_score / 100 / language_scores.language_tasks AS language_weight
    FROM boards
    CROSS JOIN results
    INNER JOIN language_scores
        ON language_scores.profile = 'corrected' AND results.model = language_scores.model
    WHERE boards.max_level >= 5 AND boards.tasks > 0 AND results.modality = 'language'
)

SELECT
    added.board_id,
    added.model,
    added.task_id,
    added.score,
    added.wins,
    added.weight,
    added.level_2,
    added.level_3,
    CASE WHEN added.max_level >= 4 THEN added.level_4 END AS level_4,
    CASE WHEN added.max_level >= 5 THEN added.level_4 * language_scores.language_weight END AS level_5,
    added.language_weight
FROM added
INNER JOIN language_scores
    ON language_scores.profile = 'corrected' AND added.model = language_scores.model
