"""One network's training is steady when it collapses, and goes on from its checkpoint as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from LIPCARLib.errors import LIPCARError
from LIPCARLib.inverse import VNet
from LIPCARLib.learning import Processes, TrainingSettings, read_subject, subject_folders
from LIPCARLib.learning.crops import TrainingData, subject_tensors
from LIPCARLib.learning.trainer import Trainer, start_alive

SETTINGS = TrainingSettings(epochs=3, batch=2, crop=32, seed=4)
MakeTrainer = Callable[..., Trainer]


class Spied(Trainer):
    """Keeps weights, learning rate and number of moments at the begin of every epoch."""

    def __init__(self, *arguments: Any) -> None:
        self.seen: list[dict[str, Any]] = []
        super().__init__(*arguments)

    def set_learning_rate(self, part: float, steps: int) -> None:
        super().set_learning_rate(part, steps)
        if part == 0:
            rate = self.optimizer.param_groups[0]["lr"]
            self.seen.append({"weights": self.weights(), "rate": rate, "moments": len(self.optimizer.state)})


class NaNInTheSecondEpoch(Spied):
    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        return super().loss(prediction, target) * (float("nan") if self.epoch == 1 else 1.0)


class WorseAfterTheSecondEpoch(Spied):
    def validate(self) -> float:
        return super().validate() - (0.5 if self.epoch == 2 else 0.0)


@pytest.fixture(scope="module")
def make(cohort: Path) -> MakeTrainer:
    subjects = [subject_tensors(read_subject(folder), True, SETTINGS.crop) for folder in subject_folders(cohort)]
    data = TrainingData(subjects[1:], subjects[:1])

    def trainer(cls: type[Trainer], checkpoint: Path, settings: TrainingSettings = SETTINGS) -> Trainer:
        return cls("prior", settings, data, Processes(torch.device("cpu")), checkpoint)

    return trainer


@pytest.mark.parametrize("cls", [NaNInTheSecondEpoch, WorseAfterTheSecondEpoch])
def test_collapse_restores_the_best_weights_at_half_the_pace(
    cls: type[Spied], make: MakeTrainer, tmp_path: Path
) -> None:
    """The second epoch goes wrong; the third starts from the first's weights."""
    trainer = make(cls, tmp_path / "prior.safetensors")
    losses = [trainer.run_epoch()[0] for _ in range(3)]
    assert np.isnan(losses[1]) == (cls is NaNInTheSecondEpoch)
    assert np.isfinite(losses[2])
    assert [epoch["loss"] is None for epoch in trainer.history] == [bool(np.isnan(loss)) for loss in losses]
    first, second, third = trainer.seen
    assert all(torch.equal(v, second["weights"][k]) for k, v in third["weights"].items())
    assert not all(torch.equal(v, first["weights"][k]) for k, v in third["weights"].items())
    schedule = [0.5 * (1 + np.cos(np.pi * e / 3)) for e in (1, 2)]
    assert second["rate"] == pytest.approx(SETTINGS.learning_rate * schedule[0])
    assert third["rate"] == pytest.approx(SETTINGS.learning_rate * schedule[1] / 2)
    assert second["moments"] > 0
    assert third["moments"] == 0


def test_interrupted_after_a_collapse_it_goes_on_alike(make: MakeTrainer, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    trainer = make(WorseAfterTheSecondEpoch, whole)
    for _ in range(3):
        trainer.run_epoch()
    trainer = make(WorseAfterTheSecondEpoch, parts)
    for _ in range(2):
        trainer.run_epoch()
    resumed = make(WorseAfterTheSecondEpoch, parts)
    assert (resumed.epoch, resumed.slowdown) == (2, 0.5)
    resumed.run_epoch()
    assert parts.read_bytes() == whole.read_bytes()


class NaNInTheFirstEpoch(Spied):
    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        return super().loss(prediction, target) * float("nan")


def test_a_training_that_has_no_best_score_yet_can_be_resumed(make: MakeTrainer, tmp_path: Path) -> None:
    path = tmp_path / "prior.safetensors"
    make(NaNInTheFirstEpoch, path).run_epoch()
    resumed = make(Spied, path)
    assert resumed.epoch == 1 and resumed.best_score == -np.inf and resumed.slowdown == 0.5
    resumed.role = "forward_operator"
    with pytest.raises(LIPCARError, match="'role' is 'prior', expected is 'forward_operator'"):
        resumed._load()


def test_a_head_that_gives_zeros_is_turned_over() -> None:
    """About half of the random starts of a plain network give zeros everywhere."""
    shown = torch.rand(2, 2, 48, 48)
    born_dead = 0
    for seed in range(8):
        torch.manual_seed(seed)
        network = VNet(2, residual=False)
        with torch.no_grad():
            before = float((network(shown) > 0).float().mean())
            start_alive(network, shown)
            after = float((network(shown) > 0).float().mean())
        born_dead += before < 0.5
        assert after > 0.3, (seed, before)
        assert after == before or before < 0.5
    assert 0 < born_dead < 8


def test_no_plain_network_starts_dead(make: MakeTrainer, tmp_path: Path) -> None:
    """Of the seeds that give zeros everywhere, 4 is one."""
    for seed in (3, 4):
        trainer = make(Trainer, tmp_path / "none.safetensors", replace(SETTINGS, residual=False, seed=seed))
        assert float((trainer.network(torch.rand(2, 2, 48, 48)) > 0).float().mean()) > 0.3, seed
