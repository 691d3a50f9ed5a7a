"""A cohort on disk: one folder per subject with its three images, and the clean ones and labels where it is simulated.

COHORT/<subject>/{predose,lowdose,highdose,clean_lowdose,clean_highdose,labels}.nrrd, and parameters.json where it is
simulated.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LIPCARError
from ..imaging import Examination, read_image
from ..json_file import OBJECT, TEXT, complaints, number, read_json
from ..physics import Acquisition, PulseSequence
from ..storage import settle

SUFFIX = ".nrrd"
ROLES = ("predose", "lowdose", "highdose", "clean_lowdose", "clean_highdose", "labels")
_SEQUENCES = {"spin echo": PulseSequence.SPIN_ECHO, "gradient echo": PulseSequence.GRADIENT_ECHO}
"""By the name in parameters.json."""
_PARAMETERS = {
    "anatomy": TEXT.optional(),
    "field": number(0, 30, above=True).optional(),
    "dose_fraction": number(0, 1, above=True).optional(),
    "sequence": OBJECT.optional(),
    "sequence.name": TEXT.optional(),
    "sequence.tr": number(0, 100, above=True).optional(),
    "sequence.te": number(0, 100).optional(),
    "sequence.flip": number(0, 180).optional(),
}
"""Of parameters.json, what is read: times in seconds, the flip angle in degrees, the field in tesla."""
_RESTORE = "Restore it, or remove it: then the subject counts as acquired, not simulated."
_RANGES = {"clean_lowdose": (-1e30, 1e30), "clean_highdose": (-1e30, 1e30), "labels": (0, 255)}
"""Of the values of the images that no examination has."""


@dataclass(frozen=True)
class Subject:
    """One subject of a cohort, checked.

    Attributes:
        name: its folder's name.
        examination: pre-dose (where there is one), low-dose and high-dose image.
        clean_lowdose, clean_highdose: the same without noise, (S, H, W) float32, in the examination's units, or None.
        labels: tissue of every voxel, (S, H, W) uint8 with values of `simulation.Tissue`, or None.
    """

    name: str
    examination: Examination
    clean_lowdose: np.ndarray | None
    clean_highdose: np.ndarray | None
    labels: np.ndarray | None

    @property
    def highdose(self) -> np.ndarray:
        """The high-dose image as acquired, (S, H, W) float32, in the examination's units."""
        if self.examination.highdose is None:
            raise ValueError(f"subject '{self.name}' has no high-dose image")
        return self.examination.highdose

    @property
    def truth(self) -> np.ndarray:
        """The high-dose image without noise where there is one, else as acquired."""
        return self.highdose if self.clean_highdose is None else self.clean_highdose


def subject_folders(cohort: str | os.PathLike[str]) -> list[Path]:
    """The subjects' folders, sorted by name: those that hold any of the images; :func:`read_subject` misses the others.

    Raises:
        LIPCARError: no such folder, or none with an image.
    """
    root = Path(cohort)
    if not root.is_dir():
        raise LIPCARError(f"The cohort folder '{root}' does not exist.")
    try:
        folders = sorted(p for p in root.iterdir() if any(os.path.lexists(p / f"{role}{SUFFIX}") for role in ROLES))
    except OSError as error:
        raise LIPCARError(f"The cohort folder '{root}' cannot be read: {error.strerror}.") from error
    if not folders:
        raise LIPCARError(
            f"'{root}' holds no subject: expected folders with lowdose{SUFFIX} and highdose{SUFFIX} "
            f"(and predose{SUFFIX} for models that use it). `lipcar phantom` makes such a cohort."
        )
    return folders


