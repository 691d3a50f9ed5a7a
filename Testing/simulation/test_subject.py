"""The subjects of a cohort: their parameters lie where they should, in the shares they should."""

from __future__ import annotations

import numpy as np
import pytest

from LIPCARLib.simulation.subject import draw_subject

KINDS = ("rat", "human", "shapes")


def test_parameters_of_a_cohort() -> None:
    subjects = [draw_subject(1, index) for index in range(200)]
    shares = {kind: np.mean([s.anatomy == kind for s in subjects]) for kind in KINDS}
    assert 0.34 < shares["rat"] < 0.56
    assert 0.29 < shares["human"] < 0.51
    assert 0.07 < shares["shapes"] < 0.22
    fractions = np.array([s.dose_fraction for s in subjects])
    assert fractions.min() >= 0.15
    assert fractions.max() <= 0.3
    assert 0.19 < np.median(fractions) < 0.23
    assert all(6.0 <= s.r1 <= 12.0 and 1.15 <= s.r2 / s.r1 <= 1.6 for s in subjects)
    assert all(0.8 <= g <= 1.25 for s in subjects for g in s.gains)
    assert all(np.hypot(*shift) <= 0.5 for s in subjects for shift in s.shifts)
    assert all(s.shifts[2] == (0.0, 0.0) for s in subjects)
    assert 0.6 < np.mean([s.sequence.name == "spin echo" for s in subjects]) < 0.8
    assert 0.4 < np.mean([s.snr <= 13.0 for s in subjects]) < 0.6
    assert 0.4 < np.mean([bool(s.lesions) for s in subjects]) < 0.7


def test_unknown_anatomy_is_refused() -> None:
    with pytest.raises(ValueError, match="mouse"):
        draw_subject(1, 0, "mouse")  # type: ignore[arg-type]
