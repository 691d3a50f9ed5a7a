"""Volume nodes in, volume nodes out: between a MRML scene (RAS) and the engine's images (LPS)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk
import slicer
import vtk

from ..errors import LIPCARError
from ..imaging import Examination, resample
from .geometry import grid_of, ijk_to_ras, image_of
from .services import VolumeNode

if TYPE_CHECKING:  # the panel looks at volumes before torch is installed
    from ..inverse import Result

ATTRIBUTE_PREFIX = "LIPCAR."
"""Before the name of every node attribute that tells how a result was made."""
OUTPUT_NAME = "simulated high dose"
"""What follows the low-dose volume's name in the name of a new result."""
EXTRAS = {"prior": "prior", "enhancement": "enhancement", "data_consistency": "data consistency"}
"""Volumes that a result may bring along, and how their names end: the model's own guess, x - x_P, and F(x) - x_L."""
WINDOW_PERCENTILE = 99.9
"""Of the result: what the shared window is widened to, so that enhancing tissue is not shown clipped."""


def examination_of(
    lowdose: VolumeNode,
    predose: VolumeNode | None = None,
    highdose: VolumeNode | None = None,
    match_predose: bool = True,
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
    images: dict[str, Any] = {key: image_of(node, names[key], lowdose) for key, (_, node) in nodes.items()}
    return Examination.from_images(**images, names=names, match_predose=match_predose)


def resampled(node: VolumeNode, reference: VolumeNode) -> VolumeNode:
    """A new volume node with the content of `node`, interpolated linearly on the grid of `reference`.

    It lies in the study and below the parent transform of the reference; `node` stays as it is.

    Raises:
        LIPCARError: as `image_of`.
    """
    name = f"The volume '{node.GetName()}'"
    image = resample(image_of(node, name, reference), grid_of(reference, name, reference))
    scene = reference.GetScene()
    new = _as_node(image)
    new.SetName(scene.GenerateUniqueName(f"{node.GetName()} resampled"))
    _copy_geometry(reference, new)
    new = scene.AddNode(new)
    new.SetAndObserveTransformNodeID(reference.GetTransformNodeID())
    new.CreateDefaultDisplayNodes()
    if node.GetScalarVolumeDisplayNode():
        new.GetScalarVolumeDisplayNode().CopyContent(node.GetScalarVolumeDisplayNode())
    place_beside(new, reference)
    return new


def add_volumes(
    examination: Examination,
    result: Result,
    lowdose: VolumeNode,
    output: VolumeNode | None = None,
    extras: Collection[str] = (),
    predose: VolumeNode | None = None,
    highdose: VolumeNode | None = None,
    name: str | None = None,
) -> VolumeNode:
    """Put a result into the scene where the low-dose volume is: same geometry, parent transform and study.

    The window is the low-dose volume's, widened where the result is brighter, and set for all images alike, so that
    they can be compared; maps have windows of their own. All or nothing: after an error the scene is as before.

    Args:
        examination: what was computed, or a part of it, made by `examination_of` from `lowdose`.
        result: of the same examination.
        output: a node to update, or None for a new one in the scene of `lowdose`.
        extras: of EXTRAS, which volumes to add beside the output. It refers to them (node references
            "LIPCAR.<extra>"), and a later result in the same output updates them.
        predose, highdose: the other volumes of the examination, which share the window.
        name: of a new output; None for the low-dose volume's with OUTPUT_NAME.

    Returns:
        The output node. Its attributes "LIPCAR.<key>", and those of the extra volumes, tell how it was made; its
        node references "LIPCAR.lowdose", "LIPCAR.predose" and "LIPCAR.highdose", from what.

    Raises:
        LIPCARError: the voxels of `lowdose` were replaced by others of another size since they were read, or an
            extra needs what the examination or the result lacks.
    """
    _check_unchanged(examination, lowdose)
    arrays = {extra: _extra(extra, examination, result) for extra in extras}
    bright = float(np.percentile(result.highdose, WINDOW_PERCENTILE))
    # Outside the scene: running out of memory leaves no trace.
    voxels = _as_node(examination.to_image(result.highdose))
    extra_voxels = {extra: _as_node(examination.to_image(array)) for extra, array in arrays.items()}
    scene = lowdose.GetScene()
    if output is None:
        output = _new_volume(scene, name or f"{lowdose.GetName()} {OUTPUT_NAME}")
    first = [0, 0, 0]
    first[examination.slice_axis] = examination.first_slice
    provenance = {**result.provenance, "notices": " ".join(examination.notices)}
    _fill(output, voxels, lowdose, first, provenance)
    inputs = {"lowdose": lowdose, "predose": predose, "highdose": highdose}
    for role, node in inputs.items():
        output.SetNodeReferenceID(f"{ATTRIBUTE_PREFIX}{role}", None if node is None else node.GetID())
    images = [node for node in (predose, highdose, output) if node is not None]
    for extra, words in EXTRAS.items():
        role = f"{ATTRIBUTE_PREFIX}{extra}"
        if extra not in arrays:
            output.RemoveNodeReferenceIDs(role)  # what is left of an earlier result does not belong to this one
            continue
        node = related(output, extra) or _new_volume(scene, f"{output.GetName()} {words}")
        _fill(node, extra_voxels[extra], lowdose, first, {**provenance, "content": words})
        output.SetNodeReferenceID(role, node.GetID())
        if extra == "prior":
            images.append(node)
        else:
            _own_window(node, arrays[extra])
    _share_window(lowdose, images, bright)
    return output


def related(output: VolumeNode, role: str) -> Any:
    """What a result refers to: "lowdose", "predose", "highdose", an extra, "metrics" or "convergence"; or None."""
    return output.GetNodeReference(f"{ATTRIBUTE_PREFIX}{role}")


def provenance_of(output: VolumeNode) -> dict[str, str]:
    """How a result was made, from the attributes of its node; empty where the node is no result."""
    names = [name for name in output.GetAttributeNames() if name.startswith(ATTRIBUTE_PREFIX)]
    return {name[len(ATTRIBUTE_PREFIX) :]: output.GetAttribute(name) for name in names}


def _check_unchanged(examination: Examination, lowdose: VolumeNode) -> None:
    whole = [
        examination.slices_in_all if axis == examination.slice_axis else size
        for axis, size in enumerate(examination.grid.size)
    ]
    found = list(lowdose.GetImageData().GetDimensions() if lowdose.GetImageData() else (0, 0, 0))
    if found != whole:
        raise LIPCARError(
            f"The low-dose image ('{lowdose.GetName()}') was changed during the computation: it has "
            f"{' x '.join(map(str, found))} voxels, the result {' x '.join(map(str, whole))}. Start again."
        )


def _extra(extra: str, examination: Examination, result: Result) -> np.ndarray:
    if extra == "prior":
        return result.prior
    if extra == "enhancement" and examination.predose is not None:
        return result.highdose - examination.predose
    if extra == "data_consistency" and result.data_consistency is not None:
        return result.data_consistency
    raise LIPCARError(f"The {EXTRAS.get(extra, extra)} cannot be made: what it is computed from is not there.")


def _as_node(image: sitk.Image) -> VolumeNode:
    """A volume node outside any scene that holds the voxels; its geometry is not the image's."""
    node = slicer.vtkMRMLScalarVolumeNode()
    slicer.util.updateVolumeFromArray(node, sitk.GetArrayViewFromImage(image))
    return node


def _new_volume(scene: Any, name: str) -> VolumeNode:
    return scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(name))


