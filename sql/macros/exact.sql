-- A score, or a sum of scores, as a decimal of 15 places: sums of these are exact, hence the same to
-- the bit in whatever order and on however many threads they are made. A score loses 5e-16 at most.
CREATE OR REPLACE MACRO exact(x) AS cast(x AS decimal(38, 15));
