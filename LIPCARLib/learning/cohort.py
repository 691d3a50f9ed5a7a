"""A cohort on disk: one folder per subject with its three images, and the clean ones and labels where it is simulated.

COHORT/<subject>/{predose,lowdose,highdose,clean_lowdose,clean_highdose,labels}.nrrd
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import LIPCARError
from ..imaging import Examination, read_image, write_files
from ..simulation import Anatomy, simulate

SUFFIX = ".nrrd"


@dataclass(frozen=True)
class Subject:
    """One subject of a cohort, checked.

    Attributes:
        name: its folder's name.
        examination: pre-dose (where there is one), low-dose and high-dose image.
        clean_lowdose, clean_highdose: the same without noise, (S, H, W) float32, in the examination's units, or None.
        labels: tissue of every voxel, (S, H, W) uint8 with values of phantom.Tissue, or None.
    """

    name: str
    examination: Examination
    clean_lowdose: np.ndarray | None
    clean_highdose: np.ndarray | None
    labels: np.ndarray | None


def subject_folders(cohort: str | os.PathLike[str]) -> list[Path]:
    """The subjects' folders, sorted by name: those that hold a low-dose and a high-dose image.

    Raises:
        LIPCARError: no such folder, or none with both images.
    """
    root = Path(cohort)
    if not root.is_dir():
        raise LIPCARError(f"The cohort folder '{root}' does not exist.")
    folders = sorted(p for p in root.iterdir() if all((p / f"{r}{SUFFIX}").is_file() for r in ("lowdose", "highdose")))
    if not folders:
        raise LIPCARError(
            f"'{root}' holds no subject: expected folders with lowdose{SUFFIX} and highdose{SUFFIX} "
            f"(and predose{SUFFIX} for models that use it). `lipcar phantom` makes such a cohort."
        )
    return folders


def read_subject(folder: Path, match_predose: bool = True) -> Subject:
    """Read and check one subject.

    Args:
        folder: of the subject.
        match_predose: as in `Examination.from_images`.

    Raises:
        LIPCARError: as :meth:`Examination.read`; a clean image or labels on another grid.
    """
    paths = {
        role: folder / f"{role}{SUFFIX}"
        for role in ("lowdose", "predose", "highdose", "clean_lowdose", "clean_highdose", "labels")
    }
    present = {role: path for role, path in paths.items() if path.is_file()}
    images = paths["lowdose"], present.get("predose"), paths["highdose"]
    examination = Examination.read(*images, match_predose=match_predose)

    def extra(role: str, dtype: type) -> np.ndarray | None:
        if role not in present:
            return None
        return examination.slices_of(read_image(present[role]), str(present[role])).astype(dtype)

    return Subject(
        folder.name,
        examination,
        extra("clean_lowdose", np.float32),
        extra("clean_highdose", np.float32),
        extra("labels", np.uint8),
    )


def write_simulated_cohort(
    cohort: str | os.PathLike[str],
    subjects: int,
    *,
    slices: int = 18,
    size: int = 256,
    seed: int = 0,
    anatomy: Anatomy = "mixed",
) -> Iterator[Path]:
    """Simulate a cohort, yielding each subject's folder when it is written. The same voxels for the same seed.

    Args:
        cohort: created if missing; its subjects of the same name are replaced.
        subjects, slices, size: how many subjects, slices a subject, pixels a side.
        seed, anatomy: as in :func:`phantom.simulate`.
    """
    root = Path(cohort)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LIPCARError(f"The folder '{root}' cannot be made: {error.strerror}.") from error
    jobs = [(root / f"subject-{index:03d}", seed, index, slices, size, anatomy) for index in range(subjects)]
    workers = min(os.cpu_count() or 1, subjects)
    if workers == 1:
        yield from map(_write_simulated, jobs)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(_write_simulated, jobs)


def _write_simulated(job: tuple[Path, int, int, int, int, Anatomy]) -> Path:
    folder, seed, index, slices, size, anatomy = job
    examination = simulate(seed, index, slices=slices, size=size, anatomy=anatomy)
    folder.mkdir(exist_ok=True)
    images = {}
    for role in ("predose", "lowdose", "highdose", "clean_lowdose", "clean_highdose", "labels"):
        array = getattr(examination, role)
        # A scanner writes integers; so do we, at a fraction of the disk space of floats.
        image = sitk.GetImageFromArray(array.round().astype(np.uint8 if role == "labels" else np.uint16))
        image.SetSpacing(examination.spacing)
        images[folder / f"{role}{SUFFIX}"] = image
    write_files(images, {"LIPCAR.simulated": "phantom", "LIPCAR.seed": f"{seed}/{index}"})
    (folder / "parameters.json").write_text(json.dumps(examination.parameters, indent=1), encoding="utf-8")
    return folder
