"""One examination from its files to its outputs: what `lipcar enhance` does once, and `lipcar cohort` many times."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .. import inverse, trust
from ..errors import LIPCARError
from ..imaging import (
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
from ..inverse import Progress, Result, complete, default_model
from ..json_file import read_json
from ..physics import Acquisition
from ..storage import check_fresh, check_place, real_path
from .run_report import build_report, most_enhancing_slices

if TYPE_CHECKING:
    from ..inverse import Model

PICTURE_SLICES = 2
Made = TypeVar("Made")


@dataclass(frozen=True)
class Inputs:
    """What an examination is read from; arguments are as in `Examination.read`.

    Attributes:
        acquisition: a file as of `imaging.told_acquisition`.
        t1_map: an image of T1 before the agent.
        sidecars: files with keys of a BIDS sidecar, a later one's before an earlier one's; they count where there is
            no `acquisition`.
    """

    lowdose: Path
    predose: Path | None = None
    highdose: Path | None = None
    acquisition: Path | None = None
    t1_map: Path | None = None
    slice_axis: int | None = None
    match_predose: bool = True
    sidecars: tuple[Path, ...] = ()

    @property
    def paths(self) -> list[Path]:
        """The files and folders that are read."""
        paths = (self.lowdose, self.predose, self.highdose, self.acquisition, self.t1_map)
        return [*(path for path in paths if path is not None), *self.sidecars]

    def read(self) -> Examination:
        """The examination, with its T1 map.

        Raises:
            LIPCARError: a file that cannot be read, or does not fit the others.
        """
        told = self._inherited() if self.acquisition is None else told_acquisition(self.acquisition)
        examination = Examination.read(
            self.lowdose, self.predose, self.highdose, self.slice_axis, self.match_predose, told
        )
        if self.t1_map is None:
            return examination
        said: list[str] = []
        return examination.with_t1_map(read_image(self.t1_map, said), f"The T1 map ('{self.t1_map}')", said)

    def _inherited(self) -> Acquisition | None:
        keys: dict[str, Any] = {}
        for path in self.sidecars:
            found = read_json(path, "JSON file", "Write one with the keys of a BIDS sidecar.")
            keys |= found if isinstance(found, dict) else {}
        return Acquisition.from_bids(keys) if keys else None


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
        outputs = [real_path(path) for path in (*images, *others, *folders)]
        read = {real_path(path) for path in (*inputs, *filter(None, map(sidecar, inputs)))}
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


@dataclass(frozen=True)
class Enhanced:
    """What came of an examination: report, verdict, and the files and folders that were written."""

    model: Model
    report: dict[str, Any]
    verdict: trust.Verdict
    written: list[Path]


class RefusedError(LIPCARError):
    """The verdict is "do not use"; nothing was written."""

    def __init__(self, verdict: trust.Verdict) -> None:
        super().__init__(
            f"Do not use this result: {' '.join(verdict.reasons)} Nothing was written; --force writes it all the same."
        )
        self.verdict = verdict


class Follow(Protocol):
    """Runs what yields its progress to its end, and may show how far it is."""

    def __call__(self, doing: str, steps: Generator[Progress | None, None, Made]) -> Made: ...


def silently(doing: str, steps: Generator[Progress | None, None, Made]) -> Made:
    """Shows nothing."""
    return complete(steps)


Computed = tuple[Result, trust.Evidence | None]
Begin = Callable[[Examination, "Model", str, dict[str, Any], bool], Generator[Progress | None, None, Computed]]
"""Begins the reconstruction of an examination with a model, its name or folder, and the options of
`inverse.reconstruct`; the last argument asks for evidence too."""


def begin_here(
    examination: Examination, model: Model, name: str, options: dict[str, Any], evidence: bool
) -> Generator[Progress | None, None, Computed]:
    """In this process."""
    result = yield from inverse.reconstruct(examination, model, **options)
    if not evidence:
        return result, None
    told = {key: options[key] for key in ("dose_fraction", "device") if key in options}
    return result, (yield from trust.evidence(examination, model, result, **told))


def enhance_examination(
    inputs: Inputs,
    outputs: Outputs,
    model: str | None,
    options: dict[str, Any],
    tell: Callable[[str], None],
    follow: Follow = silently,
    force: bool = False,
    begin: Begin = begin_here,
) -> Enhanced:
    """Read an examination, reconstruct and judge it, and write all outputs or none.

    Args:
        inputs: where from.
        outputs: where to; they are not checked here, and folders that are missing are made.
        model: a name or folder, None for the shipped one that suits the examination.
        options: of `inverse.reconstruct`.
        tell: is called with each notice as soon as it is known; those that are a `Doubt` bear on the verdict.
        follow: how what takes long is run.
        force: write even what should not be used.
        begin: where the reconstruction is computed.

    Raises:
        RefusedError: the result should not be used.
        LIPCARError: what a user can mend, in the inputs, the model or the options; an output that cannot be written.
    """
    examination = inputs.read()
    notices = list(examination.notices)
    if outputs.dicom is not None:
        outputs = replace(outputs, dicom_source=series_source(inputs.lowdose, notices))
    name = default_model(examination.predose is not None, examination.predose_doubtful) if model is None else model
    chosen = inverse.load_model(name)
    if not chosen.uses_acquisition and (inputs.acquisition is not None or inputs.t1_map is not None):
        notices.append(f"The model '{chosen.name}' uses neither the acquisition nor a T1 map.")
    examination = replace(examination, notices=tuple(notices))
    for notice in notices:
        tell(notice)
    steps = begin(examination, chosen, name, options, outputs.evidence is not None)
    result, found = follow("Reconstructing", steps)
    for notice in (*result.notices, *(() if found is None else found.notices)):
        tell(notice)
    verdict = trust.judge(examination, result, found)
    if verdict.level == trust.STOP and not force:
        raise RefusedError(verdict)
    result = replace(result, provenance=result.provenance | verdict.provenance())
    report = build_report(examination, result, found)
    files = _files(examination, result, found, report, outputs, tell)
    metadata = {f"LIPCAR.{key}": str(value) for key, value in result.provenance.items()}
    del examination, result, found  # volumes by the dozen, while files are packed and read back
    folders = outputs.folders
    write_files(files, metadata | {"LIPCAR.notices": " ".join(report["notices"])}, folders)
    return Enhanced(chosen, report, verdict, [*(path for path in files if path.parent not in folders), *folders])


def _files(
    examination: Examination,
    result: Result,
    found: trust.Evidence | None,
    report: dict[str, Any],
    outputs: Outputs,
    tell: Callable[[str], None],
) -> dict[Path, Any]:
    """The content of all outputs; notices about it go into the report, too."""
    image = examination.to_image(result.highdose)
    folder, notices = outputs.dicom, list[str]()
    series: dict[Path, bytes] = {}
    if folder is not None:
        axis, source = examination.slice_axis, outputs.dicom_source
        series = series_files(folder, image, axis, result.provenance, source, notices=notices)
    for notice in notices:
        tell(notice)
    report["notices"] += notices
    files: dict[Path, Any] = {outputs.image: image}
    if found is not None and outputs.evidence is not None:
        files |= trust.evidence_files(outputs.evidence, examination, found, series.values())
    if outputs.prior is not None:
        files[outputs.prior] = examination.to_image(result.prior)
    if outputs.report is not None:
        files[outputs.report] = (json.dumps(report, indent=1, allow_nan=False) + "\n").encode()
    if outputs.picture is not None:
        from .figures import comparison_figure

        count = min(PICTURE_SLICES, len(examination.lowdose))
        slices = outputs.picture_slices or most_enhancing_slices(examination, result, count)
        files[outputs.picture] = comparison_figure(examination, result, slices, report)
    return files | series
