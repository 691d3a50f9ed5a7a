"""What there is to work with: shipped models, sample images, processors; needs nothing but the standard library."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent

RESOURCES = next(
    (folder for folder in (_PACKAGE / "Resources", _PACKAGE.parent / "Resources") if (folder / "Models").is_dir()),
    _PACKAGE.parent / "Resources",
)
"""Inside the package where it is installed (a wheel, Slicer), beside it in a checkout."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
"""Variables of the environment where the packages look, when they are loaded, how many they may start."""


def processors() -> int:
    """How many this process may use, which in a container or a queue are fewer than the computer has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
