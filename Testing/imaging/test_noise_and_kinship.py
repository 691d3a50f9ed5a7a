"""The noise that is measured in images, and whether two images show one subject."""

from __future__ import annotations

import numpy as np
import pytest

from LIPCARLib.imaging.comparison import KINSHIP, kinship
from LIPCARLib.imaging.intensity import noise_deviation


@pytest.mark.parametrize("background", [True, False])
def test_noise_is_found_with_and_without_background(background: bool) -> None:
    rng = np.random.default_rng(7)
    inside = np.zeros((3, 128, 128), bool)
    inside[:, 30:100, 30:100] = True
    noisy = np.hypot(inside * 300.0 + rng.normal(0, 10, inside.shape), rng.normal(0, 10, inside.shape))
    image = (noisy if background else noisy * inside).astype(np.float32)
    assert noise_deviation(image) == pytest.approx(10, rel=0.05)
    # A mask's ragged edge leaves a few pixels that are not zero: they are no measure of noise.
    image[:, 20, ::7] = 1
    assert noise_deviation(image) == pytest.approx(10, rel=0.05)


def test_texture_that_both_images_share_is_no_noise() -> None:
    rng = np.random.default_rng(4)
    texture = np.zeros((3, 128, 128))
    texture[:, 30:100, 30:100] = rng.uniform(200, 400, (3, 70, 70))
    low, pre = (
        np.hypot(texture + rng.normal(0, 10, texture.shape), rng.normal(0, 10, texture.shape)).astype(np.float32)
        for _ in range(2)
    )
    assert noise_deviation(low) > 40
    assert noise_deviation(low, pre) == pytest.approx(10 * 2**0.5, rel=0.1)


def test_noise_of_a_masked_image_that_was_interpolated() -> None:
    """Zeros in k-space make neighbors alike, and ring a little into the masked background."""
    y, x = np.abs(np.mgrid[:192, :192] - 96)
    body = np.clip((70 - np.hypot(y, x)) / 3, 0, 1)
    image = body * (500 + np.random.default_rng(3).normal(0, 40, (3, 192, 192)))
    spectrum = np.fft.rfft2(image)
    spectrum[:, 72:-72] = 0
    spectrum[:, :, 72:] = 0
    image = np.maximum(np.fft.irfft2(spectrum, s=(192, 192)), 0).astype(np.float32)
    kept = 144 / 192  # of the deviation: the root of the share of frequencies
    # Pixels two apart are anti-correlated here (sinc(1.5) = -0.21), which adds a fifth.
    assert noise_deviation(image) == pytest.approx(1.21 * 40 * kept, rel=0.1)


def test_kinship_knows_a_subject_from_another() -> None:
    def subject(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        spectrum = np.fft.rfft2(rng.standard_normal((2, 96, 96)))
        fy, fx = np.fft.fftfreq(96)[:, None], np.fft.rfftfreq(96)[None, :]
        texture = np.fft.irfft2(spectrum * np.exp(-300 * (fx**2 + fy**2)), s=(96, 96))
        return (300 + 60 * texture / texture.std()).clip(0).astype(np.float32)

    one, other = subject(0), subject(1)
    after = one * 1.2 + np.random.default_rng(2).normal(0, 20, one.shape).astype(np.float32)
    assert kinship(one, after.clip(0)) > 0.9
    assert abs(kinship(other, after.clip(0))) < KINSHIP
    assert kinship(one[:, :20, :20], after[:, :20, :20]) is None
