"""What a network is trained on: subjects as tensors, random crops of their slices, and the pairs made of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..errors import LIPCARError
from .cohort import Subject

VALIDATION_SLICES = 48
VALIDATION_BATCH = 16
ACQUIRED = ("predose", "lowdose", "highdose")
CLEAN = ("clean_lowdose", "clean_highdose")
SCALE_SPREAD = 0.2
"""Crops are made brighter or darker by up to exp of this: the examination's scale is a percentile of its content, so
the same tissue comes out a little different."""

SubjectTensors = dict[str, Tensor]
"""(S, H, W) in model scale, by role of ACQUIRED and CLEAN."""


@dataclass(frozen=True)
class TrainingData:
    """The cohort in memory: subjects that are learned from, and subjects that only measure."""

    training: list[SubjectTensors]
    validation: list[SubjectTensors]

    @cached_property
    def clean(self) -> bool:
        """Whether every subject has noise-free images."""
        return all(set(CLEAN) <= subject.keys() for subject in (*self.training, *self.validation))


def subject_tensors(subject: Subject, predose: bool, crop: int) -> SubjectTensors:
    """A subject's images in model scale; sides shorter than a crop are grown by repeating the edge.

    Raises:
        LIPCARError: the networks take a pre-dose image and the subject has none.
    """
    e = subject.examination
    if predose and e.predose is None:
        raise LIPCARError(f"Subject '{subject.name}' has no pre-dose image. Add one, or train with --no-predose.")
    arrays = {
        "predose": e.predose,
        "lowdose": e.lowdose,
        "highdose": e.highdose,
        "clean_lowdose": subject.clean_lowdose,
        "clean_highdose": subject.clean_highdose,
    }
    missing = [max(0, crop - side) for side in e.lowdose.shape[1:]]
    return {
        role: torch.from_numpy(np.pad(a / np.float32(e.scale), ((0, 0), (0, missing[0]), (0, missing[1])), "edge"))
        for role, a in arrays.items()
        if a is not None
    }


def random_crop(images: SubjectTensors, z: int, size: int, clean: bool, rng: np.random.Generator) -> Tensor:
    """The same random window, mirror images, transposition and intensity for all images of a slice.

    Returns:
        (3 or 5, size, size): pre-dose, low-dose, high-dose, and the clean ones of the latter two.
    """
    height, width = images["lowdose"].shape[1:]
    top, left = (int(rng.integers(0, side - size + 1)) for side in (height, width))
    window = _window(images, z, top, left, size, clean)
    mirrored = [axis for axis in (-1, -2) if rng.random() < 0.5]
    window = window.flip(mirrored) if mirrored else window
    window = window.transpose(-1, -2) if rng.random() < 0.5 else window
    return window * float(np.exp(rng.uniform(-SCALE_SPREAD, SCALE_SPREAD)))


def validation_crops(subjects: Sequence[SubjectTensors], size: int, clean: bool) -> list[Tensor]:
    """The middle crops of evenly chosen held-out slices, in batches, always the same: (N, 3 or 5, size, size) each."""
    slices = [(s, z) for s in subjects for z in range(len(s["lowdose"]))]
    chosen = np.unique(np.linspace(0, len(slices) - 1, VALIDATION_SLICES).round().astype(int))
    crops = []
    for subject, z in (slices[i] for i in chosen):
        height, width = subject["lowdose"].shape[1:]
        crops.append(_window(subject, z, (height - size) // 2, (width - size) // 2, size, clean))
    return list(torch.stack(crops).split(VALIDATION_BATCH))


def lesson(role: str, crops: Tensor, predose: bool, clean: bool, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """What a network is shown, (N, 1 or 2, H, W), and what it should answer, (N, 1, H, W).

    The prior learns x_H from x_L. The forward operator learns the clean x_L from x_H with anything between none and all
    of its noise, where there are clean images, because the solver evaluates it at smooth iterates; else x_L from x_H.

    Args:
        role: of `inverse.ROLES`.
        crops: a batch of :func:`random_crop`.
        predose: whether the network takes the pre-dose image as well.
        clean: whether the crops hold clean images.
    """
    before, lowdose, highdose = (crops[:, i : i + 1] for i in range(3))
    if role == "prior":
        image, target = lowdose, highdose
    elif clean:
        noise = torch.from_numpy(rng.random((len(crops), 1, 1, 1), dtype=np.float32)).to(crops)
        image, target = torch.lerp(crops[:, 4:5], highdose, noise), crops[:, 3:4]
    else:
        image, target = highdose, lowdose
    shown = torch.cat((before, image), 1) if predose else image
    return shown.contiguous(memory_format=torch.channels_last), target


def _window(images: SubjectTensors, z: int, top: int, left: int, size: int, clean: bool) -> Tensor:
    """(images, size, size) of one slice; the low-dose image stands in for a pre-dose image that is not used."""
    roles = (*ACQUIRED, *CLEAN) if clean else ACQUIRED
    return torch.stack([images.get(r, images["lowdose"])[z, top : top + size, left : left + size] for r in roles])
