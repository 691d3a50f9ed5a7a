"""The command line, assembled: which commands there are, and what a mistake looks like."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Annotated

import typer

from .. import __version__
from ..errors import Terminated, advice
from ..storage import anything_written
from .console import discard, escape_what_cannot_be_encoded, out, print_line

COMMANDS = {
    "enhance": ("enhance", "enhance"),
    "cohort": ("cohort", "cohort"),
    "demo": ("enhance", "demo"),
    "phantom": ("phantom", "phantom"),
    "train": ("train", "train"),
    "evaluate": ("evaluate", "evaluate"),
    "robustness": ("robustness", "robustness"),
    "check": ("check", "check"),
    "serve": ("serve", "serve"),
    "train-anchored": ("train_anchored", "train_anchored_command"),
    "models": ("models", "models_app"),
}
"""Module and name of each."""


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """The command line with the command that the arguments begin with, or else with all: each loads what it needs."""
    return _assembled(next((name for name in COMMANDS if [name] == [*arguments[:1]]), None))


@cache
def _assembled(only: str | None) -> typer.Typer:
    app = typer.Typer(
        name="lipcar",
        help="Simulated high-dose contrast-enhanced MR images from low-dose ones. Research only, not for diagnosis.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        callback=_main,
        invoke_without_command=True,
    )
    for name in COMMANDS if only is None else [only]:
        module, attribute = COMMANDS[name]
        command = getattr(import_module(f".{module}", __package__), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0; 1 where a cohort is done but for examinations that failed; 2 for what a user can mend, with one line on stderr;
    128 and the signal's number if stopped.
    """
    escape_what_cannot_be_encoded()
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app_for(arguments)(args=arguments, prog_name="lipcar", standalone_mode=False)
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
    if (told := advice(error)) is not None:
        return told
    if isinstance(error, OSError):
        discard(sys.stdout)  # what is written without a name, and would fail again at the end
        reason = error.strerror or str(error)
        return f"The system reports: {reason}. Mend what is in the way, or choose another place for the output."
    # Usage errors: click's class, which typer brings under a name of its own that differs between versions.
    return " ".join(error.format_message().split()) if hasattr(error, "format_message") else None


def _stopped(number: int) -> int:
    print_line(f"Stopped; {'what was finished is kept' if anything_written() else 'nothing was written'}.", sys.stderr)
    return 128 + number


def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        out.print(f"lipcar {__version__}")
        raise typer.Exit()
