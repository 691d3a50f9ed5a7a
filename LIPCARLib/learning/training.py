"""Training of a model, a prior and a forward operator, on a cohort: crops, loss, checkpoints, resume."""

from __future__ import annotations

import copy
import json
import math
import os
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from ..errors import LIPCARError
from ..imaging.metrics import ssim
from ..inverse import ROLES, Model, VNet, choose_device, load_model, save_model, write_file
from .cohort import Subject, read_subject, subject_folders

COLLAPSE = 0.1
"""A validation SSIM this far below the best so far counts as collapsed (networks without normalization do that)."""
VALIDATION_SLICES = 48
DIFFERENCE_GAIN = 4.0
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that determines the trained weights, besides the cohort. Recorded in the manifest.

    Attributes:
        predose: the networks take the pre-dose image as well.
        epochs: passes over the training slices, each slice giving one random crop.
        batch: crops per step (paper: 16; fewer give more steps in the same time).
        learning_rate: the peak; warmed up over the first epoch, then a half cosine to zero, because networks without
            normalization are on the edge at the paper's 1e-3: one of four collapsed there in its fourth epoch.
        l1: weight of the mean absolute error beside 1 - SSIM; 0 is the paper's loss. SSIM hardly sees a gain or an
            offset, which a data term must get right.
        crop: pixels a side.
        residual, smooth: variants of the network, see :class:`VNet`.
        difference_start: half of the first layer's channels start on the amplified difference between the image and
            the pre-dose image. After three epochs a prior started so was off by 0.068 rms in the bodies of held-out
            rats, one started at random by 0.079, the low-dose images by 0.089.
        start: SHA-256 of the model whose weights training starts from, None for random ones.
        held_out: fraction of the subjects kept out of training, at least one.
        precision: "float32", or "bfloat16" on processors that have it (2 to 3 times as fast).
        seed: of everything random.
    """

    predose: bool = True
    epochs: int = 80
    batch: int = 4
    learning_rate: float = 5e-4
    l1: float = 1.0
    crop: int = 128
    residual: bool = True
    smooth: bool = False
    difference_start: bool = True
    start: str | None = None
    held_out: float = 0.15
    precision: str = "float32"
    seed: int = 0


@dataclass(frozen=True)
class TrainingProgress:
    """One epoch is over: which network, its number, mean loss, SSIM on held-out slices, seconds left in all."""

    role: str
    epoch: int
    epochs: int
    loss: float
    validation_ssim: float
    seconds_left: float


def split_subjects(names: Sequence[str], held_out: float, seed: int) -> tuple[list[str], list[str]]:
    """Training and held-out subjects, at least one of each: by subject, so that no animal stands on both sides."""
    if len(names) < 2:
        raise LIPCARError(f"Training needs at least two subjects, one of them held out; found {len(names)}.")
    count = min(max(1, round(held_out * len(names))), len(names) - 1)
    chosen = set(np.random.default_rng(seed).permutation(len(names))[:count].tolist())
    return (
        [name for i, name in enumerate(names) if i not in chosen],
        [name for i, name in enumerate(names) if i in chosen],
    )


def train(
    cohort: str | os.PathLike[str],
    output: str | os.PathLike[str],
    settings: TrainingSettings,
    *,
    device: torch.device | str = "auto",
    resume: bool = False,
    start: str | os.PathLike[str] | None = None,
    snapshots: Sequence[int] = (),
    name: str | None = None,
    description: str = "Trained by `lipcar train`.",
) -> Generator[TrainingProgress, None, Path]:
    """Train both networks of a model and write its folder; yields after every epoch, returns the manifest's path.

    The prior learns x_H as acquired. The forward operator learns the clean x_L from x_H with anything between none
    and all of its noise, where the cohort has clean images, because the solver evaluates it at smooth iterates; x_L
    from x_H otherwise. The same cohort, settings and machine give the same weights, interrupted or not.

    Args:
        cohort: see :mod:`cohort`.
        output: the model folder; checkpoints go to ``output/checkpoints``.
        settings: what is recorded in the manifest.
        device: as in :func:`devices.choose_device`.
        resume: go on from the checkpoints of the same settings; without it, existing ones are an error.
        start: a model, shipped or in a folder, to go on from: its weights at the start, its architecture.
        snapshots: epochs after which the prior is kept as well: ``output/epoch-NN`` is a model of that prior and the
            finished forward operator, for the gain over a prior that was trained that long.
        name: of the model; the folder's name by default.
        description: a sentence for the model card.

    Raises:
        LIPCARError: an unusable cohort; a model to start from that takes other images; checkpoints that exist without
            `resume`, or are of other settings; an unknown precision or device.
    """
    if settings.precision not in PRECISIONS:
        raise LIPCARError(f"Unknown precision '{settings.precision}'; expected one of: {', '.join(PRECISIONS)}.")
    wrong = [epoch for epoch in snapshots if not 1 <= epoch <= settings.epochs]
    if wrong:
        raise LIPCARError(f"A snapshot after epoch {wrong[0]} was asked for; expected 1 to {settings.epochs}.")
    device = choose_device(device) if isinstance(device, str) else device
    first = None if start is None else load_model(start)
    if first is not None:
        if first.uses_predose != settings.predose:
            raise LIPCARError(
                f"The model '{first.name}' to start from {'takes' if first.uses_predose else 'takes no'} pre-dose "
                f"image, the training {'gives' if settings.predose else 'gives no'} one."
            )
        network = first.network("prior")
        settings = replace(settings, start=first.digest, residual=network.residual, smooth=network.smooth)
    output = Path(output)
    folders = subject_folders(cohort)
    training, held_out = split_subjects([f.name for f in folders], settings.held_out, settings.seed)
    checkpoints = _prepare_checkpoints(output, settings, training, held_out, resume)
    data = {
        names[0]: [_tensors(read_subject(f), settings) for f in folders if f.name in names[1]]
        for names in (("training", training), ("validation", held_out))
    }
    clean = all({"clean_lowdose", "clean_highdose"} <= s.keys() for split in data.values() for s in split)
    networks, histories, began = {}, {}, time.monotonic()
    epochs_done = 0
    for index, role in enumerate(ROLES):
        trainer = _Trainer(role, index, settings, data, clean, device, checkpoints / f"{role}.safetensors", first)
        while trainer.epoch < settings.epochs:
            loss, score = trainer.run_epoch()
            if role == "prior" and trainer.epoch in snapshots:
                weights = {key: value.cpu().contiguous() for key, value in trainer.weights().items()}
                write_file(_snapshot(checkpoints, trainer.epoch), save(weights))
            epochs_done += 1
            left = settings.epochs - trainer.epoch + settings.epochs * (len(ROLES) - 1 - index)
            seconds = (time.monotonic() - began) / epochs_done * left
            yield TrainingProgress(role, trainer.epoch, settings.epochs, loss, score, seconds)
        networks[role], histories[role] = trainer.best_network(), trainer.history
    card = {
        "description": description,
        "licence": "MIT",
        "intended_use": "Research only. Results are simulated images and not for diagnosis.",
        "training": {
            "cohort": _cohort_card(folders),
            "training_subjects": training,
            "held_out_subjects": held_out,
            "clean_images_used_for_forward_operator": clean,
            "settings": asdict(settings),
            "torch": torch.__version__,
            "history": histories,
        },
        "metrics": {},
    }
    name = name or output.resolve().name
    for epoch in snapshots:
        path = _snapshot(checkpoints, epoch)
        if not path.is_file():
            raise LIPCARError(f"The prior of epoch {epoch} was not kept: training had passed it. Train anew for it.")
        early = copy.deepcopy(networks["prior"])
        early.load_state_dict(load_file(path))
        note = {**card, "description": f"{description} The prior as it was after {epoch} epochs."}
        label = snapshot_name(epoch)
        save_model(output / label, f"{name}-{label}", early, networks["forward_operator"], note)
    return save_model(output, name, networks["prior"], networks["forward_operator"], card)


def snapshot_name(epoch: int) -> str:
    """The folder of a snapshot within the model's own."""
    return f"epoch-{epoch:02d}"


