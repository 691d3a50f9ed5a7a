"""Volumes in space, transforms and results, in a scene of the real MRML classes of the PyPI package slicer-core."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

REASON = "slicer-core is not installed (`pip install slicer-core`; its wheels are for Python 3.10 to 3.12)"
slicer = pytest.importorskip("slicer", reason=REASON, exc_type=ImportError)
vtk = pytest.importorskip("vtk", reason=REASON, exc_type=ImportError)

from LIPCARLib.imaging.examination import Examination  # noqa: E402
from LIPCARLib.inverse.result import Result  # noqa: E402
from LIPCARLib.slicer.mrml import add_volumes, examination_of  # noqa: E402

SHAPE = (4, 24, 20)
"""Of the arrays: k, j, i."""


def rotation(*degrees: float) -> np.ndarray:
    """A rotation about the three axes one after the other."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        one = np.eye(3)
        a, b = [i for i in range(3) if i != axis]
        one[a, a] = one[b, b] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ one
    return matrix


def affine(axes: np.ndarray, spacing: tuple[float, ...], origin: tuple[float, ...]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = axes * np.asarray(spacing)
    matrix[:3, 3] = origin
    return matrix


GEOMETRIES = {
    "plain": affine(np.eye(3), (1, 1, 1), (0, 0, 0)),
    "axial LPS": affine(np.diag([-1.0, -1.0, 1.0]), (0.7, 0.9, 5.0), (90.5, 110.25, -33.0)),
    "left-handed": affine(np.diag([-1.0, 1.0, 1.0]), (0.7, 0.7, 3.0), (-12.0, 7.0, 100.0)),
    "sagittal": affine(np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], float), (0.5, 0.6, 2.0), (1, 2, 3)),
    "oblique": affine(rotation(12, -33, 71), (0.43, 0.97, 4.1), (10.3, -77.7, 5.5)),
    "oblique and flipped": affine(rotation(-20, 5, 130) @ np.diag([1, -1, -1]), (1.3, 0.4, 6), (0.1, 0.2, 0.3)),
}
every_geometry = pytest.mark.parametrize("ijk_to_ras", GEOMETRIES.values(), ids=GEOMETRIES)


def add_volume(scene: Any, name: str, array: np.ndarray, ijk_to_ras: np.ndarray) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, array)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(ijk_to_ras))
    return node


def add_linear(scene: Any, matrix: np.ndarray) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "linear")
    slicer.util.updateTransformMatrixFromArray(node, matrix)
    return node


def add_warp(scene: Any) -> Any:
    """A transform node that bends."""
    before, after = vtk.vtkPoints(), vtk.vtkPoints()
    for n, point in enumerate([(0, 0, 0), (30, 0, 0), (0, 30, 0), (0, 0, 30), (30, 30, 30)]):
        before.InsertNextPoint(point)
        after.InsertNextPoint(point[0] + n * n, point[1], point[2])
    warp = vtk.vtkThinPlateSplineTransform()
    warp.SetSourceLandmarks(before)
    warp.SetTargetLandmarks(after)
    warp.SetBasisToR()
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "warp")
    node.SetAndObserveTransformToParent(warp)
    return node


def matrix_of(node: Any) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def picture(seed: int = 0, gain: float = 1.0, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """A bright body on a dark ground."""
    k, j, i = np.indices(shape)
    body = (j - shape[1] / 2) ** 2 + (i - shape[2] / 2) ** 2 < 60
    noise = np.random.default_rng(seed).random(shape)
    return np.where(body, gain * (100 + 10 * noise + k), noise).astype(np.float32)


def scene_of_two(scene: Any) -> tuple[Any, Any, np.ndarray]:
    """A low-dose volume, and a pre-dose one whose geometry is another one; the world-to-world matrix between them."""
    move = affine(rotation(8, -15, 30), (1, 1, 1), (5, -7, 11))
    lowdose = add_volume(scene, "low", picture(0, 1.2), GEOMETRIES["oblique"])
    predose = add_volume(scene, "pre", picture(1), np.linalg.inv(move) @ GEOMETRIES["oblique"])
    return lowdose, predose, move


def result_of(examination: Examination, factor: float = 2.0, **provenance: Any) -> Result:
    """A result as the engine returns it, of made-up content."""
    x = examination.lowdose
    return Result(factor * x, 1.5 * x, 0.1 * x - 1, [[9.0, 5.0], [8.0]], [0.1], [2, 1], [1.0, 1.0], 1.0, provenance)


def add_result(
    lowdose: Any,
    provenance: dict[str, Any],
    output: Any = None,
    extras: tuple[str, ...] = (),
    part: tuple[int, int] | None = None,
    predose: Any = None,
) -> Any:
    examination = examination_of(lowdose, predose, match_predose=False)
    if part:
        examination = examination.part(*part)
    return add_volumes(examination, result_of(examination, **provenance), lowdose, output, extras, predose)
