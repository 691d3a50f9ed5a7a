"""Images that the tests of this room share."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk


def random_image(shape: tuple[int, ...], seed: int = 0) -> sitk.Image:
    rng = np.random.default_rng(seed)
    return sitk.GetImageFromArray(rng.uniform(1, 1000, shape).astype(np.float32), isVector=False)


def oblique_image(shape: tuple[int, int, int] = (7, 231, 200), seed: int = 0) -> sitk.Image:
    """A volume with a random left-handed orientation and unequal spacing; shape in numpy's order."""
    image = random_image(shape, seed)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    if np.linalg.det(rotation) > 0:
        rotation[:, 0] *= -1
    image.SetDirection(rotation.ravel().tolist())
    image.SetSpacing((0.71, 0.93, 4.1))
    image.SetOrigin((-101.234567, 57.7654321, 12.5))
    return image


def head(seed: int = 0, size: int = 96, slices: int = 2) -> np.ndarray:
    """(S, size, size) float32: a disk with soft structure in noisy air."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size - 0.5
    texture = 400 + 60 * np.sin(25 * x) * np.cos(19 * y)
    clean = np.where(x**2 + y**2 < 0.18, texture, 0.0)
    noisy = np.abs(clean + rng.normal(0, 12, (slices, size, size)))
    return noisy.astype(np.float32)


def with_tumor(slices: np.ndarray, gain: float) -> np.ndarray:
    size = slices.shape[-1]
    y, x = np.mgrid[:size, :size] / size - 0.5
    tumor = (x - 0.1) ** 2 + (y + 0.12) ** 2 < 0.01
    return np.where(tumor, slices * np.float32(gain), slices).astype(np.float32)


def image_of(array: np.ndarray) -> sitk.Image:
    return sitk.GetImageFromArray(array, isVector=False)


def pair(gain: float = 1.4) -> tuple[sitk.Image, sitk.Image]:
    """A low-dose image with an enhancing tumor and its pre-dose image, with noise of their own."""
    return image_of(with_tumor(head(1), gain)), image_of(head(2))


def array_of(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)
