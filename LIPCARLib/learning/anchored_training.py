"""Training of the anchored prior on examinations drawn on the fly: loss, schedule, checkpoints, resume."""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..errors import LIPCARError
from ..inverse import AnchoredPrior, Conditions, features, find_model, load_model, save_anchored_model
from ..inverse.manifest import MANIFEST
from ..inverse.weights import numbers_in, read_weights_file, shapes_of, unpack
from ..json_file import integer, parse_json
from ..simulation.draw import Drawn, draw_batch
from ..storage import write
from .checkpoints import (
    ANCHORED,
    CHECKPOINTS,
    adam_shapes,
    check_folder,
    check_model_folder,
    explained,
    model_name,
    read_checkpoint,
    under,
)
from .processes import Processes
from .settings import check_settings

ENHANCING = 0.15
"""Model scale: what has risen by more than this enhances (the threshold of every table in docs/results.md)."""
ENHANCED = 0.3
"""Model scale: from here on a pixel has all the weight of an enhancing one."""
AIR_WEIGHT = 0.05
"""Of a pixel outside the body, where a pixel inside has 1."""
WEIGHTS = "prior.safetensors"


@dataclass(frozen=True)
class AnchoredSettings:
    """Everything that determines the trained weights. Recorded with them.

    Attributes:
        steps: of Adam, one batch each.
        batch, size: examinations a step and pixels a side.
        learning_rate: the peak, after a warm-up of `warmup` steps; then half a cosine down to `final` times the peak.
        average: decay a step of the exponential average of the weights, which is what is kept.
        enhancement: extra weight of a pixel by how much it enhances: 1 + enhancement min(|x_H - x_P| / ENHANCED, 1).
        bias: weight of the mean error over what enhances, and over what does not, beside the root mean square.
        widths, depth: of :class:`AnchoredPrior`.
        bfloat16: compute the network in it; twice as fast where the processor has it.
        start: SHA-256 of the weights that training started from, None for none.
        seed: of everything random.

    Raises:
        LIPCARError: a setting that is not within `settings.LIMITS`.
    """

    steps: int = 30_000
    batch: int = 8
    size: int = 96
    learning_rate: float = 1.5e-3
    warmup: int = 300
    final: float = 0.02
    average: float = 0.998
    enhancement: float = 8.0
    bias: float = 0.3
    widths: tuple[int, ...] = (32, 64, 96, 128)
    depth: int = 1
    bfloat16: bool = True
    start: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class AnchoredProgress:
    """Steps done, the mean loss since the last progress, and errors by validation set: see :func:`errors`."""

    step: int
    loss: float
    errors: dict[str, dict[str, float]]


def conditions_of(drawn: Drawn) -> Conditions:
    """What a network is told of drawn examinations."""
    parameters = drawn.parameters
    return Conditions(
        acquisitions=parameters.told_acquisitions,
        dose_fraction=parameters.told_dose_fraction,
        sequence_told=parameters.sequence_told,
        dose_told=parameters.dose_told,
    )


def prior_loss(predicted: Tensor, drawn: Drawn, settings: AnchoredSettings) -> Tensor:
    """Weighted root mean square error of each slice, and how far regions are off on average; mean over slices.

    A square, because its minimizer is the mean of what is possible: the absolute error's is the median, which dims
    an enhancement that is real in less than half of the cases that look like it. The root is taken by slice, so that
    a noisy examination does not outweigh ten clean ones.
    """
    error = predicted - drawn.highdose
    rise = (drawn.highdose - drawn.predose).abs()
    inside = drawn.body.to(error.dtype)
    weight = (1 + settings.enhancement * (rise / ENHANCED).clamp_max(1)) * (AIR_WEIGHT + (1 - AIR_WEIGHT) * inside)
    square = (weight * error.square()).flatten(1).sum(1) / weight.flatten(1).sum(1)
    loss = (square + 1e-6).sqrt().mean()
    if settings.bias:
        enhancing = inside * (drawn.highdose - drawn.predose > ENHANCING)
        for region in (enhancing, inside - enhancing):
            count = region.flatten(1).sum(1)
            loss = loss + settings.bias * ((error * region).flatten(1).sum(1) / (count + 50)).abs().mean()
    return loss


