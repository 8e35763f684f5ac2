-- Normalisation of a raw score to 0..100 (generalist.top, "Mapping functions"; paper appendix A.1).
-- 2 * sigmoid(T / x) - 1 is written as tanh(T / (2 x)), which does not overflow; its limits are part
-- of the map: 0 is perfect (100) and infinity is worst (0).
CREATE OR REPLACE MACRO normalise(map, threshold, unit, minimum, maximum, raw) AS
CASE map
    WHEN 'identity' THEN least(100, greatest(0, CASE unit WHEN 'fraction' THEN 100 * raw ELSE raw END))
    WHEN 'tanh_ratio' THEN
        CASE
            WHEN raw = 0 THEN 100
            WHEN isinf(raw) THEN 0
            ELSE 100 * tanh(threshold / (2 * raw))
        END
    WHEN 'tanh_scale' THEN CASE WHEN isinf(raw) THEN 100 ELSE 100 * tanh(raw / 20) END
    WHEN 'one_minus' THEN greatest(0, CASE unit WHEN 'percent' THEN 100 - raw ELSE 100 * (1 - raw) END)
    WHEN 'affine' THEN 100 * (raw - minimum) / (maximum - minimum)
END;
