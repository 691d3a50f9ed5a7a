"""The uncertainty holds the truth where what nobody told is not what was assumed."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from LIPCARLib.imaging import Examination
from LIPCARLib.inverse import complete, load_model, reconstruct
from LIPCARLib.trust import evidence

FRACTION, RISE = 0.18, 400.0


def test_what_is_linear_in_a_smaller_dose_is_expected_where_neither_is_told() -> None:
    y, x = np.mgrid[:96, :96]
    body, disk = np.hypot(y - 48, x - 48) < 42, np.hypot(y - 40, x - 60) < 8
    predose = np.where(body, 400.0, 0.0)
    noise = np.random.default_rng(0).normal(0, 4, (4, *body.shape))
    clean = predose, predose + FRACTION * RISE * disk
    taken = [np.hypot(one + real, other) for one, real, other in zip(clean, noise[:2], noise[2:], strict=True)]
    before, after = (sitk.GetImageFromArray(one.astype(np.float32)[None]) for one in taken)
    examination, model = Examination.from_images(after, before, match_predose=False), load_model("signal")
    result = complete(reconstruct(examination, model, device="cpu"))
    found = complete(evidence(examination, model, result, device="cpu"))
    assert found.uncertainty is not None
    inner = np.hypot(y - 40, x - 60) < 6
    off = np.abs(result.highdose - predose - RISE * disk)[0, inner]
    assert (off < found.uncertainty[0, inner]).mean() > 0.9