def errors(predicted: Tensor, predose: Tensor, highdose: Tensor, body: Tensor) -> dict[str, float]:
    """RMSE in the body and in what enhances (means over slices), and the mean error there, in model scale."""
    error = predicted - highdose
    enhancing = body & (highdose - predose > ENHANCING)

    def by_slice(values: Tensor, region: Tensor) -> Tensor:
        count = region.flatten(1).sum(1)
        return ((values * region).flatten(1).sum(1) / count)[count >= 20]

    return {
        "body": by_slice(error.square(), body).sqrt().mean().item(),
        "enhancing": by_slice(error.square(), enhancing).sqrt().mean().item(),
        "bias": by_slice(error, enhancing).mean().item(),
    }


def validation_set(count: int, size: int = 128, seed: int = 10_000_019) -> tuple[Drawn, Conditions]:
    """Drawn examinations that no training sees: another seed than any step's."""
    drawn = draw_batch(torch.Generator().manual_seed(seed), count, size)
    return drawn, conditions_of(drawn)


@torch.no_grad()
def predict(network: AnchoredPrior, lowdose: Tensor, predose: Tensor, conditions: Conditions) -> Tensor:
    """The prior on any number of slices, a few at a time."""
    parts = range(0, len(lowdose), 8)
    return torch.cat(
        [network(lowdose[i : i + 8], predose[i : i + 8], conditions[slice(i, i + 8)]) for i in parts]
    ).clamp_min(0)


def train_prior(
    output: str | os.PathLike[str],
    settings: AnchoredSettings,
    *,
    resume: bool = False,
    start: str | os.PathLike[str] | None = None,
    every: int = 500,
    workers: int = 0,
    processes: Processes | None = None,
    validation: Mapping[str, tuple[Drawn, Conditions]] | None = None,
) -> Generator[AnchoredProgress, None, Path]:
    """Train an anchored prior; yields every `every` steps, returns the path of its weights (the average's).

    Step k draws its batch from seed and k alone: an interrupted run goes on as if it had not been.

    Args:
        output: folder of the checkpoint, the weights, and `settings.json`.
        settings: what to train.
        resume: go on from the folder's checkpoint, which must be of the same settings; an error without one.
        start: weights to start from, a file; of the same widths and depth.
        every: steps between checkpoints.
        workers: processes that draw; 0 draws in this one.
        processes: that train together, see `training.train`; None for this one alone, on the CPU.
        validation: drawn or real examinations by name, and what is told of them.

    Raises:
        LIPCARError: a checkpoint that exists without `resume` or is of other settings; weights that do not fit.
    """
    processes = processes or Processes(torch.device("cpu"))
    trainer = _Trainer(Path(output), settings, start, resume, workers, processes)
    while trainer.step < settings.steps:
        total, count = 0.0, min(every - trainer.step % every, settings.steps - trainer.step)
        for _ in range(count):
            total += trainer.run_step()
        total, scores = processes.mean(total), {}
        if processes.main:
            trainer.save()
        average = copy.deepcopy(trainer.average).cpu()
        for name, (drawn, conditions) in (validation or {}).items() if processes.main else ():
            predicted = predict(average, drawn.lowdose, drawn.predose, conditions)
            scores[name] = errors(predicted, drawn.predose, drawn.highdose, drawn.body)
        yield AnchoredProgress(trainer.step, total / count, scores)
    return trainer.output / WEIGHTS


