"""Volume nodes in, volume nodes out: between a MRML scene (RAS) and the engine's images (LPS)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
    from .request import Request

ATTRIBUTE_PREFIX = "LIPCAR."
"""Before the name of every node attribute that tells how a result was made."""
OUTPUT_NAME = "simulated high dose"
"""What follows the low-dose volume's name in the name of a new result."""
EXTRAS = {
    "prior": "prior",
    "difference": "minus low dose",
    "enhancement": "enhancement",
    "data_consistency": "data consistency",
}
"""Volumes that a result may bring along, and how their names end: the prior, x - x_L, x - x_P, and F(x) - x_L."""
EVIDENCE = ("consistency", "equation", "uncertainty", "findings", "finding_table")
"""What else a result may refer to: maps, a segmentation and a table of what speaks for and against it."""
_TWO_SIDED = "vtkMRMLColorTableNodeFileDivergingBlueRed.txt"
_ONE_SIDED = "vtkMRMLColorTableNodeFileInferno.txt"
MAPS = {"difference": _TWO_SIDED, "enhancement": _ONE_SIDED, "data_consistency": _TWO_SIDED}
"""Of the extras that are maps: their color tables in Slicer. One-sided are those that start at zero."""
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
    from .request import Request

    return examination_job(Request(lowdose, predose, highdose, match_predose=match_predose))()


def examination_job(request: Request) -> Callable[[], Examination]:
    """The same, in two steps: the voxels are copied now, and checked by what is returned, which touches no node."""
    roles = {"lowdose": "low-dose", "predose": "pre-dose", "highdose": "high-dose"}
    nodes = {role: node for role, node in request.volumes.items() if node is not None}
    names = {role: f"The {roles[role]} image ('{node.GetName()}')" for role, node in nodes.items()}
    images: dict[str, Any] = {role: image_of(node, names[role], request.lowdose) for role, node in nodes.items()}
    match_predose = request.match_predose

    def check() -> Examination:
        return Examination.from_images(**images, names=names, match_predose=match_predose)

    return check


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


@dataclass(frozen=True)
class Prepared:
    """What goes into the scene, computed without touching it.

    Attributes:
        images: by "result" and extra, on the grid of the computed slices.
        reach: by extra, half the width of its window; maps only.
        bright: upper end of the window that shows the result.
        voxels: of `copied`: by the keys of `images`, nodes outside any scene.
    """

    images: Mapping[str, sitk.Image]
    reach: Mapping[str, float]
    bright: float = 0.0
    voxels: dict[str, VolumeNode] = field(default_factory=dict)

    def copied(self) -> Iterator[None]:
        """Copy the voxels into nodes; one image a step, for large ones hold up the window."""
        for role, image in self.images.items():
            if role not in self.voxels:
                self.voxels[role] = _as_node(image)
                yield None


def prepare(examination: Examination, result: Result, extras: Collection[str] = ()) -> Prepared:
    """The images of a result. Raises LIPCARError where an extra needs what examination or result lack."""
    arrays = {extra: _extra(extra, examination, result) for extra in extras}
    maps = {extra: array for extra, array in arrays.items() if extra in MAPS}
    reach = {extra: float(np.percentile(np.abs(array), WINDOW_PERCENTILE)) for extra, array in maps.items()}
    images = {"result": result.highdose, **arrays}
    return Prepared(
        {role: examination.to_image(array) for role, array in images.items()},
        reach,
        float(np.percentile(result.highdose, WINDOW_PERCENTILE)),
    )


