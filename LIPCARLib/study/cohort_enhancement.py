"""One examination of a cohort: what was asked for and from what, whether that is done already, and doing it."""

from __future__ import annotations

import hashlib
import json
import os
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..doubt import Doubt
from ..errors import LIPCARError, advice
from ..imaging import sidecar
from ..inverse import default_model, load_model
from ..json_file import TEXT, Field, complaints, read_json
from ..storage import HIDDEN, claimed, write
from .cohort_dicom import gathered
from .cohort_inputs import Entry
from .enhancement import Enhanced, Outputs, RefusedError, enhance_examination

RECORD = "record.json"
"""Beside an examination's results, written after them: while it is not there, nothing is done."""
SERIES, MAPS = "dicom", "evidence"
"""The folders in it, of a DICOM series and of what `trust.evidence_files` makes."""
PATIENCE = 600.0
"""Seconds to wait for a worker that is still at it, as when the run that sent it there was killed."""
ENHANCED, KEPT, FAILED = "enhanced", "kept", "failed"


def _strange(file: tuple[str, Any]) -> bool:
    """Whether it is not the name and the size of a file in an examination's folder."""
    return (
        not isinstance(file[1], int) or not {*Path(file[0]).parts[:-1]} <= {SERIES, MAPS} or file[0] in ("", "..", ".")
    )


_LINES = Field("texts", lambda value: isinstance(value, list) and all(isinstance(line, str) for line in value))
_CONTENT = {
    "key": TEXT,
    "files": Field("sizes by name", lambda value: isinstance(value, dict) and not any(map(_strange, value.items()))),
    "facts.verdict": TEXT,
    "facts.reasons": _LINES,
    "facts.notices": _LINES,
    "facts.model": TEXT.optional(),
    "facts.alpha": TEXT.optional(),
}


@dataclass(frozen=True)
class CohortSettings:
    """What is asked for of every examination.

    Attributes:
        model: name or folder; None for what suits each.
        options: of `inverse.reconstruct`; an entry's own dose fraction stands before theirs.
        match_predose: as in `Examination.read`.
        suffix: of the image.
        dicom, evidence: whether a DICOM series, and the maps of evidence, are written as well.
        force: whether what should not be used is written too.
    """

    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    match_predose: bool = True
    suffix: str = ".nrrd"
    dicom: bool = False
    evidence: bool = False
    force: bool = False

    def digest(self) -> str:
        """Changes with everything that results depend on, but the examination and the device.

        Raises:
            LIPCARError: the model cannot be loaded.
        """
        told = (default_model(True), default_model(True, True), default_model(False))
        models = told if self.model is None else (self.model,)
        return _digest(
            [
                __version__,
                [load_model(model).digest for model in models],
                {name: value for name, value in self.options.items() if name != "device"},
                [self.match_predose, self.suffix, self.dicom, self.evidence, self.force],
            ]
        )


@dataclass(frozen=True)
class Task:
    """One examination to enhance, as a worker is told of it.

    Attributes:
        entry: which one.
        settings: what is asked for.
        digest: of the settings.
        root: what inputs are named from, when it is told whether they have changed.
        folder: of its results.
        version: of LIPCAR, where it was told.
    """

    entry: Entry
    settings: CohortSettings
    digest: str
    root: Path
    folder: Path
    version: str = __version__

    def key(self) -> str:
        """Changes with the settings and with name, size or time of any file that is read."""
        inputs = self.entry.inputs
        files = [*inputs.paths, *filter(None, map(sidecar, inputs.paths))]
        files += [file for series in self.entry.series.values() for file in series]
        roles = {role: str(path) for role, path in vars(inputs).items() if isinstance(path, Path)}
        roles = {role: os.path.relpath(path, self.root) for role, path in roles.items()}
        dose = self.entry.dose_fraction
        return _digest([self.digest, roles, dose, [_state(file, self.root) for file in files]])


@dataclass(frozen=True)
class Outcome:
    """What became of one examination.

    Attributes:
        entry: which one.
        state: ENHANCED (or judged not to be used: then there is no image), KEPT (it was done before), FAILED.
        reason: why it failed, one line.
        facts: for a summary: verdict and its reasons, notices, seconds, slices, model, alpha.
        files: names of its results in its folder.
    """

    entry: Entry
    state: str
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()


