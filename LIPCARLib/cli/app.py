"""The command line, assembled: which commands there are, and what a mistake looks like."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from .. import __version__
from ..errors import LIPCARError, Terminated, lacks_memory
from ..storage import anything_written
from .check import check
from .console import discard, escape_what_cannot_be_encoded, out, print_line
from .enhance import demo, enhance
from .evaluate import evaluate
from .models import models_app
from .phantom import phantom
from .robustness import robustness
from .serve import serve
from .train import train
from .train_anchored import train_anchored_command

app = typer.Typer(
    name="lipcar",
    help="Simulated high-dose contrast-enhanced MR images from low-dose ones. Research only, not for diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (enhance, demo, phantom, train, evaluate, robustness, check, serve):
    app.command()(command)
app.command("train-anchored")(train_anchored_command)
app.add_typer(models_app, name="models")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0; 2 for what a user can mend, with one line on stderr; 128 and the signal's number if stopped.
    """
    escape_what_cannot_be_encoded()
    try:
        code = app(args=arguments, prog_name="lipcar", standalone_mode=False)
        sys.stdout.flush()
        if code == 128 + signal.SIGINT:  # how typer tells of a KeyboardInterrupt, in some versions
            return _stopped(signal.SIGINT)
        return code if isinstance(code, int) else 0
    except typer.Exit as stop:
        return stop.exit_code
    except BrokenPipeError:  # who read what was printed has had enough
        discard(sys.stdout)
        return 0
    except (typer.Abort, KeyboardInterrupt):
        return _stopped(signal.SIGINT)
    except Terminated as stop:
        return _stopped(stop.number)
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the help was printed
            return 0
        message = _sentence(error)
        if message is None:
            raise
    print_line(f"Error: {message}", sys.stderr)
    return 2


def _sentence(error: Exception) -> str | None:
    """What a user can do about it; None for a bug."""
    if isinstance(error, LIPCARError):
        return str(error)
    if lacks_memory(error):
        return "There is not enough memory for this. Close other programs, allow more, or give a smaller image."
    if isinstance(error, RecursionError):
        return f"What was given is nested too deeply to be read ({error}). Give a simpler file."
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        if error.filename is None:
            discard(sys.stdout)  # what is written without a name, and would fail again at the end
            return f"The system reports: {reason}. Mend what is in the way, or choose another place for the output."
        return f"'{os.fsdecode(error.filename)}' cannot be used: {reason}. Mend what is in the way, or choose another."
    # Usage errors: click's class, which typer brings under a name of its own that differs between versions.
    return " ".join(error.format_message().split()) if hasattr(error, "format_message") else None


def _stopped(number: int) -> int:
    print_line(f"Stopped; {'what was finished is kept' if anything_written() else 'nothing was written'}.", sys.stderr)
    return 128 + number


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        out.print(f"lipcar {__version__}")
        raise typer.Exit()