def train_anchored(
    output: str | os.PathLike[str],
    settings: AnchoredSettings,
    *,
    resume: bool = False,
    start: str | os.PathLike[str] | None = None,
    every: int = 500,
    workers: int = 0,
    processes: Processes | None = None,
    validation_count: int = 48,
) -> Generator[AnchoredProgress, None, Path]:
    """Train the prior of an anchored model, measure it on drawn examinations, and save the model.

    Args:
        output: the model's folder; its checkpoints lie in a folder in it.
        settings, resume, every, workers, processes: as in :func:`train_prior`.
        start: an anchored model's name or folder, from whose weights to go on.
        validation_count: drawn examinations that no training sees.

    Returns:
        The manifest's path.

    Raises:
        LIPCARError: as :func:`train_prior`; a model to start from that has no such weights.
    """
    output = Path(output)
    check_model_folder(output, (ANCHORED,))
    _check_start(output / CHECKPOINTS, resume)
    weights = None
    if start is not None:
        model = load_model(start)
        if model.manifest["architecture"]["prior"]["class"] != "AnchoredPrior":
            raise LIPCARError(f"The model '{model.name}' has no anchored prior to start from; give one that has.")
        settings = replace(settings, start=model.digest)
        weights = find_model(start) / model.manifest["files"]["prior"]["path"]
    drawn = validation_set(validation_count)
    options: dict[str, Any] = {
        "resume": resume,
        "start": weights,
        "every": every,
        "workers": workers,
        "processes": processes,
    }
    path = yield from train_prior(output / CHECKPOINTS, settings, validation={"drawn": drawn}, **options)
    if processes is not None and not processes.main:
        return output / MANIFEST
    network = AnchoredPrior(settings.widths, settings.depth)
    _load(network, path)
    examinations, told = drawn
    predicted = predict(network, examinations.lowdose, examinations.predose, told)
    scores = errors(predicted, examinations.predose, examinations.highdose, examinations.body)
    card = {
        "description": "Pre-dose and low-dose image; the signal equation of the acquisition and what a network adds.",
        "licence": "MIT",
        "intended_use": "Research only. Results are simulated images and not for diagnosis.",
        "training": {
            "cohort": "examinations drawn at random, no two alike (LIPCARLib/simulation/draw.py)",
            "settings": asdict(settings),
            "torch": torch.__version__,
            "drawn_validation": {"closed form": _rounded(anchor_errors(*drawn)), "prior": _rounded(scores)},
        },
    }
    return save_anchored_model(output, model_name(output), network, card)


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in scores.items()}


class _Batches(Dataset[tuple[Drawn, Tensor, Tensor, Tensor]]):
    """Step k's examinations, their anchor, and what the network sees of them."""

    def __init__(self, settings: AnchoredSettings) -> None:
        self.settings = settings

    def __getitem__(self, step: int) -> tuple[Drawn, Tensor, Tensor, Tensor]:
        s = self.settings
        drawn = draw_batch(torch.Generator().manual_seed(1_000_000_007 * s.seed + step), s.batch, s.size)
        physics, images, numbers = features(drawn.lowdose, drawn.predose, conditions_of(drawn))
        return drawn, physics.highdose, images, numbers


def _part(
    batch: tuple[Drawn, Tensor, Tensor, Tensor], own: slice, device: torch.device
) -> tuple[Drawn, Tensor, Tensor, Tensor]:
    """Some examinations of a batch; of what they were drawn from, all parameters."""
    drawn, *rest = batch
    images = {name: getattr(drawn, name)[own].to(device) for name in ("predose", "lowdose", "highdose", "body")}
    anchor, shown, numbers = (tensor[own].to(device) for tensor in rest)
    return replace(drawn, **images), anchor, shown, numbers


def _prepare(worker: int) -> None:
    """A processor takes ten times as long for numbers next to zero, of which smooth masks are full."""
    torch.set_flush_denormal(True)


