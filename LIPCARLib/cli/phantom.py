"""`lipcar phantom`: simulate a cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from ..errors import LIPCARError
from ..learning import write_simulated_cohort
from ..simulation import Anatomy
from ..storage import claimed
from .console import out, progress_bar


def phantom(
    cohort: Annotated[Path, typer.Argument(help="Folder of the cohort.")],
    subjects: Annotated[int, typer.Option(min=1, max=100_000, help="How many subjects.")],
    slices: Annotated[int, typer.Option(min=1, max=1000, help="Slices a subject.")] = 18,
    size: Annotated[int, typer.Option(min=32, max=4096, help="Pixels a side.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same voxels.")] = 0,
    anatomy: Annotated[str, typer.Option(help="rat, human, shapes or mixed.")] = "mixed",
) -> None:
    """Simulate examinations: three images, the noise-free ones and labels for each subject."""
    chosen = _anatomy(anatomy)
    with claimed(cohort), progress_bar("Simulating", subjects) as (bar, task):
        for folder in write_simulated_cohort(cohort, subjects, slices=slices, size=size, seed=seed, anatomy=chosen):
            bar.update(task, advance=1, info=folder.name)
    out.print(f"{subjects} subjects of {slices} slices in {cohort}")


def _anatomy(word: str) -> Anatomy:
    known: tuple[Anatomy, ...] = get_args(Anatomy)
    for anatomy in known:
        if anatomy == word:
            return anatomy
    raise LIPCARError(f"Unknown anatomy '{word}'; expected rat, human, shapes or mixed.")
