"""What the tests of the engine's room share: an examination, what is asked of it, and a process that computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.engine import Asked, Child
from LIPCARLib.engine.values import pack
from LIPCARLib.imaging import Examination
from LIPCARLib.physics import Acquisition, PulseSequence


@pytest.fixture
def examination() -> Examination:
    """Three slices of a body with a spot that the agent brightens, all that an examination may hold included."""
    k, j, i = np.indices((3, 24, 20))
    before = np.where((j - 12) ** 2 + (i - 10) ** 2 < 70, 100.0, 1.0) + np.cos(i + j + k)
    spot = 1 + (np.array([0.3, 1.0])[:, None, None, None] * ((j - 12) ** 2 + (i - 8) ** 2 < 8))
    lowdose, highdose = (sitk.GetImageFromArray((before * one).astype(np.float32)) for one in spot)
    examination = Examination.from_images(
        lowdose,
        sitk.GetImageFromArray(before.astype(np.float32)),
        highdose,
        acquisition=Acquisition(PulseSequence.SPIN_ECHO, repetition_time=0.5),
    )
    return examination.with_t1_map(sitk.GetImageFromArray(np.full(before.shape, 1.2, np.float32)))


@pytest.fixture
def asked(model_folder: Path) -> Asked:
    return Asked(
        model=str(model_folder),
        alpha=0.01,
        solver="proximal",
        iterations=3,
        device="cpu",
        data_consistency=True,
        dose_fraction=0.2,
        metrics=True,
        evidence=True,
        verdict=True,
    )


@pytest.fixture(scope="session")
def child() -> Iterator[Child]:
    """One for all tests: loading torch takes its time."""
    child = Child(slot=0.01)
    child.start()
    yield child
    child.close()


@pytest.fixture
def bits() -> Callable[[Any], Any]:
    """What two values have in common that are equal bit for bit, whatever dataclasses and arrays are in them."""

    def of(value: Any) -> Any:
        arrays: dict[str, Any] = {}
        packed = pack(value, arrays, "x")
        return packed, {name: (one.dtype, one.shape, one.tobytes()) for name, one in arrays.items()}

    return of
