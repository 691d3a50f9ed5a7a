"""Segments of a segmentation as masks on the grid of a result, by Slicer's own conversion."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from ..errors import LIPCARError
from .geometry import ijk_to_ras
from .mrml import ATTRIBUTE_PREFIX, place_below, provenance_of, related
from .services import VolumeNode

INSIDE = 0.999
"""Share of a segment above which it counts as wholly inside."""


def segments_of(segmentation: Any) -> dict[str, str]:
    """The ids of a segmentation's segments by name; a number follows a name that is taken."""
    content, found = segmentation.GetSegmentation(), dict[str, str]()
    for identity in content.GetSegmentIDs() if content is not None else ():
        name = free = content.GetSegment(identity).GetName() or identity
        number = 1
        while free in found:
            number += 1
            free = " ".join((name, str(number)))
        found[free] = identity
    return found


def regions_on(
    volume: VolumeNode, segmentation: Any, notices: list[str]
) -> Generator[None, None, dict[str, np.ndarray]]:
    """The segments as Slicer converts them to label maps on the grid of a result, (S, H, W) boolean by name.

    Those without a voxel there are left out; what is odd about one is told in a sentence.

    Raises:
        LIPCARError: no segment has a voxel there.
    """
    found: dict[str, np.ndarray] = {}
    elsewhere = []
    for name, identity in segments_of(segmentation).items():
        inside, on_grid = _share_inside(segmentation, identity, volume)
        voxels = _label_map(segmentation, identity, volume)
        if not on_grid:
            elsewhere.append(name)
        if voxels.any():
            found[name] = np.moveaxis(voxels, 2 - int(provenance_of(volume)["slice_axis"]), 0)
            text = _("{share:.0%} of the segment '{name}' lie outside the result; the rest was measured.")
            if inside is not None and inside < INSIDE:
                notices.append(text.format(share=max(1 - inside, 0.01), name=name))
        else:
            reason = _("lies between the voxels of the result")
            reason = _("is empty") if inside is None else _("lies outside the result") if inside == 0 else reason
            notices.append(_("The segment '{name}' {reason} and was left out.").format(name=name, reason=reason))
        yield None
    if not found:
        raise LIPCARError(" ".join((*notices, _("There is nothing to measure."))))
    if elsewhere:
        text = _("Drawn on another grid than the result's, and brought onto it: {names}.")
        notices.append(text.format(names=", ".join(elsewhere)))
    for (one, mask), (other, second) in combinations(found.items(), 2):
        shared = np.count_nonzero(mask & second) * float(np.prod(volume.GetSpacing()))
        if shared:
            text = _("The segments '{one}' and '{other}' overlap in {shared:.3g} mm3; each was measured whole.")
            notices.append(text.format(one=one, other=other, shared=shared))
        yield None
    return found


def add_segments(
    labels: np.ndarray,
    segments: Sequence[tuple[str, tuple[float, float, float]]],
    output: VolumeNode,
    role: str,
    words: str,
) -> Any:
    """A label map on the grid of a result as a segmentation, below the result, which refers to it ("LIPCAR.<role>").

    Args:
        labels: (k, j, i); n is in the n-th segment, 0 in none.
        segments: name and color (RGB, 0..1) of each; those without a voxel are there all the same.
        words: how its name ends.
    """
    scene = output.GetScene()
    node = related(output, role)
    if node is None:
        name = scene.GenerateUniqueName(" ".join((output.GetName(), words)))
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        output.SetNodeReferenceID(f"{ATTRIBUTE_PREFIX}{role}", node.GetID())
    content = node.GetSegmentation()
    content.RemoveAllSegments()
    node.SetReferenceImageGeometryParameterFromVolumeNode(output)
    node.SetAndObserveTransformNodeID(output.GetTransformNodeID())
    node.CreateDefaultDisplayNodes()
    for label, (name, color) in enumerate(segments, start=1):
        identity = content.AddEmptySegment("", name, color)
        inside = labels == label
        if inside.any():
            slicer.util.updateSegmentBinaryLabelmapFromArray(inside.astype(np.uint8), node, identity, output)
    node.GetDisplayNode().SetOpacity2DFill(0.2)
    place_below(node, output)
    return node


def _label_map(segmentation: Any, identity: str, volume: VolumeNode) -> np.ndarray:
    """(k, j, i), boolean."""
    try:
        return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, identity, volume) > 0
    except RuntimeError:  # Slicer's export fails where there is nothing to export
        return np.zeros(volume.GetImageData().GetDimensions()[::-1], bool)


def _share_inside(segmentation: Any, identity: str, volume: VolumeNode) -> tuple[float | None, bool]:
    """How much of a segment lies within a volume, None where it is empty; and whether it is drawn on the same grid."""
    drawn = segmentation.GetBinaryLabelmapInternalRepresentation(identity)
    segment = segmentation.GetSegmentation().GetSegment(identity)
    if drawn is None or drawn.IsEmpty():
        surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
        return (None if segment.GetRepresentation(surface) is None else 1.0), True
    scalars = vtk.util.numpy_support.vtk_to_numpy(drawn.GetPointData().GetScalars())
    indices = np.argwhere(scalars.reshape(drawn.GetDimensions()[::-1]) == segment.GetLabelValue())[:, ::-1]
    if not len(indices):
        return None, True
    matrix, between = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    drawn.GetImageToWorldMatrix(matrix)
    one, other = segmentation.GetParentTransformNode(), volume.GetParentTransformNode()
    if not slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(one, other, between):
        return 1.0, False  # bent; that there is nothing of it in the result is seen there
    own = slicer.util.arrayFromVTKMatrix(between) @ slicer.util.arrayFromVTKMatrix(matrix)
    to_result = np.linalg.solve(ijk_to_ras(volume), own)
    places = (indices + np.array(drawn.GetExtent()[::2])) @ to_result[:3, :3].T + to_result[:3, 3]
    inside = np.all((places > -0.5) & (places < np.array(volume.GetImageData().GetDimensions()) - 0.5), axis=1)
    on_grid = np.allclose(to_result[:3, :3], np.eye(3), atol=1e-3)
    on_grid = on_grid and np.allclose(to_result[:3, 3], np.round(to_result[:3, 3]), atol=1e-2)
    return float(inside.mean()), bool(on_grid)
