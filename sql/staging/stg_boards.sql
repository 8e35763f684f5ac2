-- The boards: those of the list (scopes A, B and C), and one for each skill that the catalogue knows
-- inside a group of scope C (scope D). A task without a skill is on no board of scope D.
-- A skill's board is named by the skill in small letters and digits, 60 at most, with hyphens for all
-- else; where that leaves nothing, or two skills of a group the same, a hash of the skill follows
-- after an underscore, which no name has otherwise.
-- grain: board
-- inputs: raw_boards, stg_tasks
-- columns:
--   board_id: A, B-..., C-... or D-...
--   scope: A, B, C or D
--   title: title
--   modalities: modalities of the board's tasks, separated by bars
--   paradigms: paradigms of the board's tasks, separated by bars
--   skill: the skill of a board of scope D; null otherwise
--   max_level: the highest level that the board knows
WITH skills AS (
    SELECT DISTINCT
        modality,
        paradigm,
        skill,
        trim(left(trim(regexp_replace(lower(skill), '[^a-z0-9]+', '-', 'g'), '-'), 60), '-') AS name
    FROM stg_tasks
    WHERE skill IS NOT NULL
),

named AS (
    SELECT
        modality,
        paradigm,
        skill,
        CASE
            WHEN name = '' OR count(*) OVER (PARTITION BY modality, paradigm, name) > 1
                THEN concat(name, '_', left(md5(skill), 12))
            ELSE name
        END AS name
    FROM skills
),

skill_boards AS (
    SELECT
        concat('D-', named.modality, '-', named.paradigm, '-', named.name) AS board_id,
        'D' AS scope,
        concat(groups.title, ': ', named.skill) AS title,
        groups.modalities,
        groups.paradigms,
        named.skill,
        groups.max_level
    FROM named
    INNER JOIN raw_boards AS groups
        ON
            groups.scope = 'C'
            AND named.modality = groups.modalities
            AND named.paradigm = groups.paradigms
)

SELECT
    board_id,
    scope,
    title,
    modalities,
    paradigms,
    NULL AS skill,
    max_level
FROM raw_boards
UNION ALL
FROM skill_boards
