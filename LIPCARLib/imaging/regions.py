"""What images show in regions of tissue: mean, spread, enhancement, and contrast to a background."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RegionStatistics:
    """One image in one region. Numbers are None where they do not exist; those of intensity are in the images' unit.

    Attributes:
        region, image: names.
        voxels: how many the region has.
        volume: mm3.
        mean: over the region.
        deviation: sample standard deviation over the region; of two voxels or more.
        enhancement: mean minus the mean of the image before the agent.
        contrast_to_noise: (mean - mean of the reference) / deviation of the reference, all of this image. Without a
            reference, enhancement / noise.
        ratio: mean / mean of the reference, of this image (lesion to background).
    """

    region: str
    image: str
    voxels: int
    volume: float
    mean: float | None
    deviation: float | None
    enhancement: float | None = None
    contrast_to_noise: float | None = None
    ratio: float | None = None


def region_statistics(
    images: Mapping[str, np.ndarray],
    regions: Mapping[str, np.ndarray],
    voxel_volume: float,
    before: str | None = None,
    reference: str | None = None,
    noise: Mapping[str, float] | None = None,
) -> list[RegionStatistics]:
    """Statistics of every image in every region, region by region.

    Args:
        images: by name, all of one shape and in one unit of intensity.
        regions: by name, boolean, of the same shape; they may overlap and may be empty.
        voxel_volume: mm3.
        before: name of the image before the agent; None where there is none.
        reference: name of the region that the others are compared with; None for none.
        noise: standard deviation of each image's noise, for the contrast where there is no reference.
    """
    found = []
    for region, inside in regions.items():
        level = None if before is None else _mean(images[before][inside])
        for image, voxels in images.items():
            values = voxels[inside]
            mean = _mean(values)
            enhancement = None if image == before or mean is None or level is None else mean - level
            contrast, ratio = None, None
            if reference is None:
                contrast = _over(enhancement, None if noise is None else noise.get(image))
            elif region != reference and mean is not None:
                background = voxels[regions[reference]]
                around = _mean(background)
                contrast = _over(None if around is None else mean - around, _deviation(background))
                ratio = _over(mean, around)
            count = int(values.size)
            volume = count * voxel_volume
            row = (region, image, count, volume, mean, _deviation(values), enhancement, contrast, ratio)
            found.append(RegionStatistics(*row))
    return found


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean(dtype=np.float64)) if values.size else None


def _deviation(values: np.ndarray) -> float | None:
    return float(values.std(ddof=1, dtype=np.float64)) if values.size > 1 else None


def _over(value: float | None, unit: float | None) -> float | None:
    return None if value is None or unit is None or unit <= 0 else value / unit
