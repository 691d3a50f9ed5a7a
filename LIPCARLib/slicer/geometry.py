"""Where the voxels of a volume node lie: its grid, its slices, its voxels as an image of the engine (RAS to LPS)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer
import vtk

from ..errors import LIPCARError
from ..imaging import Grid
from .services import VolumeNode

_RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def image_of(node: VolumeNode, name: str, reference: VolumeNode | None = None) -> sitk.Image:
    """The voxels of a volume node as an image: 3-D, of the node's own voxel type, copied.

    Args:
        node: under any parent transform.
        name: how messages call it, the subject of a sentence.
        reference: the image lies in the space that this node's geometry is in, below its parent transform. None
            for the node itself.

    Raises:
        LIPCARError: no voxels, or a non-linear transform between the two nodes.
    """
    is_vector = _voxels(node, name).GetNumberOfScalarComponents() > 1
    image = sitk.GetImageFromArray(slicer.util.arrayFromVolume(node), isVector=is_vector)
    grid = grid_of(node, name, reference or node)
    image.SetSpacing(grid.spacing)
    image.SetDirection(grid.direction)
    image.SetOrigin(grid.origin)
    return image


def grid_differences(node: VolumeNode, reference: VolumeNode) -> list[str]:
    """In words, what tells the grid of a volume from that of the reference in space; empty where they are one.

    Raises:
        LIPCARError: no voxels, or a non-linear transform between the two nodes.
    """
    name = f"The volume '{node.GetName()}'"
    return grid_of(reference, name, reference).differences(grid_of(node, name, reference))


def on_one_grid(node: VolumeNode, reference: VolumeNode) -> bool:
    """Whether two volumes are known to lie on one grid; of what has no voxels or is bent it is not."""
    try:
        return not grid_differences(node, reference)
    except LIPCARError:
        return False


def slice_at(node: VolumeNode, point: Sequence[float], slice_axis: int) -> int:
    """Number, from 0, of the slice along an index axis that is nearest to a point in the world; always one there is.

    Args:
        node: a volume with voxels, under any parent transform.
        point: in world coordinates (RAS), mm.
        slice_axis: 0 (i), 1 (j) or 2 (k).
    """
    own = np.append(_between(None, node.GetParentTransformNode()).TransformPoint(*point), 1.0)
    index = np.linalg.solve(ijk_to_ras(node), own)[slice_axis]
    return int(np.clip(round(float(index)), 0, node.GetImageData().GetDimensions()[slice_axis] - 1))


def slice_center(node: VolumeNode, slice_axis: int, number: float) -> list[float]:
    """The point in the world (RAS, mm) at the middle of a slice, whose number counts from 0."""
    index = [(size - 1) / 2 for size in node.GetImageData().GetDimensions()]
    index[slice_axis] = number
    own = (ijk_to_ras(node) @ [*index, 1])[:3]
    return in_world(node, own)


def in_world(node: VolumeNode, point: Sequence[float]) -> list[float]:
    """A point of the volume's own geometry (RAS, mm) in the world: after its parent transforms."""
    return list(_between(node.GetParentTransformNode(), None).TransformPoint(*point))


def slice_normal(node: VolumeNode, slice_axis: int) -> list[float]:
    """The unit vector in the world (RAS) along an index axis, at the middle of the volume."""
    middle = (node.GetImageData().GetDimensions()[slice_axis] - 1) / 2
    ends = [np.array(slice_center(node, slice_axis, middle + step)) for step in (-0.5, 0.5)]
    normal = ends[1] - ends[0]
    return (normal / np.linalg.norm(normal)).tolist()


def _between(source: Any, target: Any) -> vtk.vtkGeneralTransform:
    """The transform from below one transform node to below another; None is the world."""
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(source, target, transform)
    return transform


def _voxels(node: VolumeNode, name: str) -> vtk.vtkImageData:
    data = node.GetImageData()
    if data is None or data.GetPointData().GetScalars() is None or data.GetNumberOfPoints() == 0:
        raise LIPCARError(f"{name} holds no voxels. Load it again, or choose another volume.")
    return data


def grid_of(node: VolumeNode, name: str, reference: VolumeNode) -> Grid:
    """Where the voxels lie in the space that the geometry of `reference` is in, LPS."""
    ijk_to_lps = _RAS_LPS @ _relative(node, name, reference) @ ijk_to_ras(node)
    axes = ijk_to_lps[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    return Grid(
        _voxels(node, name).GetDimensions(),
        tuple(spacing.tolist()),
        tuple(ijk_to_lps[:3, 3].tolist()),
        tuple((axes / spacing).ravel().tolist()),
    )


def ijk_to_ras(node: VolumeNode) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def _relative(node: VolumeNode, name: str, reference: VolumeNode) -> np.ndarray:
    """The matrix from the node's own space into that of the reference, both below their parent transforms."""
    source, target = node.GetParentTransformNode(), reference.GetParentTransformNode()
    linear = source is target or (source or target).IsTransformToNodeLinear(target if source else None)
    matrix = vtk.vtkMatrix4x4()
    if not linear or not slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(source, target, matrix):
        raise LIPCARError(
            f"{name} and the low-dose image ('{reference.GetName()}') lie under different transforms of which one is "
            "not linear. Harden the transform of each (Data module, right click on the transform), and run again."
        )
    return slicer.util.arrayFromVTKMatrix(matrix)