def read_subject(folder: Path, match_predose: bool = True) -> Subject:
    """Read and check one subject.

    How its images were acquired is what their sidecars tell, or what the subject was simulated with: as a header would.

    Args:
        folder: of the subject.
        match_predose: as in `Examination.from_images`.

    Raises:
        LIPCARError: as :meth:`Examination.read`; no low-dose or no high-dose image; a high-dose image, clean images or
            labels on another grid; values that these cannot have; as :func:`read_parameters`.
    """
    settle(folder)
    paths = {role: folder / f"{role}{SUFFIX}" for role in ROLES}
    for role in ("lowdose", "highdose"):
        if not os.path.lexists(paths[role]):
            raise LIPCARError(
                f"The subject '{folder}' has no {paths[role].name}, which every subject needs. Add it, or remove the "
                "folder."
            )
    parameters = read_parameters(folder)
    predose = paths["predose"] if os.path.lexists(paths["predose"]) else None
    examination = Examination.read(paths["lowdose"], predose, paths["highdose"], match_predose=match_predose)
    # What is learned from, and measured against, is not interpolated.
    examination.slices_of(read_image(paths["highdose"]), str(paths["highdose"]))
    if examination.acquisition is None:
        examination = replace(examination, acquisition=simulated_acquisition(parameters))

    def extra(role: str, dtype: type) -> np.ndarray | None:
        path = paths[role]
        if not os.path.lexists(path):
            return None
        values = examination.slices_of(read_image(path), str(path))
        low, high = _RANGES[role]
        if not ((values >= low) & (values <= high)).all():  # NaN is in no range
            raise LIPCARError(f"'{path}' has values that are no numbers from {low:g} to {high:g}. Restore it.")
        return values.astype(dtype)

    return Subject(
        folder.name,
        examination,
        extra("clean_lowdose", np.float32),
        extra("clean_highdose", np.float32),
        extra("labels", np.uint8),
    )


def read_parameters(folder: Path) -> dict[str, Any] | None:
    """What a subject was simulated with; None where it was not simulated.

    Raises:
        LIPCARError: the file is damaged, or holds what no simulation has.
    """
    path = folder / "parameters.json"
    if not os.path.lexists(path):
        return None
    parameters: dict[str, Any] = read_json(path, "file", _RESTORE)
    for complaint in complaints(parameters, _PARAMETERS):
        raise LIPCARError(f"The file '{path}' is {complaint}. {_RESTORE}")
    return parameters


def simulated_acquisition(parameters: Mapping[str, Any] | None) -> Acquisition | None:
    """How a subject was acquired, from the parameters that it was simulated with; None where they do not tell."""
    known: Mapping[str, Any] = parameters or {}
    sequence: Any = known.get("sequence")
    try:
        kind = _SEQUENCES[sequence["name"]]
        flip = sequence["flip"] if kind is PulseSequence.GRADIENT_ECHO else None
        field = known.get("field")
        return Acquisition(kind, sequence["tr"], sequence["te"], flip_angle=flip, magnetic_field=field)
    except (KeyError, TypeError, LIPCARError):
        return None


def split_subjects(names: Sequence[str], held_out: float, seed: int) -> tuple[list[str], list[str]]:
    """Training and held-out subjects, at least one of each: by subject, so that no animal stands on both sides.

    Args:
        names: of the subjects.
        held_out: share of the subjects to hold out, 0..1.
        seed: of the draw.

    Raises:
        LIPCARError: fewer than two subjects.
    """
    if len(names) < 2:
        raise LIPCARError(f"Training needs at least two subjects, one of them held out; found {len(names)}.")
    count = min(max(1, round(held_out * len(names))), len(names) - 1)
    chosen = set(np.random.default_rng(seed).permutation(len(names))[:count].tolist())
    return (
        [name for i, name in enumerate(names) if i not in chosen],
        [name for i, name in enumerate(names) if i in chosen],
    )


def describe_cohort(folders: Sequence[Path]) -> dict[str, Any]:
    """For a model card: the number of subjects, and of a simulated cohort how many of each anatomy and sequence."""
    counts: dict[str, Any] = {"subjects": len(folders)}
    for parameters in filter(None, map(read_parameters, folders)):
        for key in ("anatomy", "sequence"):
            value = parameters.get(key)
            kind = str(value.get("name") if isinstance(value, dict) else value)
            kinds = counts.setdefault(f"simulated_{key}", {})
            kinds[kind] = kinds.get(kind, 0) + 1
    return counts
