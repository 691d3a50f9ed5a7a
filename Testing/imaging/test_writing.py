"""Writing: checked beforehand, all or none, nothing left behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import Grid, check_output, read_image, write_files, write_image, writing

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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.png", "must end in one of .nrrd"),
        ("out.NRRD", "small letters"),
        ("out", "must end in"),
        (".nrrd", "must end in"),
        ("out.mhd", "must end in"),
        ("folder.nrrd", "is a folder"),
    ],
)
def test_output_that_cannot_be_written(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.nrrd").mkdir()
    for action in (check_output, lambda path: write_image(random_image((2, 20, 20)), path)):
        with pytest.raises(LIPCARError, match=message):
            action(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.nrrd"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LIPCARError, match="missing' does not exist"):
        check_output(tmp_path / "missing" / "out.nrrd")


def test_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:  # real rights would not stop root
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(LIPCARError, match="cannot be written: Permission denied"):
        check_output(tmp_path / "out.nrrd")


def test_check_output_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "there.nrrd").write_bytes(b"old")
    for name in ("there.nrrd", "new.nii.gz"):
        check_output(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["there.nrrd"]
    assert (tmp_path / "there.nrrd").read_bytes() == b"old"


SHAPES = {"flat": (20, 30), "volume": (3, 20, 30)}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("suffix", writing.OUTPUT_SUFFIXES)
def test_images_come_back_as_they_are(tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
    image = random_image(shape)
    for dtype in (np.float32, np.uint8, np.uint16):
        typed = sitk.GetImageFromArray((200 * np.abs(array_of(image))).astype(dtype))
        typed.CopyInformation(image)
        write_image(typed, tmp_path / f"out{suffix}")
        found = sitk.ReadImage(str(tmp_path / f"out{suffix}"))
        assert np.array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(typed))
        assert found.GetPixelID() == typed.GetPixelID()
        assert not Grid.of(typed).differences(Grid.of(found))


@pytest.mark.parametrize("suffix", writing.OUTPUT_SUFFIXES)
@pytest.mark.parametrize("fault", ["voxel", "grid", "short", "raised"])
def test_what_is_read_back_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, fault: str
) -> None:
    image = random_image((2, 20, 20))
    other = sitk.Image(image)
    if fault == "voxel":
        other[3, 4, 1] = 7.5
    elif fault == "grid":
        other.SetSpacing((0.5, 0.75, 2.6))
    original = sitk.WriteImage

    def faulty(image: sitk.Image, path: str, **options: bool) -> None:
        original(other, path, **options)
        if fault == "short":
            os.truncate(path, os.path.getsize(path) - 50)
        if fault == "raised":
            raise RuntimeError("first line\nbroken")

    target = tmp_path / f"out{suffix}"
    target.write_bytes(b"old")
    monkeypatch.setattr(writing.sitk, "WriteImage", faulty)
    with pytest.raises(LIPCARError, match=f"out{suffix}' cannot be written"):
        write_files({target: image, tmp_path / "report.json": b"new"})
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert target.read_bytes() == b"old"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits are for a process")
@pytest.mark.parametrize("suffix", writing.OUTPUT_SUFFIXES)
def test_a_limit_on_the_size_of_files(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    """As a full disk: refused with the reason and the old files untouched, or whole."""
    import resource

    target, series = tmp_path / f"out{suffix}", {tmp_path / "dicom" / f"{n}.dcm": bytes(500 * n) for n in range(20)}
    image = random_image((2, 64, 64))
    outcomes = []
    for limit in range(0, 110_000, 5_000):
        target.write_bytes(b"old")
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                write_files({target: image, **series}, fresh=tmp_path / "dicom")
            except LIPCARError as error:
                os._exit(2 if "File too large" in str(error) else 1)
            os._exit(0)
        outcomes.append(os.WEXITSTATUS(os.waitpid(child, 0)[1]))
        if outcomes[-1]:
            assert [path.name for path in tmp_path.iterdir()] == [target.name]
            assert target.read_bytes() == b"old"
        else:
            assert np.array_equal(array_of(read_image(target)), array_of(image))
            for path in series:
                path.unlink()
            (tmp_path / "dicom").rmdir()
    assert set(outcomes) == {0, 2}
    assert capfd.readouterr() == ("", "")  # what ITK would say


def test_a_folder_that_is_no_utf8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"l\xe4ge")
    folder.mkdir()
    image = random_image((2, 20, 20))
    write_image(image, folder / "out.nii.gz")
    (folder / "out.nii.gz").rename(tmp_path / "plain.nii.gz")
    assert np.array_equal(array_of(read_image(tmp_path / "plain.nii.gz")), array_of(image))
    assert not any(folder.iterdir())


def test_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(image: sitk.Image, path: str, **_: bool) -> None:
        Path(path).write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(writing.sitk, "WriteImage", interrupted)
    monkeypatch.setattr(writing, "_check_same", lambda *_: None)
    monkeypatch.setattr(writing.sitk, "ReadImage", lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        write_image(random_image((2, 20, 20)), tmp_path / "out.nrrd")
    assert list(tmp_path.iterdir()) == []
