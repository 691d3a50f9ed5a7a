"""`python -m LIPCARLib` and the console script `lipcar`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; its own packages are an extra, because the Slicer module does without them."""
    try:
        from .cli import run
    except ModuleNotFoundError as error:
        if error.name not in ("rich", "typer"):
            raise
        sys.exit(f"Error: the command line needs '{error.name}': install it with `pip install lipcar[cli]`.")
    sys.exit(run())


if __name__ == "__main__":
    main()
