"""Where the command line writes to: text as it is, a line each, whatever reads it; and the bars that it draws."""

from __future__ import annotations

import contextlib
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

UNSEEN = ("Cc", "Cs", "Zl", "Zp")
"""Categories of characters that would move the cursor, break a line, or be no text."""
TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters that turn the direction of writing, and could show a name as another one."""


def printable(text: str) -> str:
    r"""The text with what cannot be seen escaped: control characters, and bytes of a file name that are no text.

    >>> printable("a b\n\x1b[1m.nrrd"), printable("l\udce4ge [old] 日本")
    ('a b\\n\\x1b[1m.nrrd', 'l\\xe4ge [old] 日本')
    """
    return "".join(_escaped(c) if c in TURNING or unicodedata.category(c) in UNSEEN else c for c in text)


def _escaped(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # how Python keeps a byte that it could not decode
        return f"\\x{number - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


class _Terminal(Console):
    """A console to which a string is a line of text: no markup, no emoji codes, no wrapping, nothing highlighted."""

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def render_str(self, text: str, *, style: Any = "", justify: Any = None, overflow: Any = None, **_: Any) -> Text:
        return Text(printable(text), style, justify=justify, overflow=overflow)

    def on_broken_pipe(self) -> None:
        """Who read the output has had enough; the work goes on."""
        discard(self.file)


out, err = _Terminal(), _Terminal(stderr=True)


def escape_what_cannot_be_encoded() -> None:
    """A name in a script that the terminal does not know is no reason to fail."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def discard(stream: Any) -> None:
    """Let what is written to a stream from now on go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def print_line(text: str, stream: TextIO) -> None:
    """A line at the end of a run, when nothing more can be done about a stream that is gone."""
    try:
        print(printable(text), file=stream, flush=True)
    except OSError:
        discard(stream)


class _Info(ProgressColumn):
    """What stands behind a bar."""

    def render(self, task: Task) -> Text:
        return Text(printable(task.fields["info"]))


@contextlib.contextmanager
def progress_bar(title: str, total: float = 1.0) -> Iterator[tuple[Progress, TaskID]]:
    """A bar on stderr where that is a terminal; it takes `completed` or `advance`, and `info` to show beside it."""
    columns = (TextColumn(title, markup=False), BarColumn(), _Info(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        yield bar, bar.add_task(title, total=total, info="")


def time_left(seconds: float | None) -> str:
    """As it stands behind the progress; empty where it is not known."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f", {minutes} min left" if minutes > 2 else f", {60 * minutes + rest} s left"


def print_notice(text: str, title: str = "Notice:") -> None:
    """A line on stderr that is no mistake."""
    err.print(Text.assemble((title, "yellow"), " ", printable(text)))


VERDICT_STYLES = {"green": "bold green", "look here": "bold yellow", "do not use": "bold red"}


def print_verdict(level: str, reasons: Sequence[str]) -> None:
    """A colored line, and a line a reason."""
    out.print(Text.assemble("Verdict: ", (level, VERDICT_STYLES[level])))
    for reason in reasons:
        out.print(f"- {reason}")


def print_written(paths: Iterable[Path]) -> None:
    """A line for each file or folder that was written."""
    for path in paths:
        out.print(f"Wrote {path}")
