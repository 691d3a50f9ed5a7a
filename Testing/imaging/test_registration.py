"""A shifted pre-dose image is moved, a little one is known, and what cannot be told is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from LIPCARLib.imaging import Examination, move
from LIPCARLib.simulation import simulate

from .samples import image_of


@pytest.mark.parametrize("shift", [(1, 0), (0, -2), (3, 1)])
def test_the_predose_image_is_moved_onto_the_lowdose_image(shift: tuple[int, int]) -> None:
    simulated = simulate(11, 0, slices=3, size=128, anatomy="rat")
    low, pre = simulated.lowdose.astype(np.float32), simulated.predose.astype(np.float32)
    beside = np.roll(pre, shift, (1, 2))
    straight = Examination.from_images(image_of(low), image_of(pre)).predose_rest
    moved = Examination.from_images(image_of(low), image_of(beside))
    np.testing.assert_allclose(np.subtract(straight, moved.predose_shift), shift, atol=0.05)
    assert any("was moved by" in notice for notice in moved.notices)
    inner = np.s_[:, 8:-8, 8:-8]
    aligned = move(pre, straight)[inner]
    np.testing.assert_allclose(moved.predose[inner] / moved.predose_gain, aligned, atol=0.01 * pre.max())
    left = Examination.from_images(image_of(low), image_of(beside), match_predose=False)
    assert left.predose_shift == (0, 0)
    np.testing.assert_array_equal(left.predose, beside)


def test_a_small_shift_is_left_to_the_network_and_known() -> None:
    simulated = simulate(11, 0, slices=3, size=128, anatomy="rat")
    low, pre = simulated.lowdose.astype(np.float32), simulated.predose.astype(np.float32)
    found = Examination.from_images(image_of(low), image_of(pre))
    assert found.predose_shift == (0, 0)
    assert 0 < np.hypot(*found.predose_rest) < 0.6
    np.testing.assert_array_equal(found.predose / np.float32(found.predose_gain), pre)
    # Beside it by another half of a pixel, the aligned image is the same but for what left the field of view.
    beside = move(pre, (0.4, -0.3))
    other = Examination.from_images(image_of(low), image_of(beside))
    np.testing.assert_allclose(np.subtract(found.predose_rest, other.predose_rest), (0.4, -0.3), atol=0.02)
    inner = np.s_[:, 8:-8, 8:-8]
    one, another = (e.aligned_predose(slice(1, 3))[inner] / e.predose_gain for e in (found, other))
    assert np.sqrt(np.mean((one - another) ** 2)) < 0.01 * pre.max()  # values below zero were cut off on the way
    np.testing.assert_array_equal(found.part(1, 3).aligned_predose(slice(0, 2))[inner] / found.predose_gain, one)


def test_without_matching_or_where_nothing_is_told_nothing_is_aligned() -> None:
    one, other = (simulate(11, index, slices=3, size=96) for index in (0, 1))
    low, pre = one.lowdose.astype(np.float32), other.predose.astype(np.float32)
    assert Examination.from_images(image_of(low), image_of(pre)).predose_rest == (0, 0)
    left = Examination.from_images(image_of(low), image_of(move(one.predose, (0.5, 0))), match_predose=False)
    assert left.predose_rest == (0, 0) and left.aligned_predose(slice(0, 2)) is not None
    np.testing.assert_array_equal(left.aligned_predose(slice(0, 2)), left.predose[:2])
    assert Examination.from_images(image_of(low)).aligned_predose(slice(0, 2)) is None


def test_moving_there_and_back_changes_nothing() -> None:
    pre = simulate(11, 1, slices=2, size=96).predose.astype(np.float32) + 500
    back = move(move(pre, (1.3, -2.4)), (-1.3, 2.4))
    np.testing.assert_allclose(back[:, 8:-8, 8:-8], pre[:, 8:-8, 8:-8], atol=0.03 * pre.max())
    np.testing.assert_allclose(move(pre, (0, 3))[:, :, 10:-10], np.roll(pre, 3, 2)[:, :, 10:-10], rtol=2e-3)


def test_unrelated_images_are_not_moved() -> None:
    subjects = [simulate(11, index, slices=3, size=96) for index in range(4)]
    for one, other in zip(subjects, [*subjects[1:], subjects[0]], strict=True):
        found = Examination.from_images(image_of(other.lowdose), image_of(one.predose))
        assert found.predose is None and found.predose_rest == (0, 0)
        assert not any("was moved by" in notice for notice in found.notices)
