"""Whether two images belong together: swapped pairs and strangers are noticed, and no others."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.imaging import Examination, SwappedError
from LIPCARLib.simulation import simulate

from .samples import head, image_of, pair, with_tumor


def swap_notices(low: sitk.Image, pre: sitk.Image) -> list[str]:
    """What is said where the user asked to go on; else it is an error."""
    unmatched = Examination.from_images(low, pre, match_predose=False)
    found = [notice for notice in unmatched.notices if "swapped" in notice]
    if found:
        with pytest.raises(SwappedError, match="swapped"):
            Examination.from_images(low, pre)
    else:
        Examination.from_images(low, pre)
    return found


@pytest.mark.parametrize("gain", [1.3, 1.5, 2.0])
def test_swapped_pair_is_noticed(gain: float) -> None:
    low, pre = pair(gain)
    assert Examination.from_images(low, pre).notices == ()
    assert len(swap_notices(pre, low)) == 1
    assert len(swap_notices(pre * 0.9, low)) == 1


@pytest.mark.parametrize("shift", [0, 1, 3])
@pytest.mark.parametrize("noise", [0, 20, 60])
@pytest.mark.parametrize("bias", [0, 0.3])
def test_no_alarm_without_enhancement(shift: int, noise: float, bias: float) -> None:
    one = head(1)
    x = np.linspace(-0.5, 0.5, one.shape[2])
    other = np.roll(head(2), (shift, shift), (1, 2)) * (1 + bias * x)
    other = np.abs(other + np.random.default_rng(5).normal(0, noise, other.shape)).astype(np.float32)
    assert swap_notices(image_of(one), image_of(other)) == []
    assert swap_notices(image_of(other), image_of(one)) == []


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_no_alarm_where_bright_edges_moved(shift: int) -> None:
    one = head(1)
    one[:, 20:80:12, 20:80] *= 2.5  # bright lines, moved in the other image
    other = np.roll(one, shift, 1) * np.float32(0.97)
    other[:, 20 + shift] = head(2)[:, 20 + shift]  # and one of them is gone
    assert swap_notices(image_of(other), image_of(one)) == []


def test_no_alarm_where_enhancement_outweighs_darkening() -> None:
    pre, low = head(2), with_tumor(head(1), 1.6)
    low[:, 60:72, 36:48] *= 0.5  # as concentrated agent in a bladder
    assert swap_notices(image_of(low), image_of(pre)) == []
    low[:, 50:80, 30:70] *= 0.5
    assert len(swap_notices(image_of(low), image_of(pre))) == 1


def test_a_strangers_predose_image_is_left_out() -> None:
    own, alike, stranger = (
        simulate(11, index, slices=2, size=96, anatomy=anatomy)
        for index, anatomy in ((0, "rat"), (3, "rat"), (1, "human"))
    )
    low, pre, similar, other = (image_of(a) for a in (own.lowdose, own.predose, alike.predose, stranger.predose))
    kept, doubtful, left_out = (Examination.from_images(low, image) for image in (pre, similar, other))
    assert kept.predose is not None and not any("structures" in notice for notice in kept.notices)
    assert not kept.predose_doubtful
    assert doubtful.predose is not None and doubtful.predose_doubtful
    assert any("Check that the pre-dose image is of this patient" in notice for notice in doubtful.notices)
    assert any("cannot be told" in notice for notice in doubtful.notices)
    assert left_out.predose is None
    assert any("shows something else and was left out" in notice for notice in left_out.notices)
    assert Examination.from_images(low, other, match_predose=False).predose is not None


def test_a_deformed_predose_image_is_kept_and_doubted() -> None:
    own = simulate(11, 1, slices=2, size=128, anatomy="human")
    pre = own.predose.copy()
    for row in range(128):
        pre[:, row] = np.roll(pre[:, row], round(8 * np.sin(row / 3)), 1)
    found = Examination.from_images(image_of(own.lowdose), image_of(pre))
    assert found.predose is not None and found.predose_doubtful
    assert found.predose_gain == pytest.approx(1, abs=0.02)
