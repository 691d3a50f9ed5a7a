"""Where the time of `lipcar enhance` goes: the command in a process of its own, its stages measured within.

python Testing/benchmarks/command_profile.py [--json FILE]

Each stage is told without those within it, in seconds by the clock and of the processor; the first are the interpreter
and what is imported. They are of a run on one thread, so that none hides behind another; the whole command and its
peak memory (resident set, as the system tells it) are of one that is not watched and has all threads.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIZES = ((1, 256), (18, 256), (60, 512))
"""Slices, and pixels a side."""
STAGES = {
    "read": ("imaging.reading:read_with_padding",),
    "checks": ("imaging.examination:Examination.read",),
    "registration": ("imaging.registration:register", "imaging.examination:Examination.aligned_predose"),
    "kinship, order, gain": (
        "imaging.comparison:note_kinship",
        "imaging.comparison:looks_swapped",
        "imaging.gain:find_gain",
    ),
    "load the model": ("inverse.model:load_model",),
    "prior: physics": ("inverse.anchored:features", "inverse.anchor:anchor"),
    "prior: network": ("inverse.anchored:AnchoredPrior.addition", "inverse.network_pair:NetworkPair.prior"),
    "proximal map": ("inverse.regularizers:GenTV.prox_from",),
    "solver and rest": ("inverse.progress:complete",),
    "verdict, report": ("trust.verdict:judge", "study.run_report:build_report"),
    "write": ("imaging.writing:write_files",),
}
"""What belongs to each, as module:name in LIPCARLib."""
OTHER = "command line"


class Watch:
    """Time by stage, each without the stages that it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self._within: list[str] = []
        self._last = (time.perf_counter(), time.process_time())

    def turn(self, stage: str | None) -> None:
        """The time since the last turn belongs to the stage that ran; then `stage` runs, or (None) what called it."""
        now = (time.perf_counter(), time.process_time())
        spent = self.seconds.setdefault(self._within[-1] if self._within else OTHER, [0.0, 0.0])
        for i in range(2):
            spent[i] += now[i] - self._last[i]
        if stage is None:
            self._within.pop()
        else:
            self._within.append(stage)
        self._last = now

    def watched(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.turn(stage)
            try:
                return function(*arguments, **options)
            finally:
                self.turn(None)

        return call

    def watch(self, place: str, stage: str) -> None:
        """Wrap the function or method of that place, wherever it was imported to."""
        module, _, name = place.partition(":")
        owner: Any = sys.modules[f"LIPCARLib.{module}"]
        *path, last = name.split(".")
        for part in path:
            owner = getattr(owner, part)
        plain = vars(owner)[last]
        if isinstance(plain, classmethod):
            setattr(owner, last, classmethod(self.watched(plain.__func__, stage)))
            return
        wrapped = self.watched(plain, stage)
        setattr(owner, last, wrapped)
        for other in [m for n, m in sys.modules.items() if n.startswith("LIPCARLib")]:
            for key in [key for key, value in vars(other).items() if value is plain]:
                setattr(other, key, wrapped)


def within(arguments: list[str]) -> None:
    """In the process of the command: run it, then write the seconds of its stages as the last line."""
    began = time.perf_counter(), time.process_time()
    watch = Watch()
    from LIPCARLib.__main__ import load

    run = load(arguments)
    import scipy.ndimage  # noqa: F401

    from LIPCARLib.inverse import anchored, anchored_model, complete, load_model, reconstruct  # noqa: F401 - lazy ones
    from LIPCARLib.trust import verdict  # noqa: F401

    imported = time.perf_counter() - began[0], time.process_time() - began[1]
    watch.turn("run")
    watch.seconds = {"interpreter": [began[1], began[1]], "imports": list(imported)}
    for stage, places in STAGES.items():
        for place in places:
            watch.watch(place, stage)
    code = run(arguments)
    watch.turn(None)
    watch.seconds[OTHER] = watch.seconds.pop("run")
    print(json.dumps(watch.seconds))
    sys.exit(code)


def write_examination(folder: Path, slices: int, size: int) -> None:
    """The images of a simulated rat's head of which every slice is different: lowdose.nrrd and predose.nrrd."""
    import SimpleITK as sitk

    from LIPCARLib.simulation import simulate

    simulated = simulate(7, 6, slices=slices, size=size, anatomy="rat")
    for name, array in (("lowdose", simulated.lowdose), ("predose", simulated.predose)):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(simulated.spacing)
        sitk.WriteImage(image, str(folder / f"{name}.nrrd"))


def ended(command: list[str], **more: str) -> tuple[Any, list[str]]:
    """Run to its end, with more in its environment; what it used, and the lines that it printed."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | more) as process:
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[-1]}: ended with {process.returncode}.")
    return usage, lines


def profile(slices: int, size: int) -> dict[str, Any]:
    """Seconds of the whole command, its peak memory in MB, and seconds by stage: by the clock and of the processor."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # In another process: Linux counts what this one held when it started the command as the command's peak.
        ended([sys.executable, __file__, "--write", name, str(slices), str(size)])
        images = {option: str(folder / f"{option}.nrrd") for option in ("lowdose", "predose", "output")}
        options = ["enhance", *(word for option, path in images.items() for word in (f"--{option}", path))]
        began = time.perf_counter()
        usage, _ = ended([sys.executable, "-m", "LIPCARLib", *options])
        seconds = time.perf_counter() - began
        _, lines = ended([sys.executable, __file__, "--within", *options], OMP_NUM_THREADS="1")
    return {
        "slices": slices,
        "size": size,
        "seconds": seconds,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
        "stages": json.loads(lines[-1]),
    }


def show(found: list[dict[str, Any]]) -> None:
    """A table of stages by examination, on the terminal."""
    from rich.console import Console
    from rich.table import Table

    titles = [f"{one['slices']} x {one['size']} x {one['size']}" for one in found]
    table = Table("seconds: clock (processor)", *titles, title="lipcar enhance, where its time goes")
    for stage in ("interpreter", "imports", *STAGES, OTHER):
        cells = [one["stages"].get(stage) for one in found]
        table.add_row(stage, *("" if cell is None else f"{cell[0]:.2f} ({cell[1]:.2f})" for cell in cells))
    table.add_section()
    table.add_row("the whole command", *(f"{one['seconds']:.2f} ({one['processor_seconds']:.2f})" for one in found))
    table.add_row("peak memory, MB", *(f"{one['peak_mb']:.0f}" for one in found))
    Console(width=110).print(table)


def main() -> None:
    if sys.argv[1:2] == ["--within"]:
        within(sys.argv[2:])
    if sys.argv[1:2] == ["--write"]:
        folder, slices, size = sys.argv[2:]
        return write_examination(Path(folder), int(slices), int(size))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write what was found to this file")
    parser.add_argument("--sizes", nargs="+", default=[f"{s}x{n}" for s, n in SIZES], help="slices x pixels a side")
    arguments = parser.parse_args()
    found = [profile(*map(int, size.split("x"))) for size in arguments.sizes]
    show(found)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
