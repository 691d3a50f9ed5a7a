"""The engine in a process of its own on this computer: started once, kept, and started again where it died."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Generator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from ..errors import LIPCARError
from .client import converse
from .jobs import Asking
from .messages import MalformedError, Message

SECONDS_TO_START = 300.0
"""Until it listens. On a busy computer, loading SimpleITK and scipy took 20."""
SECONDS_TO_REAP = 1.0
_PACKAGE = Path(__file__).resolve().parents[2]
_CODE = "import sys; sys.path[0] = sys.argv[1]; from LIPCARLib.engine.worker import main; main()"
"""In place of `-m`, which would look for modules in the current folder first."""


class NotStartedError(LIPCARError):
    """No process can be started, or it does not come so far as to listen."""


class Child(Asking):
    """A process that computes; it listens on the loopback for who knows a token that is drawn for it alone.

    It ends with this one, however that ends: it reads a pipe which the system closes. What it prints goes to a
    temporary file, whose end a message shows where the process dies.
    """

    def __init__(self, python: Sequence[str] = (sys.executable,), slot: float = 0.03, any_folder: bool = True) -> None:
        """
        Args:
            python: the command of an interpreter that has what the engine needs.
            slot: seconds that this process waits between two yields.
            any_folder: as of `jobs.answer`.
        """
        self._python, self._slot, self._any_folder = list(python), slot, any_folder
        self._running: _Process | None = None

    def start(self) -> None:
        """Raises NotStartedError where the interpreter cannot be run."""
        if self._running is None or self._running.ended:
            self.close()
            self._running = _Process(self._python, self._any_folder)

    def close(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.end()

    @property
    def number(self) -> int | None:
        """Of the process, as the system counts them; None where none runs."""
        return None if self._running is None or self._running.ended else self._running.number

    def run(self, request: Message) -> Generator[Message | None, None, Message]:
        """Raises LIPCARError as the job, and where the process dies; the next request starts another one."""
        self.start()
        running = self._running
        if running is None:
            raise NotStartedError("The engine was closed.")
        while running.port is None:
            running.check()
            yield None
            running.listening.wait(self._slot)
        try:
            return (yield from converse(("127.0.0.1", running.port), running.token, request, self._slot, None))
        except (OSError, MalformedError) as error:
            words = running.last_words()
            if self._running is running:
                self.close()
            raise LIPCARError(words) from error


class _Process:
    """One process from start to end."""

    def __init__(self, python: Sequence[str], any_folder: bool) -> None:
        self.token = secrets.token_bytes(32)
        self.port: int | None = None
        self.listening = threading.Event()
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self._deadline = time.monotonic() + SECONDS_TO_START
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # of Windows
        try:
            self._process = subprocess.Popen(
                [*python, "-c", _CODE, str(_PACKAGE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                creationflags=flags,
            )
        except OSError as error:
            self._said.close()
            raise NotStartedError(
                f"No process can be started by {' '.join(python)}: {error.strerror or error}."
            ) from error
        self._kill = weakref.finalize(self, _kill, self._process)
        threading.Thread(target=self._listen, name="LIPCAR listens", daemon=True).start()
        threading.Thread(target=_reap, args=(self._process,), name="LIPCAR reaps", daemon=True).start()
        told = json.dumps({"token": self.token.hex(), "any_folder": any_folder})
        with suppress(OSError):  # it has ended already; who waits for it is told
            _pipe(self._process.stdin).write(told.encode() + b"\n")
            _pipe(self._process.stdin).flush()

    @property
    def number(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def check(self) -> None:
        """Raises NotStartedError where it will never listen."""
        heard = self.listening.is_set()
        if self.port is None and (heard or self.ended or time.monotonic() > self._deadline):
            words = f"The engine's process does not start. {self._end_of_output()}".strip()
            self.end()
            raise NotStartedError(words)

    def last_words(self) -> str:
        """Why it does not answer any more."""
        try:
            code = self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            return "The engine does not answer as expected; it was ended and starts anew. Click Apply again."
        how = f"with exit code {code}"
        if code < 0:
            how = f"by signal {-code}"
            if -code in set(signal.Signals):
                how = f"by {signal.Signals(-code).name}"
        advice = "Nothing was changed, and the next run starts a new one. Where the memory was exhausted, which ends "
        advice += "a process in this way most often, close other programs or compute fewer slices."
        return f"The engine's process ended {how} during the computation. {advice} {self._end_of_output()}".strip()

    def end(self) -> None:
        self._kill()

    def _listen(self) -> None:
        """In a thread: a pipe cannot be asked on every system whether it holds something."""
        with suppress(OSError, ValueError, KeyError, TypeError), _pipe(self._process.stdout) as pipe:
            self.port = int(json.loads(pipe.readline(1000))["port"])
        self.listening.set()  # or it has ended

    def _end_of_output(self) -> str:
        try:
            size = os.fstat(self._said.fileno()).st_size
            self._said.seek(max(0, size - 2000))
            lines = self._said.read().decode(errors="replace").strip().splitlines()
        except (OSError, ValueError):
            return ""
        return f"Its last words: {lines[-1][:300]}" if lines else ""


def _reap(process: subprocess.Popen[bytes]) -> None:
    """So that the system forgets a process that ends while nobody asks for it; `wait` would keep `poll` from others."""
    while process.poll() is None:
        time.sleep(SECONDS_TO_REAP)


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    with suppress(OSError):
        _pipe(process.stdin).close()
    with suppress(subprocess.TimeoutExpired):  # the system is busy; it will end
        process.wait(0.2)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise OSError("no pipe")
    return pipe
