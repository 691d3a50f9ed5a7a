"""Scores over examinations and cohorts are the metrics they name, over the voxels they name."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging.examination import Examination
from LIPCARLib.inverse.model import Model
from LIPCARLib.inverse.reconstruction import Progress, complete, reconstruct
from LIPCARLib.learning.cohort import Subject, read_subject, subject_folders, write_simulated_cohort
from LIPCARLib.physics import DOSE_FRACTION
from LIPCARLib.simulation.anatomy import Tissue
from LIPCARLib.study import experiment as experiment_module
from LIPCARLib.study.disturbances import Disturbance
from LIPCARLib.study.evaluation import slice_metrics
from LIPCARLib.study.experiment import (
    Experiment,
    Failure,
    Score,
    SubjectResult,
    best_fit,
    card_scores,
    read_example,
    run_experiment,
    score_lesion,
    score_slices,
)
from LIPCARLib.study.experiment_report import write_curves, write_experiment
from LIPCARLib.study.report import build_report, comparison_figure, most_enhancing_slices
from LIPCARLib.study.statistics import bootstrap, compare


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("cohort")
    list(write_simulated_cohort(root, 3, slices=2, size=48, seed=3, anatomy="rat"))
    return subject_folders(root)


def run(experiment: Experiment, folders: list[Path], output: Path | None = None) -> list[SubjectResult | Failure]:
    return [event for event in run_experiment(experiment, folders, output) if not isinstance(event, Progress)]


# One examination


def test_slice_metrics_are_in_model_scale() -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.random((3, 20, 20), dtype=np.float32) * 500 for _ in range(2))
    scores = complete(slice_metrics({"x": x}, y, scale=1000))["x"]
    for z in range(3):
        assert scores["rmse"][z] == pytest.approx(np.sqrt(np.mean((x[z] - y[z]) ** 2)) / 1000, rel=1e-5)
        expected = peak_signal_noise_ratio(y[z] / 1000, x[z] / 1000, data_range=1)
        assert scores["psnr"][z] == pytest.approx(expected, rel=1e-5)


def test_scores_that_do_not_exist_are_none() -> None:
    tiny = np.ones((1, 5, 5), np.float32)
    assert complete(slice_metrics({"x": tiny}, tiny, 1.0))["x"] == {"ssim": [None], "psnr": [None], "rmse": [0.0]}


def test_report_and_picture_of_an_examination(examination: Examination, model: Model) -> None:
    result = complete(reconstruct(examination, model, device="cpu"))
    report = build_report(examination, result)
    assert report["network_evaluations"] == max(report["network_evaluations_by_slice"])
    assert list(report["metrics"]) == ["predose", "lowdose", "prior", "lip-car"]
    slices = most_enhancing_slices(examination, result, 2)
    assert slices == sorted(slices) and len(slices) == 2
    assert comparison_figure(examination, result, slices, report).startswith(b"\x89PNG")


# Scores of a subject


def test_regions_and_references_are_what_they_say(folders: list[Path]) -> None:
    subject = read_subject(folders[0])
    e = subject.examination
    rows = {(r.slice, r.reference, r.region): r for r in score_slices(subject, {"low": e.lowdose})}
    for reference, target in (("acquired", e.highdose), ("clean", subject.clean_highdose)):
        for z, labels in enumerate(subject.labels):
            masks = {"image": labels >= 0, "body": labels != Tissue.AIR, "tumor": labels == Tissue.TUMOR}
            for region, mask in masks.items():
                if not mask.any():
                    assert (z, reference, region) not in rows
                    continue
                expected = np.sqrt(np.mean((e.lowdose[z] - target[z])[mask] ** 2)) / e.scale
                assert rows[z, reference, region].rmse == pytest.approx(expected, rel=1e-4)


def test_without_labels_the_body_is_what_is_bright(folders: list[Path]) -> None:
    subject = dataclasses.replace(read_subject(folders[0]), labels=None, clean_highdose=None)
    rows = score_slices(subject, {"low": subject.examination.lowdose})
    assert {row.region for row in rows} == {"image", "body"}
    assert {row.reference for row in rows} == {"acquired"}
    assert score_lesion(subject, {"low": subject.examination.lowdose}) == []


def test_the_best_fit_is_the_best(folders: list[Path]) -> None:
    e = read_subject(folders[0]).examination

    def error(image: np.ndarray) -> float:
        return float(np.mean((image - e.highdose) ** 2))

    best = error(best_fit(e))
    for gain in (0.9, 1.0, 1.1, 1.5, 2.0):
        for offset in (-20, 0, 20):
            assert best <= error(np.maximum(gain * e.lowdose + offset, 0)) * (1 + 1e-5)


def with_brain(labels: np.ndarray) -> Subject:
    e = Examination.from_images(*[_image(a) for a in (np.where(labels > 0, 100.0, 1.0), np.where(labels > 0, 80.0, 2))])
    e = dataclasses.replace(e, highdose=np.where(labels == Tissue.TUMOR, 300, 100).astype(np.float32))
    return Subject("s", e, None, None, labels)


def _image(array: np.ndarray) -> object:
    import SimpleITK as sitk

    return sitk.GetImageFromArray(array.astype(np.float32))


def test_a_lesion_is_measured_against_the_brain() -> None:
    labels = np.full((1, 30, 30), Tissue.GREY, np.uint8)
    labels[0, :3] = Tissue.AIR
    labels[0, 10:14, 10:14] = Tissue.TUMOR
    subject = with_brain(labels)
    image = np.where(labels == Tissue.TUMOR, 250, 100).astype(np.float32)
    image[0, 20:25] += 10
    (found, _) = score_lesion(subject, {"x": image})
    normal = image[labels == Tissue.GREY]
    assert found.lesion_to_brain == pytest.approx(250 / normal.mean(), rel=1e-5)
    assert found.contrast_to_noise == pytest.approx((250 - normal.mean()) / normal.std(), rel=1e-4)
    assert found.false_enhancement is None


def test_enhancement_that_is_not_there_is_found() -> None:
    labels = np.full((1, 30, 30), Tissue.GREY, np.uint8)
    labels[0, :3] = Tissue.AIR
    subject = with_brain(labels)
    invented = subject.examination.highdose.copy()
    invented[0, 15:20, 15:20] += 60
    rows = {row.method: row for row in score_lesion(subject, {"honest": subject.examination.highdose, "x": invented})}
    assert rows["honest"].false_enhancement == pytest.approx(0, abs=1e-6)
    assert rows["x"].false_enhancement == pytest.approx(60 / subject.examination.scale, rel=1e-3)


# A cohort


def test_an_experiment_compares_what_was_asked_for(folders: list[Path], model: Model, lowdose_model: Model) -> None:
    results = run(Experiment((lowdose_model, model), alphas=(0.006, 0.06), iterations=2, device="cpu"), folders[:1])
    assert list(dict.fromkeys(row.method for row in results[0].scores)) == [
        "pre-dose",
        "low-dose",
        "gain and offset (oracle)",
        "extrapolation",
        "NN-L2H as is",
        "NN-L2H",
        *(f"{name}-L2H {alpha}" for name in ("LIP-CAR", "TV") for alpha in ("0.006", "0.06")),
        "NN-PL2H as is",
        "NN-PL2H",
        *(f"{name}-PL2H {alpha}" for name in ("LIP-CAR", "TV") for alpha in ("0.006", "0.06")),
    ]
    few = run(Experiment((model, model), ("nn", "lowdose"), device="cpu"), folders[:1])
    names = {row.method for row in few[0].scores}
    assert names == {"low-dose", f"NN-PL2H {model.name}"}


def test_an_unknown_method_is_explained(model: Model) -> None:
    with pytest.raises(LIPCARError, match=r"'magic'; expected some of: predose, lowdose"):
        Experiment((model,), ("magic",))


def test_a_card_holds_the_means_of_the_scores(folders: list[Path], model: Model) -> None:
    experiment = Experiment((model,), ("lowdose", "nn", "lip-car"), (0.006,), iterations=2, device="cpu")
    results = run(experiment, folders[:2])
    card = card_scores(experiment, results)
    assert card["subjects"] == [folder.name for folder in folders[:2]]
    assert card["slices"] == 4
    assert set(card["means_over_slices"]) == {"lowdose", "prior", "lip-car 0.006"}
    values = [
        row.rmse
        for result in results
        for row in result.scores
        if (row.method, row.region, row.reference) == ("low-dose", "body", "clean")
    ]
    assert card["means_over_slices"]["lowdose"]["clean_body_rmse"] == pytest.approx(np.mean(values), abs=1e-4)


def test_it_goes_on_where_it_stopped(
    folders: list[Path], model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = Experiment((model,), ("lowdose", "nn"), device="cpu")
    events = run_experiment(experiment, folders, tmp_path)
    next(event for event in events if isinstance(event, SubjectResult))
    events.close()
    read: list[str] = []

    def spied(folder: Path, match_predose: bool = True) -> Subject:
        read.append(folder.name)
        return read_subject(folder, match_predose)

    monkeypatch.setattr(experiment_module, "read_subject", spied)
    resumed = run(experiment, folders, tmp_path)
    assert read == [folder.name for folder in folders[1:]]
    assert [r.scores for r in resumed] == [r.scores for r in run(experiment, folders)]
    read.clear()
    run(dataclasses.replace(experiment, methods=("lowdose",)), folders[:1], tmp_path)  # other settings: computed anew
    assert read == [folders[0].name]
    (tmp_path / "subjects" / f"{folders[1].name}.json").write_text("{", encoding="utf-8")
    read.clear()
    run(experiment, folders[1:], tmp_path)
    assert read == [folders[1].name]


def test_a_broken_subject_is_reported_and_the_others_go_on(folders: list[Path], model: Model, tmp_path: Path) -> None:
    broken = shutil.copytree(folders[0], tmp_path / "cohort" / "broken")
    shutil.copy(broken / "lowdose.nrrd", broken / "highdose.nrrd")
    failed, fine = run(Experiment((model,), ("lowdose",), device="cpu"), [broken, folders[1]])
    assert isinstance(failed, Failure) and failed.subject == "broken" and "are the same" in failed.reason
    assert isinstance(fine, SubjectResult)


def test_the_report_is_complete_and_repeatable(folders: list[Path], model: Model, tmp_path: Path) -> None:
    experiment = Experiment((model,), ("predose", "lowdose", "nn", "lip-car"), iterations=2, device="cpu")
    contents = []
    for name in ("one", "two"):
        output = tmp_path / name
        results = run(experiment, folders, output)
        files = write_experiment(output, experiment, results, [Failure("gone", "no <file>")], "NN-PL2H", "A title")
        contents.append({path.name: path.read_bytes() for path in files})
    assert contents[0] == contents[1]
    expected = {"scores.csv", "lesions.csv", "summary.json", "scores.png", "scores.pdf", "report.html"}
    assert expected | {"examples.png", "examples.pdf"} == set(contents[0])
    page = contents[0]["report.html"].decode()
    assert "no &lt;file&gt;" in page and "not for diagnosis" in page
    assert "http" not in page.replace("data:image", "")  # it needs no network
    summary = json.loads(contents[0]["summary.json"])
    assert summary["baseline"] == "NN-PL2H"
    rows = summary["scores"]["acquired"]["body"]
    found = next(row for row in rows if (row["method"], row["score"]) == ("low-dose", "rmse"))
    values = [
        row.rmse
        for result in results
        for row in result.scores
        if (row.method, row.region, row.reference) == ("low-dose", "body", "acquired")
    ]
    assert found["value"]["mean"] == pytest.approx(np.mean(values))
    example = read_example(next((tmp_path / "one" / "examples").glob("*.nrrd")))
    assert list(example) == [
        "pre-dose",
        "low-dose",
        "NN-PL2H",
        "LIP-CAR-PL2H auto",
        "LIP-CAR-PL2H 0.006",
        "high-dose",
        "tumor",
    ]
    assert example["tumor"].any()


# What goes wrong


def test_disturbances_are_what_they_say(folders: list[Path]) -> None:
    subject = read_subject(folders[0], match_predose=False)
    e = subject.examination

    def disturbed(kind: str, level: float) -> Subject:
        return Disturbance(kind, level).apply(subject, lambda: read_subject(folders[1], match_predose=False))

    for kind in ("noise", "shift", "stranger"):
        np.testing.assert_allclose(disturbed(kind, 0).examination.lowdose, e.lowdose, atol=1e-3)
    noisy = disturbed("noise", 0.1).examination
    body = subject.labels > 0
    assert np.std((noisy.lowdose - e.lowdose)[body]) == pytest.approx(0.1 * e.scale, rel=0.1)
    np.testing.assert_array_equal(noisy.lowdose, disturbed("noise", 0.1).examination.lowdose)
    louder = disturbed("gain", 1.125)
    np.testing.assert_allclose(louder.examination.lowdose, 1.125 * e.lowdose, rtol=1e-6)
    np.testing.assert_allclose(louder.clean_highdose, 1.125 * subject.clean_highdose, rtol=1e-6)
    strange = Disturbance("stranger", 1).apply(subject, lambda: read_subject(folders[1], match_predose=False), False)
    other = read_subject(folders[1], match_predose=False).examination.predose
    np.testing.assert_allclose(strange.examination.predose, other, rtol=1e-5)
    for level in (0.5, 1.5):
        dosed = Disturbance("dose", level).apply(subject, lambda: subject, False).examination
        change, before = dosed.lowdose - dosed.predose, e.lowdose - e.predose
        assert np.polyfit(before[body], change[body], 1)[0] == pytest.approx(level, rel=0.05)
    shaded = disturbed("scanner", 1).examination
    assert shaded.lowdose[:, 24:, 24:].mean() / shaded.lowdose[:, :24, :24].mean() > 1.3 * (
        e.lowdose[:, 24:, 24:].mean() / e.lowdose[:, :24, :24].mean()
    )
    along = np.linspace(-0.5, 0.5, 48)
    flat = shaded.highdose / np.exp(0.5 * (along[:, None] + along))
    lost = (
        np.abs(np.fft.fft(flat, axis=2))[..., 14:35].mean() / np.abs(np.fft.fft(e.highdose, axis=2))[..., 14:35].mean()
    )
    assert lost < 0.2  # half the resolution; what became negative was cut off
    with pytest.raises(LIPCARError, match=r"'rain'; expected some of: noise"):
        Disturbance("rain", 1)


def test_a_strangers_predose_image_is_left_to_the_plain_network(
    tmp_path: Path, model: Model, lowdose_model: Model
) -> None:
    for anatomy in ("rat", "human"):
        list(write_simulated_cohort(tmp_path / anatomy, 1, slices=1, size=96, seed=11, anatomy=anatomy))
    folders = [*subject_folders(tmp_path / "rat"), *subject_folders(tmp_path / "human")]
    disturbance = Disturbance("stranger", 1)
    methods = ("as-is", "nn", "lip-car")
    results = run(
        Experiment((lowdose_model, model), methods, ("auto",), device="cpu", disturbance=disturbance), folders
    )
    body = {row.method: row.rmse for row in results[0].scores if (row.region, row.reference) == ("body", "acquired")}
    assert body["NN-PL2H"] == body["NN-L2H"] and body["LIP-CAR-PL2H auto"] == body["LIP-CAR-L2H auto"]
    assert body["NN-PL2H as is"] != body["NN-PL2H"]
    # Without a model that does without it, the method is missing.
    alone = run(Experiment((model,), methods, ("auto",), device="cpu", disturbance=disturbance), folders)
    assert {row.method for row in alone[0].scores} == {"NN-PL2H as is"}


def test_the_models_are_told_the_dose_that_was_given(folders: list[Path], model: Model) -> None:
    disturbance = Disturbance("dose", 0.5)

    def body(**settings: object) -> dict[str, float | None]:
        experiment = Experiment(
            (model,),
            ("as-is", "nn"),
            device="cpu",
            disturbance=disturbance,
            **settings,  # type: ignore[arg-type]
        )
        rows = run(experiment, folders[:1])[0].scores
        return {row.method: row.rmse for row in rows if (row.region, row.reference) == ("body", "acquired")}

    untold, told = body(), body(tell_dose=True)
    assert told["NN-PL2H"] != untold["NN-PL2H"] and told["NN-PL2H as is"] == untold["NN-PL2H as is"]
    fraction = json.loads((folders[0] / "parameters.json").read_text())["dose_fraction"]
    # Told that half the usual fraction was given, where the usual one was: nothing is to be done.
    assert body(tell_dose=True, dose_fraction=2 * DOSE_FRACTION)["NN-PL2H"] == untold["NN-PL2H"]
    assert body(tell_dose=True, dose_fraction=fraction)["NN-PL2H"] == told["NN-PL2H"]


def test_robustness_is_drawn_as_curves(folders: list[Path], model: Model, tmp_path: Path) -> None:
    curves = {}
    for level in (0.0, 0.1):
        disturbance = Disturbance("noise", level)
        experiment = Experiment((model,), ("lowdose", "nn"), device="cpu", disturbance=disturbance)
        curves[level] = run(experiment, folders[:2], tmp_path / f"noise-{level}")
    assert curves[0.0] != curves[0.1]
    files = write_curves(tmp_path, {"noise": curves}, "NN-PL2H")
    assert [path.name for path in files] == ["curves.csv", "curves.pdf", "curves.png"]
    rows = list(csv.DictReader((tmp_path / "curves.csv").open(encoding="utf-8")))
    low = [
        float(row["mean"])
        for row in rows
        if (row["method"], row["region"], row["score"], row["reference"]) == ("low-dose", "body", "rmse", "clean")
    ]
    assert len(low) == 2 and low[1] > low[0]


# What scores add up to


def row(subject: str, index: int, method: str, value: float | None) -> Score:
    return Score(subject, index, method, "acquired", "image", value, value, value)


def test_comparisons_are_paired_and_know_what_is_better() -> None:
    scores = [row("a", z, "base", 0.5) for z in range(4)] + [row("b", 0, "base", 0.9)]
    scores += [row("a", z, "new", v) for z, v in enumerate((0.6, 0.6, 0.4, None))] + [row("b", 0, "new", 0.9)]
    found = {(c.method, c.score): c for c in compare(scores, "image", "acquired", "base")}
    ssim, rmse = found["new", "ssim"], found["new", "rmse"]
    assert (ssim.slices, ssim.subjects) == (4, 2)
    assert ssim.difference.mean == pytest.approx(0.025)
    assert (ssim.improved, rmse.improved) == (0.5, 0.25)
    assert ssim.worst == pytest.approx(0.1) and rmse.worst == pytest.approx(0.1)
    assert found["base", "ssim"].difference is None
    assert compare(scores, "brain", "acquired", "base") == []


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Subjects with a mean of their own: drawn by slice, the interval would be far too narrow."""
    rng = np.random.default_rng(5)
    inside = 0
    for trial in range(100):
        values = {
            (str(subject), z): rng.normal() * 0.1 + level
            for subject, level in enumerate(rng.normal(size=30))
            for z in range(8)
        }
        estimate = bootstrap(values, seed=trial)
        inside += estimate.low <= 0 <= estimate.high
    assert 86 <= inside <= 100  # 95 expected; 86 would be off by four standard deviations
    assert bootstrap(values, seed=1) == bootstrap(values, seed=1)