def done_before(task: Task) -> Outcome | None:
    """What is there of a task, if nothing that it depends on has changed since and all its files are there."""
    try:
        content = read_json(task.folder / RECORD, "record", "")
        if any(complaints(content, _CONTENT)) or content["key"] != task.key():
            return None
        files: dict[str, int] = content["files"]
        if any((task.folder / name).stat().st_size != size for name, size in files.items()):
            return None
    except (LIPCARError, OSError):  # none, one of another version, a result that is gone
        return None
    return Outcome(task.entry, KEPT, facts=content["facts"], files=tuple(files))


def carry_out(task: Task) -> Outcome:
    """Enhance an examination unless that is done, in any process of any machine; what goes wrong is in the outcome."""
    try:
        if task.version != __version__:
            raise LIPCARError(
                f"the worker has LIPCAR {__version__}, the cohort was begun by {task.version}; install the same."
            )
        with claimed(task.folder, PATIENCE):
            return done_before(task) or _enhance(task)
    except Exception as error:
        with suppress(OSError):
            task.folder.rmdir()  # where nothing came of it
        return Outcome(task.entry, FAILED, _reason(error))


def _reason(error: Exception) -> str:
    told = advice(error)
    if told is None:  # a bug must not stop the others, and must be found
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}, line {frame.lineno}"
        told = f"A bug of LIPCAR, please report it: {type(error).__name__} in {place}: {error}"
    return " ".join(told.split())


def _enhance(task: Task) -> Outcome:
    _clear(task.folder)
    key, entry, settings = task.key(), task.entry, task.settings
    outputs = Outputs(
        task.folder / f"enhanced{settings.suffix}",
        report=task.folder / "report.json",
        picture=task.folder / "picture.png",
        dicom=task.folder / SERIES if settings.dicom else None,
        evidence=task.folder / MAPS if settings.evidence else None,
    )
    options = dict(settings.options)
    if entry.dose_fraction is not None:
        options["dose_fraction"] = entry.dose_fraction
    told: list[str] = []
    try:
        with gathered(replace(entry.inputs, match_predose=settings.match_predose), entry.series) as inputs:
            done = enhance_examination(inputs, outputs, settings.model, options, told.append, force=settings.force)
        facts = _facts(done)
    except RefusedError as error:
        facts = {"verdict": error.verdict.level, "reasons": list(error.verdict.reasons)}
    # A notice that bears on the verdict is among its reasons.
    facts["notices"] = [str(notice) for notice in told if not isinstance(notice, Doubt)]
    files = {path.relative_to(task.folder).as_posix(): path.stat().st_size for path in _results(task.folder)}
    content = {"key": key, "files": files, "facts": facts}
    write({task.folder / RECORD: (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()})
    return Outcome(entry, ENHANCED, facts=facts, files=tuple(files))


def _facts(done: Enhanced) -> dict[str, Any]:
    return {
        "verdict": done.verdict.level,
        "reasons": list(done.verdict.reasons),
        "seconds": round(done.report["seconds"], 1),
        "slices": len(done.report["objective"]),
        "model": done.model.name,
        "alpha": str(done.report["alpha"]),
    }


def _results(folder: Path) -> list[Path]:
    """The files that examinations leave in their folder."""
    names = {"report.json", "picture.png", RECORD}
    own = [path for path in folder.iterdir() if path.name in names or path.name.startswith("enhanced.")]
    inside = [path for name in (SERIES, MAPS) for path in (folder / name).glob("[!.]*")]
    return sorted([*own, *inside])


def _clear(folder: Path) -> None:
    """What is there is of other inputs or options: should this one fail, nobody must take it for its result."""
    if old := _results(folder):
        write(dict.fromkeys(old))


def _state(path: Path, root: Path) -> Any:
    """Name, size and time of a file, or of all files in a folder; that it is missing."""
    name = os.path.relpath(path, root)
    try:
        if path.is_dir():
            entries = sorted(one for one in path.iterdir() if not one.name.startswith(HIDDEN))
            return [name, [[one.name, (found := one.stat()).st_size, found.st_mtime_ns] for one in entries]]
        found = path.stat()
        return [name, found.st_size, found.st_mtime_ns]
    except OSError:
        return [name, None]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
