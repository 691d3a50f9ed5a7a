"""What goes wrong between a cohort and a clinic, in measured amounts: for robustness curves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..errors import LIPCARError
from ..imaging import Examination, move
from ..json_file import complaints, number
from ..learning import Subject

LEVELS: dict[str, tuple[float, ...]] = {
    "noise": (0.0, 0.025, 0.05, 0.075, 0.1),
    "shift": (0.0, 0.5, 1.0, 1.5, 2.0),
    "gain": (0.75, 0.875, 1.0, 1.125, 1.25),
    "dose": (0.5, 0.75, 1.0, 1.25, 1.5),
    "scanner": (0.0, 0.25, 0.5, 0.75, 1.0),
    "stranger": (0.0, 1.0),
}
RANGES = {
    "noise": number(0, 10),
    "shift": number(-1000, 1000),
    "gain": number(0, 1000, above=True),
    "dose": number(0, 100, above=True),
    "scanner": number(0, 1),
    "stranger": number(0, 1),
}
"""What a level may be."""
WORDS = {
    "noise": "noise added to both images (standard deviation, model scale)",
    "shift": "shift of the pre-dose image (pixels along both axes)",
    "gain": "receiver gain of the low-dose and the high-dose image over that of the pre-dose image",
    "dose": "low dose given over the one intended",
    "scanner": "a scanner of less resolution and stronger shading (1: half the resolution, a factor of 2.7)",
    "stranger": "pre-dose image of another subject (1)",
}


@dataclass(frozen=True)
class Disturbance:
    """One thing that goes wrong, by some amount.

    Raises:
        LIPCARError: an unknown kind, or a level that is not within RANGES.

    Attributes:
        kind: of LEVELS.
        level: "noise": standard deviation of the complex noise added to the low-dose and the pre-dose image, in model
            scale. "shift": pixels that the pre-dose image is moved along both axes of the slices. "gain": what the
            low-dose and the high-dose image are multiplied by. "dose": what x_L - x_P is multiplied by, which is linear
            in the dose as no tissue is; where the dose falls, the noise that this takes away is added again; where it
            rises, noise rises with it. "scanner": all images lose half this share of their spatial frequencies along
            both axes and are shaded by exp(+-level / 2) from corner to corner. "stranger": 1 for another subject's
            pre-dose image.
        seed: of the noise.
    """

    kind: str
    level: float
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in LEVELS:
            raise LIPCARError(f"Unknown disturbance '{self.kind}'; expected some of: {', '.join(LEVELS)}.")
        for complaint in complaints({self.kind: self.level}, {self.kind: RANGES[self.kind]}):
            raise LIPCARError(f"The level of a disturbance is {complaint}.")

    def apply(self, subject: Subject, stranger: Callable[[], Subject], match_predose: bool = True) -> Subject:
        """The same subject, disturbed, and checked and matched anew as any examination is.

        Args:
            subject: with a pre-dose image, not matched (`read_subject(..., match_predose=False)`).
            stranger: gives another subject on the same grid.
            match_predose: as in `Examination.from_images`.

        Raises:
            LIPCARError: there is no pre-dose image, or the stranger's lies on another grid.
        """
        e = subject.examination
        if e.predose is None:
            raise LIPCARError(f"'{subject.name}' has no pre-dose image to disturb.")
        low, pre, high, clean = e.lowdose, e.predose, subject.highdose, subject.clean_highdose
        rng = np.random.default_rng([self.seed, *subject.name.encode()])
        if self.kind == "noise":
            low, pre = (_with_noise(image, self.level * e.scale, rng) for image in (low, pre))
        elif self.kind == "shift":
            pre = move(pre, (self.level, self.level))
        elif self.kind == "gain":
            gain = np.float32(self.level)
            low, high, clean = low * gain, high * gain, None if clean is None else clean * gain
        elif self.kind == "dose":
            low = _with_other_dose(low, pre, self.level, e.noise, rng)
        elif self.kind == "scanner":
            low, pre, high = (_on_other_scanner(image, self.level) for image in (low, pre, high))
            clean = None if clean is None else _on_other_scanner(clean, self.level)
        elif self.level:
            pre = _predose_of(stranger(), subject)
        disturbed = Examination.from_images(
            e.to_image(low),
            e.to_image(pre),
            e.to_image(high),
            slice_axis=e.slice_axis,
            match_predose=match_predose,
            acquisition=e.acquisition,
        )
        return replace(subject, examination=disturbed, clean_highdose=clean)


def _with_other_dose(
    lowdose: np.ndarray, predose: np.ndarray, level: float, noise: float, rng: np.random.Generator
) -> np.ndarray:
    """The low-dose image as linear in the dose; where the dose falls, the noise that this takes away is added again."""
    k = np.float32(level)
    lost = max(0.0, 1 - float(k**2 + (1 - k) ** 2)) ** 0.5 * noise
    changed: np.ndarray = np.maximum(predose + k * (lowdose - predose), 0)
    if lost:
        changed = np.abs(changed + rng.normal(0, lost, lowdose.shape))
    return np.asarray(changed, np.float32)


def _predose_of(stranger: Subject, subject: Subject) -> np.ndarray:
    predose = stranger.examination.predose
    if predose is None or predose.shape != subject.examination.lowdose.shape:
        raise LIPCARError(f"No other subject has a pre-dose image on the grid of '{subject.name}'.")
    return predose


def _with_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Magnitude of the image with complex Gaussian noise on top."""
    real, imaginary = rng.normal(0, sigma, (2, *image.shape)).astype(np.float32)
    magnitude: np.ndarray = np.hypot(image + real, imaginary)
    return magnitude


def _on_other_scanner(volume: np.ndarray, level: float) -> np.ndarray:
    """The slices at less resolution and more shading, (S, H, W), non-negative."""
    if not level:
        return volume
    height, width = volume.shape[1:]
    highest = 0.5 * (1 - 0.5 * level)
    kept = (np.abs(np.fft.fftfreq(height))[:, None] <= highest) & (np.fft.rfftfreq(width)[None, :] <= highest)
    coarse = np.fft.irfft2(np.fft.rfft2(volume) * kept, s=(height, width))
    rows, columns = np.linspace(-0.5, 0.5, height)[:, None], np.linspace(-0.5, 0.5, width)[None, :]
    return (np.maximum(coarse, 0) * np.exp(0.5 * level * (rows + columns))).astype(np.float32)
