"""lipcar serve and its client: one run over the network as on this computer, and refusals before anything is read."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk

from LIPCARLib.cli import run
from LIPCARLib.engine import Asked, Remote
from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import Examination
from LIPCARLib.inverse import complete
from LIPCARLib.resources import RESOURCES


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["serve", "--host", "0.0.0.0"], "needs a token"),
        (["serve", "--host", "::"], "needs a token"),
        (["serve", "--token-file", "missing"], "cannot be read"),
        (
            ["enhance", "--lowdose", "missing.nrrd", "--output", "out.nrrd", "--engine", "http://a"],
            "host:port is expected",
        ),
    ],
)
def test_what_is_refused(words: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    assert message in capfd.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="stops the server as POSIX does")
def test_the_image_is_the_same_and_only_shipped_models_are_taken(
    subject: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIPCAR_ENGINE_TOKEN", "correct horse battery")
    code = "from LIPCARLib.cli.serve import serve; serve('127.0.0.1', 0)"
    images = [
        "--lowdose",
        str(subject / "lowdose.nrrd"),
        "--predose",
        str(subject / "predose.nrrd"),
        "--model",
        "signal",
    ]
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, bufsize=1) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[2].rstrip(",")
        for name, where in (("here.nrrd", []), ("there.nrrd", ["--engine", address])):
            assert run(["enhance", *images, "--output", str(tmp_path / name), "--device", "cpu", *where]) == 0
        line = server.stdout.readline()
        remote, examination = Remote(address, b"correct horse battery"), Examination.read(subject / "lowdose.nrrd")
        asked = Asked(
            model=str(RESOURCES / "Models" / "signal"),
            alpha="auto",
            solver="proximal",
            iterations=None,
            device="cpu",
            data_consistency=False,
            dose_fraction=None,
        )
        with pytest.raises(LIPCARError, match="has the shipped ones"):
            complete(remote.enhance(examination, asked))
        server.send_signal(signal.SIGINT)
    assert "enhance 2 x 48 x 48: done" in line and str(subject) not in line
    with pytest.raises(LIPCARError, match="does not answer"):
        complete(remote.devices())
    here, there = (sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"{name}.nrrd"))) for name in ("here", "there"))
    assert here.tobytes() == there.tobytes()
