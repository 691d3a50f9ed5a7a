"""What the panel shows and a scene keeps: the parameter node."""

from typing import TYPE_CHECKING, Annotated, Any

from slicer import vtkMRMLScalarVolumeNode
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper

AUTOMATIC = "automatic"
"""The model that is chosen by whether there is a pre-dose volume."""
ALPHA_AUTO = "auto"
"""LIPCARLib.inverse.AUTO, written out: that one imports torch, without which the panel must open."""
ALPHA_RANGE = (1e-4, 1e-1)
SOLVERS = ["proximal", "adam"]


@parameterNodeWrapper
class LIPCARParameterNode:
    """What the panel shows; widgets find their parameter through SlicerParameterName in LIPCAR.ui.

    Three are not bound there, because what they may be is known at run time only: `model` (a name or a folder),
    `device`, and `previewVolume`, which is never chosen.
    """

    if TYPE_CHECKING:  # what the wrapper adds

        def __init__(self, node: Any) -> None: ...
        def connectGui(self, ui: Any) -> int: ...
        def disconnectGui(self, tag: int | None) -> None: ...

    lowdoseVolume: vtkMRMLScalarVolumeNode
    predoseVolume: vtkMRMLScalarVolumeNode
    highdoseVolume: vtkMRMLScalarVolumeNode
    outputVolume: vtkMRMLScalarVolumeNode
    previewVolume: vtkMRMLScalarVolumeNode
    model: Annotated[str, Default(AUTOMATIC)]
    alphaAuto: Annotated[bool, Default(True)]
    alpha: Annotated[float, WithinRange(*ALPHA_RANGE), Default(6e-3)]
    prior: bool
    enhancement: bool
    dataConsistency: bool
    solver: Annotated[str, Choice(SOLVERS), Default("proximal")]
    iterations: Annotated[int, WithinRange(0, 1000), Default(0)]
    device: Annotated[str, Default("auto")]
    matchPredose: Annotated[bool, Default(True)]
    doseFraction: Annotated[float, WithinRange(0, 1), Default(0)]
    firstSlice: Annotated[int, WithinRange(0, 9999), Default(0)]
    lastSlice: Annotated[int, WithinRange(0, 9999), Default(0)]
