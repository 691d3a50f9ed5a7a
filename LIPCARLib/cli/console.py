"""Where the command line writes to, and the bars that it draws."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

out, err = Console(), Console(stderr=True)


@contextlib.contextmanager
def progress_bar(title: str, total: float = 1.0) -> Iterator[tuple[Progress, TaskID]]:
    """A bar on stderr where that is a terminal; it takes `completed` or `advance`, and `info` to show beside it."""
    columns = (TextColumn(title), BarColumn(), TextColumn("{task.fields[info]}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        yield bar, bar.add_task(title, total=total, info="")


def time_left(seconds: float | None) -> str:
    """As it stands behind the progress; empty where it is not known."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f", {minutes} min left" if minutes > 2 else f", {60 * minutes + rest} s left"


def print_notice(text: str) -> None:
    """A line on stderr that is no mistake."""
    err.print(f"[yellow]Notice:[/] {text}", highlight=False)


def print_written(paths: Iterable[Path]) -> None:
    """A line for each file or folder that was written."""
    for path in paths:
        out.print(f"Wrote {path}", highlight=False, soft_wrap=True)
