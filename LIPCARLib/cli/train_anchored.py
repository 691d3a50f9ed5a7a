"""`lipcar train-anchored`: train what a network adds to the signal equation, on examinations drawn on the fly."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Annotated, Any

import typer

from ..learning import AnchoredProgress, AnchoredSettings, start_processes, train_anchored
from ..storage import claimed
from .console import err, out, print_written, progress_bar
from .options import BATCH_HELP, MODEL_HELP, DeviceOption, DevicesOption, NodesOption


def train_anchored_command(
    output: Annotated[Path, typer.Argument(help="Folder of the model to make.")],
    steps: Annotated[int, typer.Option(min=1, help="Of Adam, one batch each.")] = 30_000,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in the output folder.")] = False,
    start_from: Annotated[str | None, typer.Option(help=f"An anchored model to go on from. {MODEL_HELP}")] = None,
    learning_rate: Annotated[float, typer.Option(help="Peak of Adam's step.")] = 1.5e-3,
    batch: Annotated[int, typer.Option(min=1, help=f"Examinations {BATCH_HELP}")] = 8,
    size: Annotated[int, typer.Option(min=32, help="Pixels a side.")] = 96,
    bfloat16: Annotated[bool, typer.Option(help="Twice as fast where the processor has it.")] = True,
    every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 500,
    workers: Annotated[int, typer.Option(min=0, max=64, help="Processes that draw beside the one that trains.")] = 1,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: DeviceOption = "cpu",
    devices: DevicesOption = 1,
    nodes: NodesOption = 1,
) -> None:
    """Train a model that starts from the signal equation. Needs no cohort; may be stopped and resumed."""
    processes = start_processes(devices, nodes, device)
    settings = AnchoredSettings(
        steps=steps,
        batch=batch * processes.count,
        size=size,
        learning_rate=learning_rate,
        bfloat16=bfloat16,
        seed=seed,
    )
    options: dict[str, Any] = {"resume": resume, "start": start_from, "every": every, "workers": workers}
    training = train_anchored(output, settings, processes=processes, **options)
    if not processes.main:  # it helps, and says nothing
        deque(training, maxlen=0)
        return
    with claimed(output), progress_bar("Training", steps) as (bar, task):
        for progress in training:
            bar.update(task, completed=progress.step, info=_line(progress))
            if not err.is_terminal:
                err.print(_line(progress))
    print_written([output])
    out.print(
        "Measure it: `lipcar evaluate COHORT --model FOLDER`, Testing/benchmarks/real_heads.py.",
    )


def _line(progress: AnchoredProgress) -> str:
    drawn = progress.errors["drawn"]
    return (
        f"step {progress.step}, loss {progress.loss:.4f}; drawn examinations: body RMSE {drawn['body']:.4f}, "
        f"what enhances {drawn['enhancing']:.4f}, bias there {drawn['bias']:+.4f}"
    )
