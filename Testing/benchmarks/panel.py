"""How long the window waits while the panel works: the longest gap between turns of the event loop, by phase.

Slicer --additional-module-paths LIPCAR --python-script Testing/benchmarks/panel.py

The sample, enlarged to 512 x 512 x 60. LIPCAR_BENCHMARK_SLICES limits how many slices are computed (0 for all), and
LIPCAR_BENCHMARK_BUSY starts as many programs that do nothing but compute beside it. Where a turn takes longer than
STUCK seconds, the stack of the main thread goes to stderr. Processor time is that of all threads of Slicer: on a
computer that others keep busy, it tells more than the clock.
"""

import faulthandler
import os
import subprocess
import sys
import time

import qt
import SampleData
import SimpleITK as sitk
import slicer

STUCK = 0.2
SIZE = (512, 512, 60)


class Gaps:
    """Turns of the event loop, told by a timer that fires in every one."""

    def __init__(self):
        self._begin()
        self._timer = qt.QTimer()
        self._timer.connect("timeout()", self._turn)
        self._timer.start(0)
        faulthandler.dump_traceback_later(STUCK, file=sys.__stderr__)

    def _begin(self):
        self._last, self._worked = time.monotonic(), time.process_time()
        self.longest = self.most_work = 0.0

    def _turn(self):
        now, worked = time.monotonic(), time.process_time()
        self.longest = max(self.longest, now - self._last)
        self.most_work = max(self.most_work, worked - self._worked)
        self._last, self._worked = now, worked
        faulthandler.dump_traceback_later(STUCK, file=sys.__stderr__)

    def of(self, name, begin, is_over):
        """Begin a phase, wait for its end, and print what it took."""
        print(f"--- {name}", file=sys.stderr, flush=True)
        slicer.app.processEvents()
        self._begin()
        began = time.monotonic()
        begin()
        while not is_over():
            slicer.app.processEvents()
        settled = time.monotonic() + 0.5  # what is drawn afterwards
        while time.monotonic() < settled:
            slicer.app.processEvents()
        spent = time.monotonic() - began - 0.5
        gap = f"longest gap {self.longest:.2f} s, most processor time in one {self.most_work:.2f} s"
        print(f"{name}: {spent:.2f} s, {gap}", flush=True)


def enlarged(node):
    """The volume on a grid of SIZE voxels in the same place."""
    array = slicer.util.arrayFromVolume(node)
    image = sitk.GetImageFromArray(array)
    spacing = [old * n / m for old, n, m in zip(node.GetSpacing(), image.GetSize(), SIZE, strict=True)]
    image.SetSpacing(node.GetSpacing())
    image = sitk.Resample(image, SIZE, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkLinear, (0, 0, 0), spacing)
    slicer.util.updateVolumeFromArray(node, sitk.GetArrayFromImage(image))
    node.SetSpacing(spacing)


def measure():
    nodes = SampleData.SampleDataLogic().downloadSamples("LIPCARRatHead")
    for node in nodes:
        enlarged(node)
    slicer.app.processEvents()
    count = int(os.environ.get("LIPCAR_BENCHMARK_SLICES", "0"))
    code = "while True: pass"
    busy = [
        subprocess.Popen([sys.executable, "-c", code]) for _ in range(int(os.environ.get("LIPCAR_BENCHMARK_BUSY", "0")))
    ]
    try:
        gaps = Gaps()
        gaps.of("opening", lambda: slicer.util.selectModule("LIPCAR"), lambda: hasattr(slicer.modules, "LIPCARWidget"))
        panel = slicer.modules.LIPCARWidget
        gaps.of("check", panel.enter, lambda: panel.logic.devices is not None)
        print(panel.ui.checkLabel.text)
        if count:
            first = (SIZE[2] - count) // 2
            panel._parameterNode.firstSlice, panel._parameterNode.lastSlice = first + 1, first + count
        for run in ("first Apply", "second Apply"):
            gaps.of(run, panel.ui.applyButton.click, lambda: not panel.logic.isRunning())
            print(panel.ui.messageLabel.text)
        print(f"torch in Slicer: {'torch' in sys.modules}")
    finally:
        for process in busy:
            process.kill()
    slicer.util.exit(0)


qt.QTimer.singleShot(1000, measure)
