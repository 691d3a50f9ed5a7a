"""Which examinations a folder or a table holds: BIDS, a DICOM tree, paths, or a cohort as of `lipcar phantom`."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..errors import LIPCARError
from ..imaging import sidecar
from ..json_file import LARGEST_JSON, read_file
from ..learning import subject_folders
from .enhancement import Inputs

LAYOUTS = ("bids", "dicom", "table", "folders")
IMAGE_ROLES = ("lowdose", "predose", "highdose")
COLUMNS = (*IMAGE_ROLES, "acquisition", "t1_map", "dose_fraction", "name")
"""Of a table."""
BIDS_SUFFIX = "T1w"
BIDS_WORDS = {
    "lowdose": ("lowdose", "reduceddose"),
    "highdose": ("highdose", "fulldose"),
    "predose": ("predose", "precontrast", "nodose", "zerodose"),
}
"""What the label of `ce-` or `acq-` holds, in any case; an image without `ce-` and these words is the pre-dose one."""
NONE = "none"
"""As a pattern: there is no such image."""
LONGEST_NAME = 80
"""Bytes of a folder's name, before what tells it from another one."""
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")

Patterns = Mapping[str, Sequence[str]]
"""By role of IMAGE_ROLES, shell-style patterns of which one must match, whatever the case."""


@dataclass(frozen=True)
class Entry:
    """One examination of a cohort, not yet read.

    Attributes:
        name: as its folder or the table calls it.
        inputs: where it is read from.
        series: by role, the files of a DICOM series that has no folder to itself; they stand before `inputs`.
        dose_fraction: of this one, or None.
        problem: why it cannot be enhanced, in words; None where nothing is known to be wrong.
        folder: a name for its results that any file system takes and no other entry has.
    """

    name: str
    inputs: Inputs
    series: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    dose_fraction: float | None = None
    problem: str | None = None
    folder: str = ""


def find_examinations(source: Path, layout: str | None, patterns: Patterns, results: Path | None = None) -> list[Entry]:
    """The examinations of a cohort, each with a folder name of its own.

    Args:
        source: a folder, or the file of a table.
        layout: of LAYOUTS; None tells it from the source.
        patterns: of file names (BIDS) or series descriptions (DICOM).
        results: a folder in which no DICOM files are looked for.

    Raises:
        LIPCARError: nothing there, no examination in it, an unknown layout, or patterns that the layout does not take.
    """
    source = Path(os.path.abspath(source))
    if not source.exists():
        raise LIPCARError(f"'{source}' does not exist; a folder of examinations or a table of paths is expected.")
    layout = _layout_of(source) if layout is None else layout
    if layout not in LAYOUTS:
        raise LIPCARError(f"The layout is '{layout}'; expected one of: {', '.join(LAYOUTS)}.")
    if (layout == "table") == source.is_dir():
        expected = "the file of a table" if layout == "table" else f"a folder ({layout})"
        raise LIPCARError(f"'{source}' is {'a folder' if source.is_dir() else 'a file'}; {expected} is expected.")
    if any(patterns.values()) and layout in ("table", "folders"):
        raise LIPCARError(f"Patterns choose images in BIDS and DICOM; '{source}' ({layout}) names them itself.")
    if layout == "dicom":
        from .cohort_dicom import dicom_entries

        entries = dicom_entries(source, patterns, results)
    elif layout == "bids":
        entries = bids_entries(source, patterns)
    else:
        entries = table_entries(source) if layout == "table" else folder_entries(source)
    return named(entries)


def _layout_of(source: Path) -> str:
    if not source.is_dir():
        return "table"
    if any(one.is_dir() for one in source.glob("sub-*")):
        return "bids"
    return "folders" if any(source.glob("*/lowdose.nrrd")) else "dicom"


def folder_entries(root: Path) -> list[Entry]:
    """As `lipcar phantom` writes them: a folder each with lowdose.nrrd, and predose.nrrd and highdose.nrrd if any."""
    entries = []
    for folder in subject_folders(root):
        found = {role: folder / f"{role}.nrrd" for role in IMAGE_ROLES}
        inputs: dict[str, Any] = {role: path for role, path in found.items() if role == "lowdose" or path.is_file()}
        entries.append(Entry(folder.name, Inputs(**inputs)))
    return entries


