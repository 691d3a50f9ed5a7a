"""The common scale: the same in any units, from the low-dose image alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import SCALE_RULE, Examination
from LIPCARLib.imaging.intensity import (
    MAX_SAMPLES,
    OUTLYING,
    bright_level,
    foreground_scale,
    local_mean,
    sampled,
    some_slices,
)

from .samples import array_of, head, pair, random_image


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), exponent=st.floats(-6, 6), whole=st.booleans())
def test_scale_follows_the_units(seed: int, exponent: float, whole: bool) -> None:
    rng = np.random.default_rng(seed)
    array = rng.gamma(2.0, 200.0, (2, 23, 17)).astype(np.float32) * (rng.random((2, 23, 17)) > 0.3)
    array = np.round(array).astype(np.float32) if whole else array
    factor = np.float32(10.0**exponent)
    assert foreground_scale(array * factor) == pytest.approx(foreground_scale(array) * factor, rel=1e-6)
    assert foreground_scale(array * np.float32(0.125)) == foreground_scale(array) / 8


def test_voxels_at_the_threshold_stay_foreground_in_any_units() -> None:
    array = np.repeat(np.float32([20, 150, 1000]), [490, 500, 10])  # 150 is 15 % of 1000
    assert foreground_scale(array) == 300
    for factor in np.float32([0.1, 0.3, 0.7, 1.1, 3.3, 1e-3, 1e4]):
        assert foreground_scale(array * factor) == pytest.approx(300 * factor, rel=1e-6)


def test_scale_rule() -> None:
    low, pre = pair()
    examination = Examination.from_images(low, pre, low * 1.5)
    assert examination.scale == Examination.from_images(low).scale == foreground_scale(examination.lowdose)
    foreground = examination.lowdose[examination.lowdose > 100] / examination.scale
    assert np.percentile(foreground, 90) == pytest.approx(0.5, abs=0.02)
    assert SCALE_RULE == {"name": "foreground-percentile", "threshold": 0.15, "percentile": 90, "target": 0.5}
    air = np.zeros((2, 60, 96), np.float32)  # more air around does not change the scale
    assert foreground_scale(np.concatenate([examination.lowdose, air], axis=1)) == examination.scale
    with pytest.raises(LIPCARError, match="no voxel above zero"):
        foreground_scale(air)


def test_scale_of_a_subsampled_volume() -> None:
    part = head(slices=8)
    large = np.tile(part, (2 * MAX_SAMPLES // part.size, 1, 1))
    assert sampled(large).size < large.size
    assert foreground_scale(large) == pytest.approx(foreground_scale(part), rel=0.01)
    assert len(some_slices(large)) == len(large) / 2


@pytest.mark.parametrize("count", [1, 2, 3, 100, 30_000, 100_001])
@pytest.mark.parametrize("kind", ["noise", "few bright", "sorted steps"])
def test_the_bright_level_is_that_of_all_voxels_sorted(count: int, kind: str) -> None:
    values = np.random.default_rng(count).standard_normal(count).astype(np.float32)
    if kind == "few bright":
        values = np.maximum(values, 0) ** 6
    if kind == "sorted steps":
        values = np.sort(np.round(3 * np.abs(values)))
    values[0] = 1
    positive = np.sort(values[values > 0])
    bright, rest = (float(positive[int(share * (positive.size - 1))]) for share in (0.995, 0.98))
    assert bright_level(values) == (rest if bright > OUTLYING * rest else bright)


@pytest.mark.parametrize("width", [3, 5])
def test_the_local_mean_stays_in_its_slice_and_repeats_the_edge(width: int) -> None:
    slices = random_image((3, 9, 8))
    array = np.pad(array_of(slices), ((0, 0), *((width // 2, width // 2),) * 2), mode="edge")
    expected = np.lib.stride_tricks.sliding_window_view(array, (width, width), (1, 2)).mean((3, 4))
    found = local_mean(array_of(slices), width)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)