def add_volumes(
    examination: Examination,
    result: Result,
    lowdose: VolumeNode,
    output: VolumeNode | None = None,
    extras: Collection[str] = (),
    predose: VolumeNode | None = None,
    highdose: VolumeNode | None = None,
    name: str | None = None,
    prepared: Prepared | None = None,
) -> VolumeNode:
    """Put a result into the scene where the low-dose volume is: same geometry, parent transform and study.

    Its window is the low-dose volume's, widened where the result is brighter; maps have windows of their own, and the
    inputs stay as they are. All or nothing: after an error the scene is as before.

    Args:
        examination: what was computed, or a part of it, made by `examination_of` from `lowdose`.
        result: of the same examination.
        output: a node to update, or None for a new one in the scene of `lowdose`.
        extras: of EXTRAS, which volumes to add beside the output. It refers to them (node references
            "LIPCAR.<extra>"), and a later result in the same output updates them.
        predose, highdose: the other volumes of the examination.
        name: of a new output; None for the low-dose volume's with OUTPUT_NAME.
        prepared: of :func:`prepare`, where that was done before.

    Returns:
        The output node. Its attributes "LIPCAR.<key>", and those of the extra volumes, tell how it was made; its
        node references "LIPCAR.lowdose", "LIPCAR.predose" and "LIPCAR.highdose", from what.

    Raises:
        LIPCARError: the voxels of `lowdose` were replaced by others of another size since they were read, or an
            extra needs what the examination or the result lacks.
    """
    _check_unchanged(examination, lowdose)
    prepared = prepared or prepare(examination, result, extras)
    list(prepared.copied())  # what was not before; out of memory here leaves no trace
    voxels = prepared.voxels
    scene = lowdose.GetScene()
    if output is None:
        output = _new_volume(scene, name or f"{lowdose.GetName()} {OUTPUT_NAME}")
    first = [0, 0, 0]
    first[examination.slice_axis] = examination.first_slice
    provenance = {**result.provenance, "notices": " ".join(examination.notices)}
    _fill(output, voxels["result"], lowdose, first, provenance)
    place_beside(output, lowdose)
    for role, node in (("lowdose", lowdose), ("predose", predose), ("highdose", highdose)):
        output.SetNodeReferenceID(f"{ATTRIBUTE_PREFIX}{role}", None if node is None else node.GetID())
    _show_as(output, lowdose, prepared.bright)
    for extra, words in EXTRAS.items():
        role = f"{ATTRIBUTE_PREFIX}{extra}"
        if extra not in extras:
            output.RemoveNodeReferenceIDs(role)  # what is left of an earlier result does not belong to this one
            continue
        node = related(output, extra) or _new_volume(scene, f"{output.GetName()} {words}")
        _fill(node, voxels[extra], lowdose, first, {**provenance, "content": words})
        place_below(node, output)
        output.SetNodeReferenceID(role, node.GetID())
        if extra in MAPS:
            _show_as_map(node, MAPS[extra] == _TWO_SIDED, prepared.reach[extra])
        else:
            _show_as(node, lowdose, prepared.bright)
    return output


def add_map(voxels: VolumeNode, output: VolumeNode, role: str, words: str, two_sided: bool, reach: float) -> VolumeNode:
    """A map of a result below it, which refers to it ("LIPCAR.<role>"); one that is there already is updated.

    Args:
        voxels: of `Prepared`, on the grid of the result.
        words: how its name ends.
        two_sided: whether zero is its middle, or its least value.
        reach: its greatest value that is told from others by color.
    """
    node = related(output, role) or _new_volume(output.GetScene(), f"{output.GetName()} {words}")
    provenance = {**provenance_of(output), "content": words}
    _fill(node, voxels, output, (0, 0, 0), provenance)
    place_below(node, output)
    output.SetNodeReferenceID(f"{ATTRIBUTE_PREFIX}{role}", node.GetID())
    _show_as_map(node, two_sided, reach)
    return node


def hidden(node: VolumeNode) -> VolumeNode:
    """The same, in no list, no study and no saved scene: it is looked at and goes."""
    node.SetHideFromEditors(True)
    node.SaveWithSceneOff()
    return node


def remove_result(output: VolumeNode) -> list[Any]:
    """Take a result and all that belongs to it out of the scene; returns the nodes, the result first."""
    scene = output.GetScene()
    roles = (*EXTRAS, "convergence", "objective", "metrics", *EVIDENCE)
    nodes = [output, *(node for role in roles if (node := related(output, role)) is not None)]
    regions = f"{ATTRIBUTE_PREFIX}regions"
    nodes += [output.GetNthNodeReference(regions, n) for n in range(output.GetNumberOfNodeReferences(regions))]
    chart = related(output, "convergence")
    if chart is not None:
        nodes += [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]
    for node in list(nodes):
        for part in ("DisplayNode", "StorageNode"):
            if getattr(node, f"Get{part}", None) is not None and getattr(node, f"Get{part}")() is not None:
                nodes.append(getattr(node, f"Get{part}")())
    for node in nodes:
        if node.GetScene() is scene:  # some go with others
            scene.RemoveNode(node)
    return nodes


