"""The receiver gain is found, undone where it may be, and noticed."""

from __future__ import annotations

import numpy as np
import pytest

from LIPCARLib.imaging import Examination
from LIPCARLib.imaging.gain import gain_ratio
from LIPCARLib.simulation import simulate

from .samples import head, image_of, pair


@pytest.mark.parametrize("gain", [0.75, 0.95, 1.0, 1.05, 1.25])
def test_the_predose_image_is_brought_to_the_gain_of_the_lowdose_image(gain: float) -> None:
    low, pre = pair()
    plain = Examination.from_images(low, pre)
    found = Examination.from_images(low * gain, pre)
    assert found.predose_gain == pytest.approx(gain, rel=0.005)
    np.testing.assert_allclose(found.predose / found.scale, plain.predose / plain.scale, rtol=0.006)
    assert len(found.notices) == (gain != 1)
    assert all(f"{gain:.2f} times as bright" in notice for notice in found.notices)
    as_it_is = Examination.from_images(low * gain, pre, match_predose=False)
    assert as_it_is.predose_gain == 1
    np.testing.assert_array_equal(as_it_is.predose, plain.predose)


@pytest.mark.parametrize("gain", [0.6, 1.6])
def test_an_odd_gain_is_noticed_and_left_alone(gain: float) -> None:
    low, pre = pair()
    found = Examination.from_images(low * gain, pre)
    assert f"{gain:.2f} times as bright" in found.notices[0] and "0.7 to 1.4 is expected" in found.notices[0]
    assert found.predose_gain == 1


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize("anatomy", ["rat", "human", "shapes"])
def test_the_gain_of_simulated_sessions_is_found(anatomy: str, index: int) -> None:
    simulated = simulate(11, index, slices=3, size=96, anatomy=anatomy)
    gains = simulated.parameters["gains"]
    assert gain_ratio(simulated.predose, simulated.lowdose) == pytest.approx(gains[1] / gains[0], rel=0.03)


def test_the_lowest_peak_counts() -> None:
    """Half of the tissue enhances by a fifth, more of it than does not: the rest tells the gain."""
    pre = head(2)
    low = head(1) * np.float32(1.08)
    low[:, :55] *= 1.2
    assert gain_ratio(pre, low) == pytest.approx(1.08, rel=0.01)


def test_nothing_in_common_is_noticed() -> None:
    one, other = np.zeros((2, 1, 40, 40), np.float32)
    one[:, :20], other[:, 20:] = head(1)[:1, 30:50, 30:70], head(2)[:1, 30:50, 30:70]
    unmatched = Examination.from_images(image_of(one), image_of(other), match_predose=False)
    assert "no bright tissue in common" in unmatched.notices[0]
    assert unmatched.predose is not None
