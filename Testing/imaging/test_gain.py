"""The gain between the images is found where the agent does nothing, undone where it may be, and noticed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from LIPCARLib.doubt import Doubt
from LIPCARLib.imaging import Examination
from LIPCARLib.imaging.gain import Gain, coarse_level, find_gain
from LIPCARLib.simulation import BRAIN_TISSUES, Tissue, simulate
from LIPCARLib.simulation.fields import smooth_field
from LIPCARLib.simulation.phantom import render
from LIPCARLib.simulation.subject import draw_subject

from .samples import head, image_of, pair


def field_of(gain: Gain, shape: tuple[int, ...]) -> np.ndarray:
    field = np.ones(shape, np.float32)
    gain.apply(field)
    return field


def drift(rng: np.random.Generator, tissue: np.ndarray, amount: float) -> np.ndarray:
    """A slow factor near 1 that differs by `amount` between the two ends of the tissue."""
    field = smooth_field(rng, tissue.shape, (tissue.shape[1],) * 3, tissue.shape[1])
    low, high = field[tissue].min(), field[tissue].max()
    return np.exp(amount * ((field - low) / (high - low) - 0.5))


@pytest.mark.parametrize("gain", [0.01, 0.6, 0.75, 0.95, 1.0, 1.05, 1.25, 1.6, 1000.0])
def test_the_predose_image_is_brought_to_the_gain_of_the_lowdose_image(gain: float) -> None:
    low, pre = pair()
    plain = Examination.from_images(low, pre)
    found = Examination.from_images(low * gain, pre)
    assert found.predose_gain == pytest.approx(gain, rel=0.005)
    np.testing.assert_allclose(found.predose / found.scale, plain.predose / plain.scale, rtol=0.02)
    assert len(found.notices) == (gain != 1)
    for notice in found.notices:
        said = float(notice.split("enhance is ")[1].split(" times")[0])
        assert said == pytest.approx(gain, rel=0.01)
    as_it_is = Examination.from_images(low * gain, pre, match_predose=False)
    assert as_it_is.predose_gain == 1 and len(as_it_is.notices) == (gain != 1)
    assert all("left as it is" in notice and isinstance(notice, Doubt) for notice in as_it_is.notices)
    np.testing.assert_array_equal(as_it_is.predose, plain.predose)


@given(st.floats(-30, 30), st.floats(-30, 30))
@settings(max_examples=20, deadline=None)
def test_units_do_not_matter(before: float, after: float) -> None:
    """The images in any units, to the last digits of float32: the same pre-dose image beside the low-dose image."""
    low, pre = (np.asarray(image, np.float32) for image in (head(1) * np.float32(1.2), head(2)))
    plain = find_gain(pre, low)
    pre, low = pre / 400 * np.float32(10**before), low / 400 * np.float32(10**after)
    coarse = coarse_level(pre, low)
    assert np.log2(coarse) == round(np.log2(coarse))
    found = find_gain(np.ldexp(pre, int(np.log2(coarse))), low)
    assert found.ratio * coarse == pytest.approx(plain.ratio * 10 ** (after - before), rel=1e-3)


@given(st.floats(0.5, 2), st.floats(-0.02, 0.02), st.floats(-0.02, 0.02))
@settings(max_examples=20, deadline=None)
def test_within_a_step_of_the_levels_without_noise_and_agent(gain: float, along: float, across: float) -> None:
    pre = head(1, slices=3)
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    truth = gain * np.exp(along * x + across * x * y).astype(np.float32)
    found = field_of(find_gain(pre, pre * truth), pre.shape)
    tissue = pre > 200
    np.testing.assert_allclose((found / truth)[tissue], 1, atol=4e-3)


@pytest.mark.parametrize("index", range(10))
@pytest.mark.parametrize("anatomy", ["rat", "human"])
def test_within_a_hundredth_in_the_brain(anatomy: str, index: int) -> None:
    """Muscle brightens by 8 %, a drift of 5 %, body SNR 12, gains from 0.7 to 1.5: the mean error in the brain."""
    rng = np.random.default_rng([17, index])
    subject = replace(draw_subject(17, index, anatomy), snr=1e6, gains=(1.0, 1.0, 1.0))
    clean = render(subject, slices=5, size=160)
    labels, pre = clean.labels, clean.predose.astype(np.float64)
    low = np.where(labels == Tissue.MUSCLE, 1.08 * pre, clean.lowdose)
    brain = np.isin(labels, BRAIN_TISSUES)
    low[brain] = pre[brain]
    truth = rng.uniform(0.7, 1.5) * drift(rng, labels != Tissue.AIR, 0.05)
    sigma = pre[labels != Tissue.AIR].mean() / 12
    inside = clean.predose > 0 if subject.skull_stripped else 1
    noisy = [
        (inside * np.hypot(image + sigma * rng.normal(size=pre.shape), sigma * rng.normal(size=pre.shape))).astype("f4")
        for image in (pre, low * truth)
    ]
    found = find_gain(*noisy)
    error = np.log(field_of(found, pre.shape) / truth)[brain]
    assert not found.doubtful
    assert abs(error.mean()) < 0.01
    assert np.sqrt(np.mean(error**2)) < 0.015


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize("anatomy", ["rat", "human"])
def test_the_gain_of_simulated_sessions_is_found(anatomy: str, index: int) -> None:
    simulated = simulate(11, index, slices=3, size=128, anatomy=anatomy)
    gains = simulated.parameters["gains"]
    assert find_gain(simulated.predose, simulated.lowdose).ratio == pytest.approx(gains[1] / gains[0], rel=0.02)


def test_the_lowest_level_counts() -> None:
    """Half of the tissue enhances by a fifth, more of it than does not: the rest tells the gain."""
    pre = head(2)
    low = head(1) * np.float32(1.08)
    low[:, :55] *= 1.2
    found = find_gain(pre, low)
    assert found.ratio == pytest.approx(1.08, rel=0.01)
    assert found.highest == pytest.approx(np.log(1.2), abs=0.02)


def test_tissue_below_the_level_is_doubted() -> None:
    """Tissue is darker here and there, more and more from place to place: no agent does that."""
    pre, low = head(2, size=128), head(1, size=128)
    low[:, :, 30:64] *= np.linspace(0.5, 0.9, 34, dtype=np.float32)
    assert find_gain(pre, low).doubtful
    found = Examination.from_images(image_of(low), image_of(pre), match_predose=False)
    assert "cannot be told" in " ".join(found.notices) and found.predose_doubtful


@given(st.integers(0, 2**31), st.sampled_from([(1, 7, 9), (1, 40, 40), (3, 64, 64)]), st.floats(0, 6))
@settings(max_examples=30, deadline=None)
def test_any_two_images_give_a_finite_gain_or_none(seed: int, shape: tuple[int, int, int], width: float) -> None:
    rng = np.random.default_rng(seed)
    pre, low = np.exp(width * rng.normal(size=(2, *shape))).astype(np.float32)
    pre[rng.random(shape) < 0.3] = 0
    found = find_gain(pre, low)
    if found is not None:
        assert np.isfinite(field_of(found, shape)).all() and found.ratio > 0


def test_nothing_in_common_is_noticed() -> None:
    one, other = np.zeros((2, 1, 40, 40), np.float32)
    one[:, :20], other[:, 20:] = head(1)[:1, 30:50, 30:70], head(2)[:1, 30:50, 30:70]
    unmatched = Examination.from_images(image_of(one), image_of(other), match_predose=False)
    assert "no data in 100.0% of the tissue" in unmatched.notices[0] and "left out" in unmatched.notices[0]
    assert unmatched.predose is None
    assert Examination.from_images(image_of(one), image_of(other)).predose_doubtful
    assert Examination.from_images(image_of(one), image_of(1000 * other)).predose is None
