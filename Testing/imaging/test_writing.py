"""Writing: checked beforehand, all or none, nothing left behind."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import check_output, read_image, write_files, write_image, writing

from .samples import array_of, random_image


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_metadata_is_written(tmp_path: Path, suffix: str) -> None:
    image = random_image((2, 20, 20))
    write_image(image, tmp_path / f"out{suffix}", {"LIPCAR_model": "a: b\nc", "LIPCAR_alpha": "0.006"})
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(tmp_path / f"out{suffix}"))
    reader.ReadImageInformation()
    assert reader.GetMetaData("LIPCAR_model") == "a: b c"
    assert reader.GetMetaData("LIPCAR_alpha") == "0.006"
    assert not image.HasMetaDataKey("LIPCAR_alpha")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.png", "must end in one of .nrrd"),
        ("out.NRRD", "small letters"),
        ("out", "must end in"),
        (".nrrd", "must end in"),
        ("out.mhd", "must end in"),
        ("missing/out.nrrd", "missing' does not exist"),
        ("folder.nrrd", "is a folder"),
    ],
)
def test_output_that_cannot_be_written(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.nrrd").mkdir()
    for action in (check_output, lambda path: write_image(random_image((2, 20, 20)), path)):
        with pytest.raises(LIPCARError, match=message):
            action(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.nrrd"]


def test_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:  # real rights would not stop root
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(LIPCARError, match="cannot be written to .Permission denied"):
        check_output(tmp_path / "out.nrrd")


def test_check_output_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "there.nrrd").write_bytes(b"old")
    for name in ("there.nrrd", "new.nii.gz"):
        check_output(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["there.nrrd"]
    assert (tmp_path / "there.nrrd").read_bytes() == b"old"


@pytest.mark.parametrize("failing", [0, 1, 2])
@pytest.mark.parametrize("moment", ["write", "replace"])
def test_several_outputs_all_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int, moment: str
) -> None:
    outputs = {tmp_path / f"{name}.nrrd": random_image((2, 20, 20), seed) for seed, name in enumerate("abc")}
    (tmp_path / "a.nrrd").write_bytes(b"old")
    calls = iter(range(100))

    def failing_call(original):
        def call(*args, **kwargs):
            if next(calls) == failing:
                if moment == "write":
                    Path(args[1]).write_bytes(b"half")
                    raise RuntimeError("first line\nno space left")
                raise OSError("no space left")
            return original(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        if moment == "write":
            patch.setattr(writing.sitk, "WriteImage", failing_call(sitk.WriteImage))
        else:
            patch.setattr(writing.os, "replace", failing_call(os.replace))
        with pytest.raises(LIPCARError, match="cannot be written: no space left"):
            write_files(outputs)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nrrd"]
    assert (tmp_path / "a.nrrd").read_bytes() == b"old"

    write_files(outputs)
    assert sorted(tmp_path.iterdir()) == sorted(outputs)
    for path, image in outputs.items():
        assert np.array_equal(array_of(read_image(path)), array_of(image))


def test_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(image: sitk.Image, path: str, **_: bool) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(writing.sitk, "WriteImage", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_image(random_image((2, 20, 20)), tmp_path / "out.nrrd")
    assert list(tmp_path.iterdir()) == []
