"""Without a pre-dose image nothing is added to the low-dose image; with one, all is as if it were whole."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from LIPCARLib.imaging import Examination
from LIPCARLib.inverse import complete, load_model, reconstruct
from LIPCARLib.inverse.anchor import noise_between
from LIPCARLib.simulation import simulate

CUT = 26


def image_of(array: np.ndarray) -> sitk.Image:
    return sitk.GetImageFromArray(array.astype(np.float32), isVector=False)


@pytest.fixture(scope="module")
def examinations() -> tuple[Examination, Examination]:
    """Of one subject, with the whole pre-dose image and without its first rows."""
    simulated = simulate(11, 4, slices=2, size=128)
    part = simulated.predose.copy()
    part[:, :CUT] = 0
    whole, lacking = (
        Examination.from_images(image_of(simulated.lowdose), image_of(pre)) for pre in (simulated.predose, part)
    )
    assert whole.predose_known is None and 0.02 < lacking.predose_missing < 0.3
    return whole, lacking


@pytest.mark.parametrize(
    ("name", "alpha"), [("signal", "auto"), ("anchored", "auto"), ("vnet-predose", "auto"), ("signal", 0.006)]
)
def test_the_lowdose_image_stands_where_nothing_is_known(
    examinations: tuple[Examination, Examination], name: str, alpha: str | float
) -> None:
    whole, part = examinations
    model = load_model(name)
    options = {"device": "cpu", "iterations": 3, "alpha": alpha}
    full, found = (complete(reconstruct(e, model, **options)) for e in (whole, part))
    missing = ~part.predose_known
    for image in (found.highdose, found.prior):
        np.testing.assert_allclose(image[missing], part.lowdose[missing], rtol=1e-4, atol=1e-3 * part.scale)
    far = np.zeros_like(missing)
    far[:, CUT + 40 :] = True
    rest = np.sqrt(np.mean((found.highdose[far] - full.highdose[far]) ** 2)) / part.scale
    assert rest < 0.01
    # No edge where the data end: what the agent did there rises over some pixels.
    step = np.abs(found.highdose[:, CUT] - part.lowdose[:, CUT]).mean()
    assert step <= 0.5 * np.abs(full.highdose[:, CUT] - part.lowdose[:, CUT]).mean() + 1e-3 * part.scale
    assert found.provenance["predose_missing"] == part.predose_missing


def test_a_model_without_predose_image_does_not_mind(examinations: tuple[Examination, Examination]) -> None:
    model = load_model("vnet-lowdose")
    one, other = (complete(reconstruct(e, model, device="cpu", iterations=1)).highdose for e in examinations)
    missing = ~examinations[1].predose_known
    assert not np.allclose(other[missing], examinations[1].lowdose[missing], atol=1e-3)
    assert one.shape == other.shape


def test_noise_is_told_by_what_is_known() -> None:
    rng = torch.Generator().manual_seed(0)
    predose, lowdose = 0.4 + 0.02 * torch.randn(2, 1, 1, 64, 64, generator=rng)
    known = torch.ones(1, 1, 64, 64, dtype=torch.bool)
    known[..., :40, :] = False
    predose = torch.where(known, predose, lowdose)
    assert float(noise_between(lowdose, predose)) < 0.01
    assert float(noise_between(lowdose, predose, known=known)) == pytest.approx(0.02, rel=0.1)
