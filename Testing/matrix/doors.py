"""The entry points beside the command line: the engine from Python, and the logic of the Slicer module."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

ROOT = Path(__file__).resolve().parents[2]
Door = Callable[..., None]
DOORS: dict[str, Door] = {}
"""By the first word of a call. Further words are files, or key=value with a value in JSON."""


def door(function: Door) -> Door:
    """What a user can mend is printed in one line, as the command line does; anything else is a traceback."""

    @functools.wraps(function)
    def entered(*words: str) -> None:
        from LIPCARLib.errors import LIPCARError

        options = dict(word.split("=", 1) for word in words if "=" in word)
        try:
            function(
                *(word for word in words if "=" not in word), **{key: json.loads(text) for key, text in options.items()}
            )
        except LIPCARError as error:
            print(f"Error: {' '.join(str(error).split()).encode('unicode_escape').decode()}", file=sys.stderr)
            sys.exit(2)

    DOORS[function.__name__.replace("_", "-")] = entered
    return entered


def report(array: np.ndarray) -> None:
    print(f"result {array.shape}, {'finite' if np.isfinite(array).all() and array.min() >= 0 else 'NOT FINITE'}")


@door
def examination_read(*paths: str, **options: Any) -> None:
    from LIPCARLib.imaging import Examination

    examination = Examination.read(*paths, **options)
    for notice in examination.notices:
        print(f"Notice: {notice}", file=sys.stderr)
    report(examination.lowdose)


@door
def examination_from_images(*paths: str, **options: Any) -> None:
    from LIPCARLib.imaging import Examination

    report(Examination.from_images(*(sitk.ReadImage(path) for path in paths), **options).lowdose)


@door
def reconstruct(model: str, *paths: str, **options: Any) -> None:
    from LIPCARLib.imaging import Examination
    from LIPCARLib.inverse import complete, load_model
    from LIPCARLib.inverse import reconstruct as steps

    examination = Examination.from_images(*(sitk.ReadImage(path) for path in paths))
    report(complete(steps(examination, load_model(model), **options)).highdose)


@door
def load_model(folder: str) -> None:
    from LIPCARLib.inverse import load_model as load

    print("model", load(folder).name)


@door
def process(*paths: str, sheared: bool = False, **options: Any) -> None:
    """Through the scene of slicer-core and the stand-ins for the rest of the application.

    Args:
        sheared: whether the axes of the volumes are.
    """
    sys.path.insert(0, str(ROOT / "Testing" / "slicer"))
    import headless

    slicer = headless.start()
    logic = headless.load_module().LIPCARLogic()
    slots = ("lowdoseVolume", "predoseVolume", "highdoseVolume")
    volumes = {slot: _volume(slicer, path) for slot, path in zip(slots, paths, strict=False)}
    if sheared:
        for node in volumes.values():
            node.SetIJKToRASDirections(-1, 0, 0, 0.3, -0.954, 0, 0, 0, 1)
    output = logic.process(**volumes, **{"model": "signal", "device": "cpu", **options})
    for notice in logic.notices:
        print(f"Notice: {notice}", file=sys.stderr)
    report(slicer.util.arrayFromVolume(output))


def _volume(slicer: Any, path: str) -> Any:
    """A node as Slicer's reader makes it: voxels as they are, RAS geometry."""
    image = sitk.ReadImage(path)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", Path(path).stem)
    slicer.util.updateVolumeFromArray(node, sitk.GetArrayFromImage(image))
    turn = np.diag([-1, -1, 1])
    node.SetSpacing(*image.GetSpacing())
    node.SetOrigin(*(turn @ np.asarray(image.GetOrigin())))
    node.SetIJKToRASDirections(*(turn @ np.asarray(image.GetDirection()).reshape(3, 3)).ravel())
    return node
