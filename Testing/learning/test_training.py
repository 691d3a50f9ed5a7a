"""Training: reproducible to the bit, interrupted or not, and recorded in the model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from LIPCARLib.errors import LIPCARError
from LIPCARLib.inverse import ROLES, load_model, read_manifest
from LIPCARLib.learning import TrainingProgress, TrainingSettings, subject_folders, train
from LIPCARLib.learning.cohort import split_subjects

TINY = TrainingSettings(epochs=2, batch=2, crop=32, held_out=0.3, seed=4)


@pytest.fixture(scope="module")
def trained(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TrainingProgress]]:
    """An uninterrupted training and what it reported."""
    output = tmp_path_factory.mktemp("trained") / "tiny"
    return output, finish(train(cohort, output, TINY))


def finish(training: Generator[TrainingProgress, None, Path], steps: int | None = None) -> list[TrainingProgress]:
    """All its reports, or those of the first steps, after which it is closed."""
    reports = []
    for report in training:
        reports.append(report)
        if len(reports) == steps:
            training.close()
    return reports


def weights(folder: Path) -> dict[str, bytes]:
    return {role: (folder / f"{role}.safetensors").read_bytes() for role in ROLES}


def without_clean(cohort: Path, target: Path, *roles: str) -> Path:
    shutil.copytree(cohort, target)
    for role in roles:
        for path in target.glob(f"*/{role}.nrrd"):
            path.unlink()
    return target


def test_training_reports_every_epoch(trained: tuple[Path, list[TrainingProgress]]) -> None:
    _, reports = trained
    assert [(r.role, r.epoch, r.epochs) for r in reports] == [(role, e, 2) for role in ROLES for e in (1, 2)]
    assert all(np.isfinite(r.loss) and -1 <= r.validation_ssim <= 1 for r in reports)
    assert reports[-1].seconds_left == 0
    assert all(r.seconds_left > 0 for r in reports[:-1])


def test_trained_model_is_complete_and_loads(trained: tuple[Path, list[TrainingProgress]], cohort: Path) -> None:
    output, reports = trained
    model = load_model(output)
    assert (model.name, model.uses_predose) == ("tiny", True)
    card = read_manifest(output)["training"]
    assert TrainingSettings(**card["settings"]) == TINY
    subjects = card["training_subjects"], card["held_out_subjects"]
    assert subjects == split_subjects([f.name for f in subject_folders(cohort)], 0.3, 4)
    assert card["cohort"]["subjects"] == 3
    assert sum(card["cohort"]["simulated_anatomy"].values()) == 3
    assert card["clean_images_used_for_forward_operator"] is True
    for role in ROLES:
        expected = [(r.epoch, r.loss, r.validation_ssim) for r in reports if r.role == role]
        found = [(h["epoch"], h["loss"], h["validation_ssim"]) for h in card["history"][role]]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_snapshots_keep_the_early_prior_with_the_finished_operator(
    trained: tuple[Path, list[TrainingProgress]], cohort: Path, tmp_path: Path
) -> None:
    finish(train(cohort, tmp_path / "m", TINY, snapshots=[1]))
    assert weights(tmp_path / "m") == weights(trained[0])
    early, late = load_model(tmp_path / "m" / "epoch-01"), load_model(tmp_path / "m")
    low, pre = torch.rand(2, 1, 1, 48, 48)
    assert not torch.equal(early.prior(low, pre), late.prior(low, pre))
    assert torch.equal(early.forward_operator(low, pre), late.forward_operator(low, pre))
    # What one epoch gives, whether or not a second one follows.
    finish(train(cohort, tmp_path / "again", TINY), 1)
    state = load_file(tmp_path / "again" / "checkpoints" / "prior.safetensors")
    kept = load_file(tmp_path / "m" / "checkpoints" / "prior-01.safetensors")
    assert all(torch.equal(kept[key], state[f"network.{key}"]) for key in kept)
    with pytest.raises(LIPCARError, match="after epoch 3 .* expected 1 to 2"):
        next(train(cohort, tmp_path / "n", TINY, snapshots=[3]))


def test_training_learns(cohort: Path, tmp_path: Path) -> None:
    """Four epochs on four slices: enough for the loss to fall, not for more."""
    reports = finish(train(cohort, tmp_path / "m", replace(TINY, epochs=4, learning_rate=2e-3)), 4)
    assert reports[-1].loss < 0.9 * reports[0].loss


@pytest.mark.parametrize("steps", [1, 3])
def test_interrupted_training_ends_with_the_same_weights(
    steps: int, trained: tuple[Path, list[TrainingProgress]], cohort: Path, tmp_path: Path
) -> None:
    output = tmp_path / "tiny"
    torch.manual_seed(99)
    np.random.seed(99)  # a global state that must not matter
    before = finish(train(cohort, output, TINY), steps)
    assert not (output / "manifest.json").exists()
    after = finish(train(cohort, output, TINY, resume=True))
    assert len(before) == steps
    numbers = [(r.role, r.epoch, r.loss, r.validation_ssim) for r in before + after]
    assert numbers == [(r.role, r.epoch, r.loss, r.validation_ssim) for r in trained[1]]
    assert weights(output) == weights(trained[0])
    assert read_manifest(output)["training"] == read_manifest(trained[0])["training"]


def test_resuming_a_finished_training_only_writes_the_model(
    trained: tuple[Path, list[TrainingProgress]], cohort: Path, tmp_path: Path
) -> None:
    output = Path(shutil.copytree(trained[0], tmp_path / "tiny"))
    for path in output.glob("*.*"):
        path.unlink()
    assert finish(train(cohort, output, TINY, resume=True)) == []
    assert weights(output) == weights(trained[0])


def test_existing_checkpoints_are_not_overwritten(trained: tuple[Path, list[TrainingProgress]], cohort: Path) -> None:
    before = {p: p.read_bytes() for p in trained[0].rglob("*") if p.is_file()}
    with pytest.raises(LIPCARError, match="Give --resume"):
        next(train(cohort, trained[0], TINY))
    with pytest.raises(LIPCARError, match=r"differing: learning_rate, crop\)"):
        next(train(cohort, trained[0], replace(TINY, crop=16, learning_rate=1e-4), resume=True))
    assert {p: p.read_bytes() for p in trained[0].rglob("*") if p.is_file()} == before


def test_other_subjects_are_another_training(
    trained: tuple[Path, list[TrainingProgress]], cohort: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(cohort, tmp_path / "c"))
    shutil.copytree(root / "subject-000", root / "subject-003")
    with pytest.raises(LIPCARError, match="differing: subjects"):
        next(train(root, trained[0], TINY, resume=True))


def test_a_nan_in_the_history_does_not_spoil_the_manifest(cohort: Path, tmp_path: Path) -> None:
    """NaN is no JSON: other programs refuse the whole file. A step this large makes the second loss NaN."""
    (first, *_) = finish(train(cohort, tmp_path / "m", replace(TINY, epochs=1, learning_rate=1.0)))
    assert np.isnan(first.loss)
    text = (tmp_path / "m" / "manifest.json").read_text()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in the manifest")

    assert json.loads(text, parse_constant=refuse)
    assert all(torch.isfinite(p).all() for p in load_model(tmp_path / "m").parameters())


def test_training_without_predose_images(cohort: Path, tmp_path: Path) -> None:
    reduced = without_clean(cohort, tmp_path / "c", "predose")
    settings = replace(TINY, epochs=1, predose=False)
    finish(train(reduced, tmp_path / "m", settings, name="low"))
    finish(train(cohort, tmp_path / "n", settings))
    model = load_model(tmp_path / "m")
    assert (model.name, model.uses_predose) == ("low", False)
    assert weights(tmp_path / "m") == weights(tmp_path / "n")
    with pytest.raises(LIPCARError, match=r"'subject-00\d' has no pre-dose image"):
        next(train(reduced, tmp_path / "p", TINY))


def test_without_clean_images_the_forward_operator_learns_the_acquired_ones(
    trained: tuple[Path, list[TrainingProgress]], cohort: Path, tmp_path: Path
) -> None:
    reduced = without_clean(cohort, tmp_path / "c", "clean_lowdose")
    finish(train(reduced, tmp_path / "noisy", TINY))
    assert read_manifest(tmp_path / "noisy")["training"]["clean_images_used_for_forward_operator"] is False
    noisy, clean = weights(tmp_path / "noisy"), weights(trained[0])
    assert noisy["prior"] == clean["prior"]
    assert noisy["forward_operator"] != clean["forward_operator"]


def test_crops_larger_than_the_images_are_filled_by_the_edge(cohort: Path, tmp_path: Path) -> None:
    reports = finish(train(cohort, tmp_path / "m", replace(TINY, epochs=1, crop=64)), 1)
    assert np.isfinite(reports[0].loss)


def test_variants_reach_the_model(cohort: Path, tmp_path: Path) -> None:
    settings = replace(TINY, epochs=1, residual=False, smooth=True, l1=0.0)
    finish(train(cohort, tmp_path / "m", settings))
    architecture = {"class": "VNet", "in_channels": 2, "residual": False, "smooth": True}
    assert load_model(tmp_path / "m")._prior.architecture == architecture


def test_an_unknown_precision_is_explained() -> None:
    with pytest.raises(LIPCARError, match="'precision' is 'float8', expected is one of: float32, bfloat16"):
        TrainingSettings(precision="float8")


def test_a_training_goes_on_from_a_model(
    trained: tuple[Path, list[TrainingProgress]], cohort: Path, tmp_path: Path
) -> None:
    finish(train(cohort, tmp_path / "m", replace(TINY, epochs=1, learning_rate=1e-12), start=trained[0]))
    before, after = load_model(trained[0]), load_model(tmp_path / "m")
    for one, other in zip(before.parameters(), after.parameters(), strict=True):
        torch.testing.assert_close(other, one, atol=1e-3, rtol=1e-2)  # float16 on disk
    assert read_manifest(tmp_path / "m")["training"]["settings"]["start"] == before.digest
    with pytest.raises(LIPCARError, match="takes pre-dose image, the training gives no one"):
        next(train(cohort, tmp_path / "n", replace(TINY, predose=False), start=trained[0]))


def test_nothing_is_pickled(trained: tuple[Path, list[TrainingProgress]]) -> None:
    files = [p for p in trained[0].rglob("*") if p.is_file()]
    assert {p.relative_to(trained[0]).as_posix() for p in files} == {
        "manifest.json",
        "prior.safetensors",
        "forward_operator.safetensors",
        "checkpoints/settings.json",
        "checkpoints/prior.safetensors",
        "checkpoints/forward_operator.safetensors",
    }
    for path in files:
        start = path.read_bytes()[:9]
        # A zip (torch.save) begins with PK, a pickle with 0x80; safetensors with its header's length, then JSON.
        assert start[:1] == b"{" if path.suffix == ".json" else start[8:9] == b"{"
