"""Where the pre-dose image has no data there is none: the low-dose image stands in, and the user is told."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.imaging import Examination

from .samples import head, image_of, with_tumor

CUT = 20


def images() -> tuple[np.ndarray, np.ndarray]:
    return with_tumor(head(1, slices=3), 1.4), head(2, slices=3)


def cropped(pre: np.ndarray) -> sitk.Image:
    """Without the first rows: a smaller field of view."""
    return sitk.RegionOfInterest(image_of(pre), (96, 96 - CUT, 3), (0, CUT, 0))


def padded(pre: np.ndarray) -> sitk.Image:
    """The same as another program leaves it that resampled it: zero."""
    pre = pre.copy()
    pre[:, :CUT] = 0
    return image_of(pre)


@pytest.mark.parametrize("without", [cropped, padded])
@pytest.mark.parametrize("gain", [1.0, 1.3])
@pytest.mark.parametrize("match", [True, False])
def test_what_is_missing_is_not_zero(without, gain: float, match: bool) -> None:
    low, pre = images()
    low = np.float32(gain) * low
    whole, part = (
        Examination.from_images(image_of(low), p, match_predose=match) for p in (image_of(pre), without(pre))
    )
    assert whole.predose_known is None and whole.predose_missing == 0 and whole.predose_share(slice(None)) is None
    known = np.ones(low.shape, bool)
    known[:, :CUT] = False
    np.testing.assert_array_equal(part.predose_known, known)
    np.testing.assert_array_equal(part.predose[~known], low[~known])
    np.testing.assert_allclose(part.predose[known], whole.predose[known], rtol=0.01, atol=0.5)
    assert part.predose_gain == pytest.approx(whole.predose_gain, rel=0.01)
    assert part.noise == pytest.approx(whole.noise, rel=0.1)
    assert not part.predose_doubtful
    tissue = low > 0.15 * np.percentile(low, 99.5)
    share = np.count_nonzero(tissue & ~known) / np.count_nonzero(tissue)
    assert part.predose_missing == pytest.approx(share, abs=1e-3)
    assert any(f"no data in {share:.1%}"[:-3] in notice for notice in part.notices)
    assert not any("correlation" in notice or "lay beside" in notice for notice in part.notices)
    aligned = part.aligned_predose(slice(1, 3))
    np.testing.assert_array_equal(aligned[~known[1:]], low[1:][~known[1:]])
    np.testing.assert_array_equal(part.part(1, 3).predose_known, known[1:])


def test_the_share_fades_within_what_is_known() -> None:
    low, pre = images()
    share = Examination.from_images(image_of(low), padded(pre)).predose_share(slice(0, 2))
    assert share.shape == (2, 96, 96)
    np.testing.assert_allclose(share[0, :, 40], [0.0] * CUT + [0.2, 0.4, 0.6, 0.8] + [1.0] * (72 - 0), atol=1e-6)
    assert share[:, :, 0].min() == 0 and share[:, 30:].min() == 1


def test_the_background_of_a_head_without_its_skull_is_not_missing() -> None:
    low, pre = (np.where(head(0) > 150, image, np.float32(0)) for image in (head(1), head(2)))
    found = Examination.from_images(image_of(low), image_of(pre))
    assert found.predose_known is None and found.predose_missing == 0


def test_a_predose_image_that_lacks_most_is_left_out() -> None:
    low, pre = images()
    pre[:, :60] = 0
    found = Examination.from_images(image_of(low), image_of(pre))
    assert found.predose is None and found.predose_known is None
    assert any("left out" in notice for notice in found.notices)


def test_a_dark_lesion_is_data() -> None:
    low, pre = images()
    pre[:, 40:44, 40:44] = 0
    pre[:, 60:64, 40:44] = 0
    assert Examination.from_images(image_of(low), image_of(pre)).predose_known is None
