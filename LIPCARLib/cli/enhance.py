"""`lipcar enhance` and `lipcar demo`: simulate the high-dose image of one examination."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ..engine import Asked, Engine, Remote, read_token
from ..errors import LIPCARError
from ..imaging import (
    AXES,
    Examination,
    SeriesSource,
    check_output,
    read_image,
    series_file,
    series_files,
    series_source,
    sidecar,
    told_acquisition,
    write_files,
)
from ..inverse import AUTO, Model, Progress, Result, check_alpha, complete, default_model, load_model, reconstruct
from ..resources import RESOURCES
from ..storage import check_folder, check_fresh, check_place
from ..study import build_report, comparison_figure, most_enhancing_slices
from .console import out, print_notice, print_written, progress_bar, time_left
from .options import AlphaOption, DeviceOption, ModelOption, SolverOption
from .tables import metrics_table

DEMO_SLICES = (4, 1)
"""Of the sample: one with the tumor, one without."""
PICTURE_SLICES = 2
Steps = Generator[Progress | None, None, Result]
"""A reconstruction, here or elsewhere."""


@dataclass(frozen=True)
class Outputs:
    """Where results go; None leaves one out. A DICOM series goes into the study of `dicom_source`, if that has one."""

    image: Path
    prior: Path | None = None
    report: Path | None = None
    picture: Path | None = None
    picture_slices: tuple[int, ...] | None = None
    dicom: Path | None = None
    dicom_source: SeriesSource | None = None

    def check(self, inputs: Sequence[Path]) -> None:
        """Before anything is computed: each output can be written and has a place of its own, and no input is lost."""
        images = [path for path in (self.image, self.prior) if path is not None]
        others = [path for path in (self.report, self.picture) if path is not None]
        for path in images:
            check_output(path)
        for path in others:
            check_place(path)
        folders = [] if self.dicom is None else [self.dicom]
        for folder in folders:
            check_fresh(folder)
        outputs = [_real(path) for path in (*images, *others, *folders)]
        read = {_real(path) for path in (*inputs, *filter(None, map(sidecar, inputs)))}
        for path in outputs:
            around = [one for one in outputs if one in path.parents]
            if outputs.count(path) > 1 or around:
                raise LIPCARError(f"'{path}' is named for two outputs, or lies in one; give each a place of its own.")
            if path in read or (read & {*path.parents} and path.is_file() and series_file(path)):
                raise LIPCARError(f"'{path}' is an input and would be overwritten; choose another output.")


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def enhance(
    lowdose: Annotated[Path, typer.Option(help="The image after the low dose: a file or a DICOM folder.")],
    output: Annotated[Path, typer.Option(help="Where to write the simulated high-dose image.")],
    predose: Annotated[Path | None, typer.Option(help="The image before the agent.")] = None,
    model: ModelOption = None,
    alpha: AlphaOption = AUTO,
    solver: SolverOption = "proximal",
    iterations: Annotated[
        int | None, typer.Option(help="Network evaluations (proximal) or steps (adam) a slice.")
    ] = None,
    device: DeviceOption = "auto",
    slice_axis: Annotated[str | None, typer.Option(help="i, j or k; default: the acquired slices.")] = None,
    match_predose: Annotated[
        bool, typer.Option(help="Bring the pre-dose image to the low-dose image's place and receiver gain.")
    ] = True,
    dose_fraction: Annotated[
        float | None, typer.Option(help="Low dose over full dose, if known; default: about a fifth.")
    ] = None,
    acquisition: Annotated[
        Path | None,
        typer.Option(help="How the images were acquired, JSON with BIDS keys; default: what headers and sidecars say."),
    ] = None,
    t1_map: Annotated[
        Path | None, typer.Option(help="T1 before the agent, s or ms, on the low-dose image's grid, if known.")
    ] = None,
    highdose: Annotated[Path | None, typer.Option(help="A real high-dose image, for metrics only.")] = None,
    prior_output: Annotated[Path | None, typer.Option(help="Where to write the model's own guess.")] = None,
    dicom_output: Annotated[Path | None, typer.Option(help="New folder for the result as a DICOM MR series.")] = None,
    report: Annotated[Path | None, typer.Option(help="Where to write a JSON report.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Where to write a PNG comparison.")] = None,
    engine: Annotated[str | None, typer.Option(help="HOST:PORT where lipcar serve runs, to compute there.")] = None,
) -> None:
    """Simulate the high-dose image of one examination."""
    outputs = Outputs(output, prior_output, report, picture, dicom=dicom_output)
    outputs.check([path for path in (lowdose, predose, highdose, acquisition, t1_map) if path is not None])
    weight = check_alpha(alpha)
    remote = None if engine is None else Remote(engine, read_token())
    told = None if acquisition is None else told_acquisition(acquisition)
    examination = Examination.read(lowdose, predose, highdose, _axis(slice_axis), match_predose, told)
    if dicom_output is not None:
        notices: list[str] = []
        outputs = replace(outputs, dicom_source=series_source(lowdose, notices))
        examination = replace(examination, notices=(*examination.notices, *notices))
    if t1_map is not None:
        said: list[str] = []
        examination = examination.with_t1_map(read_image(t1_map, said), f"The T1 map ('{t1_map}')", said)
    name = default_model(examination.predose is not None, examination.predose_doubtful) if model is None else model
    chosen = load_model(name)
    if not chosen.uses_acquisition and (acquisition is not None or t1_map is not None):
        print_notice(f"the model '{chosen.name}' uses neither the acquisition nor a T1 map.")
    options: dict[str, Any] = {"alpha": weight, "solver": solver, "iterations": iterations, "device": device}
    options["dose_fraction"] = dose_fraction
    local = reconstruct(examination, chosen, **options)
    _enhance(examination, chosen, local if remote is None else _asked(remote, examination, name, options), outputs)


def _asked(engine: Engine, examination: Examination, model: str, options: dict[str, Any]) -> Steps:
    """The same of an engine."""
    asked = Asked(model=model, data_consistency=False, **options)
    return (yield from engine.enhance(examination, asked)).result


def demo(
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("lipcar-demo"),
    device: DeviceOption = "auto",
) -> None:
    """Enhance the embedded sample examination: a volume, a report and a picture."""
    check_folder(output)
    lowdose, predose, highdose = (
        RESOURCES / "SampleData" / f"rat-{role}.nrrd" for role in ("lowdose", "predose", "highdose")
    )
    outputs = Outputs(
        output / "lip-car.nrrd",
        prior=output / "prior.nrrd",
        report=output / "report.json",
        picture=output / "comparison.png",
        picture_slices=DEMO_SLICES,
    )
    examination, model = Examination.read(lowdose, predose, highdose), load_model(default_model(True))
    _enhance(examination, model, reconstruct(examination, model, device=device), outputs)


def _axis(letter: str | None) -> int | None:
    if letter is None:
        return None
    if letter not in AXES:
        raise LIPCARError(f"The slice axis is '{letter}'; expected one of: {', '.join(AXES)}.")
    return AXES.index(letter)


def _enhance(examination: Examination, model: Model, steps: Steps, outputs: Outputs) -> None:
    for notice in examination.notices:
        print_notice(notice)
    if examination.predose is not None and not model.uses_predose:
        print_notice(f"the model '{model.name}' does not use the pre-dose image.")
    result = _reconstruct(steps)
    for notice in result.notices:
        print_notice(notice)
    report = build_report(examination, result)
    written = _write(examination, result, report, outputs)
    out.print(
        f"{len(examination.lowdose)} slices in {result.seconds:.1f} s on {result.provenance['device']}, "
        f"model {model.name}, alpha {result.provenance['alpha']}, at most {report['network_evaluations']} operator "
        "evaluations a slice.",
    )
    if "metrics" in report:
        out.print(metrics_table(report["metrics"]))
    print_written(written)
    out.print("Simulated image, research only: not for diagnosis.", style="dim")


def _reconstruct(steps: Steps) -> Result:
    with progress_bar("Reconstructing") as (bar, task):

        def show(progress: Progress | None) -> None:
            if progress is None:  # nothing new
                return
            text = f"{progress.slices_done}/{progress.slices_total} slices on {progress.device}"
            bar.update(task, completed=progress.fraction, info=f"{text}{time_left(progress.seconds_left)}")

        return complete(steps, show)


def _write(examination: Examination, result: Result, report: dict[str, Any], outputs: Outputs) -> list[Path]:
    """Write all outputs or none; what was written."""
    image = examination.to_image(result.highdose)
    folder, notices = outputs.dicom, list[str]()
    series: dict[Path, bytes] = {}
    if folder is not None:
        axis, source = examination.slice_axis, outputs.dicom_source
        series = series_files(folder, image, axis, result.provenance, source, notices=notices)
    for notice in notices:
        print_notice(notice)
    report["notices"] += notices
    files: dict[Path, Any] = {outputs.image: image}
    if outputs.prior is not None:
        files[outputs.prior] = examination.to_image(result.prior)
    if outputs.report is not None:
        files[outputs.report] = (json.dumps(report, indent=1, allow_nan=False) + "\n").encode()
    if outputs.picture is not None:
        count = min(PICTURE_SLICES, len(examination.lowdose))
        slices = outputs.picture_slices or most_enhancing_slices(examination, result, count)
        files[outputs.picture] = comparison_figure(examination, result, slices, report)
    metadata = {f"LIPCAR.{key}": str(value) for key, value in result.provenance.items()}
    if folder is None:
        write_files(files, metadata)
        return list(files)
    write_files({**files, **series}, metadata, folder)
    return [*files, folder]
