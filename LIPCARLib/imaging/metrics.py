"""Image quality against a reference, per slice and optionally inside a mask: SSIM, PSNR, RMSE."""

from __future__ import annotations

import torch
from torch import Tensor

WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03


def ssim_map(x: Tensor, y: Tensor, data_range: float = 1.0) -> Tensor:
    """Structural similarity at every pixel whose 11 x 11 Gaussian window (sigma 1.5) lies inside the image.

    Wang et al., IEEE Trans. Image Process. 13(4), 2004, with biased (population) moments, as tf.image.ssim computes it.
    Our own code, although torchmetrics has an SSIM: that one also averages over reflected borders, the Slicer module
    does without the package, masks need the map, and this one is cheap enough to be the training loss on a CPU. The
    tests compare it with torchmetrics and scikit-image.

    Args:
        x, y: (N, 1, H, W), H and W at least 11, same scale.
        data_range: the span of values that the stabilizing constants refer to.

    Returns:
        (N, 1, H - 10, W - 10), at most 1. Differentiable in both arguments.

    Raises:
        ValueError: shapes differ or a side is shorter than the window.
    """
    if x.shape != y.shape or x.ndim != 4 or x.shape[1] != 1:
        raise ValueError(f"expected two (N, 1, H, W) tensors of one shape, got {tuple(x.shape)}, {tuple(y.shape)}")
    if min(x.shape[-2:]) < WINDOW:
        raise ValueError(f"SSIM needs slices of at least {WINDOW} x {WINDOW} pixels, got {tuple(x.shape[-2:])}")
    # Five moments in one pass, filtered along height and width by banded matrices: as one-channel convolutions the
    # same took half as long as the V-Net itself on a CPU.
    planes = torch.cat((x, y, x * x, y * y, x * y))
    along_height, along_width = (_gaussian_band(side, x) for side in x.shape[-2:])
    planes = along_height @ planes @ along_width.T
    mean_x, mean_y, xx, yy, xy = planes.chunk(5)
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * (xy - mean_x * mean_y) + c2) / (xx - mean_x**2 + yy - mean_y**2 + c2)
    return luminance * structure


def ssim(x: Tensor, y: Tensor, data_range: float = 1.0, mask: Tensor | None = None) -> Tensor:
    """Mean of :func:`ssim_map` per slice, (N,); NaN where the mask leaves no pixel.

    Args:
        x, y: (N, 1, H, W) in one scale.
        data_range: as in :func:`ssim_map`.
        mask: (N, 1, H, W) boolean; its border of 5 pixels is dropped with the map's.
    """
    values = ssim_map(x, y, data_range)
    half = WINDOW // 2
    return _mean(values, None if mask is None else mask[..., half:-half, half:-half])


def rmse(x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
    """Root mean square difference per slice, (N,), in the unit of the inputs; NaN where the mask is empty."""
    return _mean((x - y) ** 2, mask).sqrt()


def psnr(x: Tensor, y: Tensor, data_range: float = 1.0, mask: Tensor | None = None) -> Tensor:
    """20 log10(data_range / RMSE) per slice, (N,), in dB; infinite where the images agree."""
    return 20 * torch.log10(data_range / rmse(x, y, mask))


def _gaussian_band(side: int, like: Tensor) -> Tensor:
    """(side - 10, side): row i averages entries i to i + 10 with the normalized Gaussian window."""
    offset = torch.arange(side, device=like.device) - torch.arange(side - WINDOW + 1, device=like.device)[:, None]
    inside = (offset >= 0) & (offset < WINDOW)
    weights = torch.exp(-0.5 * ((offset - WINDOW // 2).to(like.dtype) / SIGMA) ** 2) * inside
    return weights / weights.sum(1, keepdim=True)


def _mean(values: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return values.flatten(1).mean(1)
    inside = mask.to(values.dtype)
    return (values * inside).flatten(1).sum(1) / inside.flatten(1).sum(1)
