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


def test_a_mistake_is_told_before_torch_is_loaded() -> None:
    code = (
        "import sys; from LIPCARLib.cli import run\n"
        "assert run(['enhance', '--lowdose', 'missing.nrrd', '--output', 'o.nrrd']) == 2\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "missing.nrrd" in done.stderr
