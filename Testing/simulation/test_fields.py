"""The random fields of the phantom: smooth, of mean 0 and variance 1."""

from __future__ import annotations

import numpy as np
import pytest

from LIPCARLib.simulation.fields import smooth_field


def test_smooth_field_has_unit_variance_and_no_grain() -> None:
    field = smooth_field(np.random.default_rng(1), (12, 96, 96), (12.0, 96.0, 96.0), 6.0)
    assert field.std() == pytest.approx(1.0, abs=0.12)
    assert np.abs(np.diff(field, axis=2)).max() < 1.2
