"""The examinations of a DICOM tree: its files by study and series, and which series plays which role."""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

from ..errors import LIPCARError
from ..imaging.dicom_files import DICOM_SUFFIXES, check_pydicom, is_dicom, is_image, read_header
from .cohort_inputs import IMAGE_ROLES, NONE, Entry, Patterns, ambiguity, matches
from .enhancement import Inputs

LISTED = 12
"""Series descriptions that a message repeats."""


@dataclass
class _Series:
    description: str
    files: list[Path] = field(default_factory=list)

    @property
    def place(self) -> Path:
        """The folder that all its files are in, at whatever depth."""
        return Path(os.path.commonpath([file.parent for file in self.files]))


@dataclass
class _Tree:
    """What lies in a tree: series by study, the number of DICOM images by folder, and folders with something broken."""

    root: Path
    studies: dict[str, dict[str, _Series]] = field(default_factory=lambda: defaultdict(dict))
    images: dict[Path, int] = field(default_factory=lambda: defaultdict(int))
    broken: dict[Path, str] = field(default_factory=dict)

    def add(self, file: Path) -> None:
        try:
            if not is_dicom(file):
                if file.suffix.lower() in DICOM_SUFFIXES:
                    self.broken[file.parent] = file.name
                return
            header = read_header(file)
            if not is_image(header, file):
                return
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of characters that are not those of the header's character set
                keys = ("StudyInstanceUID", "SeriesInstanceUID", "SeriesDescription")
                study, uid, text = (str(header.get(key) or "").strip() for key in keys)
        except (LIPCARError, OSError):
            self.broken[file.parent] = file.name
            return
        self.images[file.parent] += 1
        # Without an identifier, what lies in one folder belongs together.
        series = self.studies[study or str(file.parent)].setdefault(uid or str(file.parent), _Series(text))
        series.files.append(file)


def dicom_entries(root: Path, patterns: Patterns, results: Path | None = None) -> list[Entry]:
    """One for each study in a tree; it is called as the folder that its series share.

    Args:
        patterns: of series descriptions; for low dose and pre-dose they must be told.
        results: a folder that is left out, as what it holds was made here.

    Raises:
        LIPCARError: pydicom is not installed, a folder that cannot be read, no DICOM image, or no patterns.
    """
    check_pydicom()
    tree = _Tree(root)
    for folder, folders, files in os.walk(root, onerror=_refuse):
        folders.sort()
        if results is not None:
            folders[:] = [one for one in folders if os.path.realpath(Path(folder) / one) != os.path.realpath(results)]
        for name in sorted(files):
            tree.add(Path(folder) / name)
    if not tree.studies:
        raise LIPCARError(f"'{root}' holds no DICOM images, no BIDS layout (sub-*) and no folders with lowdose.nrrd.")
    missing = [role for role in ("lowdose", "predose") if not patterns.get(role)]
    if missing:
        told = sorted({one.description for study in tree.studies.values() for one in study.values()})
        shown = ", ".join(f"'{one}'" for one in told[:LISTED]) + (", ..." if len(told) > LISTED else "")
        raise LIPCARError(
            f"Which DICOM series is the {missing[0]} one is not told. Give --{missing[0]} PATTERN, which its "
            f"SeriesDescription matches, as '*low dose*'{f' ({NONE}: there is none)' * (missing[0] == 'predose')}. "
            f"Here are {shown}."
        )
    return [_entry(tree, list(series.values()), patterns) for series in tree.studies.values()]


def _refuse(error: OSError) -> None:
    raise LIPCARError(f"The folder '{error.filename}' cannot be read: {error.strerror}. Mend it, or take it out.")


def _entry(tree: _Tree, study: list[_Series], patterns: Patterns) -> Entry:
    shared = Path(os.path.commonpath([one.place for one in study]))
    name = shared.relative_to(tree.root).as_posix() if shared != tree.root else tree.root.name
    roles = {role: [one for one in study if matches(one.description, patterns.get(role, ()))] for role in IMAGE_ROLES}
    # By their places, not their descriptions: what a header says is not repeated on a page.
    problem = ambiguity({role: [_called(tree, one) for one in found] for role, found in roles.items()}, "series")
    if problem is None:
        wanted = [role for role in ("lowdose", "predose") if not roles[role] and NONE not in patterns.get(role, ())]
        if wanted:
            problem = f"none of its {len(study)} series matches what was told of the {wanted[0]} one."
    chosen = {role: found[0] for role, found in roles.items() if found}
    for one in chosen.values() if problem is None else ():
        if broken := next((tree.broken[file.parent] for file in one.files if file.parent in tree.broken), None):
            problem = f"the file '{broken}' among its images cannot be read as DICOM. Copy it again, or take it out."
    if problem is not None:
        return Entry(name, Inputs(shared), problem=problem)
    paths = {role: _path(tree, one) for role, one in chosen.items()}
    gathered = {role: tuple(sorted(chosen[role].files)) for role, path in paths.items() if path is None}
    places: dict[str, Any] = {role: path or chosen[role].place for role, path in paths.items()}
    return Entry(name, Inputs(**places), gathered)


def _called(tree: _Tree, series: _Series) -> str:
    """Where it lies; a series that shares its folder by its first file."""
    place = series.place if _path(tree, series) == series.place else min(series.files)
    return f"'{place.relative_to(tree.root).as_posix()}'"


def _path(tree: _Tree, series: _Series) -> Path | None:
    """The file that it is, or the folder that holds it alone; None where it has none to itself."""
    if len(series.files) == 1:
        return series.files[0]
    alone = tree.images[series.place] == len(series.files)
    return series.place if alone else None


@contextmanager
def gathered(inputs: Inputs, series: Mapping[str, tuple[Path, ...]]) -> Iterator[Inputs]:
    """The inputs with a folder of links, for as long, for every series that has no folder to itself."""
    with ExitStack() as stack:
        places: dict[str, Any] = {}
        for role, files in series.items():
            places[role] = Path(stack.enter_context(TemporaryDirectory(prefix="lipcar-"))) / role
            places[role].mkdir()
            for index, file in enumerate(files):
                link = places[role] / f"{index:05d}-{file.name[-100:]}"
                try:
                    link.symlink_to(file)
                except OSError:  # a system that has no links, or allows them to nobody
                    copyfile(file, link)
        yield replace(inputs, **places)
