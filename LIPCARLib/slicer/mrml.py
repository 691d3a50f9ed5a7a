"""Volume nodes in, volume nodes out: between a MRML scene (RAS) and the engine's images (LPS)."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk
import slicer
import vtk

from ..errors import LIPCARError
from ..imaging import Examination, Grid, resample

if TYPE_CHECKING:  # the panel looks at volumes before torch is installed
    from ..inverse import Result

VolumeNode = slicer.vtkMRMLScalarVolumeNode

ATTRIBUTE_PREFIX = "LIPCAR."
"""Before the name of every node attribute that tells how a result was made."""
OUTPUT_NAME = "simulated high dose"
"""What follows the low-dose volume's name in the name of a new result."""
EXTRAS = {"prior": "prior", "enhancement": "enhancement", "data_consistency": "data consistency"}
"""Volumes that a result may bring along, and how their names end: the network's own guess, x - x_P, and F(x) - x_L."""
WINDOW_PERCENTILE = 99.9
"""Of the result: what the shared window is widened to, so that enhancing tissue is not shown clipped."""

_RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


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
    images = {key: image_of(node, names[key], lowdose) for key, (_, node) in nodes.items()}
    return Examination.from_images(**images, names=names, match_predose=match_predose)


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
    grid = _grid(node, name, reference or node)
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
    return _grid(reference, name, reference).differences(_grid(node, name, reference))


def resampled(node: VolumeNode, reference: VolumeNode) -> VolumeNode:
    """A new volume node with the content of `node`, interpolated linearly on the grid of `reference`.

    It lies in the study and below the parent transform of the reference; `node` stays as it is.

    Raises:
        LIPCARError: as `image_of`.
    """
    name = f"The volume '{node.GetName()}'"
    image = resample(image_of(node, name, reference), _grid(reference, name, reference))
    scene = reference.GetScene()
    new = _as_node(image)
    new.SetName(scene.GenerateUniqueName(f"{node.GetName()} resampled"))
    _copy_geometry(reference, new, (0, 0, 0))
    new = scene.AddNode(new)
    new.SetAndObserveTransformNodeID(reference.GetTransformNodeID())
    new.CreateDefaultDisplayNodes()
    if node.GetScalarVolumeDisplayNode():
        new.GetScalarVolumeDisplayNode().CopyContent(node.GetScalarVolumeDisplayNode())
    _place_beside(new, reference)
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
    first = tuple(examination.first_slice if axis == examination.slice_axis else 0 for axis in range(3))
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


def dicom_header(volume: VolumeNode) -> Any:
    """What the subject hierarchy knows of the patient and the study of a volume that came from DICOM.

    Returns:
        A pydicom data set with patient name and the like, and the study's UID; None where nothing is known.
    """
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(volume.GetScene())
    item = hierarchy.GetItemByDataNode(volume) if hierarchy else 0
    known: dict[str, str] = {}
    while item and item != hierarchy.GetSceneItemID():
        for name in hierarchy.GetItemAttributeNames(item):
            if name.startswith("DICOM."):
                known.setdefault(name.removeprefix("DICOM."), hierarchy.GetItemAttribute(item, name))
        if hierarchy.GetItemLevel(item) == "Study" and hierarchy.GetItemUID(item, "DICOM"):
            known.setdefault("StudyInstanceUID", hierarchy.GetItemUID(item, "DICOM"))
        item = hierarchy.GetItemParent(item)
    if "StudyInstanceUID" not in known and "PatientID" not in known:
        return None
    from pydicom import Dataset
    from pydicom.datadict import tag_for_keyword

    header = Dataset()
    for keyword, value in known.items():
        if tag_for_keyword(keyword) is not None:
            setattr(header, keyword, value)
    return header


def add_metrics(
    metrics: Mapping[str, Mapping[str, Sequence[float | None]]], first_slice: int, output: VolumeNode
) -> Any:
    """A table node of SSIM, PSNR and RMSE against the high-dose volume, referred to by the output node.

    Args:
        metrics: of `evaluation.examination_metrics`.
        first_slice: number of the first row, counted from 0.
        output: of `add_volumes`. The table of an earlier result in it is replaced.

    Returns:
        The vtkMRMLTableNode: a row for each image's mean over the slices, then one for each slice.
    """
    scores = ("ssim", "psnr", "rmse")
    rows = [(image, "mean", *(mean_of(table[score]) for score in scores)) for image, table in metrics.items()]
    for image, table in metrics.items():
        for index, values in enumerate(zip(*(table[score] for score in scores), strict=True)):
            rows.append((image, str(first_slice + index + 1), *values))
    columns = [_text_column("image", [r[0] for r in rows]), _text_column("slice", [r[1] for r in rows])]
    columns += [
        _number_column(title, [r[2 + i] for r in rows]) for i, title in enumerate(("SSIM", "PSNR (dB)", "RMSE"))
    ]
    return _referred_table(output, "metrics", "metrics", columns)