def bring_back(scene: Any, nodes: Sequence[Any]) -> None:
    """Undo :func:`remove_result`."""
    for node in reversed(nodes):
        if node.GetScene() is None:
            scene.AddNode(node)
    lowdose = related(nodes[0], "lowdose")
    if lowdose is not None:
        place_beside(nodes[0], lowdose)
    for node in nodes[1:]:
        if node.IsA("vtkMRMLScalarVolumeNode") or node.IsA("vtkMRMLSegmentationNode"):
            place_below(node, nodes[0])


def results_of(lowdose: VolumeNode | None, volumes: Sequence[VolumeNode]) -> list[VolumeNode]:
    """Those of the volumes that are results made from a low-dose volume, in their order; None for from any."""
    made = [volume for volume in volumes if {"model", "slices"} <= provenance_of(volume).keys()]
    made = [volume for volume in made if "content" not in provenance_of(volume) and not volume.GetHideFromEditors()]
    return [volume for volume in made if lowdose is None or related(volume, "lowdose") is lowdose]


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
    if extra == "difference":
        return result.highdose - examination.lowdose
    if extra == "data_consistency" and result.data_consistency is not None:
        return result.data_consistency
    raise LIPCARError(f"The {EXTRAS.get(extra, extra)} cannot be made: what it is computed from is not there.")


def _as_node(image: sitk.Image) -> VolumeNode:
    """A volume node outside any scene that holds the voxels; its geometry is not the image's."""
    node = slicer.vtkMRMLScalarVolumeNode()
    slicer.util.updateVolumeFromArray(node, sitk.GetArrayViewFromImage(image))
    return node


def _new_volume(scene: Any, name: str) -> VolumeNode:
    """Under a name of its own: a number follows where the name is taken."""
    number, free = 1, name
    while scene.GetFirstNodeByName(free) is not None:
        number += 1
        free = f"{name} {number}"
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", free)
    node.CreateDefaultDisplayNodes()  # before there are voxels, whose histogram for an automatic window takes its time
    node.GetScalarVolumeDisplayNode().AutoWindowLevelOff()
    return node


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


def _show_as(node: VolumeNode, lowdose: VolumeNode, bright: float) -> None:
    """The low-dose volume's color table and window, widened to `bright`."""
    node.CreateDefaultDisplayNodes()
    display, shown = node.GetScalarVolumeDisplayNode(), lowdose.GetScalarVolumeDisplayNode()
    display.AutoWindowLevelOff()
    lowest, highest = window_of(lowdose)
    display.SetWindowLevelMinMax(lowest, max(highest, bright))
    if shown is not None:
        display.SetAndObserveColorNodeID(shown.GetColorNodeID())


def window_of(volume: VolumeNode) -> tuple[float, float]:
    """Lowest and highest value of a volume's window; of one that was never shown, of its voxels."""
    display = volume.GetScalarVolumeDisplayNode()
    if display is None:
        lowest, highest = volume.GetImageData().GetScalarRange()
        return float(lowest), float(highest)
    return float(display.GetWindowLevelMin()), float(display.GetWindowLevelMax())


def _show_as_map(node: VolumeNode, two_sided: bool, reach: float) -> None:
    """From zero, or around zero, which then has the middle color, where the map has two signs."""
    node.CreateDefaultDisplayNodes()
    display = node.GetScalarVolumeDisplayNode()
    display.AutoWindowLevelOff()
    reach = reach or 1.0
    display.SetWindowLevelMinMax(-reach if two_sided else 0.0, reach)
    colors = _TWO_SIDED if two_sided else _ONE_SIDED
    if node.GetScene().GetNodeByID(colors):
        display.SetAndObserveColorNodeID(colors)


def place_beside(output: Any, lowdose: VolumeNode) -> None:
    """Into the volume's study, where the subject hierarchy knows it."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(lowdose.GetScene())
    item = hierarchy.GetItemByDataNode(lowdose) if hierarchy else 0
    if item:
        _place(hierarchy, output, hierarchy.GetItemParent(item))


def place_below(node: Any, output: VolumeNode) -> None:
    """Under the result that it belongs to, where the subject hierarchy knows that."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(output.GetScene())
    item = hierarchy.GetItemByDataNode(output) if hierarchy else 0
    if item:
        _place(hierarchy, node, item)


def _place(hierarchy: Any, node: Any, parent: int) -> None:
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(parent, node), parent)
