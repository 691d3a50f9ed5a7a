"""Volume nodes in, volume nodes out: between a MRML scene (RAS) and the engine's images (LPS)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer
import vtk

from .errors import LIPCARError
from .examination import Examination

VolumeNode = slicer.vtkMRMLScalarVolumeNode

ATTRIBUTE_PREFIX = "LIPCAR."
"""Before the name of every node attribute that tells how a result was made."""
WINDOW_PERCENTILE = 99.9
"""Of the result: what the shared window is widened to, so that enhancing tissue is not shown clipped."""

_RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def examination_of(
    lowdose: VolumeNode, predose: VolumeNode | None = None, highdose: VolumeNode | None = None
) -> Examination:
    """Check and align the volumes of one examination as `Examination.from_images`; messages name the nodes.

    Parent transforms count: what lies elsewhere in the world than the low-dose volume is brought to it. The voxels
    are copied, the nodes stay as they are and may change or go afterwards.

    Raises:
        LIPCARError: as `Examination.from_images`; a node without voxels; a non-linear transform between two nodes.
    """
    roles = {"low-dose": lowdose, "pre-dose": predose, "high-dose": highdose}
    nodes = {role.replace("-", ""): (role, node) for role, node in roles.items() if node is not None}
    names = {key: f"The {role} image ('{node.GetName()}')" for key, (role, node) in nodes.items()}
    images = {key: image_of(node, names[key], lowdose) for key, (_, node) in nodes.items()}
    return Examination.from_images(**images, names=names)


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
    data = node.GetImageData()
    if data is None or data.GetPointData().GetScalars() is None or data.GetNumberOfPoints() == 0:
        raise LIPCARError(f"{name} holds no voxels. Load it again, or choose another volume.")
    is_vector = data.GetNumberOfScalarComponents() > 1
    image = sitk.GetImageFromArray(slicer.util.arrayFromVolume(node), isVector=is_vector)
    ijk_to_lps = _RAS_LPS @ _relative(node, name, reference or node) @ _ijk_to_ras(node)
    axes = ijk_to_lps[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((axes / spacing).ravel().tolist())
    image.SetOrigin(ijk_to_lps[:3, 3].tolist())
    return image


def to_node(
    image: sitk.Image, lowdose: VolumeNode, provenance: Mapping[str, Any], output: VolumeNode | None = None
) -> VolumeNode:
    """Put a result into the scene where the low-dose volume is: same geometry, parent transform and study.

    The window is the low-dose volume's, widened where the result is brighter, and set for both of them, so that they
    can be compared. All or nothing: after an error the scene is as before.

    Args:
        image: from `Examination.to_image` of the examination of `lowdose`; float32.
        provenance: becomes node attributes "LIPCAR.<key>"; those of an earlier result are removed.
        output: a node to update, or None for a new one in the scene of `lowdose`.

    Returns:
        The output node.

    Raises:
        LIPCARError: the voxels of `lowdose` were replaced by others of another size since they were read.
    """
    expected = lowdose.GetImageData().GetDimensions() if lowdose.GetImageData() else (0, 0, 0)
    if image.GetSize() != expected:
        raise LIPCARError(
            f"The low-dose image ('{lowdose.GetName()}') was changed during the computation: it has "
            f"{' x '.join(map(str, expected))} voxels, the result {' x '.join(map(str, image.GetSize()))}. Start again."
        )
    voxels = sitk.GetArrayViewFromImage(image)
    bright = float(np.percentile(voxels, WINDOW_PERCENTILE))
    holder = slicer.vtkMRMLScalarVolumeNode()  # outside the scene: running out of memory leaves no trace
    slicer.util.updateVolumeFromArray(holder, voxels)
    scene = lowdose.GetScene()
    if output is None:
        name = scene.GenerateUniqueName(f"{lowdose.GetName()} LIPCAR")
        output = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    with slicer.util.NodeModify(output):
        output.SetAndObserveImageData(holder.GetImageData())
        _copy_geometry(lowdose, output)
        output.SetAndObserveTransformNodeID(lowdose.GetTransformNodeID())
        _set_attributes(output, provenance)
    _share_window(output, lowdose, bright)
    _place_beside(output, lowdose)
    return output


def _ijk_to_ras(node: VolumeNode) -> np.ndarray:
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


def _copy_geometry(source: VolumeNode, target: VolumeNode) -> None:
    """Bit for bit: CopyOrientation of MRML goes through a matrix and is one rounding off."""
    directions = vtk.vtkMatrix4x4()
    source.GetIJKToRASDirectionMatrix(directions)
    target.SetIJKToRASDirectionMatrix(directions)
    target.SetSpacing(source.GetSpacing())
    target.SetOrigin(source.GetOrigin())


def _set_attributes(node: VolumeNode, provenance: Mapping[str, Any]) -> None:
    for name in node.GetAttributeNames():
        if name.startswith(ATTRIBUTE_PREFIX):
            node.RemoveAttribute(name)
    for key, value in provenance.items():
        node.SetAttribute(f"{ATTRIBUTE_PREFIX}{key}", str(value))


def _share_window(output: VolumeNode, lowdose: VolumeNode, bright: float) -> None:
    """One window and color table for both: the low-dose image's, widened to `bright`."""
    for node in (lowdose, output):
        node.CreateDefaultDisplayNodes()
    shown = lowdose.GetScalarVolumeDisplayNode()
    lowest, highest = shown.GetWindowLevelMin(), max(shown.GetWindowLevelMax(), bright)
    output.GetScalarVolumeDisplayNode().SetAndObserveColorNodeID(shown.GetColorNodeID())
    for node in (lowdose, output):
        node.GetScalarVolumeDisplayNode().AutoWindowLevelOff()
        node.GetScalarVolumeDisplayNode().SetWindowLevelMinMax(lowest, highest)


def _place_beside(output: VolumeNode, lowdose: VolumeNode) -> None:
    """Into the low-dose image's study, where the subject hierarchy knows it."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(lowdose.GetScene())
    item = hierarchy.GetItemByDataNode(lowdose) if hierarchy else 0
    if not item:
        return
    study = hierarchy.GetItemParent(item)
    placed = hierarchy.GetItemByDataNode(output) or hierarchy.CreateItem(study, output)
    hierarchy.SetItemParent(placed, study)
