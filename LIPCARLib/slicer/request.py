"""What is asked of the module, and what keeps it from being computed: known before anything is."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from ..doubt import Doubt
from ..errors import LIPCARError
from .parameters import ALPHA_AUTO, SOLVERS
from .services import VolumeNode

if TYPE_CHECKING:
    from ..imaging import Examination

MAP_VALUES = 16
"""An image of fewer different values, all of them whole numbers, is a label map or a mask."""
SAMPLE = 100_000
"""Voxels that are looked at for that."""


@dataclass(frozen=True)
class Request:
    """What to compute from what; the arguments of `LIPCARLogic.start`."""

    lowdose: VolumeNode | None
    predose: VolumeNode | None = None
    highdose: VolumeNode | None = None
    t1_map: VolumeNode | None = None
    output: VolumeNode | None = None
    alpha: float | str = ALPHA_AUTO
    model: str | None = None
    device: str = "auto"
    engine: str = ""
    solver: str = "proximal"
    iterations: int | None = None
    match_predose: bool = True
    dose_fraction: float | None = None
    acquisition: Mapping[str, Any] | None = None
    slices: tuple[int, int | None] = (0, None)
    extras: Sequence[str] = field(default=())
    is_preview: bool = False
    evidence: bool = False
    force: bool = False

    @property
    def volumes(self) -> dict[str, VolumeNode | None]:
        """The images by role, the low-dose first."""
        return {"lowdose": self.lowdose, "predose": self.predose, "highdose": self.highdose}

    @property
    def images(self) -> Request:
        """The same volumes, and nothing else told."""
        return Request(self.lowdose, self.predose, self.highdose)

    @property
    def nodes(self) -> list[VolumeNode]:
        """All that must stay until the end."""
        nodes = (*self.volumes.values(), self.t1_map, self.output)
        return [node for node in nodes if node is not None]


def unsuitable(request: Request, shipped: Mapping[str, Path], devices: Collection[str] | None) -> list[str]:
    """What keeps a request from being computed, each a sentence that says what to do instead; empty where nothing does.

    Args:
        request: as the user or a script makes it.
        shipped: the folders of the shipped models by name.
        devices: what can compute here, None while that is not known.
    """
    if request.lowdose is None:
        return [_("Choose the low-dose volume.")]
    found = list(_unsuitable_volumes(request))
    if found:
        return found
    found = [*_unsuitable_model(request, shipped), *_unsuitable_numbers(request), *_unsuitable_device(request, devices)]
    return [*found, *_unsuitable_engine(request, shipped)]


def unsuitable_together(request: Request, examination: Examination) -> list[str]:
    """The same, of what only the checked images tell: how many slices there are, and whether a pre-dose is left."""
    found = []
    count = len(examination.lowdose)
    first, stop = request.slices
    if not request.is_preview and not 0 <= first < (stop or count) <= count:
        text = _("Slices {first} to {last} were asked for; the volume has slices 1 to {count}. Choose some of these.")
        found.append(text.format(first=first + 1, last=stop or count, count=count))
    if request.predose is not None and examination.predose is None:
        needed = {
            _("the model '{name}'").format(name=request.model): request.model and _uses_predose(request.model),
            _("the dose"): request.dose_fraction is not None,
            _("the enhancement map"): "enhancement" in request.extras,
            _("the T1 map"): request.t1_map is not None,
        }
        text = _("The pre-dose volume does not fit and was left out, and {what} needs it: {why}")
        why = " ".join(examination.notices)
        found += [text.format(what=what, why=why) for what, is_asked in needed.items() if is_asked]
    severe = [notice for notice in examination.notices if isinstance(notice, Doubt) and notice.severe]
    if severe and not found and not request.force:
        found.append(not_forced(severe))
    return found


def not_forced(reasons: Sequence[str]) -> str:
    """Why a result is not made, and how it is all the same."""
    text = _("Do not use: {reasons} To make the result all the same, tick it under Expert (in a script: force=True).")
    return text.format(reasons=" ".join(reasons))


def transformed_apart(node: VolumeNode, reference: VolumeNode) -> bool:
    """Whether the two volumes lie under transforms that differ in effect."""
    one, other = node.GetParentTransformNode(), reference.GetParentTransformNode()
    if one is other:
        return False
    if not (one or other).IsTransformToNodeLinear(other if one else None):
        return True
    import vtk

    matrix = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(one, other, matrix)
    return not np.allclose(slicer.util.arrayFromVTKMatrix(matrix), np.eye(4), atol=1e-6)


def _unsuitable_volumes(request: Request) -> Iterator[str]:
    words = {"lowdose": _("low-dose"), "predose": _("pre-dose"), "highdose": _("high-dose")}
    given = {role: node for role, node in request.volumes.items() if node is not None}
    for role, node in given.items():
        for other in list(given)[: list(given).index(role)]:
            if given[other] is node:
                text = _("The same volume is chosen as {role} and as {other} volume. Choose two different ones.")
                yield text.format(role=words[role], other=words[other])
        if reason := _no_image(node):
            text = _("The {role} volume '{name}' {reason}. Choose the acquired MR image.")
            yield text.format(role=words[role], name=node.GetName(), reason=reason)
    if request.output is not None and request.output in (*given.values(), request.t1_map):
        yield _("The output volume is one of the inputs. Choose another one.")
    for role in ("predose", "highdose"):
        if role in given and transformed_apart(given[role], request.lowdose):
            text = _(
                "The {role} volume '{name}' lies under another transform than the low-dose volume. If the transform "
                "brings them together, resample it onto the low-dose volume's grid; if not, take it out of it."
            )
            yield text.format(role=words[role], name=given[role].GetName())
    if request.t1_map is not None:
        yield from _unsuitable_t1_map(request, request.t1_map)


def _no_image(node: VolumeNode) -> str:
    """Why the voxels of a volume are none of an acquired image, or ""."""
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        return _("is a label map")
    data = node.GetImageData()
    if data is None or data.GetPointData().GetScalars() is None or data.GetNumberOfPoints() == 0:
        return _("holds no voxels")
    if data.GetNumberOfScalarComponents() > 1:
        return _("has several values in each voxel, as a color image or a time series")
    voxels = slicer.util.arrayFromVolume(node).reshape(-1)
    values = np.unique(voxels[:: max(1, voxels.size // SAMPLE)])
    if 1 < len(values) < MAP_VALUES and np.array_equal(values, np.round(values)):
        return _("has {count} different values only, as a label map or a mask").format(count=len(values))
    return ""


def _unsuitable_t1_map(request: Request, t1_map: VolumeNode) -> Iterator[str]:
    from .geometry import grid_differences

    if request.predose is None:
        yield _("A T1 map serves the signal equation, which needs a pre-dose volume. Choose one, or no T1 map.")
    if t1_map in request.volumes.values():
        yield _("The T1 map is one of the images. Choose the map, or none.")
        return
    try:
        differences = grid_differences(t1_map, request.lowdose)
    except LIPCARError as error:
        yield str(error)
        return
    if differences:
        text = _("The T1 map '{name}' lies on another grid than the low-dose volume ({what}). Resample it first.")
        yield text.format(name=t1_map.GetName(), what=", ".join(differences))


def _unsuitable_model(request: Request, shipped: Mapping[str, Path]) -> Iterator[str]:
    from ..imaging import acquisition_of_keys
    from ..inverse import default_model, read_manifest

    if not shipped:
        yield _("No model is installed: install the LIPCAR extension again.")
        return
    name = request.model or default_model(request.predose is not None)
    try:
        uses_predose = read_manifest(shipped.get(name, name))["uses_predose"]
    except LIPCARError as error:
        yield str(error)
        return
    if uses_predose and request.predose is None:
        yield _("The model '{name}' needs a pre-dose volume. Choose one, or another model.").format(name=name)
    if request.dose_fraction is not None and not uses_predose:
        text = _(
            "A dose is told, but the model '{name}' uses no pre-dose volume, without which it is not known what the "
            "agent changed. Choose a pre-dose volume and a model that uses it, or leave the dose open."
        )
        yield text.format(name=name)
    from .mrml import EXTRAS

    for extra in request.extras:
        if extra not in EXTRAS:
            text = _("There is no extra volume '{extra}'; known are {known}.")
            yield text.format(extra=extra, known=", ".join(EXTRAS))
    if "enhancement" in request.extras and request.predose is None:
        yield _("The enhancement map is the change from the pre-dose volume. Choose one, or no enhancement map.")
    if request.acquisition is not None:
        try:
            acquisition_of_keys(request.acquisition, _("The acquisition")).completed()
        except LIPCARError as error:
            yield str(error)


def _unsuitable_numbers(request: Request) -> Iterator[str]:
    if request.solver not in SOLVERS:
        text = _("There is no solver '{solver}'; known are {known}.")
        yield text.format(solver=request.solver, known=", ".join(SOLVERS))
    if request.alpha == ALPHA_AUTO:
        if request.solver == "adam":
            yield _("The solver adam takes a number for alpha, not 'auto'. Give one, or choose the solver proximal.")
    elif not _is_positive(request.alpha):
        text = _("alpha is {alpha!r}; a positive number or 'auto' is expected.")
        yield text.format(alpha=request.alpha)
    if request.iterations is not None and request.iterations < 1:
        yield _("{count} iterations were asked for; at least 1 is expected.").format(count=request.iterations)
    fraction = request.dose_fraction
    if fraction is not None and not (_is_positive(fraction) and fraction <= 1):
        text = _("The dose fraction is {fraction}; the low dose over the full dose is expected, from 0 to 1.")
        yield text.format(fraction=fraction)
    first, stop = request.slices
    if first < 0 or (stop is not None and stop <= first):
        yield _("The last slice comes before the first. Choose slices in their order, counted from 1.")


def _unsuitable_device(request: Request, devices: Collection[str] | None) -> Iterator[str]:
    if devices is None:
        return
    known = {"auto", *devices, *(name.split(":")[0] for name in devices)}
    if request.device not in known:
        text = _("The device '{device}' is not here; what can compute is {known}. Choose another one.")
        yield text.format(device=request.device, known=", ".join(("auto", *devices)))


def _unsuitable_engine(request: Request, shipped: Mapping[str, Path]) -> Iterator[str]:
    if not request.engine:
        return
    from ..engine import address_of

    try:
        address_of(request.engine)
    except LIPCARError as error:
        yield str(error)
    if request.model and request.model not in shipped:
        yield _(
            "Another computer computes with the shipped models only. Choose one of them, or compute on this computer."
        )


def _uses_predose(model: str) -> bool:
    from ..inverse import read_manifest

    try:
        return bool(read_manifest(model)["uses_predose"])
    except LIPCARError:
        return False


def _is_positive(value: Any) -> bool:
    try:
        return math.isfinite(float(value)) and float(value) > 0
    except (TypeError, ValueError):
        return False
