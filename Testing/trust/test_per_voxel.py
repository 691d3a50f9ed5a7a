"""Evidence against known truth: what was painted into a result, cut out of it or moved is named at its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.imaging import Examination
from LIPCARLib.inverse import Result, complete, load_model, mapped, reconstruct
from LIPCARLib.physics import Acquisition, PulseSequence
from LIPCARLib.simulation import simulate
from LIPCARLib.trust import Evidence, evidence

FRACTION = 0.2
LAW = Acquisition(PulseSequence.SPIN_ECHO, repetition_time=0.5)
SPACING = (0.5, 0.5, 3.0)


def examined(lowdose: np.ndarray, predose: np.ndarray | None) -> Examination:
    images = [sitk.GetImageFromArray(one.astype(np.float32)) for one in (lowdose, predose) if one is not None]
    for image in images:
        image.SetSpacing(SPACING)
        image.SetOrigin((10.0, 20.0, 30.0))
    return Examination.from_images(*images, acquisition=LAW, match_predose=False)


def disk(row: int, column: int, radius: float, shape: tuple[int, ...]) -> np.ndarray:
    y, x = np.ogrid[: shape[1], : shape[2]]
    lesion = np.zeros(shape, bool)
    lesion[1] = (y - row) ** 2 + (x - column) ** 2 <= radius**2
    return lesion


LESION = disk(60, 40, 4, (2, 96, 96))


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    """x_P and x_L of two slices, SNR 25; what enhances is a ring, and the lesion."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96]
    radius = np.hypot(y - 48, x - 48)
    clean = np.where(radius < 42, 400 + 60 * np.sin(x / 6) * np.cos(y / 8), 0)
    enhanced = clean + 60.0 * ((radius > 30) & (radius < 35))
    before, after = (np.repeat(one[None], 2, 0) for one in (clean, enhanced))
    after = after + 40.0 * LESION
    noise = rng.normal(0, 16, (4, *before.shape))
    return np.hypot(before + noise[0], noise[1]), np.hypot(after + noise[2], noise[3])


@pytest.fixture(scope="module")
def case(images: tuple[np.ndarray, np.ndarray]) -> tuple[Examination, Result]:
    examination = examined(images[1], images[0])
    return examination, complete(reconstruct(examination, load_model("signal"), device="cpu", dose_fraction=FRACTION))


def judged(examination: Examination, result: Result, model: str = "signal", **told: Any) -> Evidence:
    fraction = {"dose_fraction": FRACTION} if model == "signal" else {}
    return complete(evidence(examination, load_model(model), result, device="cpu", **(fraction | told)))


def test_a_clean_result_has_no_findings(case: tuple[Examination, Result]) -> None:
    found = judged(*case)
    assert found.table == () and found.words() == () and found.findings is not None and not found.findings.any()
    assert np.abs(found.consistency).max() < 4


def test_painted_into_the_result_is_unsupported_at_its_place(case: tuple[Examination, Result]) -> None:
    examination, result = case
    lesion = disk(30, 60, 3, result.highdose.shape)
    (finding,) = judged(examination, replace(result, highdose=result.highdose + 120 * lesion)).table
    assert (finding.kind, finding.slice) == ("unsupported", 1)
    np.testing.assert_allclose(finding.center_lps, (10 + 0.5 * 60, 20 + 0.5 * 30, 33), atol=0.51)
    assert finding.voxels * 0.75 == pytest.approx(finding.volume_mm3) and 40 < finding.mean_difference < 120


def without_lesion(result: Result) -> np.ndarray:
    cut = result.highdose.copy()
    cut[disk(60, 40, 8, cut.shape)] = np.median(cut[disk(60, 40, 11, cut.shape) & ~disk(60, 40, 8, cut.shape)])
    return cut


def test_cut_out_of_the_result_is_suppressed_at_its_place(case: tuple[Examination, Result]) -> None:
    examination, result = case
    first, *rest = judged(examination, replace(result, highdose=without_lesion(result))).table
    assert (first.kind, first.slice, rest) == ("suppressed", 1, [])
    np.testing.assert_allclose(first.center_lps, (10 + 0.5 * 40, 20 + 0.5 * 60, 33), atol=0.51)
    assert first.mean_difference < -40


def test_moved_is_one_of_each(case: tuple[Examination, Result]) -> None:
    examination, result = case
    moved = without_lesion(result) + 150 * disk(60, 56, 4, result.highdose.shape)
    table = judged(examination, replace(result, highdose=moved)).table
    assert sorted(finding.kind for finding in table) == ["suppressed", "unsupported"]


def test_a_lesion_that_the_agent_did_is_not_named(case: tuple[Examination, Result]) -> None:
    examination, result = case
    assert float((result.highdose - result.prior)[LESION].mean()) == 0
    assert float((result.highdose[LESION] - examination.predose[LESION]).mean()) > 80  # type: ignore[index]
    assert not judged(examination, result).findings[LESION].any()  # type: ignore[index]


