"""`lipcar train`: train a model and measure it."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Annotated, Any

import typer

from ..inverse import load_model
from ..learning import TrainingProgress, TrainingSettings, start_processes
from ..learning import train as train_model
from ..storage import claimed
from ..study import CARD_ALPHAS, CARD_METHODS, Experiment
from .console import err, progress_bar, time_left
from .experiments import print_comparison, record_scores, run_with_progress
from .options import (
    BATCH_HELP,
    MODEL_HELP,
    CohortArgument,
    DeviceOption,
    DevicesOption,
    NewModelOption,
    NodesOption,
)


def train(
    cohort: CohortArgument,
    output: NewModelOption,
    predose: Annotated[bool, typer.Option(help="Whether the networks take the pre-dose image.")] = True,
    epochs: Annotated[int, typer.Option(min=1)] = 80,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoints in the output folder.")] = False,
    residual: Annotated[bool, typer.Option(help="Learn the change, or the paper's plain network.")] = True,
    smooth: Annotated[bool, typer.Option(help="A differentiable activation instead of LeakyReLU.")] = False,
    difference_start: Annotated[
        bool, typer.Option(help="Start half of the first layer on the difference to the pre-dose image.")
    ] = True,
    learning_rate: Annotated[float, typer.Option(help="Peak of Adam's step.")] = 5e-4,
    l1: Annotated[float, typer.Option(help="Weight of the mean absolute error beside 1 - SSIM.")] = 1.0,
    batch: Annotated[int, typer.Option(min=1, help=f"Crops {BATCH_HELP}")] = 4,
    start: Annotated[str | None, typer.Option(help=f"A model to go on from. {MODEL_HELP}")] = None,
    crop: Annotated[int, typer.Option(min=16, help="Pixels a side of a training crop.")] = 128,
    held_out: Annotated[float, typer.Option(min=0, max=1, help="Share of the subjects kept out of training.")] = 0.15,
    precision: Annotated[str, typer.Option(help="float32, or bfloat16 where the processor has it.")] = "float32",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    score: Annotated[bool, typer.Option(help="Measure the model on the subjects held out, for its card.")] = True,
    snapshot: Annotated[
        list[int] | None, typer.Option(help="Keep the prior of this epoch too, as OUTPUT/epoch-NN; several times.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="A sentence for the model card.")] = None,
    device: DeviceOption = "auto",
    devices: DevicesOption = 1,
    nodes: NodesOption = 1,
) -> None:
    """Train a model, a prior and a forward operator, and measure it on the subjects held out."""
    processes = start_processes(devices, nodes, device)
    settings = TrainingSettings(
        predose=predose,
        epochs=epochs,
        batch=batch * processes.count,
        learning_rate=learning_rate,
        l1=l1,
        crop=crop,
        held_out=held_out,
        residual=residual,
        smooth=smooth,
        difference_start=difference_start,
        precision=precision,
        seed=seed,
    )
    snapshots = snapshot or []
    options: dict[str, Any] = {"processes": processes, "resume": resume, "start": start, "snapshots": snapshots}
    if description is not None:
        options["description"] = description
    if not processes.main:  # it helps, and says nothing
        deque(train_model(cohort, output, settings, **options), maxlen=0)
        return
    with claimed(output):
        with progress_bar("Training", 2 * epochs) as (bar, task):
            for epoch in train_model(cohort, output, settings, **options):
                done = epoch.epoch + (epochs if epoch.role == "forward_operator" else 0)
                bar.update(task, completed=done, info=_line(epoch) + time_left(epoch.seconds_left))
                if not err.is_terminal:
                    err.print(_line(epoch))
        if score:
            _record_scores(cohort, output, device)


def _record_scores(cohort: Path, output: Path, device: str) -> None:
    """On the subjects held out, into the model's card."""
    model = load_model(output)
    folders = [cohort / name for name in model.manifest["training"]["held_out_subjects"]]
    experiment = Experiment((model,), CARD_METHODS, CARD_ALPHAS, device=device)
    results, _ = run_with_progress(experiment, folders, None)
    print_comparison(experiment, results)
    record_scores(experiment, results, output)


def _line(progress: TrainingProgress) -> str:
    return (
        f"{progress.role} epoch {progress.epoch}/{progress.epochs}, loss {progress.loss:.4f}, "
        f"held-out SSIM {progress.validation_ssim:.4f}"
    )
