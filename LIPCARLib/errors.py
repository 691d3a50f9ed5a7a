"""The error family for what a user can mend, and what else ends a run without being a bug."""

from __future__ import annotations

import errno
import os


class LIPCARError(Exception):
    """Something a user can mend: an unsuitable image, a missing model, too little memory, an unwritable path.

    The message is for the user, one line: it names what was found, what was expected and what to do. Anything else
    that goes wrong is a bug, raises what Python raises, and shows its traceback.
    """


class Terminated(BaseException):
    """The process was told to end, by a signal other than Ctrl-C's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def lacks_memory(error: BaseException) -> bool:
    """Whether it was raised for lack of memory: packages, and the loader of libraries, say so in words of their own.

    >>> lacks_memory(MemoryError()), lacks_memory(ImportError("libtorch_cpu.so: failed to map segment"))
    (True, True)
    """
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    words = (
        "out of memory",
        "not enough memory",
        "allocate memory",
        "bad_alloc",
        "failed to map segment",
        "start new thread",
        "could not create a primitive",  # oneDNN, of a convolution
    )
    return any(word in str(error).lower() for word in words)


def lacks_threads(error: BaseException) -> bool:
    """Whether the system refused one more thread or process.

    >>> lacks_threads(RuntimeError("can't start new thread")), lacks_threads(MemoryError())
    (True, False)
    """
    return "start new thread" in str(error) or (isinstance(error, BlockingIOError) and error.filename is None)


def advice(error: Exception) -> str | None:
    """One sentence on what a user can do about an error; None for a bug, and for a stream that is gone."""
    if isinstance(error, LIPCARError):
        return str(error)
    if lacks_threads(error):
        return "No more threads or processes can be started here. Close other programs, or allow more (ulimit -u, -v)."
    if lacks_memory(error):
        return "There is not enough memory for this. Close other programs, allow more, or give a smaller image."
    if isinstance(error, RecursionError):
        return f"What was given is nested too deeply to be read ({error}). Give a simpler file."
    if isinstance(error, OSError) and error.filename is not None:
        reason = error.strerror or str(error)
        return f"'{os.fsdecode(error.filename)}' cannot be used: {reason}. Mend what is in the way, or choose another."
    return None
