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
from safetensors.torch import save

from ..errors import LIPCARError
from ..inverse import ROLES, NetworkPair, VNet, choose_device, load_pair, save_model
from ..inverse.manifest import MANIFEST
from ..inverse.weights import numbers_in, read_weights_file, shapes_of, unpack
from ..storage import write
from .checkpoints import CHECKPOINTS, PAIR, Record, Weights, check_model_folder, explained, model_name
from .cohort import describe_cohort, read_subject, split_subjects, subject_folders
from .crops import TrainingData, subject_tensors
from .processes import Processes
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
    processes: Processes | None = None,
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
        processes: that train together, each of which calls this with the same arguments; they stand before `device`.
            The main one writes. None for this one alone.
        resume: go on from the checkpoints of the same settings; without it, existing ones are an error.
        start: a model, shipped or in a folder, to go on from: its weights at the start, its architecture.
        snapshots: epochs after which the prior is kept as well: ``output/epoch-NN`` is a model of that prior and the
            finished forward operator, for the gain over a prior that was trained that long.
        name: of the model; the folder's name by default.
        description: a sentence for the model card.

    Raises:
        LIPCARError: an unusable cohort; a model to start from that takes other images; an output that cannot be
            written to or holds another model; checkpoints that exist without `resume`, are of other settings, or
            damaged; a snapshot after an epoch that there is not, or that was not kept; an unknown device. All before
            the first epoch, and nothing is left behind.
    """
    output = Path(output)
    name = name or model_name(output)
    check_model_folder(output, PAIR)
    wrong = [epoch for epoch in snapshots if not 1 <= epoch <= settings.epochs]
    if wrong:
        raise LIPCARError(f"A snapshot after epoch {wrong[0]} was asked for; expected 1 to {settings.epochs}.")
    if processes is None:
        processes = Processes(choose_device(device) if isinstance(device, str) else device)
    first = None if start is None else load_pair(start)
    if first is not None:
        settings = _settings_of_start(first, settings)
    folders = subject_folders(cohort)
    training, held_out = split_subjects([f.name for f in folders], settings.held_out, settings.seed)
    checkpoints = output / CHECKPOINTS
    record = Record(checkpoints, settings, training, held_out)
    going_on = record.check(resume)
    described = describe_cohort(folders)
    data = _read_data(folders, held_out, settings)
    # Both before the first epoch: what is wrong with a checkpoint is not found out after the first network's.
    trainers = {r: Trainer(r, settings, data, processes, checkpoints / f"{r}.safetensors", first) for r in ROLES}
    for epoch in snapshots:
        if not going_on:
            check_model_folder(output / snapshot_name(epoch), ())
        if epoch <= trainers["prior"].epoch:
            _read_snapshot(_snapshot(checkpoints, epoch), trainers["prior"].network)
    processes.wait()  # all have looked for checkpoints
    if processes.main:
        record.write()
    networks: dict[str, VNet] = {}
    histories: dict[str, list[dict[str, float | None]]] = {}
    began, epochs_done = time.monotonic(), 0
    for index, (role, trainer) in enumerate(trainers.items()):
        while trainer.epoch < settings.epochs:
            loss, score = trainer.run_epoch()
            if role == "prior" and trainer.epoch in snapshots and processes.main:
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
            "cohort": described,
            "training_subjects": training,
            "held_out_subjects": held_out,
            "clean_images_used_for_forward_operator": data.clean,
            "settings": asdict(settings),
            "torch": torch.__version__,
            "history": histories,
        },
        "metrics": {},
    }
    if not processes.main:
        return output / MANIFEST
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
    early = copy.deepcopy(networks["prior"])
    early.load_state_dict(_read_snapshot(_snapshot(checkpoints, epoch), early))
    note = {**card, "description": f"{card['description']} The prior as it was after {epoch} epochs."}
    label = snapshot_name(epoch)
    save_model(output / label, f"{name}-{label}", early, networks["forward_operator"], note)


def _read_snapshot(path: Path, network: VNet) -> Weights:
    if not path.is_file():
        raise LIPCARError(f"The prior '{path}' was not kept: training had passed its epoch. Train anew for it.")
    shapes = shapes_of(network)
    with explained(path):
        return unpack(read_weights_file(path, numbers_in(shapes)), shapes)


def _snapshot(checkpoints: Path, epoch: int) -> Path:
    return checkpoints / f"prior-{epoch:02d}.safetensors"
