"""What reading and writing share: paths, and one sentence about a file instead of what ITK and the system raise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import LIPCARError

AnyPath = str | os.PathLike[str]


@contextmanager
def explained(path: Path, action: str = "read as an image") -> Iterator[None]:
    """Turn what ITK and the system raise into one sentence about the file."""
    try:
        yield
    except (RuntimeError, OSError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = " ".join(lines[1:] or lines).replace("sitk::ERROR: ", "")
        raise LIPCARError(f"'{path}' cannot be {action}: {reason[:300]}") from error
