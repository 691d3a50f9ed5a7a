"""From a cohort to a model folder: both networks trained one after the other, resumable at every epoch."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from ..errors import LIPCARError
from ..inverse import ROLES, NetworkPair, VNet, choose_device, load_pair, save_model
from ..storage import write
from .checkpoints import prepare_checkpoints
from .cohort import describe_cohort, read_subject, split_subjects, subject_folders
from .crops import TrainingData, subject_tensors
from .settings import TrainingSettings
from .trainer import Trainer


@dataclass(frozen=True)
class TrainingProgress:
    """One epoch is over: which network, its number, mean loss, SSIM on held-out slices, seconds left in all."""

    role: str
    epoch: int
    epochs: int
    loss: float
    validation_ssim: float
    seconds_left: float


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

    What each network learns: see `crops.lesson`. The same cohort, settings and machine give the same weights,
    interrupted or not.

    Args:
        cohort: see `cohort`.
        output: the model folder; checkpoints go to ``output/checkpoints``.
        settings: what is recorded in the manifest.
        device: as in `inverse.choose_device`.
        resume: go on from the checkpoints of the same settings; without it, existing ones are an error.
        start: a model, shipped or in a folder, to go on from: its weights at the start, its architecture.
        snapshots: epochs after which the prior is kept as well: ``output/epoch-NN`` is a model of that prior and the
            finished forward operator, for the gain over a prior that was trained that long.
        name: of the model; the folder's name by default.
        description: a sentence for the model card.

    Raises:
        LIPCARError: an unusable cohort; a model to start from that takes other images; checkpoints that exist without
            `resume`, or are of other settings; a snapshot after an epoch that there is not; an unknown device.
    """
    wrong = [epoch for epoch in snapshots if not 1 <= epoch <= settings.epochs]
    if wrong:
        raise LIPCARError(f"A snapshot after epoch {wrong[0]} was asked for; expected 1 to {settings.epochs}.")
    device = choose_device(device) if isinstance(device, str) else device
    first = None if start is None else load_pair(start)
    if first is not None:
        settings = _settings_of_start(first, settings)
    output = Path(output)
    folders = subject_folders(cohort)
    training, held_out = split_subjects([f.name for f in folders], settings.held_out, settings.seed)
    checkpoints = prepare_checkpoints(output, settings, training, held_out, resume)
    data = _read_data(folders, held_out, settings)
    networks: dict[str, VNet] = {}
    histories: dict[str, list[dict[str, float | None]]] = {}
    began, epochs_done = time.monotonic(), 0
    for index, role in enumerate(ROLES):
        trainer = Trainer(role, settings, data, device, checkpoints / f"{role}.safetensors", first)
        while trainer.epoch < settings.epochs:
            loss, score = trainer.run_epoch()
            if role == "prior" and trainer.epoch in snapshots:
                weights = {key: value.cpu().contiguous() for key, value in trainer.weights().items()}
                write({_snapshot(checkpoints, trainer.epoch): save(weights)})
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
            "cohort": describe_cohort(folders),
            "training_subjects": training,
            "held_out_subjects": held_out,
            "clean_images_used_for_forward_operator": data.clean,
            "settings": asdict(settings),
            "torch": torch.__version__,
            "history": histories,
        },
        "metrics": {},
    }
    name = name or output.resolve().name
    for epoch in snapshots:
        _save_snapshot(output, name, epoch, checkpoints, networks, card)
    return save_model(output, name, networks["prior"], networks["forward_operator"], card)


def snapshot_name(epoch: int) -> str:
    """The folder of a snapshot within the model's own."""
    return f"epoch-{epoch:02d}"


def _settings_of_start(first: NetworkPair, settings: TrainingSettings) -> TrainingSettings:
    """The settings with the architecture and the digest of the model that is gone on from."""
    if first.uses_predose != settings.predose:
        raise LIPCARError(
            f"The model '{first.name}' to start from {'takes' if first.uses_predose else 'takes no'} pre-dose "
            f"image, the training {'gives' if settings.predose else 'gives no'} one."
        )
    network = first.network("prior")
    return replace(settings, start=first.digest, residual=network.residual, smooth=network.smooth)


def _read_data(folders: Sequence[Path], held_out: Sequence[str], settings: TrainingSettings) -> TrainingData:
    data = TrainingData([], [])
    for folder in folders:
        split = data.validation if folder.name in held_out else data.training
        split.append(subject_tensors(read_subject(folder), settings.predose, settings.crop))
    return data


def _save_snapshot(
    output: Path, name: str, epoch: int, checkpoints: Path, networks: dict[str, VNet], card: dict[str, Any]
) -> None:
    path = _snapshot(checkpoints, epoch)
    if not path.is_file():
        raise LIPCARError(f"The prior of epoch {epoch} was not kept: training had passed it. Train anew for it.")
    early = copy.deepcopy(networks["prior"])
    early.load_state_dict(load_file(path))
    note = {**card, "description": f"{card['description']} The prior as it was after {epoch} epochs."}
    label = snapshot_name(epoch)
    save_model(output / label, f"{name}-{label}", early, networks["forward_operator"], note)


def _snapshot(checkpoints: Path, epoch: int) -> Path:
    return checkpoints / f"prior-{epoch:02d}.safetensors"
