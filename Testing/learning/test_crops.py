"""Crops are cut alike from all images of a slice, and lessons are made of the right ones."""

from __future__ import annotations

import numpy as np
import torch

from LIPCARLib.learning.crops import ACQUIRED, CLEAN, lesson, random_crop, validation_crops


def numbered(size: int = 40) -> dict[str, torch.Tensor]:
    """Images that differ by a known offset: pixel number + 1000 x role."""
    plane = torch.arange(2.0 * size * size).view(2, size, size)
    return {role: plane + 1000 * i for i, role in enumerate((*ACQUIRED, *CLEAN))}


def test_all_images_of_a_slice_are_cut_turned_and_scaled_alike() -> None:
    images = numbered()
    for seed in range(20):
        crop = random_crop(images, 1, 16, True, np.random.default_rng(seed))
        assert crop.shape == (5, 16, 16)
        step = crop[1] - crop[0]
        torch.testing.assert_close(step, torch.full_like(step, float(step.mean())), rtol=1e-3, atol=0)
        torch.testing.assert_close(crop[4] - crop[0], 4 * step, rtol=1e-3, atol=0)
        assert 0.81 < float(step.mean()) / 1000 < 1.23  # exp(+-0.2)
    assert random_crop(images, 1, 16, False, np.random.default_rng(0)).shape == (3, 16, 16)


def test_validation_crops_are_the_middles() -> None:
    images = numbered()
    (batch,) = validation_crops([images], 16, True)
    expected = torch.stack([torch.stack([images[r][z, 12:28, 12:28] for r in (*ACQUIRED, *CLEAN)]) for z in range(2)])
    torch.testing.assert_close(batch, expected)


def test_each_network_is_shown_its_own_pair() -> None:
    crops = torch.stack([torch.full((8, 8), float(i)) for i in range(5)])[None].repeat(3, 1, 1, 1)
    rng = np.random.default_rng(0)
    shown, target = lesson("prior", crops, True, True, rng)
    assert shown[0, :, 0, 0].tolist() == [0, 1] and target.unique().tolist() == [2]
    shown, target = lesson("prior", crops, False, True, rng)
    assert shown[0, :, 0, 0].tolist() == [1]
    shown, target = lesson("forward_operator", crops, True, False, rng)
    assert shown[0, :, 0, 0].tolist() == [0, 2] and target.unique().tolist() == [1]
    shown, target = lesson("forward_operator", crops, True, True, rng)  # between the clean and the acquired x_H
    assert target.unique().tolist() == [3]
    mixed = shown[:, 1, 0, 0]
    assert len(mixed.unique()) == 3 and ((mixed >= 2) & (mixed <= 4)).all()
