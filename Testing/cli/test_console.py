"""What the command line prints: names as they are, a line an error, whatever reads it; and how a run is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from LIPCARLib.cli import run
from LIPCARLib.cli.console import printable
from LIPCARLib.errors import LIPCARError, Terminated

LIPCAR = (sys.executable, "-m", "LIPCARLib")
posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals, pipes and limits")


def lipcar(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*LIPCAR, *arguments], capture_output=True, env=os.environ | environment, check=False)


@pytest.mark.parametrize("name", ["[old].nrrd", "a  b.nrrd", "[/red]", ":smile:", "日本\u3000語", "$(x)", "{0}"])
def test_names_are_printed_as_they_are(name: str, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert printable(name) == name
    assert run(["enhance", "--lowdose", str(tmp_path / name), "--output", str(tmp_path / "o.nrrd")]) == 2
    message = capfd.readouterr().err
    assert f"{name}' does not exist" in message and message.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a\nb", r"a\nb"), ("\x1b[31m", r"\x1b[31m"), ("l\udce4ge", r"l\xe4ge"), ("a\u202eb", r"a\u202eb"), ("\r", r"\r")],
)
def test_what_cannot_be_seen_is_escaped(name: str, shown: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert printable(name) == shown
    assert run(["models", "show", name]) == 2
    message = capfd.readouterr().err
    assert shown in message and message.count("\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_any_encoding_and_width(encoding: str) -> None:
    done = lipcar("models", "show", "日本-" * 40, PYTHONIOENCODING=encoding, COLUMNS="20")
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1
    assert ("日本" if encoding == "utf-8" else "\\u65e5\\u672c").encode() in done.stderr


@pytest.mark.parametrize("arguments", [[], ["models"]])
def test_alone_it_prints_its_help(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 0
    shown = capfd.readouterr()
    assert "Usage: lipcar" in shown.out and not shown.err


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        (LIPCARError("One thing."), 2, "Error: One thing."),
        (MemoryError(), 2, "Error: There is not enough memory"),
        (RuntimeError("[enforce fail] can't allocate memory: you tried"), 2, "Error: There is not enough memory"),
        (RecursionError("maximum recursion depth exceeded"), 2, "nested too deeply"),
        (PermissionError(13, "Permission denied", "x y"), 2, "Error: 'x y' cannot be used: Permission denied."),
        (KeyboardInterrupt(), 130, "Stopped; nothing was written."),
        (Terminated(signal.SIGTERM), 143, "Stopped; nothing was written."),
        (KeyboardInterrupt(), 130, "Stopped; what was finished is kept."),
    ],
)
def test_what_ends_a_run_is_one_line(
    raised: BaseException,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise raised

    # Other tests of this process wrote files: whether this run did is told here.
    monkeypatch.setattr("LIPCARLib.cli.app.anything_written", lambda: "kept" in words)
    monkeypatch.setattr("LIPCARLib.cli.models.list_models", fail)
    assert run(["models", "list"]) == code
    message = capfd.readouterr().err
    assert words in message and message.count("\n") == 1


def test_a_bug_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("LIPCARLib.cli.models.list_models", lambda: [][0])
    with pytest.raises(IndexError):
        run(["models", "list"])


@posix
def test_a_reader_that_has_had_enough_is_no_error() -> None:
    with subprocess.Popen([*LIPCAR, "models", "verify"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        process.wait()
        assert (process.returncode, process.stderr.read()) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is full")
def test_an_output_that_is_full_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*LIPCAR, "models", "list"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2 and b"No space left" in done.stderr and done.stderr.count(b"\n") == 1


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("started", ["numpy", "torch", "LIPCARLib.cli.app"])
def test_stopped_at_its_start(number: int, started: str) -> None:
    """The signal comes while a package is loaded."""
    code = (
        "import builtins, os, sys\n"
        "real = builtins.__import__\n"
        "def load(name, *more):\n"
        f"    if name == {started.rpartition('.')[2]!r}: os.kill(os.getpid(), {int(number)})\n"
        "    return real(name, *more)\n"
        "builtins.__import__ = load\n"
        "from LIPCARLib.__main__ import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (128 + number, b"Stopped; nothing was written.\n")


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_while_it_computes(number: int, cohort: Path, tmp_path: Path) -> None:
    subject = cohort / "subject-001"
    arguments = ["--lowdose", subject / "lowdose.nrrd", "--model", "vnet-lowdose", "--output", tmp_path / "o.nrrd"]
    more = ["--alpha", "0.006", "--solver", "adam", "--iterations", "9999"]
    with subprocess.Popen([*LIPCAR, "enhance", *arguments, *more], stderr=subprocess.PIPE) as process:
        time.sleep(6)
        process.send_signal(number)
        message = process.stderr.read()
    assert process.returncode == 128 + number and message.endswith(b"Stopped; nothing was written.\n")
    assert b"Traceback" not in message and not list(tmp_path.iterdir())


@posix
@pytest.mark.parametrize(("started", "words"), [(1, b"Error: No more threads"), (5, b"OMP_NUM_THREADS=1")])
def test_too_few_threads(started: int, words: bytes) -> None:
    """Where not all start, one in each pool; fewer still are told (OpenBLAS would end the process)."""
    code = (
        "import os, sys, threading\n"
        "real = threading.Thread.start\n"
        "def start(thread):\n"
        f'    if threading.active_count() > {started}: raise RuntimeError("can\'t start new thread")\n'
        "    real(thread)\n"
        "threading.Thread.start = start\n"
        "import LIPCARLib.__main__ as start_up\n"
        "start_up.load = lambda _: lambda: print('OMP_NUM_THREADS=' + os.environ['OMP_NUM_THREADS'], file=sys.stderr)\n"
        "start_up.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.stderr.startswith(words) and done.returncode == (2 if started == 1 else 0)


@posix
@pytest.mark.parametrize("megabytes", [100, 950])  # at the latter OpenBLAS or C++ gives up, or Python goes on for ever
def test_too_little_memory_to_start(megabytes: int) -> None:
    command = f"ulimit -v {megabytes}000; exec '{sys.executable}' -m LIPCARLib models list"
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith(b"Error: There is not enough memory to load")
