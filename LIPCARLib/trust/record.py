"""What is known about every voxel of a result, as it is shown and reported; without torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .findings import Finding

Volume = npt.NDArray[np.float32]
NO_PREDOSE = (
    "Without a pre-dose image that fits, nothing tells what the agent changed: there is no map of the signal equation, "
    "no uncertainty, and enhancement that nothing supports cannot be told from enhancement that was measured."
)
SURE = 1.645
"""Standard deviations on either side that hold 90 %."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What can be said about each voxel of a result. Arrays are (S, H, W), as `Examination.lowdose`.

    Attributes:
        consistency: F(x) - x_L, averaged over neighborhoods, in the standard deviations that noise and F's own error
            let expect; F is the model's.
        equation: the same by the signal equation alone, assumed where no acquisition is told, and with what it
            demands: an agent only brightens. Where x_L is darker than x_P, no dose explains it. None without a
            pre-dose image.
        uncertainty: standard deviation of x_H, in intensity units; 90 % of the truth is meant to lie within SURE of
            them. None without a pre-dose image.
        findings: uint8, 0, 1 where enhancement in the result is not supported by x_L - x_P, 2 where enhancement in
            x_L - x_P is suppressed in the result. None without a pre-dose image.
        table: the connected regions of `findings`, the largest first.
        notices: what could not be told, as sentences for the user.

    >>> zeros = np.zeros((1, 8, 8), np.float32)
    >>> Evidence(zeros, None, None, None, (), (NO_PREDOSE,)).summary()["findings"]
    """

    consistency: Volume
    equation: Volume | None
    uncertainty: Volume | None
    findings: npt.NDArray[np.uint8] | None
    table: tuple[Finding, ...]
    notices: tuple[str, ...]

    def maps(self) -> dict[str, Volume]:
        """The maps that there are, by name."""
        named = {"consistency": self.consistency, "equation": self.equation, "uncertainty": self.uncertainty}
        return {name: volume for name, volume in named.items() if volume is not None}

    def words(self) -> tuple[str, ...]:
        """The findings as sentences for the user."""
        sentences = {
            "unsupported": "shows enhancement that the difference of low-dose and pre-dose image does not support",
            "suppressed": "lacks enhancement that the difference of low-dose and pre-dose image shows",
        }
        counts = {kind: sum(one.kind == kind for one in self.table) for kind in sentences}
        return tuple(
            f"In {count} {'place' if count == 1 else 'places'} the result {sentences[kind]}; see the findings."
            for kind, count in counts.items()
            if count
        )

    def summary(self) -> dict[str, Any]:
        """For a report: plain values; the notices stand among the others."""
        from ..inverse.consistency import DEVIATIONS  # torch comes with it

        beyond = {name: float((np.abs(one) > DEVIATIONS).mean()) for name, one in self.maps().items()}
        beyond.pop("uncertainty", None)
        return {
            "beyond_expected": beyond,
            "findings": None if self.findings is None else [asdict(finding) for finding in self.table],
        }