def test_what_darkens_is_explained_by_no_dose(case: tuple[Examination, Result]) -> None:
    examination, _ = case
    lesion = disk(30, 60, 4, examination.lowdose.shape)
    darker = replace(examination, lowdose=np.where(lesion, 0.7 * examination.lowdose, examination.lowdose))
    result = complete(reconstruct(darker, load_model("signal"), device="cpu", dose_fraction=FRACTION))
    found = judged(darker, result)
    assert np.median(found.equation[lesion]) > 4 > np.abs(found.consistency[lesion]).max()  # type: ignore[index]


def test_uncertainty_follows_what_is_not_known(case: tuple[Examination, Result]) -> None:
    examination, result = case
    told, untold = judged(examination, result), judged(examination, result, dose_fraction=None)
    assert told.uncertainty is not None and untold.uncertainty is not None
    flat = disk(30, 60, 3, LESION.shape)
    assert np.median(untold.uncertainty[LESION]) > 1.1 * np.median(told.uncertainty[LESION])
    assert np.median(told.uncertainty[LESION]) > 1.2 * np.median(told.uncertainty[flat])


def test_where_the_predose_image_ends_the_uncertainty_says_so(case: tuple[Examination, Result]) -> None:
    examination, result = case
    known = np.ones(examination.lowdose.shape, bool)
    known[:, 70:] = False
    part = replace(examination, predose_known=known, predose=np.where(known, examination.predose, examination.lowdose))
    found = judged(part, replace(result, highdose=np.where(known, result.highdose, examination.lowdose)))
    there = ~known & (examination.lowdose > 200)
    assert found.uncertainty is not None and found.findings is not None
    assert np.median(found.uncertainty[there]) > 1.2 * np.median(found.uncertainty[known & (examination.lowdose > 200)])
    assert not found.findings[~known].any()


def test_nothing_is_said_where_nothing_was_measured(case: tuple[Examination, Result]) -> None:
    examination, result = case
    padding = np.zeros(examination.lowdose.shape, bool)
    padding[:, :20] = True
    found = judged(replace(examination, padding=padding), result)
    assert all(not volume[padding].any() for volume in found.maps().values())


def test_in_other_units_the_same_is_said(images: tuple[np.ndarray, np.ndarray]) -> None:
    model, found = load_model("signal"), []
    for units in (1.0, 1e-3):
        examination = examined(units * images[1], units * images[0])
        result = complete(reconstruct(examination, model, device="cpu"))
        found.append(complete(evidence(examination, model, result, device="cpu")))
    np.testing.assert_allclose(found[1].consistency, found[0].consistency, atol=2e-2)
    assert found[0].uncertainty is not None and found[1].uncertainty is not None
    np.testing.assert_allclose(1e3 * found[1].uncertainty, found[0].uncertainty, rtol=2e-2)


def test_without_a_predose_image_what_can_be_told_is(images: tuple[np.ndarray, np.ndarray]) -> None:
    examination, model = examined(images[1], None), load_model("vnet-lowdose")
    result = complete(reconstruct(examination, model, device="cpu", alpha=0.006, iterations=2))
    found = judged(examination, result, "vnet-lowdose")
    assert (found.equation, found.uncertainty, found.findings, found.table) == (None, None, None, ())
    assert "Without a pre-dose image" in found.notices[0]
    assert list(found.maps()) == ["consistency"] and found.summary()["findings"] is None


def test_a_pair_of_networks_is_judged_by_its_own_operator_and_by_the_equation(case: tuple[Examination, Result]) -> None:
    examination, _ = case
    model = load_model("vnet-predose")
    result = complete(reconstruct(examination, model, device="cpu", alpha=0.006, iterations=2))
    found = judged(examination, result, "vnet-predose")
    assert found.equation is not None and np.abs(found.equation - found.consistency).max() > 1


def test_it_tells_its_progress(case: tuple[Examination, Result]) -> None:
    shares: list[float] = []
    steps = evidence(case[0], load_model("signal"), case[1], device="cpu")
    complete(mapped(steps, lambda progress: shares.append(progress.fraction)))
    assert len(shares) == 3 and shares == sorted(shares)  # where a lane is ahead, both slices are done at the first
    assert (shares[0], shares[-1]) == (0.0, 1.0)


def test_simulated_subjects_have_no_false_findings() -> None:
    made = simulate(4242, 1, slices=1, size=160)
    examination = Examination.from_images(*(sitk.GetImageFromArray(one) for one in (made.lowdose, made.predose)))
    model = load_model("anchored")
    result = complete(reconstruct(examination, model, device="cpu"))
    assert len(judged(examination, result, "anchored").table) == 0
