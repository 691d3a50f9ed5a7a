"""What the shipped models and the sample examination promise: integrity, quality, and the solver's claims on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from LIPCARLib.imaging.examination import Examination
from LIPCARLib.inverse.manifest import default_model, list_models, read_manifest
from LIPCARLib.inverse.model import load_model, verify_model
from LIPCARLib.inverse.progress import complete
from LIPCARLib.inverse.reconstruction import ALPHA, reconstruct
from LIPCARLib.inverse.result import Result
from LIPCARLib.resources import RESOURCES
from LIPCARLib.study import examination_metrics

BREAST = Path(__file__).resolve().parents[3] / "shared" / "data" / "breast_dce"
SAMPLE = {role: RESOURCES / "SampleData" / f"rat-{role}.nrrd" for role in ("lowdose", "predose", "highdose")}
TUMOR_SLICE = 4


@pytest.fixture(scope="module")
def sample() -> Examination:
    return Examination.read(*SAMPLE.values())


@pytest.fixture(scope="module")
def part() -> Examination:
    """The tumor's slice and its neighbor, the 128 x 128 pixels around the brain."""
    images = [sitk.ReadImage(str(path))[64:192, 50:178, TUMOR_SLICE - 1 : TUMOR_SLICE + 1] for path in SAMPLE.values()]
    return Examination.from_images(*images)


def test_four_models_are_shipped_whole() -> None:
    assert [entry.name for entry in list_models()] == ["anchored", "signal", "vnet-lowdose", "vnet-predose"]
    for entry in list_models():
        verify_model(entry.name)
        assert sum(path.stat().st_size for path in entry.folder.iterdir() if path.is_file()) < 24e6


@pytest.mark.parametrize("name", ["vnet-predose", "vnet-lowdose"])
def test_card_of_a_pair_holds_held_out_scores(name: str) -> None:
    manifest = read_manifest(name)
    assert manifest["metrics"]["subjects"] == manifest["training"]["held_out_subjects"]
    scores = manifest["metrics"]["means_over_slices"]
    for image in ("predose", "lowdose", "prior", "lip-car 0.006"):
        assert {"ssim", "body_rmse", "clean_ssim", "clean_body_rmse"} <= scores[image].keys()


def test_card_of_the_anchored_model_says_that_it_is_better_than_the_closed_form() -> None:
    manifest = read_manifest(default_model(uses_predose=True))
    drawn = manifest["training"]["drawn_validation"]
    assert drawn["prior"]["body"] < 0.95 * drawn["closed form"]["body"]
    scores = manifest["metrics"]["means_over_slices"]
    assert scores["lip-car auto"]["clean_body_rmse"] < 0.6 * scores["lowdose"]["clean_body_rmse"]


@pytest.fixture(scope="module", params=["anchored", "vnet-predose", "vnet-lowdose"])
def simulated(request: pytest.FixtureRequest, sample: Examination) -> Result:
    """The sample as `auto` has it, by each shipped model."""
    return complete(reconstruct(sample, load_model(request.param), device="cpu"))


def test_sample_comes_closer_to_the_high_dose_image(simulated: Result, sample: Examination) -> None:
    remaining_error = {"anchored": 0.55, "vnet-predose": 0.55, "vnet-lowdose": 0.9}[simulated.provenance["model"]]
    metrics = complete(examination_metrics(sample, simulated))
    assert np.mean(metrics["lip-car"]["ssim"]) > np.mean(metrics["lowdose"]["ssim"]) + 0.04
    assert np.mean(metrics["lip-car"]["rmse"]) < remaining_error * np.mean(metrics["lowdose"]["rmse"])


STORED = {
    ("anchored", "highdose"): {
        "volume": [306.3780, 331.7246, 1650.494, 22.70596, 23.29295],
        "slices": [192.3544, 256.5633, 300.3136, 332.6596, 380.1677, 376.2096],
    },
    ("anchored", "prior"): {
        "volume": [306.3780, 331.7246, 1650.494, 22.70596, 23.29295],
        "slices": [192.3544, 256.5633, 300.3136, 332.6596, 380.1677, 376.2096],
    },
    ("vnet-predose", "highdose"): {
        "volume": [303.9575, 327.9821, 1550.203, 19.99491, 20.55470],
        "slices": [189.6437, 253.5800, 298.5705, 331.3678, 378.0774, 372.5056],
    },
    ("vnet-predose", "prior"): {
        "volume": [303.9575, 328.6349, 1567.905, 24.03103, 24.60140],
        "slices": [189.6437, 253.5800, 298.5705, 331.3678, 378.0774, 372.5056],
    },
    ("vnet-lowdose", "highdose"): {
        "volume": [282.4963, 304.7569, 1400.374, 18.74253, 19.09997],
        "slices": [189.1060, 239.1359, 276.8239, 313.2153, 339.0206, 337.6759],
    },
    ("vnet-lowdose", "prior"): {
        "volume": [282.4963, 305.2533, 1413.080, 21.02649, 21.25076],
        "slices": [189.1060, 239.1359, 276.8239, 313.2153, 339.0206, 337.6759],
    },
}
"""Of the sample by `auto`.

Volume: mean, standard deviation, maximum, mean absolute difference of neighbors along x and y. Slices: their means.
"""