def _fill(
    node: VolumeNode,
    voxels: VolumeNode,
    lowdose: VolumeNode,
    first: Sequence[int],
    provenance: Mapping[str, Any],
) -> None:
    """Make a node of the scene the volume whose voxel (0, 0, 0) is the voxel `first` of the low-dose volume."""
    with slicer.util.NodeModify(node):
        node.SetAndObserveImageData(voxels.GetImageData())
        _copy_geometry(lowdose, node, first)
        node.SetAndObserveTransformNodeID(lowdose.GetTransformNodeID())
        _set_attributes(node, provenance)
    place_beside(node, lowdose)


def _copy_geometry(source: VolumeNode, target: VolumeNode, first: Sequence[int] = (0, 0, 0)) -> None:
    """Bit for bit: CopyOrientation of MRML goes through a matrix and is one rounding off."""
    directions = vtk.vtkMatrix4x4()
    source.GetIJKToRASDirectionMatrix(directions)
    target.SetIJKToRASDirectionMatrix(directions)
    target.SetSpacing(source.GetSpacing())
    target.SetOrigin(source.GetOrigin() if not any(first) else (ijk_to_ras(source) @ [*first, 1])[:3].tolist())


def _set_attributes(node: VolumeNode, provenance: Mapping[str, Any]) -> None:
    for name in node.GetAttributeNames():
        if name.startswith(ATTRIBUTE_PREFIX):
            node.RemoveAttribute(name)
    for key, value in provenance.items():
        node.SetAttribute(f"{ATTRIBUTE_PREFIX}{key}", str(value))


def _share_window(lowdose: VolumeNode, others: Collection[VolumeNode], bright: float) -> None:
    """One window and color table for all: the low-dose image's, widened to `bright`."""
    for node in (lowdose, *others):
        node.CreateDefaultDisplayNodes()
    shown = lowdose.GetScalarVolumeDisplayNode()
    lowest, highest = shown.GetWindowLevelMin(), max(shown.GetWindowLevelMax(), bright)
    for node in (lowdose, *others):
        display = node.GetScalarVolumeDisplayNode()
        display.SetAndObserveColorNodeID(shown.GetColorNodeID())
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(lowest, highest)


def _own_window(node: VolumeNode, array: np.ndarray) -> None:
    """Around zero, which is then middle gray: maps have two signs."""
    reach = float(np.percentile(np.abs(array), WINDOW_PERCENTILE)) or 1.0
    node.CreateDefaultDisplayNodes()
    node.GetScalarVolumeDisplayNode().AutoWindowLevelOff()
    node.GetScalarVolumeDisplayNode().SetWindowLevelMinMax(-reach, reach)


def place_beside(output: Any, lowdose: VolumeNode) -> None:
    """Into the volume's study, where the subject hierarchy knows it."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(lowdose.GetScene())
    item = hierarchy.GetItemByDataNode(lowdose) if hierarchy else 0
    if not item:
        return
    study = hierarchy.GetItemParent(item)
    placed = hierarchy.GetItemByDataNode(output) or hierarchy.CreateItem(study, output)
    hierarchy.SetItemParent(placed, study)
