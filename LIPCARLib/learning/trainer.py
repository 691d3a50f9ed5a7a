"""The training of one network: loss, schedule, validation, recovery from collapse."""

from __future__ import annotations

import copy
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..imaging.metrics import ssim
from ..inverse import ROLES, NetworkPair, VNet
from .checkpoints import Checkpoint, Weights
from .crops import TrainingData, lesson, random_crop, validation_crops
from .processes import Processes
from .settings import TrainingSettings

COLLAPSE = 0.1
"""A validation SSIM this far below the best so far counts as collapsed (networks without normalization do that)."""
DIFFERENCE_GAIN = 4.0
LARGEST_GRADIENT = 1.0
"""Norm to which gradients are clipped."""
ALIVE = 0.5
"""A plain network starts with at least this share of its output above zero."""


class Trainer:
    """One network on its way: weights, optimizer, history; its state is what a checkpoint holds.

    Args:
        role: of `inverse.ROLES`.
        settings: of the training.
        data: what is learned from and measured on.
        processes: that train it together, and where this one computes.
        checkpoint: the file that is written after every epoch, and gone on from where it is there.
        first: a model whose network of that role is gone on from; None for random weights.

    Raises:
        LIPCARError: as `Checkpoint.read`.

    Attributes:
        network: as it is.
        epoch: how many are over.
        slowdown: factor on the learning rate, halved at every collapse.
        history: per epoch its number, mean loss and validation SSIM; None where a number is not finite.
        best, best_score: weights and validation SSIM of the best epoch.
    """

    def __init__(
        self,
        role: str,
        settings: TrainingSettings,
        data: TrainingData,
        processes: Processes,
        checkpoint: Path,
        first: NetworkPair | None = None,
    ) -> None:
        self.role, self.index, self.settings = role, ROLES.index(role), settings
        self.processes, self.device = processes, processes.device
        self.checkpoint, self.clean, self.subjects = checkpoint, data.clean, data.training
        self.slices = [(i, z) for i, s in enumerate(self.subjects) for z in range(len(s["lowdose"]))]
        self.validation = validation_crops(data.validation, settings.crop, data.clean)
        self.network = self._first_network(first)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate)
        self.epoch, self.slowdown = 0, 1.0
        self.history: list[dict[str, float | None]] = []
        self.best_score, self.best = -math.inf, self.weights()
        if os.path.lexists(checkpoint):
            self._load()
        self.shared = processes.wrap(self.network)

    def run_epoch(self) -> tuple[float, float]:
        """One pass over the training slices, then validation and a checkpoint; mean loss and validation SSIM."""
        s = self.settings
        # Seeded by epoch, not carried along: an interrupted run draws what an uninterrupted one would have.
        rng = np.random.default_rng([s.seed, self.index, self.epoch])
        order = rng.permutation(len(self.slices))
        steps = math.ceil(len(order) / s.batch)
        losses = []
        for step in range(steps):
            chosen = [self.slices[i] for i in order[step * s.batch : (step + 1) * s.batch]]
            crops = [random_crop(self.subjects[i], z, s.crop, self.clean, rng) for i, z in chosen]
            shown, target = self._lesson(torch.stack(crops), rng)
            self.set_learning_rate(step / steps, steps)
            self.optimizer.zero_grad(set_to_none=True)
            own, weight = self.processes.share(len(shown))
            loss = self.loss(self._forward(shown[own], self.shared), target[own]) * weight
            self.processes.backward(loss)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
            self.optimizer.step()
            losses.append(loss.item())
        self.epoch += 1
        mean_loss = self.processes.mean(float(np.mean(losses)))
        score = self.processes.agreed(self.validate() if self.processes.main else 0.0)
        self._judge(mean_loss, score)
        if self.processes.main:
            self._save()
        return mean_loss, score

    def best_network(self) -> VNet:
        """The network with the weights of its best epoch."""
        self.network.load_state_dict(self.best)
        return self.network

    def weights(self) -> Weights:
        """A copy of the weights as they are now."""
        return {key: value.detach().clone() for key, value in self.network.state_dict().items()}

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """1 - SSIM, and the mean absolute error with the weight that the settings give it."""
        loss = 1 - ssim(prediction, target).mean()
        return loss + self.settings.l1 * (prediction - target).abs().mean() if self.settings.l1 else loss

    @torch.no_grad()
    def validate(self) -> float:
        """Mean SSIM on the held-out crops."""
        rng = np.random.default_rng([self.settings.seed, self.index])
        scores = []
        for crops in self.validation:
            shown, target = self._lesson(crops, rng)
            scores.append(ssim(self._forward(shown, self.network), target))
        return float(torch.cat(scores).mean())

    def set_learning_rate(self, part: float, steps: int) -> None:
        """For a step of the running epoch, of which `part` (0..1) is over, in `steps` steps."""
        s = self.settings
        done = (self.epoch + part) / s.epochs
        warm = min(1.0, self.epoch + part + 1 / steps)
        for group in self.optimizer.param_groups:
            group["lr"] = s.learning_rate * self.slowdown * warm * 0.5 * (1 + math.cos(math.pi * done))

    def _first_network(self, first: NetworkPair | None) -> VNet:
        s = self.settings
        torch.manual_seed(s.seed * len(ROLES) + self.index)
        if first is not None:
            return self._placed(copy.deepcopy(first.network(self.role)).requires_grad_().train())
        network = VNet(2 if s.predose else 1, residual=s.residual, smooth=s.smooth)
        if s.predose and s.difference_start:
            start_on_difference(network)
        network = self._placed(network)
        if not s.residual:
            rng = np.random.default_rng([s.seed, self.index])
            start_alive(network, self._lesson(self.validation[0], rng)[0])
        return network

    def _placed(self, network: VNet) -> VNet:
        network.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload] # not in its stubs
        return network

    def _lesson(self, crops: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        return lesson(self.role, crops.to(self.device), self.settings.predose, self.clean, rng)

    def _forward(self, shown: Tensor, network: nn.Module) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            prediction: Tensor = network(shown)
        return prediction.float()

    def _judge(self, loss: float, score: float) -> None:
        """Keep the best weights; after a collapse go back to them."""
        if not math.isfinite(loss) or not score > self.best_score - COLLAPSE:
            self._fall_back()
        elif score > self.best_score:
            self.best_score, self.best = score, self.weights()
        self.history.append({"epoch": self.epoch, "loss": _finite(loss), "validation_ssim": _finite(score)})

    def _fall_back(self) -> None:
        """Back to the best weights at half the pace, with an optimizer that has forgotten what led astray."""
        self.network.load_state_dict(self.best)
        self.optimizer.state.clear()
        self.slowdown /= 2

    def _save(self) -> None:
        progress: dict[str, Any] = {
            "role": self.role,
            "epoch": self.epoch,
            "slowdown": self.slowdown,
            "best_score": self.best_score if math.isfinite(self.best_score) else None,
            "history": self.history,
        }
        moments = self.optimizer.state_dict()["state"]
        Checkpoint(self.network.state_dict(), self.best, moments, progress).write(self.checkpoint)

    def _load(self) -> None:
        found = Checkpoint.read(self.checkpoint, self.network, self.role, self.settings.epochs)
        self.network.load_state_dict(found.network)
        self.best = {key: value.to(self.device) for key, value in found.best.items()}
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": found.optimizer})
        self.epoch, self.slowdown = found.progress["epoch"], found.progress["slowdown"]
        score, self.history = found.progress["best_score"], found.progress["history"]
        self.best_score = -math.inf if score is None else score


@torch.no_grad()
def start_on_difference(network: VNet) -> None:
    """Turn half of the first layer to the difference of its two inputs: the agent's signal is a tenth of either."""
    half = network.stem.weight[: network.stem.out_channels // 2]
    sign = half[:, 1:].sign()
    half += DIFFERENCE_GAIN * torch.cat((-sign, sign), 1)


@torch.no_grad()
def start_alive(network: VNet, shown: Tensor) -> None:
    """Turn the head of a plain network over where its last ReLU would cut most of its output off.

    About half of the random starts give (almost) nothing but zeros, and there is no gradient that leads out of there.
    """
    if float((network(shown) > 0).float().mean()) < ALIVE:
        for parameter in network.head.parameters():
            parameter.neg_()


def _finite(value: float) -> float | None:
    """JSON knows no NaN."""
    return round(value, 6) if math.isfinite(value) else None
