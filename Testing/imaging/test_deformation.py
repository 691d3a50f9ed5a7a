"""Tissue that was deformed goes back to its place; tissue that only enhances stays where it is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from LIPCARLib.imaging import Examination
from LIPCARLib.imaging.deformation import deformed, find_deformation
from LIPCARLib.imaging.intensity import foreground
from LIPCARLib.simulation import simulate
from LIPCARLib.simulation.fields import smooth_field

from .samples import image_of


def bent(volume: np.ndarray, pixels: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A volume in which tissue lies off by a smooth field, root mean square `pixels`; and the field, (S, 2, H, W)."""
    rng = np.random.default_rng(seed)
    side = volume.shape[1]
    field = np.stack([smooth_field(rng, volume.shape, (side,) * 3, side / 4) for _ in range(2)], 1)
    field *= pixels / np.sqrt(np.square(field).sum(1).mean())
    places = np.mgrid[tuple(slice(n) for n in volume.shape[1:])]
    shown = [
        map_coordinates(one, places + shift, order=3, mode="nearest") for one, shift in zip(volume, field, strict=True)
    ]
    return np.stack(shown).clip(0).astype(np.float32), field


@pytest.mark.parametrize("side", [128, 256])
def test_tissue_is_moved_back(side: int) -> None:
    subject = simulate(11, 1, slices=2, size=side, anatomy="human")
    pre, low = subject.predose.astype(np.float32), subject.lowdose.astype(np.float32)
    moved, _ = bent(pre, 2.0)
    inside = foreground(low)
    still = find_deformation(pre, low)  # its own little shift, if it has one
    back, straight = deformed(moved, find_deformation(moved, low)), deformed(pre, still)
    errors = [np.sqrt(np.mean((image - straight)[inside] ** 2)) for image in (moved, back)]
    assert errors[1] < errors[0] / 3


def test_an_examination_says_and_keeps_it() -> None:
    subject = simulate(11, 1, slices=2, size=128, anatomy="human")
    low, pre = subject.lowdose.astype(np.float32), subject.predose.astype(np.float32)
    moved, _ = bent(pre, 2.0)
    rest, found = (Examination.from_images(image_of(low), image_of(image)) for image in (pre, moved))
    assert not rest.predose_deformed and not any("lay elsewhere" in notice for notice in rest.notices)
    np.testing.assert_array_equal(rest.predose / np.float32(rest.predose_gain), pre)
    assert found.predose_deformed == pytest.approx(2.0, abs=0.5)  # mm; pixels of one
    assert any("lay elsewhere" in notice for notice in found.notices) and not found.predose_doubtful
    assert Examination.from_images(image_of(low), image_of(moved), match_predose=False).predose_deformed == 0


def test_what_enhances_stays_where_it_is() -> None:
    subject = simulate(11, 1, slices=1, size=128, anatomy="human")
    pre = subject.predose.astype(np.float32)
    places = np.mgrid[:128, :128]
    lesion = np.hypot(*(places - np.array([64, 60])[:, None, None])) < 6
    low = np.where(lesion, np.float32(1.8), np.float32(1)) * pre
    moved = deformed(pre, find_deformation(pre, low))
    rise = (low - moved)[0][lesion].mean()
    assert rise == pytest.approx((low - pre)[0][lesion].mean(), rel=0.02)
    assert Examination.from_images(image_of(low), image_of(pre)).predose_deformed == 0


def test_where_nothing_is_known_nothing_counts() -> None:
    subject = simulate(11, 1, slices=1, size=128, anatomy="human")
    pre, low = subject.predose.astype(np.float32), subject.lowdose.astype(np.float32)
    known = np.ones(pre.shape, bool)
    known[:, :40] = False
    cut = np.where(known, pre, np.float32(0))
    whole, part = find_deformation(pre, low), find_deformation(cut, low, known)
    inner = np.s_[:, :, 70:, :]
    np.testing.assert_allclose(part[inner], whole[inner], atol=0.25)
    assert not find_deformation(pre, low, np.zeros(pre.shape, bool)).any()
