"""The command line as a whole: it starts, and knows its commands."""

from __future__ import annotations

import subprocess
import sys

import pytest

from LIPCARLib.cli import run


def test_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "LIPCARLib", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("lipcar ")


def test_every_command_is_there(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capfd.readouterr().out
    for command in ("enhance", "demo", "phantom", "train", "evaluate", "robustness", "serve", "models"):
        assert command in shown
