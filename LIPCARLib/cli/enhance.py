"""`lipcar enhance` and `lipcar demo`: simulate the high-dose image of one examination."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from .. import trust
from ..doubt import Doubt
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
from ..imaging.writing_maps import check_highdicom
from ..inverse import AUTO, Model, Progress, Result, check_alpha, complete, default_model, load_model, reconstruct
from ..resources import RESOURCES
from ..storage import check_folder, check_fresh, check_place
from ..study import build_report, comparison_figure, most_enhancing_slices
from ..trust import STOP, Evidence, evidence_files, judge
from .console import out, print_notice, print_verdict, print_written, progress_bar, time_left
from .options import AlphaOption, DeviceOption, ModelOption, SolverOption
from .tables import metrics_table

DEMO_SLICES = (4, 1)
"""Of the sample: one with the tumor, one without."""
PICTURE_SLICES = 2
Made = TypeVar("Made")


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
    evidence: Path | None = None

    def check(self, inputs: Sequence[Path]) -> None:
        """Before anything is computed: each output can be written and has a place of its own, and no input is lost."""
        images = [path for path in (self.image, self.prior) if path is not None]
        others = [path for path in (self.report, self.picture) if path is not None]
        for path in images:
            check_output(path)
        for path in others:
            check_place(path)
        folders = self.folders
        for folder in folders:
            check_fresh(folder)
        if len(folders) == 2:
            check_highdicom()
        outputs = [_real(path) for path in (*images, *others, *folders)]
        read = {_real(path) for path in (*inputs, *filter(None, map(sidecar, inputs)))}
        for path in outputs:
            around = [one for one in outputs if one in path.parents]
            if outputs.count(path) > 1 or around:
                raise LIPCARError(f"'{path}' is named for two outputs, or lies in one; give each a place of its own.")
            if path in read or (read & {*path.parents} and path.is_file() and series_file(path)):
                raise LIPCARError(f"'{path}' is an input and would be overwritten; choose another output.")

    @property
    def folders(self) -> list[Path]:
        """What is filled with files and has to be new."""
        return [folder for folder in (self.dicom, self.evidence) if folder is not None]


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
    evidence: Annotated[
        Path | None,
        typer.Option(help="New folder for maps of what was measured, how sure it is, and what nothing supports."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Where to write a JSON report.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Where to write a PNG comparison.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write even a result that should not be used.")] = False,
    engine: Annotated[str | None, typer.Option(help="HOST:PORT where lipcar serve runs, to compute there.")] = None,
) -> None:
    """Simulate the high-dose image of one examination."""
    outputs = Outputs(output, prior_output, report, picture, dicom=dicom_output, evidence=evidence)
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
    options = {"alpha": weight, "solver": solver, "iterations": iterations, "dose_fraction": dose_fraction}
    _enhance(examination, chosen, {**options, "device": device}, outputs, force, remote, name)


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
    _enhance(Examination.read(lowdose, predose, highdose), load_model(default_model(True)), {"device": device}, outputs)


def _axis(letter: str | None) -> int | None:
    if letter is None:
        return None
    if letter not in AXES:
        raise LIPCARError(f"The slice axis is '{letter}'; expected one of: {', '.join(AXES)}.")
    return AXES.index(letter)


def _enhance(
    examination: Examination,
    model: Model,
    options: dict[str, Any],
    outputs: Outputs,
    force: bool = False,
    engine: Engine | None = None,
    name: str = "",
) -> None:
    """`name` is what an engine elsewhere calls the model."""
    _print_notices(examination.notices)
    if examination.predose is not None and not model.uses_predose:
        print_notice(f"the model '{model.name}' does not use the pre-dose image.")
    found = None
    if engine is not None:
        asked = Asked(model=name, data_consistency=False, evidence=outputs.evidence is not None, **options)
        answer = _followed("Computing", engine.enhance(examination, asked))
        result, found = answer.result, answer.evidence
    else:
        result = _followed("Reconstructing", reconstruct(examination, model, **options))
        if outputs.evidence is not None:
            found = _followed("Judging", trust.evidence(examination, model, result, **_told(options)))
    _print_notices(result.notices)
    if found is not None:
        _print_notices(found.notices)
    verdict = judge(examination, result, found)
    if verdict.level == STOP and not force:
        raise LIPCARError(
            f"Do not use this result: {' '.join(verdict.reasons)} Nothing was written; --force writes it all the same."
        )
    result = replace(result, provenance=result.provenance | verdict.provenance())
    report = build_report(examination, result, found)
    written = _write(examination, result, found, report, outputs)
    out.print(
        f"{len(examination.lowdose)} slices in {result.seconds:.1f} s on {result.provenance['device']}, "
        f"model {model.name}, alpha {result.provenance['alpha']}, at most {report['network_evaluations']} operator "
        "evaluations a slice.",
    )
    if "metrics" in report:
        out.print(metrics_table(report["metrics"]))
    print_written(written)
    print_verdict(verdict.level, verdict.reasons)
    out.print("Simulated image, research only: not for diagnosis.", style="dim")


def _print_notices(notices: Sequence[str]) -> None:
    """What does not bear on the verdict, which names the rest as its reasons."""
    for notice in notices:
        if not isinstance(notice, Doubt):
            print_notice(notice)


def _told(options: dict[str, Any]) -> dict[str, Any]:
    return {key: options[key] for key in ("dose_fraction", "device") if key in options}


def _followed(doing: str, steps: Generator[Progress | None, None, Made]) -> Made:
    """Run to its end what yields its progress, with a bar."""
    with progress_bar(doing) as (bar, task):

        def show(progress: Progress | None) -> None:
            if progress is None:  # nothing new
                return
            text = f"{progress.slices_done}/{progress.slices_total} slices on {progress.device}"
            bar.update(task, completed=progress.fraction, info=f"{text}{time_left(progress.seconds_left)}")

        return complete(steps, show)


def _write(
    examination: Examination, result: Result, found: Evidence | None, report: dict[str, Any], outputs: Outputs
) -> list[Path]:
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
    if found is not None and outputs.evidence is not None:
        files |= evidence_files(outputs.evidence, examination, found, series.values())
    if outputs.prior is not None:
        files[outputs.prior] = examination.to_image(result.prior)
    if outputs.report is not None:
        files[outputs.report] = (json.dumps(report, indent=1, allow_nan=False) + "\n").encode()
    if outputs.picture is not None:
        count = min(PICTURE_SLICES, len(examination.lowdose))
        slices = outputs.picture_slices or most_enhancing_slices(examination, result, count)
        files[outputs.picture] = comparison_figure(examination, result, slices, report)
    metadata = {f"LIPCAR.{key}": str(value) for key, value in result.provenance.items()}
    folders = outputs.folders
    write_files({**files, **series}, metadata, folders)
    return [*(path for path in files if path.parent not in folders), *folders]
