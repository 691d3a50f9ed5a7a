"""What is told, or assumed, of the slices of an examination: acquisition, dose fraction, T1 before the agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..physics import Acquisition, SignalCurve, batch_curve, native_time, signal_curve


@dataclass(frozen=True)
class Conditions:
    """What is told, or assumed, about each slice of a batch of N.

    Attributes:
        acquisitions: N of them.
        dose_fraction: low dose over full dose, (N,), above 0, at most 1.
        sequence_told, dose_told: (N,), 1 where the acquisition or the dose fraction was told, 0 where assumed.
        native: T10 in seconds, a map (N, 1, H, W); None for what the field lets expect.
        known: where there is a pre-dose image, (N, 1, H, W) boolean; None for everywhere. Elsewhere the low-dose image
            stands in for it.

    >>> told = Conditions.of_examination(2, Acquisition.assumed(), None, assumed_fraction=0.22)
    >>> told.sequence_told, told.dose_told
    (tensor([1., 1.]), tensor([0., 0.]))
    """

    acquisitions: tuple[Acquisition, ...]
    dose_fraction: Tensor
    sequence_told: Tensor
    dose_told: Tensor
    native: Tensor | None = None
    known: Tensor | None = None

    @classmethod
    def of_examination(
        cls,
        slices: int,
        acquisition: Acquisition | None,
        fraction: float | None,
        assumed_fraction: float,
        native: Tensor | None = None,
        device: torch.device | None = None,
    ) -> Conditions:
        """The same for all slices; None for what nobody told.

        Args:
            slices: N.
            acquisition, fraction: as told.
            assumed_fraction: dose fraction where none is told.
            native: T10 in seconds, (N, 1, H, W), not above 0 where the map tells nothing: what the field lets expect
                is taken there.
            device: of the tensors.
        """

        def each(value: float) -> Tensor:
            return torch.full((slices,), float(value), device=device)

        known = acquisition or Acquisition.assumed()
        return cls(
            acquisitions=(known,) * slices,
            dose_fraction=each(assumed_fraction if fraction is None else fraction),
            sequence_told=each(acquisition is not None),
            dose_told=each(fraction is not None),
            native=None if native is None else torch.where(native > 0, native, native_time(known)),
        )

    def __getitem__(self, chosen: slice) -> Conditions:
        return Conditions(
            self.acquisitions[chosen],
            self.dose_fraction[chosen],
            self.sequence_told[chosen],
            self.dose_told[chosen],
            None if self.native is None else self.native[chosen],
            None if self.known is None else self.known[chosen],
        )

    def curve(self) -> SignalCurve:
        """Of the batch: one where all were acquired in the same way."""
        first = self.acquisitions[0]
        return signal_curve(first) if len(set(self.acquisitions)) == 1 else batch_curve(self.acquisitions)

    def expected_native(self) -> Tensor:
        """T10 in seconds that the field lets expect, (N, 1, 1, 1)."""
        times = [native_time(acquisition) for acquisition in self.acquisitions]
        return torch.tensor(times, device=self.dose_fraction.device).view(-1, 1, 1, 1)

    # What follows speaks of slices that share all but the map of T10, as those of one examination do.

    def assumptions(self) -> tuple[str, ...]:
        """What was assumed for want of a word, as sentences for the user; empty where all was told."""
        acquisition, found = self.acquisitions[0], []
        if not self.sequence_told[0]:
            found.append(
                f"How the images were acquired is not known; assumed is {acquisition.words()}. Tell the sequence, its "
                "repetition time and its flip angle: the result rests on them."
            )
        elif missing := acquisition.assumptions():
            found.append(f"Of the acquisition ({acquisition.words()}) not all is known; assumed is {_listed(missing)}.")
        if not self.dose_told[0]:
            found.append(
                f"The dose fraction is not known; assumed is {float(self.dose_fraction[0]):.2g} of the full dose."
            )
        return tuple(found)

    def provenance(self) -> dict[str, Any]:
        """The same for a report or an image header: plain values."""
        acquisition = self.acquisitions[0]
        told = "told" if self.sequence_told[0] else "assumed"
        completed = f", assumed {_listed(missing)}" if (missing := acquisition.assumptions()) else ""
        fraction = round(float(self.dose_fraction[0]), 6)
        return {
            "acquisition": f"{told}: {acquisition.words()}{completed}",
            "dose_fraction": fraction if self.dose_told[0] else f"assumed: {fraction:g}",
            "t1_map_used": self.native is not None,
        }


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(words)
