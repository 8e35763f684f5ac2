-- Harmonic mean of the two halves of level 4: 0 when either is 0, and no epsilon. Never above the
-- smaller half's double, which rounding could otherwise break for equal halves.
CREATE OR REPLACE MACRO harmonic_mean(a, b) AS
CASE WHEN a = 0 OR b = 0 THEN 0 WHEN a = b THEN a ELSE 2 * a * b / (a + b) END;
