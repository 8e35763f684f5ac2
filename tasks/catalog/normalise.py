"""The published maps from raw metric values to the common scale of 0..100.

Source: arXiv:2505.04620 appendix A.1, "Mapping Functions of Scoring Metric"; the same constants on
generalist.top ("Mapping functions"). `metrics.csv` says which map and constant each metric has.
"""

from __future__ import annotations

import math

#: Raw ranges, both ends included, of values whose metric declares no narrower one.
_RANGES: dict[tuple[str, str], tuple[float, float]] = {
    ("affine", "raw"): (-1.0, 1.0),  # MS-SSIM
    ("affine", "opinion"): (1.0, 5.0),  # MOS
}

_PSNR_SCALE = 20.0

MAPS = ("identity", "tanh_ratio", "tanh_scale", "one_minus", "affine")
UNITS = ("percent", "fraction", "raw", "decibel", "opinion")


def normalise(
    map: str,
    threshold: float | None,
    unit: str,
    raw: float,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
) -> float:
    """One raw value on the common scale.

    With x = raw, and T = threshold:

    - identity: x of a percentage, 100 x of a fraction, at most 100 (CIDEr may be more).
    - tanh_ratio: 100 tanh(T / 2x), which is 100 (2 sigmoid(T / x) - 1) without its overflow;
      the limits belong to the map: 0 gives 100, +inf gives 0.
    - tanh_scale: 100 tanh(x / 20); +inf (identical signals) gives 100.
    - one_minus: 100 (1 - x), at least 0; a percentage is divided by 100 first.
    - affine: from [minimum, maximum] to [0, 100].

    Args:
        map: one of `MAPS`.
        threshold: T of tanh_ratio, above 0; the other maps take none.
        unit: one of `UNITS`, the unit of `raw`.
        raw: the value; +inf is allowed where the range is open.
        minimum, maximum: ends of the range in the same unit, both included. Left out: 0..inf, or
            for affine -1..1 (raw) and 1..5 (opinion).

    Returns:
        A float in [0, 100].

    Raises:
        ValueError: NaN, a value outside the range, an unknown map or unit, a missing threshold,
            or a map that the unit does not fit.
    """
    if unit not in UNITS:
        raise ValueError(f"unknown unit {unit!r}; units are {', '.join(UNITS)}")
    low, high = _RANGES.get((map, unit), (0.0, math.inf))
    low = low if minimum is None else minimum
    high = high if maximum is None else maximum
    if not low <= raw <= high:  # also true of NaN
        raise ValueError(f"{raw!r} is outside {low:g}..{high:g} ({unit})")

    if map in ("identity", "one_minus"):
        if unit not in ("percent", "fraction"):
            raise ValueError(f"the map {map} takes percent or fraction, not {unit}")
        percent = raw if unit == "percent" else 100.0 * raw
        return min(percent, 100.0) if map == "identity" else max(100.0 - percent, 0.0)
    if map == "tanh_ratio":
        if threshold is None or not threshold > 0:
            raise ValueError("the map tanh_ratio needs a threshold above 0")
        return 100.0 if raw == 0 else 100.0 * math.tanh(threshold / raw / 2.0)
    if map == "tanh_scale":
        return 100.0 * math.tanh(raw / _PSNR_SCALE)
    if map == "affine":
        if not math.isfinite(high - low) or high <= low:
            raise ValueError("the map affine needs a finite minimum and maximum")
        return 100.0 * (raw - low) / (high - low)
    raise ValueError(f"unknown map {map!r}; maps are {', '.join(MAPS)}")
