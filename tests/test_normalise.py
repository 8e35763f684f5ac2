"""The maps to 0..100: golden values worked by hand, and properties that hold for any value.

Published maps: arXiv:2505.04620 appendix A.1; limits and clipping: docs/catalogue.md.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalog import normalise

THRESHOLDS = [50, 5, 0.1, 1, 25, 100, 10, 0.5]

raws = st.floats(min_value=0, max_value=1e100)
positive = st.floats(min_value=1e-12, max_value=1e12)
thresholds = st.sampled_from(THRESHOLDS)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("accuracy in percent", ("identity", None, "percent", 83.33), 83.33),
        ("accuracy as a fraction", ("identity", None, "fraction", 0.5), 50.0),
        ("CIDEr over 100 is clipped", ("identity", None, "percent", 131.2), 100.0),
        # 2 sigmoid(1) - 1 = (e - 1) / (e + 1) = 1.718281828 / 3.718281828
        ("MAE of 50", ("tanh_ratio", 50, "raw", 50.0), 46.21171572600098),
        # 2 sigmoid(2) - 1 = (e^2 - 1) / (e^2 + 1) = 6.389056099 / 8.389056099
        ("FID of 12.5", ("tanh_ratio", 25, "raw", 12.5), 76.15941559557649),
        # 2 sigmoid(0.1 / 0.2) - 1 = (e^0.5 - 1) / (e^0.5 + 1) = 0.648721271 / 2.648721271
        ("absRel of 0.2", ("tanh_ratio", 0.1, "raw", 0.2), 24.491866240370913),
        ("a perfect MAE", ("tanh_ratio", 50, "raw", 0.0), 100.0),
        ("an unbounded error", ("tanh_ratio", 50, "raw", math.inf), 0.0),
        # tanh(1) = (e^2 - 1) / (e^2 + 1)
        ("PSNR of 20 dB", ("tanh_scale", None, "decibel", 20.0), 76.15941559557649),
        ("identical images", ("tanh_scale", None, "decibel", math.inf), 100.0),
        ("WER printed 5.6", ("one_minus", None, "percent", 5.6), 94.4),
        ("WER 0.056", ("one_minus", None, "fraction", 0.056), 94.4),
        ("WER over 1 is worth nothing", ("one_minus", None, "fraction", 3.2), 0.0),
        ("MS-SSIM 0.542", ("affine", None, "raw", 0.542), 77.1),
        ("MS-SSIM may be negative", ("affine", None, "raw", -0.5), 25.0),
        ("MOS 3.82", ("affine", None, "opinion", 3.82), 70.5),
        ("the worst opinion", ("affine", None, "opinion", 1.0), 0.0),
    ],
)
def test_golden_values(name: str, arguments: tuple, expected: float) -> None:
    assert normalise(*arguments) == pytest.approx(expected, abs=1e-9), name


@given(raws, thresholds)
def test_the_ratio_map_is_the_published_sigmoid(raw: float, threshold: float) -> None:
    """2 sigmoid(T/x) - 1 in 150 digits, where no exponential overflows or cancels."""
    if raw == 0:
        expected = Decimal(1)
    else:
        with localcontext() as context:
            context.prec = 150  # 1 + exp(-1e-101) must not lose its tail
            ratio = min(Decimal(threshold) / Decimal(raw), Decimal(2000))
            expected = 2 / (1 + (-ratio).exp()) - 1
    found = normalise("tanh_ratio", threshold, "raw", raw)
    assert found == pytest.approx(float(100 * expected), rel=1e-12)


CASES = {
    "percent": ("identity", None, "percent", 0.0, 100.0),
    "fraction": ("identity", None, "fraction", 0.0, 1.0),
    "cider": ("identity", None, "percent", 0.0, 1000.0),
    "psnr": ("tanh_scale", None, "decibel", 0.0, 200.0),
    "ms_ssim": ("affine", None, "raw", -1.0, 1.0),
    "mos": ("affine", None, "opinion", 1.0, 5.0),
    "wer": ("one_minus", None, "percent", 0.0, 1000.0),
    **{f"ratio {t}": ("tanh_ratio", t, "raw", 0.0, 1e9) for t in THRESHOLDS},
}
LOWER_IS_BETTER = {name for name, case in CASES.items() if case[0] in ("tanh_ratio", "one_minus")}


@given(st.sampled_from(sorted(CASES)), st.floats(0, 1), st.floats(0, 1))
def test_range_and_direction(name: str, one: float, other: float) -> None:
    """Every result lies in 0..100, and a better raw value never gets less."""
    map, threshold, unit, low, high = CASES[name]
    worse, better = sorted((low + one * (high - low), low + other * (high - low)))
    if name in LOWER_IS_BETTER:
        worse, better = better, worse
    lesser, greater = (normalise(map, threshold, unit, x) for x in (worse, better))
    assert 0.0 <= lesser <= greater <= 100.0


@given(st.floats(0, 1))
def test_percent_and_fraction_agree(fraction: float) -> None:
    for map in ("identity", "one_minus"):
        as_fraction = normalise(map, None, "fraction", fraction)
        as_percent = normalise(map, None, "percent", 100 * fraction)
        assert as_fraction == pytest.approx(as_percent, abs=1e-9)


@given(positive)
def test_a_tiny_threshold_ratio_neither_overflows_nor_vanishes(raw: float) -> None:
    assert normalise("tanh_ratio", 100, "raw", raw) > 0
    assert normalise("tanh_ratio", 1, "raw", 5e-324) == 100.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("identity", None, "percent", math.nan), "outside"),
        (("identity", None, "percent", -0.1), "outside"),
        (("tanh_ratio", 5, "raw", -1.0), "outside"),
        (("tanh_ratio", 5, "raw", math.nan), "outside"),
        (("one_minus", None, "fraction", -0.01), "outside"),
        (("affine", None, "raw", 1.01), "outside"),
        (("affine", None, "opinion", 0.0), "outside"),  # the published 0 of an unsupported task
        (("tanh_ratio", None, "raw", 1.0), "threshold"),
        (("tanh_ratio", 0.0, "raw", 1.0), "threshold"),
        (("identity", None, "raw", 1.0), "takes percent or fraction"),
        (("affine", None, "percent", 1.0), "finite"),
        (("identity", None, "metres", 1.0), "unknown unit"),
        (("sigmoid", None, "raw", 1.0), "unknown map"),
    ],
)
def test_refused_values(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        normalise(*arguments)


def test_a_declared_range_is_kept() -> None:
    with pytest.raises(ValueError, match=r"outside 0\.\.100"):
        normalise("identity", None, "percent", 100.5, minimum=0, maximum=100)
    assert normalise("affine", None, "raw", 3.0, minimum=2, maximum=6) == 25.0