def bids_entries(root: Path, patterns: Patterns) -> list[Entry]:
    """One for each session with T1-weighted images: sub-*/anat and sub-*/ses-*/anat.

    Raises:
        LIPCARError: there is none.
    """
    folders = sorted(one for depth in ("sub-*", "sub-*/ses-*") for one in root.glob(f"{depth}/anat") if one.is_dir())
    entries = []
    for folder in folders:
        images = [path for path in sorted(folder.iterdir()) if path.name.endswith((".nii", ".nii.gz"))]
        images = [path for path in images if _bids_parts(path)[1] == BIDS_SUFFIX]
        if images:
            entries.append(_bids_entry(root, folder, images, patterns))
    if not entries:
        raise LIPCARError(
            f"'{root}' holds no T1-weighted image in BIDS' places: sub-*/[ses-*/]anat/*_{BIDS_SUFFIX}.nii[.gz] are "
            "expected."
        )
    return entries


def _bids_entry(root: Path, folder: Path, images: Sequence[Path], patterns: Patterns) -> Entry:
    name = "_".join(folder.relative_to(root).parts[:-1])
    roles = {role: [path for path in images if _bids_role(path, role, patterns)] for role in IMAGE_ROLES}
    problem = ambiguity({role: [path.name for path in found] for role, found in roles.items()}, "image")
    if problem is None and not roles["lowdose"]:
        problem = (
            f"none of its {len(images)} T1-weighted images is named as the low-dose one: 'lowdose' in the label of ce- "
            "or acq- is expected, or a pattern that is told by --lowdose."
        )
    chosen: dict[str, Any] = {role: found[0] for role, found in roles.items() if found}
    if problem is not None:
        return Entry(name, Inputs(images[0]), problem=problem)
    return Entry(name, Inputs(**chosen, sidecars=inherited_sidecars(root, chosen["lowdose"])))


def _bids_parts(path: Path) -> tuple[dict[str, str], str]:
    """Entities and suffix of a name."""
    *entities, suffix = path.name.split(".")[0].split("_")
    return {key: value for key, _, value in (one.partition("-") for one in entities)}, suffix


def _bids_role(path: Path, role: str, patterns: Patterns) -> bool:
    if patterns.get(role):
        return matches(path.name, patterns[role])
    if any(matches(path.name, given) for given in patterns.values()):
        return False  # it was chosen for another
    entities = _bids_parts(path)[0]
    told = [label for key in ("ce", "acq") if (label := entities.get(key, "").lower())]
    named = {one for one, words in BIDS_WORDS.items() if any(word in label for word in words for label in told)}
    return role in named or (role == "predose" and not named and "ce" not in entities)


def inherited_sidecars(root: Path, image: Path) -> tuple[Path, ...]:
    """The JSON files of the folders above that tell of an image too (BIDS' inheritance), the nearest last.

    Empty where only the image's own tells of it, which is read anyway.
    """
    entities, suffix = _bids_parts(image)
    folders = [folder for folder in (*reversed(image.parents),) if folder == root or root in folder.parents]
    found = []
    for folder in folders:
        for path in sorted(folder.glob(f"*{suffix}.json")):
            told, kind = _bids_parts(path)
            if kind == suffix and told.items() <= entities.items() and path != sidecar(image):
                found.append((len(path.parents), len(told), path))
    own = sidecar(image)
    return tuple(path for _, _, path in sorted(found)) + ((own,) if found and own is not None else ())


def table_entries(table: Path) -> list[Entry]:
    """One for each row of a CSV file; paths in it are relative to its folder.

    Raises:
        LIPCARError: it cannot be read, lacks the column lowdose, or has one that is not of COLUMNS.
    """
    try:
        text = read_file(table, LARGEST_JSON).decode("utf-8-sig")
        first = text.partition("\n")[0]
        delimiter = max(",;\t", key=first.count)
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise LIPCARError(f"The table '{table}' cannot be read: {reason}. A CSV file in UTF-8 is expected.") from error
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    header = [name.lower() for name in rows[0]] if rows else []
    unknown = [name for name in header if name not in COLUMNS]
    if unknown or "lowdose" not in header or len(set(header)) < len(header):
        found = f"'{unknown[0]}'" if unknown else f"'{', '.join(header)}'"
        raise LIPCARError(
            f"The first line of the table '{table}' has {found}; expected are 'lowdose' and any of "
            f"{', '.join(COLUMNS[1:])}, each once."
        )
    if len(rows) < 2:
        raise LIPCARError(f"The table '{table}' has no row below its first line; a row an examination is expected.")
    return [_row_entry(table.parent, header, row) for row in rows[1:]]


