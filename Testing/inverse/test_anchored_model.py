"""Anchored models: the physics as a model of the product, told and untold, with and without a network."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import Tensor

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging.examination import Examination
from LIPCARLib.inverse.anchor import anchor
from LIPCARLib.inverse.anchored import AnchoredPrior
from LIPCARLib.inverse.anchored_model import AnchoredModel
from LIPCARLib.inverse.conditions import Conditions
from LIPCARLib.inverse.denoising import body
from LIPCARLib.inverse.manifest import MANIFEST, Kind, kind_of, read_manifest
from LIPCARLib.inverse.model import load_model, load_pair, save_anchored_model, verify_model
from LIPCARLib.inverse.progress import complete
from LIPCARLib.inverse.reconstruction import SOLVERS, reconstruct
from LIPCARLib.inverse.result import Result
from LIPCARLib.physics import Acquisition, PulseSequence, headroom, lowdose_of

GRADIENT = Acquisition(PulseSequence.GRADIENT_ECHO, 0.008, flip_angle=20.0, magnetic_field=3.0)
SIGMA = 0.01


@pytest.fixture(scope="module")
def head() -> dict[str, np.ndarray]:
    """A session that obeys the equation of GRADIENT at a fifth of the dose: images of two slices, before and after."""
    y, x = np.mgrid[:64, :64] / 64 - 0.5
    predose = torch.from_numpy(0.4 * ((x**2 + y**2) < 0.16)).float()[None, None].repeat(2, 1, 1, 1)
    highdose = predose + 0.3 * torch.from_numpy((x - 0.1) ** 2 + y**2 < 0.02).float()
    lowdose = lowdose_of(highdose, predose, headroom(predose, GRADIENT), 0.2, GRADIENT)
    rng = np.random.default_rng(0)

    def noisy(image: Tensor) -> np.ndarray:
        noise = rng.normal(0, SIGMA, (2, *image.shape))
        return np.hypot(image.numpy() + noise[0], noise[1])[:, 0].astype(np.float32)

    return {"lowdose": noisy(lowdose), "predose": noisy(predose), "highdose": highdose[:, 0].numpy()}


@pytest.fixture(scope="module")
def session(head: dict[str, np.ndarray]) -> Examination:
    images = [sitk.GetImageFromArray(1000 * head[role]) for role in ("lowdose", "predose")]
    return Examination.from_images(*images, slice_axis=2, acquisition=GRADIENT)


@pytest.fixture
def signal() -> AnchoredModel:
    model = load_model("signal")
    assert isinstance(model, AnchoredModel)
    return model


def run(examination: Examination, model: AnchoredModel, **options: object) -> Result:
    return complete(reconstruct(examination, model, device="cpu", **options))  # type: ignore[arg-type]


def closed_form(e: Examination, fraction: float, acquisition: Acquisition, native: Tensor | None = None) -> Any:
    assert e.predose is not None
    low, pre = (torch.from_numpy(v / np.float32(e.scale))[:, None] for v in (e.lowdose, e.aligned_predose(slice(None))))
    told = Conditions.of_examination(len(low), acquisition, fraction, fraction, native)
    return e.scale * anchor(low, pre, told).highdose[:, 0].clamp_min(0).numpy()


def error(e: Examination, image: np.ndarray, head: dict[str, np.ndarray]) -> float:
    inside = head["predose"] > 0.2
    return float(np.sqrt(np.mean((image / 1000 - head["highdose"])[inside] ** 2)))


# What it computes


def test_the_prior_is_the_closed_form_of_what_was_told(session: Examination, signal: AnchoredModel) -> None:
    told = run(session, signal, dose_fraction=0.2)
    np.testing.assert_allclose(told.prior, closed_form(session, 0.2, GRADIENT), atol=1e-4 * session.scale)
    untold = run(replace(session, acquisition=None), signal)
    assumed = closed_form(session, 0.22, Acquisition.assumed())
    np.testing.assert_allclose(untold.prior, assumed, atol=1e-4 * session.scale)


def test_telling_helps(session: Examination, signal: AnchoredModel, head: dict[str, np.ndarray]) -> None:
    errors = [
        error(session, run(e, signal, dose_fraction=fraction).highdose, head)
        for e, fraction in ((session, 0.2), (replace(session, acquisition=None), 0.2), (session, 0.35))
    ]
    assert errors[0] < 0.95 * min(errors[1:])
    assert errors[0] < 0.5 * error(session, session.lowdose, head)


def test_auto_leaves_the_prior_and_looks_at_the_data_once(session: Examination, signal: AnchoredModel) -> None:
    result = run(session, signal, data_consistency=True)
    np.testing.assert_array_equal(result.highdose, result.prior)
    assert result.network_evaluations == [1, 1] and [len(values) for values in result.objective] == [1, 1]
    assert result.data_consistency is not None
    rms = np.sqrt(np.mean(np.square(result.data_consistency / session.scale), axis=(1, 2)))
    np.testing.assert_allclose(rms, result.residual_rms, rtol=1e-4)
    # The closed form of the denoised image explains all but the noise.
    sigma = SIGMA * 1000 / session.scale
    assert 0.5 * sigma < rms.min() and rms.max() < 1.2 * sigma


@pytest.mark.parametrize("solver", list(SOLVERS))
def test_a_number_is_the_papers_problem(solver: str, session: Examination, signal: AnchoredModel) -> None:
    result = run(session, signal, alpha=0.003, solver=solver, iterations=12, dose_fraction=0.2)
    assert all(values[-1] < values[0] for values in result.objective)
    assert np.abs(result.highdose - result.prior).max() > 1e-3 * session.scale
    strict = run(session, signal, alpha=1e3, dose_fraction=0.2)
    np.testing.assert_allclose(strict.highdose, strict.prior, atol=1e-3 * session.scale)


def test_batches_and_parts_do_not_change_the_result(session: Examination, signal: AnchoredModel) -> None:
    times = np.full_like(session.lowdose, 0.9)
    times[1] = 1.8
    e = replace(session, native_time=times)
    for alpha in ("auto", 0.003):
        whole, single = (run(e, signal, alpha=alpha, iterations=5, slices_at_once=n) for n in (2, 1))
        np.testing.assert_allclose(single.highdose, whole.highdose, atol=1e-5 * session.scale)
        part = run(e.part(1, 2), signal, alpha=alpha, iterations=5)
        np.testing.assert_allclose(part.highdose[0], whole.highdose[1], atol=1e-5 * session.scale)


def test_a_map_of_t1_is_used(session: Examination, signal: AnchoredModel) -> None:
    result = run(replace(session, native_time=np.full_like(session.lowdose, 0.8)), signal, dose_fraction=0.2)
    expected = closed_form(session, 0.2, GRADIENT, torch.full((2, 1, 64, 64), 0.8))
    np.testing.assert_allclose(result.prior, expected, atol=1e-4 * session.scale)
    assert np.abs(result.prior - run(session, signal, dose_fraction=0.2).prior).max() > 0.01 * session.scale
    assert result.provenance["t1_map_used"] is True


# What it says


def test_what_was_told_and_what_assumed_is_said(session: Examination, signal: AnchoredModel) -> None:
    told, untold = run(session, signal, dose_fraction=0.2), run(replace(session, acquisition=None), signal)
    assert told.notices == ()
    assert told.provenance["acquisition"].startswith("told: spoiled gradient echo, repetition time 8 ms")
    assert told.provenance["dose_fraction"] == 0.2
    assert len(untold.notices) == 2
    assert untold.provenance["acquisition"].startswith("assumed: spin echo")
    assert json.loads(json.dumps(untold.provenance)) == untold.provenance
    assert untold.provenance["model_sha256"] == signal.digest


def test_a_pair_of_networks_says_nothing_of_the_acquisition(session: Examination, model: Any) -> None:
    one, other = (run(e, model, iterations=2) for e in (session, replace(session, acquisition=None)))
    assert one.notices == () and "acquisition" not in one.provenance
    np.testing.assert_array_equal(one.highdose, other.highdose)


def test_it_needs_a_predose_image(session: Examination, signal: AnchoredModel) -> None:
    with pytest.raises(LIPCARError, match="'signal' needs a pre-dose image"):
        run(replace(session, predose=None), signal)


def test_auto_takes_no_adam(session: Examination, signal: AnchoredModel) -> None:
    with pytest.raises(LIPCARError, match="'adam' is the paper's and takes a number"):
        run(session, signal, solver="adam")


# On disk


def test_a_network_adds_to_the_anchor(session: Examination, signal: AnchoredModel, tmp_path: Path) -> None:
    network = AnchoredPrior((8, 8))
    torch.nn.init.constant_(network.head.bias, 0.25)
    folder = save_anchored_model(tmp_path / "mine", "mine", network, {}).parent
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, "prior.safetensors"]
    model = load_model(folder)
    assert isinstance(model, AnchoredModel) and model.has_weights and not signal.has_weights
    assert model.digest != signal.digest
    assert list(verify_model(folder)) == ["prior.safetensors"]
    plain, added = run(session, signal), run(session, model)
    inside = body(torch.from_numpy(session.lowdose / session.scale)[:, None], session.noise_floor / session.scale)
    inside = inside[:, 0].numpy()
    expected = plain.prior + np.where(inside, 0.25 * session.scale, 0)  # and nothing in air
    np.testing.assert_allclose(added.prior[inside], expected[inside], atol=0.02 * session.scale)
    np.testing.assert_array_equal(added.prior[~inside], plain.prior[~inside])


def test_the_physics_is_a_folder_with_a_manifest(signal: AnchoredModel, tmp_path: Path) -> None:
    folder = save_anchored_model(tmp_path / "mine", "mine", None, {"description": "mine"}).parent
    assert [path.name for path in folder.iterdir()] == [MANIFEST]
    assert kind_of(read_manifest(folder)) is Kind.ANCHORED
    assert verify_model(folder) == {}
    assert load_model(folder).digest == signal.digest  # the same physics, whatever it is called
    with pytest.raises(LIPCARError, match="'mine' is no pair of networks"):
        load_pair(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m["files"].update(prior={"path": "p", "sha256": "0"}), "malformed: it names a file for 'prior'"),
        (lambda m: m.update(files=None), "malformed"),
        (lambda m: m.pop("files"), "incomplete: 'files' is missing"),
        (lambda m: m["architecture"].update(prior={"class": "VNet", "in_channels": 2}), "unknown architecture"),
        (lambda m: m["architecture"].update(forward_operator={"class": "VNet"}), "unknown architecture"),
        (
            lambda m: m["architecture"].update(prior={"class": "AnchoredPrior"}),
            "incomplete: 'architecture.prior.widths' is missing",
        ),
        (lambda m: m["architecture"].update(prior={"class": ["Anchor"]}), "unknown architecture"),
        (lambda m: m["architecture"]["prior"].update(depth=1), "'architecture.prior' has 'depth', expected are only"),
        (lambda m: m.update(uses_predose=False), "'uses_predose' is not true"),
    ],
)
def test_a_wrong_manifest_is_refused(change: Callable[[dict[str, Any]], object], words: str, tmp_path: Path) -> None:
    path = save_anchored_model(tmp_path, "mine", None, {})
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(LIPCARError, match=words):
        load_model(tmp_path)