def _snapshot(checkpoints: Path, epoch: int) -> Path:
    return checkpoints / f"prior-{epoch:02d}.safetensors"


# Data

_ROLES = ("predose", "lowdose", "highdose")
_ROLES_WITH_CLEAN = (*_ROLES, "clean_lowdose", "clean_highdose")


def _tensors(subject: Subject, settings: TrainingSettings) -> dict[str, Tensor]:
    """A subject's images in model scale, (S, H, W) by role; sides grown to the crop by repeating the edge."""
    e = subject.examination
    if settings.predose and e.predose is None:
        raise LIPCARError(f"Subject '{subject.name}' has no pre-dose image. Add one, or train with --no-predose.")
    arrays = {
        "predose": e.predose,
        "lowdose": e.lowdose,
        "highdose": e.highdose,
        "clean_lowdose": subject.clean_lowdose,
        "clean_highdose": subject.clean_highdose,
    }
    missing = [max(0, settings.crop - side) for side in e.lowdose.shape[1:]]
    return {
        role: torch.from_numpy(np.pad(a / np.float32(e.scale), ((0, 0), (0, missing[0]), (0, missing[1])), "edge"))
        for role, a in arrays.items()
        if a is not None
    }


def _cohort_card(folders: list[Path]) -> dict[str, Any]:
    """What the cohort was: for a simulated one the shares of anatomies and sequences, else the number of subjects."""
    counts: dict[str, Any] = {"subjects": len(folders)}
    for folder in folders:
        path = folder / "parameters.json"
        if path.is_file():
            parameters = json.loads(path.read_text(encoding="utf-8"))
            for key in ("anatomy", "sequence"):
                value = parameters.get(key)
                value = value.get("name") if isinstance(value, dict) else value
                kinds = counts.setdefault(f"simulated_{key}", {})
                kinds[str(value)] = kinds.get(str(value), 0) + 1
    return counts


