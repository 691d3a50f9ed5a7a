"""The views of the application: what is on screen, a result in them, images side by side, charts and tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import slicer
import vtk

from .geometry import on_one_grid, slice_at, slice_center, slice_normal
from .services import VolumeNode

LAYOUT = 57300
"""Number of the first layout; those for c columns of n images are 10 c + n more. Slicer's own are below a thousand."""
VIEW_WIDTH = 300
"""Pixels that the controls of a slice view need; with more views in a row the window would grow."""
TAG = "LIPCAR{}"
"""Names of the views."""
GROUP = 57310
"""Views of one group are linked with each other and with no others."""


class SlicerViews:
    """The views of the main window; without one, as in an automated test, what is shown goes nowhere."""

    def __init__(self) -> None:
        self._before: int | None = None
        self._ended: Callable[[], None] | None = None
        self._part: tuple[int, int] | None = None
        self._slabs: list[Any] = []

    def slice_on_screen(self, volume: VolumeNode, slice_axis: int) -> int:
        """Number, from 0, of the slice at the middle of the view whose plane is nearest to that of the volume's slices.

        Without a view, as in an application without a main window, it is the middle slice.
        """
        manager = slicer.app.layoutManager()
        normal = slice_normal(volume, slice_axis)
        best, point = -1.0, slice_center(volume, slice_axis, volume.GetImageData().GetDimensions()[slice_axis] // 2)
        for name in manager.sliceViewNames() if manager else ():
            widget = manager.sliceWidget(name)
            if not widget.isVisible():
                continue
            matrix = widget.mrmlSliceNode().GetSliceToRAS()
            alignment = abs(sum(matrix.GetElement(row, 2) * normal[row] for row in range(3)))
            if alignment > best + 1e-6:
                best, point = alignment, [matrix.GetElement(row, 3) for row in range(3)]
        return slice_at(volume, point, slice_axis)

    def show_side_by_side(
        self,
        images: Sequence[tuple[str, VolumeNode]],
        volume: VolumeNode,
        slice_axis: int,
        ended: Callable[[], None],
    ) -> None:
        """Linked slice views of each (label, image) in the plane of the slices of `volume`, at the slice on screen.

        They are shown until :meth:`end_side_by_side` or until another layout is chosen; then `ended` is called.
        """
        if slicer.app.layoutManager() is None:
            return
        center = slice_center(volume, slice_axis, self.slice_on_screen(volume, slice_axis))
        normal = [abs(value) for value in slice_normal(volume, slice_axis)]
        orientation = ("Sagittal", "Coronal", "Axial")[normal.index(max(normal))]
        manager = slicer.app.layoutManager()
        layout = manager.layoutLogic().GetLayoutNode()
        columns = columns_for(len(images), manager.viewport().width)
        number = LAYOUT + 10 * columns + len(images)
        if not layout.IsLayoutDescription(number):
            layout.AddLayoutDescription(number, layout_of(len(images), columns))
        if self._ended is None:
            self._before = layout.GetViewArrangement()
            manager.connect("layoutChanged(int)", self._on_layout)
        self._ended = ended
        layout.SetViewArrangement(number)
        widgets: list[Any] = [manager.sliceWidget(TAG.format(index + 1)) for index in range(len(images))]
        for widget, (label, image) in zip(widgets, images, strict=True):
            widget.setViewLabel(label)
            composite, slice_node = widget.mrmlSliceCompositeNode(), widget.mrmlSliceNode()
            composite.SetLinkedControl(False)  # until all are set up: what is set for one shall stay with it
            composite.SetBackgroundVolumeID(image.GetID())
            composite.SetForegroundVolumeID(None)
            slice_node.SetViewGroup(GROUP)
            slice_node.SetOrientation(orientation)
            slice_node.RotateToVolumePlane(volume)
        slicer.app.processEvents()  # a new view's slider sets the offset to its own start, once it is shown
        for widget in widgets:
            widget.fitSliceToBackground()
            widget.mrmlSliceNode().JumpSliceByOffsetting(*center)
        for widget in widgets:
            widget.mrmlSliceCompositeNode().SetLinkedControl(True)
            widget.mrmlSliceCompositeNode().SetHotLinkedControl(True)

    def end_side_by_side(self) -> None:
        """Back to the layout before."""
        if self._ended is not None and self._before is not None:
            slicer.app.layoutManager().setLayout(self._before)

    def _on_layout(self, layout: int) -> None:
        ended = self._ended
        if ended is not None and not LAYOUT <= layout < LAYOUT + 100:
            self._ended = None
            slicer.app.layoutManager().disconnect("layoutChanged(int)", self._on_layout)
            ended()
            self._fit()

    def show(self, background: VolumeNode, foreground: VolumeNode | None = None, opacity: float = 1.0) -> None:
        """In all slice views, the foreground over the background; a volume that lies elsewhere is brought into view."""
        manager = slicer.app.layoutManager()
        if manager is None:
            return
        self.end_side_by_side()
        self._end_part()
        self._end_mip()
        widgets = [manager.sliceWidget(name) for name in manager.sliceViewNames()]
        before = [widget.mrmlSliceCompositeNode().GetBackgroundVolumeID() for widget in widgets]
        slicer.util.setSliceViewerLayers(background=background, foreground=foreground, foregroundOpacity=opacity)
        for widget, identity in zip(widgets, before, strict=True):
            old = slicer.mrmlScene.GetNodeByID(identity) if identity else None
            if old is None or not on_one_grid(old, background):
                widget.fitSliceToBackground()

    def jump_to(self, point: Sequence[float]) -> None:
        """All slice views through a point in the world (RAS, mm), which comes to their middle."""
        slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *point, slicer.vtkMRMLSliceNode.CenteredJumpSlice)

    def show_mip(self, volume: VolumeNode) -> None:
        """In every slice view, of all slices that are parallel to it the brightest value; until something is shown."""
        manager = slicer.app.layoutManager()
        if manager is None:
            return
        self.show(volume)
        bounds = [0.0] * 6
        volume.GetRASBounds(bounds)
        thickness = max(bounds[axis + 1] - bounds[axis] for axis in (0, 2, 4))
        for name in manager.sliceViewNames():
            node = manager.sliceWidget(name).mrmlSliceNode()
            node.SetSlabReconstructionType(vtk.VTK_IMAGE_SLAB_MAX)
            node.SetSlabReconstructionThickness(2 * thickness)
            node.SetSlabReconstructionEnabled(True)
            self._slabs.append(node)

    def _end_mip(self) -> None:
        for node in self._slabs:
            node.SetSlabReconstructionEnabled(False)
        self._slabs = []

    def show_chart(self, chart: Any) -> None:
        before = self._arrangement()
        slicer.modules.plots.logic().ShowChartInLayout(chart)
        self._begin_part(before)

    def show_table(self, table: Any) -> None:
        before = self._arrangement()
        slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpTableView)
        selection = slicer.app.applicationLogic().GetSelectionNode()
        selection.SetActiveTableID(table.GetID())
        slicer.app.applicationLogic().PropagateTableSelection()
        self._begin_part(before)

    def _arrangement(self) -> int:
        return int(slicer.app.layoutManager().layoutLogic().GetLayoutNode().GetViewArrangement())

    def _begin_part(self, before: int) -> None:
        """A chart or a table needs room in the layout, until an image is shown again."""
        self._part = (self._part[0] if self._part else before, self._arrangement())
        self._fit()

    def _end_part(self) -> None:
        part, self._part = self._part, None
        if part is not None and self._arrangement() == part[1] != part[0]:
            slicer.app.layoutManager().setLayout(part[0])
            self._fit()

    def _fit(self) -> None:
        """After the layout changed: the images in the middle of their views, at the place that was looked at."""
        slicer.app.processEvents()  # the views have their size then
        manager = slicer.app.layoutManager()
        for widget in (manager.sliceWidget(name) for name in manager.sliceViewNames()):
            if widget.isVisible():
                offset = widget.sliceController().sliceOffsetSlider().value
                widget.fitSliceToBackground()
                widget.sliceController().setSliceOffsetValue(offset)


def columns_for(count: int, width: int) -> int:
    """How many views to put side by side: up to three, as many as fit into `width` pixels, in rows of like length."""
    most = min(count, 3, max(1, width // VIEW_WIDTH))
    rows = -(-count // most)
    return -(-count // rows)


def layout_of(count: int, columns: int) -> str:
    """Slicer's description of a layout of slice views in rows."""
    views = [
        f'<item><view class="vtkMRMLSliceNode" singletontag="{TAG.format(number)}">'
        '<property name="orientation" action="default">Axial</property>'
        f'<property name="viewlabel" action="default">{number}</property>'
        '<property name="viewcolor" action="default">#4A90B8</property></view></item>'
        for number in range(1, count + 1)
    ]
    rows = ["".join(views[start : start + columns]) for start in range(0, count, columns)]
    items = "".join(f'<item><layout type="horizontal">{row}</layout></item>' for row in rows)
    return f'<layout type="vertical">{items}</layout>'
