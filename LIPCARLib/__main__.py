"""`python -m LIPCARLib` and the console script `lipcar`: the process around the command line, start to end."""

from __future__ import annotations

import gc
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType

from .errors import Terminated, lacks_memory
from .resources import THREADS, processors

AMPLE_MEMORY = 4e9
"""Bytes of address space that are enough to load the packages on any machine; each core takes some of them."""
ROOM = 250_000_000
"""Bytes that must be left once all is loaded: Python itself, where its own few bytes fail, may go on for ever."""
LONGEST_LOAD = 100
"""Seconds of computing; loading takes two."""
POOLS = 6
"""Each with a thread for every processor: numpy's, scipy's, torch's, SimpleITK's, LIPCAR's, and some for others."""
LEAST_THREADS = 2
"""With one in each pool: the main one's, and who draws the progress."""
OBJECTS = 100_000
"""Made since the last search for garbage, at the next: packages bring many that stay, and each search costs time."""
TOO_FEW = "No more threads can be started here; close other programs, or allow more of them (ulimit -u)."
TOO_LITTLE = "There is not enough memory to load LIPCAR's packages; allow it 2 GB or more (ulimit -v)."


def main() -> None:
    """Run the command line; its own packages are an extra, because the Slicer module does without them."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started this
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for good
    gc.set_threshold(OBJECTS)
    # While packages are loaded, an exception may be swallowed by the one that is loaded, and nothing is there to undo.
    _on_stop(_leave)
    if not _threads_start(POOLS * processors()):
        if not _threads_start(LEAST_THREADS):
            _fail(TOO_FEW)
        os.environ.update(dict.fromkeys(THREADS, "1"))
    memory = _memory()
    if memory < AMPLE_MEMORY and not _loads(int(memory)):
        _fail(TOO_LITTLE)
    try:
        run = load(sys.argv[1:])
    except ModuleNotFoundError as error:
        if error.name not in ("rich", "typer"):
            raise
        _fail(f"The command line needs '{error.name}': install it with `pip install lipcar[cli]`.")
    except Exception as error:
        if not lacks_memory(error):
            raise
        _fail(TOO_LITTLE)
    _on_stop(_raise)
    code = run()
    _on_stop(signal.SIG_IGN)  # all is done
    gc.freeze()  # what is there ends with the process: to look through it for garbage takes half a second
    sys.exit(code)


def load(arguments: Sequence[str]) -> Callable[[], int]:
    """Load the packages that a command needs at once; what runs the command line."""
    from .cli import app_for, run

    app_for(arguments)
    return run


def _threads_start(count: int) -> bool:
    """Whether so many can be started at once: a child tries, for OpenBLAS and OpenMP end a process without them."""
    if not hasattr(os, "fork"):  # Windows, which has no such limit
        return True
    try:
        child = os.fork()
    except OSError:
        return False
    if child:
        return os.waitpid(child, 0)[1] == 0
    try:
        nothing = threading.Event()
        for _ in range(count):
            threading.Thread(target=nothing.wait, daemon=True).start()
    except BaseException:
        os._exit(1)
    os._exit(0)


def _memory() -> float:
    """Bytes of address space that the process may have."""
    try:
        import resource
    except ImportError:  # Windows
        return math.inf
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return math.inf if limit == resource.RLIM_INFINITY else limit


def _loads(memory: int) -> bool:
    """Whether the packages can be loaded: a child tries, for without memory OpenBLAS, C++ and Python end a process with
    words of their own, or never."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (max(0, memory - ROOM),) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (LONGEST_LOAD,) * 2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        import numpy
        import torch

        load(sys.argv[1:])
        numpy.ones((256, 256)) @ numpy.ones((256, 256))
        torch.ones(256, 256) @ torch.ones(256, 256)
    except ModuleNotFoundError:
        os._exit(0)  # comes again, and is told
    except BaseException:
        os._exit(1)
    os._exit(0)


def _fail(message: str) -> None:
    print(f"Error: {message}", file=sys.stderr)
    sys.exit(2)


def _on_stop(handler: object) -> None:
    """What Ctrl-C, SIGTERM and the end of the terminal do, unless who started this had them ignored."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)  # type: ignore[arg-type]


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"Stopped; nothing was written.\n")
    os._exit(128 + number)


def _raise(number: int, frame: FrameType | None, process: int = os.getpid()) -> None:
    if os.getpid() != process:
        os._exit(128 + number)  # a process that helps: what to say and to undo is its parent's
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)


if __name__ == "__main__":
    main()
