"""What the panel shows and a scene keeps: the parameter node."""

from typing import TYPE_CHECKING, Annotated, Any

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper

AUTOMATIC = "automatic"
"""The model that is chosen by whether there is a pre-dose volume."""
ALPHA_AUTO = "auto"
"""LIPCARLib.inverse.AUTO, written out: that one imports torch, without which the panel must open."""
ALPHA_RANGE = (1e-4, 1e-1)
SOLVERS = ["proximal", "adam"]
SEQUENCES = {"as_read": (), "spin_echo": ("SE",), "gradient_echo": ("GR",), "inversion_gradient_echo": ("GR", "IR")}
"""What the user may say of the sequence, and what a BIDS sidecar would say."""
AS_READ = "as_read"


@parameterNodeWrapper
class LIPCARParameterNode:
    """What the panel shows; widgets find their parameter through SlicerParameterName in LIPCAR.ui.

    Some are not bound there: what `model` (a name or a folder) and `device` may be is known at run time only,
    `outputVolume` is the result that is chosen in the list, and `previewVolume` is never chosen. Numbers of the
    acquisition are zero where they are as read from the images.
    """

    if TYPE_CHECKING:  # what the wrapper adds

        def __init__(self, node: Any) -> None: ...
        def connectGui(self, ui: Any) -> int: ...
        def disconnectGui(self, tag: int | None) -> None: ...

    lowdoseVolume: vtkMRMLScalarVolumeNode
    predoseVolume: vtkMRMLScalarVolumeNode
    highdoseVolume: vtkMRMLScalarVolumeNode
    t1Map: vtkMRMLScalarVolumeNode
    outputVolume: vtkMRMLScalarVolumeNode
    previewVolume: vtkMRMLScalarVolumeNode
    segmentation: vtkMRMLSegmentationNode
    model: Annotated[str, Default(AUTOMATIC)]
    alphaAuto: Annotated[bool, Default(True)]
    alpha: Annotated[float, WithinRange(*ALPHA_RANGE), Default(6e-3)]
    prior: bool
    enhancement: bool
    dataConsistency: bool
    difference: bool
    evidence: Annotated[bool, Default(True)]
    force: bool
    solver: Annotated[str, Choice(SOLVERS), Default("proximal")]
    iterations: Annotated[int, WithinRange(0, 1000), Default(0)]
    device: Annotated[str, Default("auto")]
    engine: Annotated[str, Default("")]
    matchPredose: Annotated[bool, Default(True)]
    doseFraction: Annotated[float, WithinRange(0, 1), Default(0)]
    sequence: Annotated[str, Choice(list(SEQUENCES)), Default(AS_READ)]
    repetitionTime: Annotated[float, WithinRange(0, 30000), Default(0)]
    echoTime: Annotated[float, WithinRange(0, 1000), Default(0)]
    inversionTime: Annotated[float, WithinRange(0, 10000), Default(0)]
    flipAngle: Annotated[float, WithinRange(0, 180), Default(0)]
    magneticField: Annotated[float, WithinRange(0, 25), Default(0)]
    firstSlice: Annotated[int, WithinRange(0, 9999), Default(0)]
    lastSlice: Annotated[int, WithinRange(0, 9999), Default(0)]
