"""The command line, assembled: which commands there are, and what a mistake looks like."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from .. import __version__
from ..errors import LIPCARError
from .console import out
from .enhance import demo, enhance
from .evaluate import evaluate
from .models import models_app
from .phantom import phantom
from .robustness import robustness
from .train import train
from .train_anchored import train_anchored_command

app = typer.Typer(
    name="lipcar",
    help="Simulated high-dose contrast-enhanced MR images from low-dose ones. Research only, not for diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (enhance, demo, phantom, train, evaluate, robustness):
    app.command()(command)
app.command("train-anchored")(train_anchored_command)
app.add_typer(models_app, name="models")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 for a user's mistake (one line on stderr), 130 if stopped."""
    try:
        code = app(args=arguments, prog_name="lipcar", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except LIPCARError as error:
        message = str(error)
    except typer.Exit as stop:
        return stop.exit_code
    except (typer.Abort, KeyboardInterrupt):
        print("Stopped; nothing was written.", file=sys.stderr)
        return 130
    except Exception as error:
        # Usage errors: click's class, which typer brings under a name of its own that differs between versions.
        if not hasattr(error, "format_message"):
            raise
        message = error.format_message()
    print(f"Error: {' '.join(message.split())}", file=sys.stderr)
    return 2


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        out.print(f"lipcar {__version__}")
        raise typer.Exit()
