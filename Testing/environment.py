"""Sets up the virtual environment that `make` works in: one caller at a time, and a call cut short is made good later.

    python Testing/environment.py .venv torch==2.13.0 [--tests]

What is installed are the versions in Testing/locks, by their hashes (see supply_chain.py). Needs nothing but the
standard library. A second caller, say `make test` beside `make demo`, waits for the first.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
LOCKS = PROJECT / "Testing" / "locks"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that the operating system takes back when its holder dies."""
    with open(path, "a+b") as file:
        if os.name == "nt":
            import msvcrt

            while True:
                try:
                    file.seek(0)
                    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                    break
                except OSError:
                    time.sleep(1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def stamp_of(environment: Path, what: str) -> Path:
    return environment / f"{what}.stamp"


def is_current(stamp: Path) -> bool:
    """Whether what the stamp stands for was installed after pyproject.toml and the locks last changed."""
    sources = [PROJECT / "pyproject.toml", *LOCKS.glob("*.txt")]
    return stamp.is_file() and stamp.stat().st_mtime >= max(path.stat().st_mtime for path in sources)


def install(environment: Path, *arguments: str) -> None:
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, cwd=PROJECT, check=True)


def install_locked(environment: Path, name: str) -> None:
    """A lock names all that is needed but torch, so nothing else is to be looked for."""
    install(environment, "--no-deps", "--require-hashes", "--requirement", str(LOCKS / f"{name}.txt"))


def set_up(environment: Path, torch: str, tests: bool) -> None:
    """Make the environment where it is missing or older than what it is made from.

    What is locked comes first, so that torch brings along only what belongs to its build.
    """
    with locked(environment.with_name(environment.name + ".lock")):
        demo = stamp_of(environment, "demo")
        if not is_current(demo):
            venv.create(environment, with_pip=True)
            install_locked(environment, "run")
            install(environment, torch)
            install(environment, "--no-deps", "--no-build-isolation", "--editable", ".")
            demo.touch()
        test = stamp_of(environment, "test")
        if tests and not is_current(test):
            install_locked(environment, "tests")
            test.touch()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environment", type=Path)
    parser.add_argument("torch", help="the requirement that pip gets first")
    parser.add_argument("--tests", action="store_true", help="what the tests need too")
    arguments = parser.parse_args()
    try:
        set_up(arguments.environment.absolute(), arguments.torch, arguments.tests)
    except subprocess.CalledProcessError as error:
        return error.returncode  # pip has said why
    return 0


if __name__ == "__main__":
    sys.exit(main())
