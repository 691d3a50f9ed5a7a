"""Cohorts and training: reproducible to the bit, interrupted or not, and steady when a network collapses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from LIPCARLib.errors import LIPCARError
from LIPCARLib.inverse.manifest import ROLES, read_manifest
from LIPCARLib.inverse.model import load_model
from LIPCARLib.inverse.networks import VNet
from LIPCARLib.learning import training as training_module
from LIPCARLib.learning.cohort import read_subject, subject_folders, write_simulated_cohort
from LIPCARLib.learning.training import TrainingProgress, TrainingSettings, split_subjects, train
from LIPCARLib.simulation import simulate

TINY = TrainingSettings(epochs=2, batch=2, crop=32, held_out=0.3, seed=4)
IMAGES = ("predose", "lowdose", "highdose", "clean_lowdose", "clean_highdose", "labels")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cohort")
    list(write_simulated_cohort(root, 3, slices=2, size=48, seed=7))
    return root


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


# Split


@hypothesis_settings(deadline=None)
@given(count=st.integers(2, 40), held_out=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_split_is_a_partition_with_both_sides(count: int, held_out: float, seed: int) -> None:
    names = [f"subject-{i}" for i in range(count)]
    training, validation = split_subjects(names, held_out, seed)
    assert sorted(training + validation, key=names.index) == names
    assert training and validation
    assert (training, validation) == split_subjects(names, held_out, seed)
    assert abs(len(validation) - held_out * count) <= 1


def test_split_depends_on_the_seed() -> None:
    names = [str(i) for i in range(30)]
    assert len({tuple(split_subjects(names, 0.2, seed)[1]) for seed in range(10)}) == 10


@pytest.mark.parametrize("names", [[], ["one"]])
def test_one_subject_cannot_be_split(names: list[str]) -> None:
    with pytest.raises(LIPCARError, match=f"at least two subjects.*found {len(names)}"):
        split_subjects(names, 0.2, 0)


# Cohort


def test_simulated_subjects_come_back(cohort: Path) -> None:
    folders = subject_folders(cohort)
    assert [f.name for f in folders] == ["subject-000", "subject-001", "subject-002"]
    for index, folder in enumerate(folders):
        subject, original = read_subject(folder, match_predose=False), simulate(7, index, slices=2, size=48)
        e = subject.examination
        for array, role in (
            (e.predose, "predose"),
            (e.lowdose, "lowdose"),
            (e.highdose, "highdose"),
            (subject.clean_lowdose, "clean_lowdose"),
            (subject.clean_highdose, "clean_highdose"),
            (subject.labels, "labels"),
        ):
            np.testing.assert_array_equal(array, getattr(original, role), err_msg=role)
        np.testing.assert_allclose(e.grid.spacing, original.spacing)
        assert subject.labels is not None and subject.labels.dtype == np.uint8
        assert json.loads((folder / "parameters.json").read_text()) == original.parameters


def test_simulated_images_say_so(cohort: Path) -> None:
    for role in IMAGES:
        image = sitk.ReadImage(str(cohort / "subject-001" / f"{role}.nrrd"))
        assert image.GetMetaData("LIPCAR.simulated") == "phantom"
        assert image.GetMetaData("LIPCAR.seed") == "7/1"


def test_a_subject_does_not_depend_on_the_others(cohort: Path, tmp_path: Path) -> None:
    written = list(write_simulated_cohort(tmp_path / "new" / "one", 1, slices=2, size=48, seed=7))
    assert written == [tmp_path / "new" / "one" / "subject-000"]
    for role in IMAGES:
        one, other = (sitk.ReadImage(str(f / f"{role}.nrrd")) for f in (written[0], cohort / "subject-000"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(other))


def test_optional_images_may_be_missing(cohort: Path, tmp_path: Path) -> None:
    reduced = without_clean(cohort, tmp_path / "c", "predose", "clean_lowdose", "labels")
    subject = read_subject(reduced / "subject-000")
    assert subject.examination.predose is subject.clean_lowdose is subject.labels is None
    assert subject.clean_highdose is not None


def test_folders_without_both_doses_are_no_subjects(cohort: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(cohort, tmp_path / "c"))
    (root / "subject-000" / "highdose.nrrd").unlink()
    (root / "subject-002" / "lowdose.nrrd").unlink()
    (root / "notes.txt").write_text("not a subject")
    assert [f.name for f in subject_folders(root)] == ["subject-001"]


def test_unusable_cohorts_are_explained(tmp_path: Path) -> None:
    with pytest.raises(LIPCARError, match="does not exist"):
        subject_folders(tmp_path / "missing")
    with pytest.raises(LIPCARError, match="holds no subject"):
        subject_folders(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(LIPCARError, match="cannot be made"):
        list(write_simulated_cohort(tmp_path / "file" / "cohort", 1))


def test_labels_on_another_grid_are_refused(cohort: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(cohort, tmp_path / "c"))
    path = root / "subject-000" / "labels.nrrd"
    image = sitk.ReadImage(str(path))
    sitk.WriteImage(image[:-4], str(path))
    with pytest.raises(LIPCARError, match=r"labels\.nrrd does not lie on the grid"):
        read_subject(path.parent)


# Training


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


def test_snapshots_keep_the_early_prior_with_the_finished_operator(cohort: Path, tmp_path: Path) -> None:
    settings = replace(TINY, epochs=2)
    finish(train(cohort, tmp_path / "m", settings, snapshots=[1]))
    early, late = load_model(tmp_path / "m" / "epoch-01"), load_model(tmp_path / "m")
    low, pre = torch.rand(2, 1, 1, 48, 48)
    assert not torch.equal(early.prior(low, pre), late.prior(low, pre))
    assert torch.equal(early.forward_operator(low, pre), late.forward_operator(low, pre))
    # What one epoch gives, whether or not a second one follows.
    finish(train(cohort, tmp_path / "again", settings), 1)
    state = load_file(tmp_path / "again" / "checkpoints" / "prior.safetensors")
    kept = load_file(tmp_path / "m" / "checkpoints" / "prior-01.safetensors")
    assert all(torch.equal(kept[key], state[f"network.{key}"]) for key in kept)
    with pytest.raises(LIPCARError, match="after epoch 3 .* expected 1 to 2"):
        next(train(cohort, tmp_path / "n", settings, snapshots=[3]))


def test_no_plain_network_starts_dead(cohort: Path, tmp_path: Path) -> None:
    """Half of the random starts give zeros everywhere (seed 4 is one): a head turned over lives."""
    low, pre = torch.rand(2, 1, 1, 48, 48)
    for seed in range(3, 6):
        torch.manual_seed(2 * seed)
        born_dead = not (VNet(2, residual=False)(torch.cat((pre, low), 1)) > 0).float().mean() > 0.5
        settings = replace(TINY, epochs=1, residual=False, learning_rate=1e-9, seed=seed)
        finish(train(cohort, tmp_path / str(seed), settings))
        alive = (load_model(tmp_path / str(seed)).prior(low, pre) > 0).float().mean() > 0.3
        assert alive, (seed, born_dead)


def test_training_learns(cohort: Path, tmp_path: Path) -> None:
    """Four epochs on four slices: enough for the loss to fall, not for more."""
    reports = finish(train(cohort, tmp_path / "m", replace(TINY, epochs=4, learning_rate=2e-3)), 4)
    assert reports[-1].loss < 0.9 * reports[0].loss


def test_same_seed_same_weights_other_seed_others(
    trained: tuple[Path, list[TrainingProgress]], cohort: Path, tmp_path: Path
) -> None:
    torch.manual_seed(99)
    np.random.seed(99)  # a global state that must not matter
    finish(train(cohort, tmp_path / "again", TINY))
    finish(train(cohort, tmp_path / "other", replace(TINY, epochs=1, seed=5)))
    assert weights(tmp_path / "again") == weights(trained[0])
    assert all(
        one != other
        for one, other in zip(weights(tmp_path / "other").values(), weights(trained[0]).values(), strict=True)
    )


@pytest.mark.parametrize("steps", [1, 3])
def test_interrupted_training_ends_with_the_same_weights(
    steps: int, trained: tuple[Path, list[TrainingProgress]], cohort: Path, tmp_path: Path
) -> None:
    output = tmp_path / "tiny"
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


@pytest.mark.parametrize("failure", ["loss", "score"])
def test_collapse_restores_the_best_weights_at_half_the_pace(
    failure: str,
    trained: tuple[Path, list[TrainingProgress]],
    cohort: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second epoch of the prior goes wrong; the third starts from the first's weights."""
    trainer_class = training_module._Trainer
    settings = replace(TINY, epochs=3)
    loss, validate, load = trainer_class._loss, trainer_class._validate, trainer_class._set_learning_rate
    seen: list[dict[str, Any]] = []

    def spoiled_loss(self: Any, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        factor = float("nan") if failure == "loss" and self.epoch == 1 else 1.0
        return factor * loss(self, prediction, target)

    def spoiled_score(self: Any) -> float:
        score = validate(self)
        return score - 0.5 if failure == "score" and self.epoch == 2 else score

    def spied(self: Any, part: float, steps: int) -> None:
        load(self, part, steps)
        if part == 0:
            state = {k: v.clone() for k, v in self.network.state_dict().items()}
            rate = self.optimizer.param_groups[0]["lr"]
            seen.append({"weights": state, "rate": rate, "moments": len(self.optimizer.state)})

    monkeypatch.setattr(trainer_class, "_loss", spoiled_loss)
    monkeypatch.setattr(trainer_class, "_validate", spoiled_score)
    monkeypatch.setattr(trainer_class, "_set_learning_rate", spied)
    reports = finish(train(cohort, tmp_path / "m", settings), 3)
    assert np.isnan(reports[1].loss) == (failure == "loss")
    assert np.isfinite(reports[2].loss)
    second, third = seen[1], seen[2]
    assert all(torch.equal(v, second["weights"][k]) for k, v in third["weights"].items())
    assert not all(torch.equal(v, seen[0]["weights"][k]) for k, v in third["weights"].items())
    schedule = [0.5 * (1 + np.cos(np.pi * e / 3)) for e in (1, 2)]
    assert second["rate"] == pytest.approx(settings.learning_rate * schedule[0])
    assert third["rate"] == pytest.approx(settings.learning_rate * schedule[1] / 2)
    assert second["moments"] > 0
    assert third["moments"] == 0


def test_training_interrupted_after_a_collapse_resumes_alike(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer_class = training_module._Trainer
    validate = trainer_class._validate
    monkeypatch.setattr(trainer_class, "_validate", lambda self: validate(self) - (0.5 if self.epoch == 2 else 0.0))
    settings = replace(TINY, epochs=3)
    finish(train(cohort, tmp_path / "whole", settings), 3)
    finish(train(cohort, tmp_path / "parts", settings), 2)
    finish(train(cohort, tmp_path / "parts", settings, resume=True), 1)
    one, other = ((tmp_path / f / "checkpoints" / "prior.safetensors").read_bytes() for f in ("whole", "parts"))
    assert one == other


def test_a_nan_in_the_history_does_not_spoil_the_manifest(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN is no JSON: other programs refuse the whole file."""
    trainer_class = training_module._Trainer
    monkeypatch.setattr(trainer_class, "_loss", lambda self, p, t: (p - t).mean() * float("nan"))
    finish(train(cohort, tmp_path / "m", replace(TINY, epochs=1)))
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


def test_without_clean_images_the_forward_operator_learns_the_acquired_ones(cohort: Path, tmp_path: Path) -> None:
    reduced = without_clean(cohort, tmp_path / "c", "clean_lowdose")
    settings = replace(TINY, epochs=1)
    for name, root in (("noisy", reduced), ("clean", cohort)):
        finish(train(root, tmp_path / name, settings))
    assert read_manifest(tmp_path / "noisy")["training"]["clean_images_used_for_forward_operator"] is False
    noisy, clean = weights(tmp_path / "noisy"), weights(tmp_path / "clean")
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
