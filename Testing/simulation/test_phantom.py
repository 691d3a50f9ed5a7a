"""Properties of the simulated examinations: reproducible, plausible, with labels that fit the images."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from LIPCARLib.simulation import BRAIN_TISSUES, Tissue, simulate
from LIPCARLib.simulation.phantom import SimulatedExamination, _rician, _sample_k_space, render
from LIPCARLib.simulation.subject import SubjectParameters, draw_subject

IMAGES = ("predose", "lowdose", "highdose", "clean_lowdose", "clean_highdose")
KINDS = ("rat", "human", "shapes")


@cache
def example(kind: str, index: int) -> SimulatedExamination:
    return simulate(5, index, slices=5, size=128, anatomy=kind)  # type: ignore[arg-type]


def quiet(subject: SubjectParameters) -> SubjectParameters:
    """The same subject without what blurs a measurement: noise, gain, shift, bias."""
    still = ((0.0, 0.0),) * 3
    return replace(subject, snr=1e4, gains=(1.0, 1.0, 1.0), shifts=still, bias=0.0, coil=(0.0, 0.0))


def first_with_tumor(kind: str) -> SubjectParameters:
    """A subject whose tumor is large enough to have an inside at 128 x 128."""
    scale = {"rat": 1.2, "human": 6.0, "shapes": 1.0}[kind]
    for index in range(100):
        subject = draw_subject(5, index, kind)  # type: ignore[arg-type]
        if subject.lesions and min(subject.lesions[0].radius_x, subject.lesions[0].radius_y) > scale:
            return subject
    raise AssertionError("no tumor in 100 subjects")


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_types_and_range(kind: str) -> None:
    exam = example(kind, 0)
    for name in IMAGES:
        image = getattr(exam, name)
        assert image.shape == (5, 128, 128)
        assert image.dtype == np.float32
        assert image.min() >= 0.0
        assert image.max() <= 4095.0
        np.testing.assert_array_equal(image, np.rint(image))
    assert exam.labels.dtype == np.uint8
    assert set(np.unique(exam.labels)) <= {int(t) for t in Tissue}
    assert len(exam.spacing) == 3
    assert json.loads(json.dumps(exam.parameters))["anatomy"] == kind


def test_same_seed_same_voxels_and_others_differ() -> None:
    simulate(5, 7, slices=2, size=64)  # another subject drawn in between must not matter
    again = simulate(5, 0, slices=5, size=128, anatomy="rat")
    for name in (*IMAGES, "labels"):
        np.testing.assert_array_equal(getattr(again, name), getattr(example("rat", 0), name))
    assert again.parameters == example("rat", 0).parameters
    assert np.any(example("rat", 1).highdose != again.highdose)
    assert np.any(simulate(6, 0, slices=5, size=128, anatomy="rat").highdose != again.highdose)


def test_too_few_slices_are_refused() -> None:
    with pytest.raises(ValueError, match="slices"):
        render(draw_subject(1, 0), slices=0)


@pytest.mark.parametrize("kind", ["rat", "human"])
def test_tumor_enhances_and_intact_brain_does_not(kind: str) -> None:
    exam = render(quiet(first_with_tumor(kind)), slices=7, size=128)

    def mean(image: np.ndarray, *tissues: Tissue) -> float:
        return float(image[np.isin(exam.labels, tissues)].mean())

    brain = [mean(i, *BRAIN_TISSUES) for i in (exam.predose, exam.clean_lowdose, exam.clean_highdose)]
    tumor = [mean(i, Tissue.TUMOR) for i in (exam.predose, exam.clean_lowdose, exam.clean_highdose)]
    assert 0.99 < brain[1] / brain[0] < 1.03
    assert 1.0 < brain[2] / brain[0] < 1.05
    assert 1.4 < tumor[2] / tumor[0] < 4.0
    assert 1.05 < tumor[1] / tumor[0] < tumor[2] / tumor[0]
    # The low dose is about a fifth of the full one; saturation at the full dose makes it look like more.
    assert 0.1 < (tumor[1] - tumor[0]) / (tumor[2] - tumor[0]) < 0.55


@pytest.mark.parametrize("kind", ["rat", "human"])
def test_what_enhances_in_the_brain_is_labeled(kind: str) -> None:
    exam = render(quiet(first_with_tumor(kind)), slices=7, size=128)
    gain = exam.clean_highdose - exam.predose
    bright = gain > 0.5 * np.median(gain[exam.labels == Tissue.TUMOR])
    within = np.isin(exam.labels, (*BRAIN_TISSUES, Tissue.CSF, Tissue.EDEMA))
    # Only partial volume at the borders of what does enhance is left.
    assert (bright & within).sum() < 0.01 * within.sum()


@pytest.mark.parametrize("kind", KINDS)
def test_air_is_dark_and_body_is_not(kind: str) -> None:
    exam = example(kind, 0)
    outside, body = exam.labels == Tissue.AIR, exam.labels != Tissue.AIR
    assert 0.02 < body.mean() < 0.9
    assert np.median(exam.clean_highdose[outside]) < 0.02 * exam.clean_highdose[body].mean()


def test_labels_lie_on_the_highdose_image() -> None:
    subject = quiet(replace(draw_subject(5, 0, "rat"), skull_stripped=False))
    exam = render(replace(subject, shifts=((0.4, -0.3), (-0.4, 0.2), (0.0, 0.0))), slices=4, size=128)
    head = exam.labels != Tissue.AIR
    edge = [
        np.abs(np.roll(exam.clean_highdose, (dy, dx), (1, 2)) * ~head).sum()
        for dy, dx in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))
    ]
    assert int(np.argmin(edge)) == 0


@pytest.mark.parametrize("kind", ["rat", "human"])
def test_skull_stripped_is_exactly_zero_outside(kind: str) -> None:
    subject = replace(draw_subject(5, 1, kind), skull_stripped=True)  # type: ignore[arg-type]
    exam = render(subject, slices=5, size=96)
    outside = exam.labels == Tissue.AIR
    assert 0.3 < outside.mean() < 0.999
    for name in IMAGES:
        assert not getattr(exam, name)[outside].any()
    assert not np.isin(exam.labels, (Tissue.SKIN, Tissue.FAT, Tissue.MUSCLE, Tissue.BONE)).any()


@pytest.mark.parametrize("snr", [10.0, 30.0])
def test_noise_has_the_requested_level(snr: float) -> None:
    subject = replace(draw_subject(5, 2, "rat"), snr=snr, skull_stripped=False)
    exam = render(subject, slices=4, size=128)
    sigma = exam.parameters["noise_sigma"]
    body = exam.labels != Tissue.AIR
    assert exam.predose[body].mean() / sigma == pytest.approx(snr, rel=0.05)
    bright = exam.clean_highdose > 5.0 * sigma
    residual = (exam.highdose - exam.clean_highdose)[bright]
    assert residual.std() == pytest.approx(sigma, rel=0.05)
    silent = exam.clean_highdose == 0.0
    assert exam.highdose[silent].mean() == pytest.approx(sigma * np.sqrt(np.pi / 2.0), rel=0.03)


def test_rician_moments() -> None:
    rng = np.random.default_rng(0)
    for signal in (0.0, 2.0, 50.0):
        image = _rician(rng, np.full((200, 1000), signal, dtype=np.float32), 3.0)
        # The second moment of a Rician is exact at every signal: A^2 + 2 sigma^2.
        assert float(np.mean(image.astype(float) ** 2)) == pytest.approx(signal**2 + 18.0, rel=0.01)


def test_clean_images_carry_gain_of_their_acquisition() -> None:
    subject = quiet(draw_subject(5, 3, "rat"))
    plain, louder = (render(replace(subject, gains=g), 2, 96) for g in ((1, 1, 1), (1, 1.2, 1)))
    body = plain.clean_lowdose > 100
    ratio = louder.clean_lowdose[body] / plain.clean_lowdose[body]
    assert float(np.median(ratio)) == pytest.approx(1.2, rel=0.01)
    np.testing.assert_array_equal(louder.clean_highdose, plain.clean_highdose)


def test_shift_moves_a_smooth_image_as_interpolation_would() -> None:
    x = np.arange(64.0)
    image = (1.5 + np.cos(2 * np.pi * 3 * x / 64)[None, :] * np.sin(2 * np.pi * 2 * x / 64)[:, None])[None]
    moved = _sample_k_space(image.astype(np.float32), (0.4, -0.2))
    expected = 1.5 + (np.cos(2 * np.pi * 3 * (x - 0.4) / 64)[None, :] * np.sin(2 * np.pi * 2 * (x + 0.2) / 64)[:, None])
    np.testing.assert_allclose(moved[0], expected, atol=1e-4)


def test_sampling_does_not_change_the_extent() -> None:
    subject = draw_subject(5, 4, "human")
    fine, coarse = render(subject, 6, 128), render(subject, 3, 64)
    np.testing.assert_allclose(np.array(coarse.spacing), 2.0 * np.array(fine.spacing))
    assert (coarse.labels > 0).mean() == pytest.approx((fine.labels > 0).mean(), abs=0.02)


def test_small_rendering_is_fast() -> None:
    start = time.process_time()
    simulate(5, 9, slices=4, size=64)
    # 0.06 s measured on one core; the bound only catches a change of order.
    assert time.process_time() - start < 1.0