def add_convergence(objective: Sequence[Sequence[float]], output: VolumeNode) -> Any:
    """A plot chart of the objective by network evaluation, referred to by the output node.

    Args:
        objective: of `Result`: per slice, the value at every evaluation. A slice that ended early keeps its last one.
        output: of `add_volumes`. The chart of an earlier result in it is replaced.

    Returns:
        The vtkMRMLPlotChartNode, with a curve for the mean, the lowest and the highest slice.
    """
    steps = max(len(values) for values in objective)
    padded = np.array([[*values, *[values[-1]] * (steps - len(values))] for values in objective])
    curves = {"mean": padded.mean(0), "lowest slice": padded.min(0), "highest slice": padded.max(0)}
    axis = "evaluations of the operator"
    columns = [_number_column(axis, range(1, steps + 1))]
    columns += [_number_column(name, values) for name, values in curves.items()]
    table = _referred_table(output, "objective", "objective", columns)
    table.SetHideFromEditors(True)
    scene = output.GetScene()
    chart = related(output, "convergence")
    if chart is None:
        name = f"{output.GetName()} convergence"
        chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", scene.GenerateUniqueName(name))
        output.SetNodeReferenceID(f"{ATTRIBUTE_PREFIX}convergence", chart.GetID())
        chart.SetTitle("Convergence")
        chart.SetXAxisTitle(axis)
        chart.SetYAxisTitle("objective")
        for index, curve in enumerate(curves):
            series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", curve)
            series.SetAndObserveTableNodeID(table.GetID())
            series.SetXColumnName(axis)
            series.SetYColumnName(curve)
            series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
            series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle)
            series.SetColor(*((0.1, 0.4, 0.8), (0.6, 0.6, 0.6), (0.85, 0.45, 0.1))[index])
            series.SetHideFromEditors(True)
            chart.AddAndObservePlotSeriesNodeID(series.GetID())
    _place_beside(chart, output)
    return chart


def mean_of(values: Sequence[float | None]) -> float | None:
    """Mean of the values that exist; None where none does."""
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None


def slice_at(node: VolumeNode, point: Sequence[float], slice_axis: int) -> int:
    """Number, from 0, of the slice along an index axis that is nearest to a point in the world; always one there is.

    Args:
        node: a volume with voxels, under any parent transform.
        point: in world coordinates (RAS), mm.
        slice_axis: 0 (i), 1 (j) or 2 (k).
    """
    own = np.append(_between(None, node.GetParentTransformNode()).TransformPoint(*point), 1.0)
    index = np.linalg.solve(_ijk_to_ras(node), own)[slice_axis]
    return int(np.clip(round(float(index)), 0, node.GetImageData().GetDimensions()[slice_axis] - 1))


def slice_center(node: VolumeNode, slice_axis: int, number: float) -> list[float]:
    """The point in the world (RAS, mm) at the middle of a slice, whose number counts from 0."""
    index = [(size - 1) / 2 for size in node.GetImageData().GetDimensions()]
    index[slice_axis] = number
    own = (_ijk_to_ras(node) @ [*index, 1])[:3]
    return list(_between(node.GetParentTransformNode(), None).TransformPoint(*own))


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


def _grid(node: VolumeNode, name: str, reference: VolumeNode) -> Grid:
    """Where the voxels lie in the space that the geometry of `reference` is in, LPS."""
    ijk_to_lps = _RAS_LPS @ _relative(node, name, reference) @ _ijk_to_ras(node)
    axes = ijk_to_lps[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    return Grid(
        _voxels(node, name).GetDimensions(),
        tuple(spacing.tolist()),
        tuple(ijk_to_lps[:3, 3].tolist()),
        tuple((axes / spacing).ravel().tolist()),
    )


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
    first: tuple[int, int, int],
    provenance: Mapping[str, Any],
) -> None:
    """Make a node of the scene the volume whose voxel (0, 0, 0) is the voxel `first` of the low-dose volume."""
    with slicer.util.NodeModify(node):
        node.SetAndObserveImageData(voxels.GetImageData())
        _copy_geometry(lowdose, node, first)
        node.SetAndObserveTransformNodeID(lowdose.GetTransformNodeID())
        _set_attributes(node, provenance)
    _place_beside(node, lowdose)


def _copy_geometry(source: VolumeNode, target: VolumeNode, first: tuple[int, int, int]) -> None:
    """Bit for bit: CopyOrientation of MRML goes through a matrix and is one rounding off."""
    directions = vtk.vtkMatrix4x4()
    source.GetIJKToRASDirectionMatrix(directions)
    target.SetIJKToRASDirectionMatrix(directions)
    target.SetSpacing(source.GetSpacing())
    target.SetOrigin(source.GetOrigin() if not any(first) else (_ijk_to_ras(source) @ [*first, 1])[:3].tolist())


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


def _referred_table(output: VolumeNode, role: str, words: str, columns: Sequence[vtk.vtkAbstractArray]) -> Any:
    """The table node that the output refers to under that role, made if need be, with these columns."""
    scene = output.GetScene()
    node = related(output, role)
    if node is None:
        name = scene.GenerateUniqueName(f"{output.GetName()} {words}")
        node = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
        output.SetNodeReferenceID(f"{ATTRIBUTE_PREFIX}{role}", node.GetID())
    table = vtk.vtkTable()
    for column in columns:
        table.AddColumn(column)
    node.SetAndObserveTable(table)
    node.SetUseColumnTitleAsColumnHeader(True)
    _place_beside(node, output)
    return node


def _text_column(title: str, values: Iterable[str]) -> vtk.vtkStringArray:
    column = vtk.vtkStringArray()
    column.SetName(title)
    for value in values:
        column.InsertNextValue(value)
    return column


def _number_column(title: str, values: Iterable[float | None]) -> vtk.vtkDoubleArray:
    column = vtk.vtkDoubleArray()
    column.SetName(title)
    for value in values:
        column.InsertNextValue(math.nan if value is None else float(value))
    return column


def _place_beside(output: Any, lowdose: VolumeNode) -> None:
    """Into the volume's study, where the subject hierarchy knows it."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(lowdose.GetScene())
    item = hierarchy.GetItemByDataNode(lowdose) if hierarchy else 0
    if not item:
        return
    study = hierarchy.GetItemParent(item)
    placed = hierarchy.GetItemByDataNode(output) or hierarchy.CreateItem(study, output)
    hierarchy.SetItemParent(placed, study)
