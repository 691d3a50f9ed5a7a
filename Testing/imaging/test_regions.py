"""Statistics of regions against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from LIPCARLib.imaging import region_statistics

BEFORE = np.array([[[1.0, 3.0, 10.0, 12.0, 14.0]]])
AFTER = np.array([[[7.0, 9.0, 11.0, 13.0, 15.0]]])
LESION = np.array([[[True, True, False, False, False]]])
TISSUE = np.array([[[False, True, True, True, True]]])
EMPTY = np.zeros((1, 1, 5), bool)


def test_a_lesion_against_its_background() -> None:
    regions = {"lesion": LESION, "tissue": TISSUE, "nothing": EMPTY}
    images = {"before": BEFORE, "after": AFTER.astype(np.float32)}
    rows = region_statistics(images, regions, 0.5, "before", "tissue")
    assert [(row.region, row.image) for row in rows] == [(r, i) for r in regions for i in images]
    lesion = rows[1]
    assert (lesion.voxels, lesion.volume, lesion.mean, lesion.enhancement) == (2, 1.0, 8.0, 6.0)
    assert lesion.deviation == pytest.approx(np.sqrt(2))
    assert lesion.contrast_to_noise == pytest.approx((8 - 12) / np.sqrt(20 / 3)) and lesion.ratio == 8 / 12
    assert rows[0].enhancement is None and rows[0].ratio == pytest.approx(2 / 9.75)
    assert rows[3].contrast_to_noise is None and rows[3].ratio is None  # of the background itself
    assert (rows[5].voxels, rows[5].mean, rows[5].enhancement, rows[5].contrast_to_noise) == (0, None, None, None)


def test_enhancement_over_noise_where_there_is_no_reference() -> None:
    regions = {"lesion": LESION, "one voxel": np.array([[[True, False, False, False, False]]])}
    images = {"before": BEFORE, "after": AFTER}
    lesion, one = region_statistics(images, regions, 1.0, "before", noise={"after": 2.0})[1::2]
    assert lesion.contrast_to_noise == 3.0 and lesion.ratio is None
    assert one.deviation is None and one.contrast_to_noise == 3.0
    for noise in (None, {"after": 0.0}):
        assert region_statistics(images, regions, 1.0, "before", noise=noise)[1].contrast_to_noise is None
    assert region_statistics({"after": AFTER}, regions, 1.0)[0].enhancement is None
