"""`lipcar check`: the controls that a model must pass, and the smallest lesion that it shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ..errors import LIPCARError
from ..imaging import Examination
from ..inverse import choose_device, load_model, read_manifest, write_manifest
from ..simulation import Scene, cell_scene, head_scene, image_scene
from ..storage import check_place, write
from ..study import limit_words
from ..trust import Outcome, all_kinds, method_of, read_scene, weigh
from .console import err, out, print_written, progress_bar
from .options import MODEL_HELP, DeviceOption

SLICES = 4
"""Of each simulated examination."""


def check(
    model: Annotated[str, typer.Argument(help=MODEL_HELP)],
    output: Annotated[Path | None, typer.Option(help="Where to write all numbers, JSON.")] = None,
    examinations: Annotated[
        Path | None, typer.Option(help="Folder of real pre-dose images (*pre*), to put lesions into as well.")
    ] = None,
    subjects: Annotated[int, typer.Option(help="Simulated examinations: two heads of three, else cells.")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="Another one draws other examinations.")] = 2026,
    record: Annotated[
        bool, typer.Option("--record", help="Write the limits into the card of the model's folder.")
    ] = False,
    device: DeviceOption = "auto",
) -> None:
    """Put lesions of 1 to 15 mm into examinations and take them out: does the model show them, and nothing else?"""
    if not 1 <= subjects <= 1000:
        raise LIPCARError(f"{subjects} subjects were asked for; 1 to 1000 are expected.")
    if record and not Path(model).is_dir():
        raise LIPCARError("--record needs the folder of a model (one named as a shipped model: ./name).")
    choose_device(device)
    method, kinds, readings = method_of(load_model(model), device), all_kinds(), []
    real = [] if examinations is None else _predose_files(examinations)
    if output is not None:
        check_place(output)
        read = {path.resolve() for path in (*real, *Path(model).glob("*"))}
        if output.resolve() in read:
            raise LIPCARError(f"'{output}' is an input and would be overwritten; choose another output.")
    with progress_bar("Checking", subjects + len(real)) as (bar, task):
        for index, scene in enumerate(_scenes(subjects, real, seed)):
            readings.append(read_scene(method, scene, kinds, seed + index))
            bar.update(task, advance=1, info=scene.name)
            if not err.is_terminal:
                err.print(f"{scene.name} done, {index + 1} of {subjects + len(real)}")
    outcome = weigh(readings)
    _show(outcome)
    if output is not None:
        write({output: (json.dumps({"model": model, **outcome.summary()}, indent=1, allow_nan=False) + "\n").encode()})
        print_written([output])
    if record:
        write_manifest(Path(model), read_manifest(Path(model)) | {"controls": outcome.card()})
    if not outcome.passed:
        raise typer.Exit(1)


def _scenes(subjects: int, real: list[Path], seed: int) -> Iterator[Scene]:
    for index in range(subjects):
        yield (cell_scene if index % 3 == 2 else head_scene)(seed, index, SLICES)
    for index, path in enumerate(real):
        image = Examination.read(path)
        spacing = image.to_image(image.lowdose).GetSpacing()
        order = [image.slice_axis, *(axis for axis in (2, 1, 0) if axis != image.slice_axis)]
        steps = [spacing[axis] if axis < len(spacing) else 1.0 for axis in order]
        yield image_scene(path.name, image.lowdose, (steps[0], steps[1], steps[2]), index)


def _predose_files(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.glob("**/*pre*") if path.is_file()) if folder.is_dir() else []
    if not found:
        raise LIPCARError(f"'{folder}' holds no pre-dose image; files with 'pre' in their names are expected.")
    return found


def _show(outcome: Outcome) -> None:
    contrasts, sizes = (sorted({getattr(cell, key) for cell in outcome.cells}) for key in ("contrast", "size"))
    cells = {(cell.size, cell.contrast): cell for cell in outcome.cells}
    title = f"lesions found (95 % interval), enhancement recovered; {outcome.scenes} examinations"
    table = Table("mm", *(f"{one:g} x noise" for one in contrasts), title=title, title_justify="left", box=None)
    for size in sizes:
        row = []
        for contrast in contrasts:
            cell = cells.get((size, contrast))
            interval = "" if cell is None else f"({100 * cell.interval[0]:.0f}-{100 * cell.interval[1]:.0f})"
            row.append("-" if cell is None else f"{cell.found:.0%} {interval}, {cell.recovered:.0%}")
        table.add_row(f"{size:g}", *row)
    out.print(table)
    out.print(limit_words(outcome.card()))
    for control in outcome.controls:
        style, word = ("green", "passed") if control.passed else ("red", "FAILED")
        out.print(f"{word}: {control.name}; {control.words}.", style=style)