def _row_entry(root: Path, header: Sequence[str], row: Sequence[str]) -> Entry:
    cells = {key: value for key, value in zip(header, row, strict=False) if value}
    told = cells.pop("name", None)
    dose = cells.pop("dose_fraction", None)
    name = told or re.sub(r"(\.nii)?\.\w+$", "", cells.get("lowdose", "")) or "row without a low-dose image"
    problem, fraction = None, None
    if len(row) > len(header):
        problem = f"its row has {len(row)} cells, the first line of the table {len(header)}; mend the table."
    elif "\0" in "".join(row):
        problem = "its row holds a zero byte, which no path does; mend the table."
    elif "lowdose" not in cells:
        problem = "its row names no low-dose image; add one."
    elif dose is not None:
        try:
            fraction = float(dose)
        except ValueError:
            problem = f"its dose fraction is '{dose}'; a number between 0 and 1 is expected."
    if problem is not None:
        return Entry(name, Inputs(root), problem=problem)
    paths: dict[str, Any] = {role: root / path for role, path in cells.items()}
    return Entry(name, Inputs(**paths), dose_fraction=fraction)


def matches(text: str, patterns: Iterable[str]) -> bool:
    """Whether a text matches one of some shell-style patterns, whatever the case.

    >>> matches("T1 SE LOW DOSE", ["*low*dose*"]), matches("T1", ["none"])
    (True, False)
    """
    return any(fnmatchcase(text.casefold(), pattern.casefold()) for pattern in patterns if pattern != NONE)


def ambiguity(roles: Mapping[str, Sequence[str]], kind: str) -> str | None:
    """Why roles cannot be told apart, as what follows an examination's name; None where they can.

    Args:
        roles: the names of what is taken for each.
        kind: what they are.
    """
    for role, names in roles.items():
        if len(names) > 1:
            return (
                f"{len(names)} of its {'series' if kind == 'series' else f'{kind}s'} are taken for the {role} one "
                f"({', '.join(sorted(names)[:4])}); tell which by --{role} PATTERN."
            )
    for name, count in Counter(name for names in roles.values() for name in names).items():
        if count > 1:
            both = " and the ".join(role for role, names in roles.items() if name in names)
            return f"its {kind} {name} is taken for the {both} one; give patterns that tell them apart."
    return None


def named(entries: Sequence[Entry]) -> list[Entry]:
    """The entries with folder names: safe ones, and what would be one name is told apart by its inputs."""
    names = [safe_name(entry.name) for entry in entries]
    counts = Counter(name.casefold() for name in names)
    found: list[Entry] = []
    used: Counter[str] = Counter()
    for entry, name in zip(entries, names, strict=True):
        if counts[name.casefold()] > 1:
            files = [str(path) for paths in entry.series.values() for path in paths]
            told = "\n".join([entry.name, *map(str, entry.inputs.paths), *files])
            name = f"{name}-{hashlib.sha256(told.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"
        used[name.casefold()] += 1
        if used[name.casefold()] > 1:  # the same row twice
            name = f"{name}-{used[name.casefold()]}"
        found.append(replace(entry, folder=name))
    return found


def safe_name(text: str) -> str:
    r"""A name that any file system takes: letters, digits, dots, dashes and underscores, and not too many.

    >>> safe_name("../a b\x1b[1m<i>"), safe_name("con"), safe_name(".."), safe_name("sub-01_ses-é")
    ('_a_b_1m_i_', '_con', 'examination', 'sub-01_ses-é')
    """
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in unicodedata.normalize("NFC", text))
    kept = re.sub(r"_+", "_", kept).lstrip(".-")
    kept = kept.encode()[:LONGEST_NAME].decode("utf-8", "ignore").rstrip(".")
    return f"_{kept}" if _RESERVED.fullmatch(kept) else kept or "examination"
