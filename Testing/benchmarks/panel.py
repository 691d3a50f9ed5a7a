"""How long the window waits while the panel computes: the gaps between turns of the event loop, on the sample.

Slicer --additional-module-paths LIPCAR --python-script Testing/benchmarks/panel.py
"""

import time

import qt
import SampleData
import slicer


def measure():
    slicer.util.selectModule("LIPCAR")
    SampleData.SampleDataLogic().downloadSamples("LIPCARRatHead")
    panel = slicer.modules.LIPCARWidget
    panel.enter()
    for run in ("first", "second"):
        clicked = time.monotonic()
        panel.ui.applyButton.click()
        last, gaps = time.monotonic(), []
        print(f"{run} Apply: {last - clicked:.2f} s until the click returns")
        while panel.logic.isRunning():
            slicer.app.processEvents()
            gaps.append(time.monotonic() - last)
            last += gaps[-1]
        print(f"{len(gaps)} turns, longest {max(gaps):.2f} s, median {sorted(gaps)[len(gaps) // 2]:.2f} s")
    slicer.util.exit(0)


qt.QTimer.singleShot(1000, measure)
