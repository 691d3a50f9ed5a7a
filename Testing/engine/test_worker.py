"""The engine's process before anybody asks: what a run needs is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import sys
from threading import Event
from LIPCARLib.engine.worker import _load
_load(Event())
loaded = set(sys.modules)
import numpy as np, SimpleITK as sitk
from LIPCARLib.engine import Asked, enhance
from LIPCARLib.imaging import Examination
from LIPCARLib.inverse import complete
levels = np.linspace(100, 500, 32 * 32, dtype=np.float32).reshape(1, 32, 32)
pair = [sitk.GetImageFromArray(levels * gain) for gain in (1.2, 1.0)]
asked = Asked(
    model="signal", alpha="auto", solver="proximal", iterations=None, device="cpu", data_consistency=False,
    dose_fraction=None, evidence=True, verdict=True,
)
complete(enhance(Examination.from_images(*pair, match_predose=False), asked))
print(sorted(name for name in set(sys.modules) - loaded if name.startswith("LIPCARLib.")))
"""


def test_a_run_has_nothing_of_lipcar_left_to_load() -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", CODE], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
