"""A simulated cohort, written to disk in the layout of `cohort`."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..imaging import write_files
from ..locks import explained
from ..resources import processors
from ..simulation import Anatomy, simulate
from .cohort import ROLES, SUFFIX


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
        seed, anatomy: as in `simulation.simulate`.

    Raises:
        LIPCARError: the folder cannot be made, or a file cannot be written.
    """
    root = Path(cohort)
    with explained(root, "made"):
        root.mkdir(parents=True, exist_ok=True)
    jobs = [(root / f"subject-{index:03d}", seed, index, slices, size, anatomy) for index in range(subjects)]
    workers = min(processors(), subjects)
    if workers == 1:
        yield from map(_write_subject, jobs)
        return
    with ProcessPoolExecutor(workers, initializer=_end_with_parent) as pool:
        yield from pool.map(_write_subject, jobs)


def _end_with_parent() -> None:
    """A pool's process waits for work for ever where its parent was killed."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _write_subject(job: tuple[Path, int, int, int, int, Anatomy]) -> Path:
    folder, seed, index, slices, size, anatomy = job
    examination = simulate(seed, index, slices=slices, size=size, anatomy=anatomy)
    with explained(folder, "made"):
        folder.mkdir(exist_ok=True)  # of its own, so that subjects are written side by side
    files: dict[Path, sitk.Image | bytes] = {
        folder / "parameters.json": json.dumps(examination.parameters, indent=1).encode()
    }
    for role in ROLES:
        array = getattr(examination, role)
        # A scanner writes integers; so do we, at a fraction of the disk space of floats.
        image = sitk.GetImageFromArray(array.round().astype(np.uint8 if role == "labels" else np.uint16))
        image.SetSpacing(examination.spacing)
        files[folder / f"{role}{SUFFIX}"] = image
    try:
        write_files(files, {"LIPCAR.simulated": "phantom", "LIPCAR.seed": f"{seed}/{index}"})
    finally:
        with suppress(OSError):
            folder.rmdir()  # where nothing came of it
    return folder
