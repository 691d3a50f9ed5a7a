"""The verdict: green where nothing is amiss, and the right reason and level where something is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter, shift

from LIPCARLib.cli import run
from LIPCARLib.doubt import Doubt
from LIPCARLib.imaging import Examination
from LIPCARLib.inverse import Result
from LIPCARLib.resources import RESOURCES
from LIPCARLib.simulation import simulate
from LIPCARLib.trust import GREEN, LOOK, STOP, Verdict, judge

Images = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def images() -> Images:
    """Low-dose and pre-dose image of the sample, the tumor's slice and the one before."""
    paths = (RESOURCES / "SampleData" / f"rat-{role}.nrrd" for role in ("lowdose", "predose"))
    low, pre = (sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[3:5].astype(np.float32) for path in paths)
    return low, pre


def examined(low: np.ndarray, pre: np.ndarray | None, match: bool = True) -> Examination:
    given = [sitk.GetImageFromArray(image.astype(np.float32)) for image in (low, pre) if image is not None]
    return Examination.from_images(*given, slice_axis=2, match_predose=match)


def judged(examination: Examination, notices: tuple[str, ...] = (), uses_predose: bool = True) -> Verdict:
    made = {"predose_used": uses_predose and examination.predose is not None}
    volume = examination.lowdose
    return judge(examination, Result(volume, volume, None, [], [], [], [], 0.0, made, notices))


def test_the_sample_is_green(images: Images) -> None:
    assert judged(examined(*images)) == Verdict(GREEN, ())


def noisier(image: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    first, second = np.random.default_rng(seed).normal(0, sigma, (2, *image.shape))
    return np.hypot(image + first, second)


def test_noise_is_graded(images: Images) -> None:
    scale = examined(*images).scale
    levels = []
    for sigma in (0.05, 0.12):
        verdict = judged(examined(*(noisier(image, sigma * scale, seed) for seed, image in enumerate(images))))
        assert "The noise is" in verdict.reasons[0] and "at most 10% is expected" in verdict.reasons[0]
        levels.append(verdict.level)
    assert levels == [LOOK, STOP]


def test_motion_that_was_not_undone_is_graded(images: Images) -> None:
    low, pre = images
    for pixels, level in ((0.6, LOOK), (3, STOP)):
        verdict = judged(examined(low, shift(pre, (0, pixels, pixels), order=1), match=False))
        assert verdict.level == level
        assert any("is darker in the low-dose than in the pre-dose image" in reason for reason in verdict.reasons)
    assert judged(examined(low, shift(pre, (0, 3, 3), order=1))).level == GREEN  # undone


@pytest.mark.parametrize(("gain", "reason"), [(0.85, "Nine tenths of the tissue"), (1.2, "is darker")])
def test_another_gain_that_was_not_undone_is_named(images: Images, gain: float, reason: str) -> None:
    low, pre = images
    verdict = judged(examined(low, gain * pre, match=False))
    assert verdict.level == STOP and reason in verdict.reasons[0]


def test_less_sharpness_after_the_agent_is_named(images: Images) -> None:
    low, pre = images
    verdict = judged(examined(gaussian_filter(low, (0, 1.5, 1.5)), pre, match=False))
    assert verdict.level != GREEN
    assert any("as sharp as the pre-dose image; at least 90% is expected" in reason for reason in verdict.reasons)


def test_no_agent_is_named(images: Images) -> None:
    e = examined(*images)
    verdict = judged(examined(noisier(images[1], e.noise, 1), images[1]))
    assert verdict.level == LOOK and "Was the agent given?" in verdict.reasons[0]


def test_the_predose_image_of_another_patient_is_no_use(images: Images) -> None:
    stranger = simulate(77, 1, slices=2, anatomy="human").predose
    verdict = judged(examined(images[0], stranger))
    assert verdict.level == STOP and "left out" in verdict.reasons[0]
    without = judged(examined(images[0], None))
    assert without.level == LOOK and "There is no pre-dose image" in without.reasons[0]


def test_a_model_that_uses_no_predose_image_guesses_whether_one_was_given_or_not(images: Images) -> None:
    verdict = judged(examined(*images), uses_predose=False)
    assert verdict.level == LOOK
    assert "The model uses no pre-dose image; what the agent did is guessed" in verdict.reasons[0]


def test_what_was_doubted_before_counts_once_and_the_worst_first(images: Images) -> None:
    e = examined(*images)
    told = replace(e, notices=("A notice.", Doubt("They differ.")))
    assert judged(told) == Verdict(LOOK, ("They differ.",))
    assert judged(told, (Doubt("It is wrong.", severe=True),)) == Verdict(STOP, ("It is wrong.", "They differ."))


def test_a_result_not_to_be_used_is_not_written_unless_forced(
    images: Images, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    low, pre = images
    for name, image in {"low": low, "pre": shift(pre, (0, 3, 3), order=1)}.items():
        sitk.WriteImage(sitk.GetImageFromArray(image), str(tmp_path / f"{name}.nrrd"))
    names = {"lowdose": "low.nrrd", "predose": "pre.nrrd", "output": "out.nrrd", "report": "report.json"}
    call = [word for option, name in names.items() for word in (f"--{option}", str(tmp_path / name))]
    call = ["enhance", *call, "--model", "signal", "--device", "cpu", "--no-match-predose"]
    assert run(call) == 2
    assert "Error: Do not use this result: " in capfd.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["low.nrrd", "pre.nrrd"]
    assert run([*call, "--force"]) == 0
    assert "Verdict: do not use" in capfd.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["verdict"] == STOP and "is darker" in report["verdict_reasons"]
    assert sitk.ReadImage(str(tmp_path / "out.nrrd")).GetMetaData("LIPCAR.verdict") == STOP
    assert run([*call[:-1]]) == 0  # matched: the movement is undone
    assert "Verdict: green" in capfd.readouterr().out
