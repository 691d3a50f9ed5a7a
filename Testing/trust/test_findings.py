"""Regions of a label map: connected across slices, small ones dropped, places in the patient's coordinates."""

from __future__ import annotations

import doctest
import itertools

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.imaging import Grid
from LIPCARLib.trust import findings, record
from LIPCARLib.trust.findings import LEAST_VOXELS, regions


@pytest.mark.parametrize("module", [findings, record], ids=lambda module: module.__name__)
def test_examples_run(module: object) -> None:
    failed, tried = doctest.testmod(module)  # type: ignore[arg-type]
    assert tried > 0 and failed == 0


def test_regions_are_connected_across_slices_and_sorted_by_size() -> None:
    labels = np.zeros((3, 20, 20), np.uint8)
    labels[0:2, 3:6, 3:6], labels[1, 10:16, 10:16] = 1, 2
    labels[2, 0, : LEAST_VOXELS - 1] = 2
    difference = np.where(labels == 2, -5, 7).astype(np.float32)
    kept, table = regions(
        labels, difference, Grid((20, 20, 3), (0.5, 0.5, 4.0), (0, 0, 0), tuple(np.eye(3).ravel())), 2
    )
    assert [(one.kind, one.voxels, one.volume_mm3) for one in table] == [
        ("suppressed", 36, 36.0),
        ("unsupported", 18, 18.0),
    ]
    assert [one.mean_difference for one in table] == [-5, 7]
    np.testing.assert_array_equal(kept, np.where(np.arange(3)[:, None, None] == 2, 0, labels))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_place_is_where_simpleitk_says(axis: int) -> None:
    image = sitk.Image(12, 13, 14, sitk.sitkUInt8)
    image.SetSpacing((0.5, 0.7, 3.0))
    image.SetOrigin((-3.0, 8.0, 11.0))
    image.SetDirection((0, 0, 1, 1, 0, 0, 0, -1, 0))
    for steps in itertools.product((-1, 0, 1), repeat=3):
        image[5 + steps[0], 6 + steps[1], 7 + steps[2]] = 1
    volume = np.moveaxis(sitk.GetArrayFromImage(image), 2 - axis, 0)
    ((finding,), kept) = regions(volume, volume.astype(np.float32), Grid.of(image), axis)[::-1]
    assert (finding.slice, finding.voxels, int(kept.sum())) == ((5, 6, 7)[axis], 27, 27)
    np.testing.assert_allclose(finding.center_lps, image.TransformIndexToPhysicalPoint((5, 6, 7)))
