-- The ids of boards, as a type.
-- grain: board
-- inputs: stg_boards
-- columns:
--   board_id: A, B-..., C-... or D-...
SELECT board_id FROM stg_boards
ORDER BY board_id
