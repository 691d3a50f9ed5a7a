"""A map of T1: its unit by plausibility, where it tells nothing, and what is no map of T1."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging.examination import Examination


def times_of(examination: Examination) -> np.ndarray:
    """T1 in seconds of every voxel, 0.5 to 3."""
    rng = np.random.default_rng(0)
    return rng.uniform(0.5, 3.0, examination.lowdose.shape).astype(np.float32)


@pytest.mark.parametrize("unit", [1, 1000])
def test_seconds_and_milliseconds_are_told_apart(unit: float, examination: Examination) -> None:
    times = times_of(examination)
    found = examination.with_t1_map(examination.to_image(unit * times))
    assert found.native_time is not None and found.native_time.dtype == np.float32
    np.testing.assert_allclose(found.native_time, times, rtol=1e-6)
    assert found.notices == examination.notices
    assert examination.native_time is None


def test_what_no_tissue_has_is_not_told(examination: Examination) -> None:
    times = times_of(examination)
    times[0, :12] = np.nan
    times[0, 12:24] = 0
    times[0, 24:36] = 70
    found = examination.with_t1_map(examination.to_image(times), "The T1 map ('t1.nii')")
    assert found.native_time is not None
    assert (found.native_time[0, :36] == 0).all() and (found.native_time[1:] > 0).all()
    assert "The T1 map ('t1.nii') tells a T1 that tissue can have in" in found.notices[-1]


def test_the_map_is_cut_with_the_slices(examination: Examination) -> None:
    found = examination.with_t1_map(examination.to_image(times_of(examination)))
    part = found.part(1, 2)
    assert found.native_time is not None and part.native_time is not None
    np.testing.assert_array_equal(part.native_time, found.native_time[1:2])


@pytest.mark.parametrize("value", [0.01, 30.0, 50000.0, 0.0, -1.0, np.nan])
def test_what_is_no_map_of_t1_is_refused(value: float, examination: Examination) -> None:
    image = examination.to_image(np.full_like(examination.lowdose, value))
    with pytest.raises(LIPCARError, match="has a median of .* in seconds .* or milliseconds .* is expected"):
        examination.with_t1_map(image)


def test_another_grid_is_refused(examination: Examination) -> None:
    image = sitk.GetImageFromArray(times_of(examination))
    image.SetSpacing((9.0, 9.0, 9.0))
    with pytest.raises(LIPCARError, match="does not lie on the grid of the low-dose image"):
        examination.with_t1_map(image)
