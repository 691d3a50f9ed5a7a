"""A fork server: it loads the product once and runs each call in a process of its own, which may crash or hang.

    python -m Testing.matrix.server    # a job a line in JSON on stdin, a JSON answer a line on stdout

What the parent has loaded costs a call nothing, and what a call breaks (memory, signals, the scene, the process
itself) is gone with it. The parent computes nothing: libraries that have started threads do not survive a fork.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from .doors import DOORS

ROOT = Path(__file__).resolve().parents[2]
PRELOADED = (
    *("LIPCARLib.cli", "torch", "safetensors.torch", "SimpleITK", "scipy.ndimage", "pydicom", "matplotlib.figure"),
    *("LIPCARLib.inverse.model", "LIPCARLib.learning.training", "LIPCARLib.learning.anchored_training", "slicer"),
)
"""What the calls import sooner or later; slicer-core where there is one."""


MEMORY = 4 << 30
"""Bytes that a call may ask for: one that asks for all there is must not take it from the machine."""


class Server:
    """The fork server as its user sees it; one call at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Server:
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), "1")
        environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "400"} | one_thread
        self._process = subprocess.Popen(
            [sys.executable, "-m", "Testing.matrix.server"],
            **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT, "env": environment},
        )
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def call(self, words: list[str], folder: Path, **circumstances: Any) -> dict[str, Any]:
        """Run one call in a folder.

        Args:
            words: "lipcar" and its arguments, or the name of a door and its arguments.
            circumstances: `seconds` that it may take; `environment` variables; `encoding` of the console; `limits` of
                the process by their names in `resource`, "AS" on top of what the process has; `interrupt`: a signal's
                name and the function at whose first call it comes.

        Returns:
            "code", negative for the signal that ended it; "out", "err"; "seconds"; "hung".
        """
        assert self._process is not None and self._process.stdin is not None and self._process.stdout is not None
        job = {"words": words, "folder": str(folder), **circumstances}
        print(json.dumps(job), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def serve() -> None:
    for module in PRELOADED:
        try:
            importlib.import_module(module)
        except ImportError:
            if module != "slicer":
                raise
    from LIPCARLib.cli import run

    with contextlib.redirect_stdout(io.StringIO()):
        run(["--version"])  # what the command line's library works out at its first call, it keeps
    gc.freeze()  # what the children never touch stays shared with them
    for line in sys.stdin:
        print(json.dumps(_forked(json.loads(line))), flush=True)


def _forked(job: dict[str, Any]) -> dict[str, Any]:
    """Run a job in a child. Pipes take what it prints: a limit on the size of files is none on them."""
    start = time.monotonic()
    pipes = [os.pipe(), os.pipe()]
    child = os.fork()
    if child == 0:
        _child(job, [write for _, write in pipes])
    said = []
    for read, write in pipes:
        os.close(write)
        os.set_blocking(read, False)
        said.append((read, bytearray()))
    code, hung = _wait(child, start + job.get("seconds", 20), said)
    out, err = (bytes(text).decode("utf-8", "backslashreplace") for _, text in said)
    return {"code": code, "out": out, "err": err, "seconds": time.monotonic() - start, "hung": hung}


def _wait(child: int, until: float, said: list[tuple[int, bytearray]]) -> tuple[int, bool]:
    """The exit code, and whether the child had to be killed; its own children go with it."""
    ended = status = 0
    while not ended and time.monotonic() < until:
        time.sleep(0.003)
        ended, status = os.waitpid(child, os.WNOHANG)
        _listen(said)
    with contextlib.suppress(ProcessLookupError):  # as it should be: nobody is left
        os.killpg(child, signal.SIGKILL)
    if not ended:
        _, status = os.waitpid(child, 0)
    _listen(said)
    for read, _ in said:
        os.close(read)
    return os.waitstatus_to_exitcode(status), not ended


def _listen(said: list[tuple[int, bytearray]]) -> None:
    for read, text in said:
        with contextlib.suppress(BlockingIOError):
            while part := os.read(read, 1 << 16):
                text += part


def _child(job: dict[str, Any], pipes: list[int]) -> None:
    """One call, as a process of its own would run it; does not return."""
    code = 1
    try:
        os.setsid()
        os.chdir(job["folder"])
        for number, write in enumerate(pipes, 1):
            os.dup2(write, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(job.get("environment", {}))
        encoding = job.get("encoding", "utf-8")
        sys.stdout = os.fdopen(1, "w", encoding=encoding, closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding=encoding, errors="backslashreplace", closefd=False)
        for name, value in {"AS": MEMORY, **job.get("limits", {})}.items():
            _limit(name, value)
        if "interrupt" in job:
            _interrupt(*job["interrupt"])
        code = _called(job["words"])
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)


def _called(words: list[str]) -> int:
    try:
        if words[0] == "lipcar":
            from LIPCARLib.__main__ import main

            sys.argv = words
            main()
        else:
            DOORS[words[0]](*words[1:])
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        print(stop.code, file=sys.stderr)
        return 1
    return 0


def _limit(name: str, value: int) -> None:
    kind = getattr(resource, f"RLIMIT_{name}")
    if name == "AS":
        value += int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))


def _interrupt(name: str, function: str) -> None:
    """Send a signal to this process as soon as a function of that name is called."""

    def watch(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_name == function:
            sys.setprofile(None)
            signal.raise_signal(signal.Signals[name])

    sys.setprofile(watch)


if __name__ == "__main__":
    serve()
