"""What keeps writers of files out of each other's way, and signals out of theirs: locks, and what the system says."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from .errors import LIPCARError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_ADVICE = {
    errno.ENOSPC: "Free some space, or choose another place.",
    errno.EDQUOT: "Free some space, or choose another place.",
    errno.EFBIG: "It is larger than the limit for a file here (ulimit, quota, file system): choose another place.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ENOENT: "Create the folder, or choose another one.",
}
_UNLOCKABLE = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
"""Of file systems that know no locks: there, two runs at once are not kept apart."""
_held: dict[Path, object] = {}
"""What this process holds, or is trying: the system's locks are of processes and let all threads of one through."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_held.clear)  # a child does not have its parent's


@contextmanager
def explained(path: Path, action: str = "written") -> Iterator[None]:
    """Turn what the system raises into one sentence about the file."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "Choose another place, or mend what is in the way.")
        raise LIPCARError(f"'{path}' cannot be {action}: {error.strerror or error}. {advice}") from error


@contextmanager
def locked(path: Path, patience: float, signals: Signals | None = None) -> Iterator[None]:
    """Hold a file's lock, which the system takes from a process that dies; the file is there as long.

    Raises:
        LIPCARError: another run holds it for longer than `patience` seconds, or the file cannot be made.
    """
    deadline = time.monotonic() + patience
    while True:
        with explained(path.parent):
            descriptor = _try_lock(path)
        if descriptor is not None:
            break
        if time.monotonic() >= deadline:
            raise LIPCARError(
                f"Another run of LIPCAR writes into '{path.parent}'{_holder(path)}. Wait until it is done, or choose "
                "another place."
            )
        if signals is not None:
            signals.check()
        time.sleep(0.02)
    try:
        yield
    finally:
        is_windows = sys.platform == "win32"  # there, an open file has to stay
        try:
            if is_windows:
                os.close(descriptor)
            with suppress(OSError):
                path.unlink()  # who waits for it finds that it is another file now
        finally:
            if not is_windows:
                os.close(descriptor)
            _held.pop(path, None)


def _try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock; None where another thread or process has it."""
    mine = object()
    if _held.setdefault(path, mine) is not mine:
        return None
    with ExitStack() as closing:
        closing.callback(_held.pop, path, None)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        closing.callback(os.close, descriptor)
        try:
            if sys.platform == "win32":
                os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # beyond the text, which others are to read
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
                os.lseek(descriptor, 0, os.SEEK_SET)
            else:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not `flock`, which a child would go on to hold
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                _sign(descriptor, path)
                closing.pop_all()
                return descriptor
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in _UNLOCKABLE:
                closing.pop_all()
                return descriptor
            if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                raise
    return None


def _sign(descriptor: int, path: Path) -> None:
    """Say who holds it, in place of a dead one's words."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{socket.gethostname()}, process {os.getpid()}".encode())
        path.chmod(0o666)  # of a group's folder, whoever comes next can lock it


def _holder(path: Path) -> str:
    if path in _held:  # to open and close the file would give the lock away
        return " (this process)"
    with suppress(OSError):
        return f" ({path.read_text(encoding='utf-8', errors='replace')})"
    return ""


class Signals:
    """Holds back the signals that stop a process; they are raised again at the end."""

    def __enter__(self) -> Signals:
        self._pending: int | None = None
        self._previous: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) not in (None, signal.SIG_IGN):
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._pending = number

    def check(self) -> None:
        """Stop here if a signal has come."""
        if self._pending is not None:
            raise KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._pending is not None:
            signal.raise_signal(self._pending)