@pytest.mark.parametrize("role", ["highdose", "prior"])
def test_auto_gives_the_voxels_that_it_always_gave(role: str, simulated: Result) -> None:
    expected = STORED[simulated.provenance["model"], role]
    volume = getattr(simulated, role).astype(np.float64)
    roughness = [np.abs(np.diff(volume, axis=axis)).mean() for axis in (2, 1)]
    found = [volume.mean(), volume.std(), volume.max(), *roughness]
    np.testing.assert_allclose(found, expected["volume"], rtol=1e-4)
    np.testing.assert_allclose(volume.mean((1, 2)), expected["slices"], rtol=1e-4)


@pytest.mark.parametrize("name", ["anchored", "vnet-predose"])
def test_proximal_beats_adam_on_every_slice(name: str, part: Examination) -> None:
    model = load_model(name)
    ours = complete(reconstruct(part, model, alpha=ALPHA, device="cpu"))
    theirs = complete(reconstruct(part, model, alpha=ALPHA, solver="adam", device="cpu"))
    assert max(ours.network_evaluations) <= 10
    assert [len(values) for values in theirs.objective] == [151, 151]
    for mine, adam in zip(ours.objective, theirs.objective, strict=True):
        assert mine[-1] < adam[-1]


def test_a_broken_part_makes_the_measurement_worse(part: Examination, monkeypatch: pytest.MonkeyPatch) -> None:
    """The measurement can fail: operators that mirror the image, and noise for a prior."""

    def error() -> float:
        result = complete(reconstruct(part, model, alpha=ALPHA, device="cpu"))
        return float(np.sqrt(np.mean((result.highdose - part.highdose) ** 2)) / part.scale)

    model = load_model("vnet-predose")
    right, prior, forward_operator = error(), model.prior, model.forward_operator
    with monkeypatch.context() as broken:
        broken.setattr(model, "forward_operator", lambda x, p: forward_operator(x.flip(-1), p))
        assert error() > 1.5 * right
    with monkeypatch.context() as broken:
        broken.setattr(model, "prior", lambda x, p: torch.rand_like(prior(x, p)))
        assert error() > 1.5 * right


@pytest.mark.skipif(not BREAST.is_dir(), reason="the real breast examination lies outside the project")
def test_breast_tumor_enhances_and_nothing_else_appears() -> None:
    e = Examination.read(*(BREAST / f"{role}.nrrd" for role in ("lowdose", "predose", "highdose")))
    result = complete(reconstruct(e, load_model("vnet-predose"), device="cpu"))
    low, real = e.lowdose - e.predose, e.highdose - e.predose
    simulated = result.highdose - e.predose
    tumor = real > 0.4 * np.percentile(real, 99.9)
    quiet = (e.lowdose > 0.1 * e.scale) & (np.abs(real) < 0.05 * e.scale) & (np.abs(low) < 0.05 * e.scale)
    assert simulated[tumor].mean() > 1.3 * low[tumor].mean()
    assert abs(simulated[quiet].mean()) < 0.15 * simulated[tumor].mean()
    image = e.to_image(result.highdose)
    given = sitk.ReadImage(str(BREAST / "lowdose.nrrd"))
    assert image.GetSize() == given.GetSize()
    assert image.GetDirection() == given.GetDirection()


@pytest.mark.skipif(not BREAST.is_dir(), reason="the real breast examination lies outside the project")
@pytest.mark.parametrize("after", ["lowdose", "highdose"])
def test_a_low_dose_made_of_a_real_pair_is_undone_better_than_by_the_papers_network(after: str) -> None:
    """A fifth of the real enhancement, with noise; real tissue, and a body unlike those of the training."""
    other = "highdose" if after == "lowdose" else "lowdose"
    pair = Examination.read(*(BREAST / f"{role}.nrrd" for role in (other, "predose", after)), match_predose=False)
    rng = np.random.default_rng(0)
    low = pair.predose + np.float32(0.2) * (pair.highdose - pair.predose)
    low = np.hypot(low + rng.normal(0, 0.02 * pair.scale, low.shape), rng.normal(0, 0.02 * pair.scale, low.shape))
    images = [pair.to_image(array.astype(np.float32)) for array in (low, pair.predose, pair.highdose)]
    e = Examination.from_images(*images, slice_axis=pair.slice_axis)
    answers = [
        complete(reconstruct(e, load_model(name), device="cpu", dose_fraction=0.2)).highdose
        for name in ("vnet-predose", "anchored")
    ]
    body = e.highdose > 0.1 * e.scale
    network, anchored = (float(np.sqrt(np.mean((x - e.highdose)[body] ** 2))) for x in answers)
    assert anchored < 0.95 * network