class _Trainer:
    """A network on its way: weights, their average, optimizer and step are what a checkpoint holds."""

    def __init__(
        self,
        output: Path,
        settings: AnchoredSettings,
        start: str | os.PathLike[str] | None,
        resume: bool,
        workers: int,
        processes: Processes,
    ) -> None:
        self.output, self.settings, self.step, self.processes = output, settings, 0, processes
        torch.manual_seed(settings.seed)
        self.network = AnchoredPrior(settings.widths, settings.depth)
        if start is not None:
            _load(self.network, Path(start))
        for parameter in self.network.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self.network.to(processes.device)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99))
        _check_start(output, resume)
        if resume:
            self._restore(output / ANCHORED)
        processes.wait()  # all have looked for the checkpoint
        self.shared = processes.wrap(self.network, "addition")
        # A step's batch is drawn while the step before it is computed, if there is a processor for it.
        steps = range(self.step, settings.steps)
        self.batches = iter(
            DataLoader(_Batches(settings), batch_size=None, sampler=steps, num_workers=workers, worker_init_fn=_prepare)
        )

    def run_step(self) -> float:
        """One batch, one step of Adam; the loss."""
        s = self.settings
        batch = next(self.batches)
        for group in self.optimizer.param_groups:
            group["lr"] = s.learning_rate * self._schedule()
        self.optimizer.zero_grad(set_to_none=True)
        own, weight = self.processes.share(s.batch)
        drawn, anchor, images, numbers = _part(batch, own, self.processes.device)
        with torch.autocast(self.processes.device.type, torch.bfloat16, enabled=s.bfloat16):
            addition = self.shared.addition(images, numbers)
        loss = prior_loss(anchor + addition.float(), drawn, s) * weight
        self.processes.backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        if torch.isfinite(norm):
            self.optimizer.step()
        self.step += 1
        decay = min(s.average, self.step / (self.step + 10))
        for kept, new in zip(self.average.parameters(), self.network.parameters(), strict=True):
            kept.lerp_(new.detach(), 1 - decay)
        return loss.item()

    def _schedule(self) -> float:
        s = self.settings
        if self.step < s.warmup:
            return (self.step + 1) / s.warmup
        done = (self.step - s.warmup) / max(1, s.steps - s.warmup)
        return s.final + (1 - s.final) * 0.5 * (1 + math.cos(math.pi * done))

    def save(self) -> None:
        """Checkpoint and averaged weights, as one."""
        state: dict[str, Tensor] = {}
        for name, network in (("network", self.network), ("average", self.average)):
            state |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
        names = [name for name, _ in self.network.named_parameters()]
        for index, moments in self.optimizer.state_dict()["state"].items():
            state |= {f"adam.{names[index]}.{key}": value for key, value in moments.items()}
        metadata = {"step": str(self.step), "settings": json.dumps(asdict(self.settings))}
        write(
            {
                self.output / ANCHORED: save(_contiguous(state), metadata),
                self.output / WEIGHTS: save(_contiguous(self.average.state_dict())),
                self.output / "settings.json": json.dumps(asdict(self.settings), indent=2).encode(),
            }
        )

    def _restore(self, path: Path) -> None:
        shapes = shapes_of(self.network)
        weights = shapes_of(self.network, "network.") | shapes_of(self.network, "average.")
        with explained(path):
            state, metadata = read_checkpoint(
                path, weights, adam_shapes({f"adam.{key}": shapes[key] for key in shapes})
            )
            found, step = (parse_json(metadata.get(key, "null")) for key in ("settings", "step"))
            if not integer(0, 10**9).check(step):
                raise ValueError(f"its step is {step!r}, expected is an integer")
        expected = json.loads(json.dumps(asdict(self.settings)))
        if found != expected:
            raise LIPCARError(f"The checkpoint '{path}' is of other settings: {found}, not {expected}. Train anew.")
        for name, network in (("network", self.network), ("average", self.average)):
            network.load_state_dict(under(state, f"{name}."))
        optimizer = self.optimizer.state_dict()
        for index, (name, _) in enumerate(self.network.named_parameters()):
            if moments := under(state, f"adam.{name}."):
                optimizer["state"][index] = moments
        self.optimizer.load_state_dict(optimizer)
        self.step = step


def _contiguous(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().contiguous().clone() for key, value in state.items()}


def _check_start(folder: Path, resume: bool) -> None:
    if not check_folder(folder, (ANCHORED,), resume) and resume:
        raise LIPCARError(f"'{folder}' holds no checkpoint to resume. Start without --resume.")


def _load(network: AnchoredPrior, path: Path) -> None:
    shapes = shapes_of(network)
    try:
        weights = unpack(read_weights_file(path, numbers_in(shapes)), shapes, ("F16", "F32"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LIPCARError(f"The weights in '{path}' do not fit {network.architecture}: {reason}.") from error
    network.load_state_dict(weights)


def anchor_errors(drawn: Drawn, conditions: Conditions) -> dict[str, float]:
    """:func:`errors` of the anchor alone."""
    closed = features(drawn.lowdose, drawn.predose, conditions)[0].highdose.clamp_min(0)
    return errors(closed, drawn.predose, drawn.highdose, drawn.body)
