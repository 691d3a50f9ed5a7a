"""The Slicer module LIPCAR: its name, help and sample data, and the classes that Slicer looks for in this file.

Panel, logic and parameters are in LIPCARLib/slicer, the self-test in Testing/slicer. Slicer reads this file at its
start: nothing here needs SimpleITK or torch.
"""

import hashlib
import sys
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

_CHECKOUT = Path(__file__).resolve().parents[1]
_IS_CHECKOUT = (_CHECKOUT / "LIPCARLib").is_dir()
if _IS_CHECKOUT and str(_CHECKOUT) not in sys.path:
    sys.path.insert(0, str(_CHECKOUT))  # Slicer knows only the module's own folder

import LIPCARLib.slicer  # noqa: E402

if _IS_CHECKOUT:
    LIPCARLib.slicer.__path__.append(str(_CHECKOUT / "Testing" / "slicer"))  # an installed package holds the self-test

from LIPCARLib.slicer.selftest import LIPCARTest  # noqa: E402

from LIPCARLib.resources import RESOURCES  # noqa: E402
from LIPCARLib.slicer.logic import LIPCARLogic  # noqa: E402
from LIPCARLib.slicer.marks import SimulatedMark  # noqa: E402
from LIPCARLib.slicer.parameters import LIPCARParameterNode  # noqa: E402
from LIPCARLib.slicer.widget import LIPCARWidget  # noqa: E402

__all__ = ["LIPCAR", "LIPCARLogic", "LIPCARParameterNode", "LIPCARTest", "LIPCARWidget", "registerSampleData"]


class LIPCAR(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("LIPCAR")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        parent.dependencies = []
        parent.contributors = [_("LIPCAR authors")]
        parent.helpText = _(
            "Simulates the high-dose contrast-enhanced MR image of an examination from its low-dose and, if there is "
            "one, its pre-dose image, by the learned inverse problem LIP-CAR. For research only: the images are "
            "simulated and not for diagnosis."
        )
        parent.acknowledgementText = _(
            "Method: D. Evangelista, E. Morotti, S. Colombo Serra, P. Luo, G. Valbusa, D. Bianchi. LIP-CAR: a learned "
            "inverse problem approach for medical imaging with contrast agent reduction. MICCAI 2025. Please cite it."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)
        slicer.app.connect("startupCompleted()", markSimulatedImages)


def markSimulatedImages():
    """Say in every slice view that shows a result that it is one, from the start and whether a panel is open or not."""
    slicer.modules.lipcarMark = SimulatedMark()


def registerSampleData():
    """Offer the embedded examination in the module Sample Data; its files are local, nothing is downloaded."""
    import SampleData

    folder = RESOURCES / "SampleData"
    files = [folder / f"rat-{role}.nrrd" for role in ("predose", "lowdose", "highdose")]
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="LIPCAR",
        sampleName="LIPCARRatHead",
        uris=[file.as_uri() for file in files],
        fileNames=[f"LIPCAR-{file.name}" for file in files],
        nodeNames=["LIPCARRatPredose", "LIPCARRatLowdose", "LIPCARRatHighdose"],
        checksums=[f"SHA256:{hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files],
        thumbnailFileName=str(folder / "LIPCARRatHead.png"),
    )