# One network


class _Trainer:
    """One network on its way: weights, optimizer, history; its state is what a checkpoint holds."""

    def __init__(
        self,
        role: str,
        index: int,
        settings: TrainingSettings,
        data: dict[str, list[dict[str, Tensor]]],
        clean: bool,
        device: torch.device,
        checkpoint: Path,
        first: Model | None = None,
    ) -> None:
        self.role, self.index, self.settings, self.device = role, index, settings, device
        self.checkpoint, self.clean = checkpoint, clean
        self.subjects = data["training"]
        self.slices = [(i, z) for i, s in enumerate(self.subjects) for z in range(len(s["lowdose"]))]
        self.validation = _validation_batches(data["validation"], settings.crop, clean)
        torch.manual_seed(settings.seed * len(ROLES) + index)
        channels = 2 if settings.predose else 1
        if first is None:
            self.network = VNet(channels, residual=settings.residual, smooth=settings.smooth)
            if settings.predose and settings.difference_start:
                _start_on_difference(self.network)
        else:
            self.network = copy.deepcopy(first.network(role)).requires_grad_().train()
        self.network.to(device=device, memory_format=torch.channels_last)
        if first is None and not settings.residual:
            self._start_alive()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate)
        self.epoch, self.slowdown = 0, 1.0
        self.history: list[dict[str, float | None]] = []
        self.best_score, self.best = -math.inf, self.weights()
        if checkpoint.is_file():
            self._load()

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
            crops = torch.stack([self._crop(i, z, rng) for i, z in chosen]).to(self.device)
            inputs, target = self._example(crops, rng)
            self._set_learning_rate(step / steps, steps)
            self.optimizer.zero_grad(set_to_none=True)
            loss = self._loss(self._forward(inputs), target)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self.optimizer.step()
            losses.append(loss.item())
        self.epoch += 1
        score = self._validate()
        loss = float(np.mean(losses))
        if not math.isfinite(loss) or not score > self.best_score - COLLAPSE:
            self._fall_back()
        elif score > self.best_score:
            self.best_score, self.best = score, self.weights()
        # JSON knows no NaN: a collapsed epoch's numbers are null.
        loss_, score_ = (round(v, 6) if math.isfinite(v) else None for v in (loss, score))
        self.history.append({"epoch": self.epoch, "loss": loss_, "validation_ssim": score_})
        self._save()
        return loss, score

    def best_network(self) -> VNet:
        """The network with the weights of its best epoch."""
        self.network.load_state_dict(self.best)
        return self.network

    def _crop(self, subject: int, z: int, rng: np.random.Generator) -> Tensor:
        """(images, crop, crop): the same random window, mirror images, transposition and intensity for all."""
        images = self.subjects[subject]
        size = self.settings.crop
        height, width = images["lowdose"].shape[1:]
        top, left = (int(rng.integers(0, side - size + 1)) for side in (height, width))
        window = _window(images, z, top, left, size, self.clean)
        mirrored = [axis for axis in (-1, -2) if rng.random() < 0.5]
        window = window.flip(mirrored) if mirrored else window
        window = window.transpose(-1, -2) if rng.random() < 0.5 else window
        # The examination's scale is a percentile of its content, so the same tissue comes out a little different.
        return window * float(np.exp(rng.uniform(-0.2, 0.2)))

    def _example(self, crops: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        predose, lowdose, highdose = (crops[:, i : i + 1] for i in range(3))
        if self.role == "prior":
            image, target = lowdose, highdose
        elif self.clean:
            noise = torch.from_numpy(rng.random((len(crops), 1, 1, 1), dtype=np.float32)).to(crops)
            image, target = torch.lerp(crops[:, 4:5], highdose, noise), crops[:, 3:4]
        else:
            image, target = highdose, lowdose
        inputs = torch.cat((predose, image), 1) if self.settings.predose else image
        return inputs.contiguous(memory_format=torch.channels_last), target

    def _forward(self, inputs: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            return self.network(inputs).float()

    def _loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        loss = 1 - ssim(prediction, target).mean()
        return loss + self.settings.l1 * (prediction - target).abs().mean() if self.settings.l1 else loss

    @torch.no_grad()
    def _start_alive(self) -> None:
        """Turn the head of a plain network over where most of its output would be cut off by the last ReLU.

        Nine of sixteen random starts gave (almost) nothing but zeros, and such a network has no gradient to leave them.
        """
        rng = np.random.default_rng([self.settings.seed, self.index])
        inputs, _ = self._example(self.validation[0].to(self.device), rng)
        if float((self.network(inputs) > 0).float().mean()) < 0.5:
            for parameter in self.network.head.parameters():
                parameter.neg_()

    @torch.no_grad()
    def _validate(self) -> float:
        rng = np.random.default_rng([self.settings.seed, self.index])
        scores = []
        for crops in self.validation:
            inputs, target = self._example(crops.to(self.device), rng)
            scores.append(ssim(self._forward(inputs), target))
        return float(torch.cat(scores).mean())

    def _set_learning_rate(self, part: float, steps: int) -> None:
        s = self.settings
        done = (self.epoch + part) / s.epochs
        warm = min(1.0, self.epoch + part + 1 / steps)
        for group in self.optimizer.param_groups:
            group["lr"] = s.learning_rate * self.slowdown * warm * 0.5 * (1 + math.cos(math.pi * done))

    def _fall_back(self) -> None:
        """Back to the best weights at half the pace, with an optimizer that has forgotten what led astray."""
        self.network.load_state_dict(self.best)
        self.optimizer.state.clear()
        self.slowdown /= 2

    def weights(self) -> dict[str, Tensor]:
        """A copy of the weights as they are now."""
        return {key: value.detach().clone() for key, value in self.network.state_dict().items()}

    def _save(self) -> None:
        tensors = {f"network.{k}": v.contiguous() for k, v in self.network.state_dict().items()}
        tensors |= {f"best.{k}": v.contiguous() for k, v in self.best.items()}
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v.contiguous() for k, v in state.items()}
        state = {
            "epoch": self.epoch,
            "slowdown": self.slowdown,
            "best_score": self.best_score,
            "history": self.history,
        }
        part = self.checkpoint.with_suffix(".part")
        save_file(tensors, part, metadata={"state": json.dumps(state)})
        os.replace(part, self.checkpoint)

    def _load(self) -> None:
        with safe_open(self.checkpoint, "pt") as file:
            state = json.loads(file.metadata()["state"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        part = {
            p: {k[len(p) + 1 :]: v for k, v in tensors.items() if k.startswith(p + ".")} for p in ("network", "best")
        }
        self.network.load_state_dict(part["network"])
        self.best = {k: v.to(self.device) for k, v in part["best"].items()}
        optimizer = self.optimizer.state_dict()
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, i, name = key.split(".")
                optimizer["state"].setdefault(int(i), {})[name] = value
        self.optimizer.load_state_dict(optimizer)
        self.epoch, self.slowdown = state["epoch"], state["slowdown"]
        self.best_score, self.history = state["best_score"], state["history"]


@torch.no_grad()
def _start_on_difference(network: VNet) -> None:
    """Turn half of the first layer to the difference of its two inputs: the agent's signal is a tenth of either."""
    half = network.stem.weight[: network.stem.out_channels // 2]
    sign = half[:, 1:].sign()
    half += DIFFERENCE_GAIN * torch.cat((-sign, sign), 1)


def _window(images: dict[str, Tensor], z: int, top: int, left: int, size: int, clean: bool) -> Tensor:
    """(images, size, size) of one slice: pre-dose (low-dose stands in where unused), low, high, and the clean two."""
    roles = _ROLES_WITH_CLEAN if clean else _ROLES
    return torch.stack([images.get(r, images["lowdose"])[z, top : top + size, left : left + size] for r in roles])


def _validation_batches(subjects: list[dict[str, Tensor]], crop: int, clean: bool) -> list[Tensor]:
    """The middle crops of evenly chosen held-out slices, in batches of 16, always the same."""
    slices = [(s, z) for s in subjects for z in range(len(s["lowdose"]))]
    chosen = np.unique(np.linspace(0, len(slices) - 1, VALIDATION_SLICES).round().astype(int))
    crops = []
    for subject, z in (slices[i] for i in chosen):
        height, width = subject["lowdose"].shape[1:]
        top, left = (height - crop) // 2, (width - crop) // 2
        crops.append(_window(subject, z, top, left, crop, clean))
    return list(torch.stack(crops).split(16))


def _prepare_checkpoints(
    output: Path, settings: TrainingSettings, training: list[str], held_out: list[str], resume: bool
) -> Path:
    """The checkpoint folder, with a record of what it belongs to."""
    folder = output / "checkpoints"
    record = folder / "settings.json"
    wanted = {"settings": asdict(settings), "training": training, "held_out": held_out}
    if record.is_file():
        if not resume:
            raise LIPCARError(
                f"'{output}' holds the checkpoints of an earlier training. Give --resume to go on with it, or another "
                "--output to start anew."
            )
        found = json.loads(record.read_text(encoding="utf-8"))
        if found != wanted:
            differing = [k for k in wanted["settings"] if found.get("settings", {}).get(k) != wanted["settings"][k]]
            raise LIPCARError(
                f"The checkpoints in '{output}' are of another training (differing: "
                f"{', '.join(differing) or 'subjects'}). Use the same settings and cohort, or another --output."
            )
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LIPCARError(f"The folder '{folder}' cannot be made: {error.strerror}.") from error
    record.write_text(json.dumps(wanted, indent=1), encoding="utf-8")
    return folder
