"""NIfTI: one rule for where the voxels lie, so that other programs see a result where they see the image."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import read_image, write_image
from LIPCARLib.imaging.nifti import PLACES_1, PLACES_2

from .samples import array_of

VALUES = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
TURNED = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])


def nifti(version: int = 1, order: str = "<", values: np.ndarray = VALUES, **fields: Any) -> bytes:
    """A whole file; fields by their names in `nifti`, with what they hold."""
    places, length = (PLACES_1, 348) if version == 1 else (PLACES_2, 540)
    given = {
        "dim": (values.ndim, *values.shape[::-1]),
        "datatype": 4,
        "bits": 16,
        "pixdim": (1, 0.5, 0.6, 3),
        "vox_offset": length + 4,
        "magic": b"n+1\0" if version == 1 else b"n+2\0\r\n\x1a\n",
        **fields,
    }
    content = bytearray(length + 4)
    content[:4] = length.to_bytes(4, "little" if order == "<" else "big")
    for name, value in given.items():
        layout, at = places[name]
        if not isinstance(value, bytes):
            value = np.asarray(value).astype(np.dtype(layout).base.newbyteorder(order)).tobytes()
        content[at : at + len(value)] = value
    return bytes(content) + values.astype(values.dtype.newbyteorder(order)).tobytes()


def affine_of(path: Path) -> np.ndarray:
    """(3, 4), RAS: what nibabel goes by, written down from its documentation and only for what is tried here."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    codes = struct.unpack_from("<2h", content, 252)
    if codes[1] > 0:
        return np.reshape(struct.unpack_from("<12f", content, 280), (3, 4))
    size, zooms = struct.unpack_from("<3h", content, 42), np.array(struct.unpack_from("<3f", content, 80))
    if codes[0] > 0:
        b, c, d, *offset = struct.unpack_from("<6f", content, 256)
        assert b == c == 0
        angle = 2 * np.arcsin(d)
        rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        return np.column_stack((rotation * zooms, offset))
    matrix = np.diag(zooms * (-1, 1, 1))
    return np.column_stack((matrix, -matrix @ (np.array(size) - 1) / 2))


def sform(matrix: np.ndarray, *offset: float) -> np.ndarray:
    return np.column_stack((matrix, offset))


SPACING = np.array([0.5, 0.6, 3])
QFORM = {"qform_code": 1, "quatern": (0, 0, np.sin(np.pi / 4)), "offset": (7, 8, 9)}
SHEARED = sform(TURNED * SPACING + [[0, 0, 0.8], [0, 0, 0], [0, 0, 0]], 1, 2, 3)
SLIGHTLY = sform(TURNED * SPACING + [[0, 0, 0.02], [0, 0, 0], [0, 0, 0]], 1, 2, 3)


@pytest.mark.parametrize(
    ("fields", "notice"),
    [
        ({"sform_code": 2, "srow": sform(TURNED * SPACING, 1, 2, 3)}, None),
        ({"sform_code": 4, "srow": sform(-TURNED * SPACING, 1, 2, 3)}, None),
        (QFORM, None),
        ({**QFORM, "sform_code": 1, "srow": sform(TURNED * SPACING, 7, 8, 9)}, None),
        ({**QFORM, "sform_code": 1, "srow": sform(TURNED * SPACING, 7, 8, 12)}, "qform that lies up to 3 mm"),
        ({"sform_code": 1, "srow": sform(TURNED * (1, 1, 3), 1, 2, 3)}, "spacing of 0.5 x 0.6 x 3 mm beside an sform"),
        ({**QFORM, "quatern": (0, 0, 2), "sform_code": 1, "srow": sform(TURNED * SPACING, 1, 2, 3)}, "no rotation"),
        ({}, "does not tell where it lies"),
        ({"srow": SHEARED, "offset": (np.nan, 0, 0)}, "does not tell where it lies"),
    ],
)
def test_other_programs_see_the_result_where_they_see_the_image(
    tmp_path: Path, fields: dict[str, Any], notice: str | None
) -> None:
    path = tmp_path / "in.nii"
    path.write_bytes(nifti(**fields))
    notices: list[str] = []
    write_image(read_image(path, notices), tmp_path / "out.nii.gz")
    np.testing.assert_allclose(affine_of(tmp_path / "out.nii.gz"), affine_of(path), atol=1e-5)
    assert len(notices) == (notice is not None) and (notice is None or notice in notices[0])


def test_a_slight_shear_is_mended_and_said(tmp_path: Path) -> None:
    (tmp_path / "in.nii").write_bytes(nifti(sform_code=1, srow=SLIGHTLY))
    notices: list[str] = []
    write_image(read_image(tmp_path / "in.nii", notices), tmp_path / "out.nii")
    assert "do not quite stand at right angles" in notices[0]
    found = affine_of(tmp_path / "out.nii")
    assert 1e-4 < np.abs(found - SLIGHTLY).max() < 0.05
    cosines = found[:, :3] / np.linalg.norm(found[:, :3], axis=0)
    np.testing.assert_allclose(cosines.T @ cosines, np.eye(3), atol=1e-6)


def test_a_sheared_sform_gives_way_to_the_qform_or_is_refused(tmp_path: Path) -> None:
    (tmp_path / "both.nii").write_bytes(nifti(sform_code=1, srow=SHEARED, **QFORM))
    notices: list[str] = []
    image = read_image(tmp_path / "both.nii", notices)
    np.testing.assert_allclose(image.GetOrigin(), (-7, -8, 9), atol=1e-6)
    assert "the qform was taken" in notices[0] and "mm" in notices[0]
    (tmp_path / "one.nii").write_bytes(nifti(sform_code=1, srow=SHEARED))
    with pytest.raises(LIPCARError, match="Resample it"):
        read_image(tmp_path / "one.nii")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vox_offset": np.nan}, "byte nan"),
        ({"vox_offset": np.inf}, "byte inf"),
        ({"vox_offset": 100}, "byte 100"),
        ({"vox_offset": 352.5}, "byte 352.5"),
        ({"vox_offset": 1e9}, "cut short"),
        ({"vox_offset": 348}, "does not fit its header|bytes where its header announces"),
        ({"dim": (3, 5, 4, 2)}, "bytes where its header announces"),
        ({"dim": (3, 5, 4, 30000)}, "bytes where its header announces"),
        ({"dim": (3, 5, 4, -3)}, "dim 3 5 4 -3"),
        ({"dim": (0, 5, 4, 3)}, "dim 0"),
        ({"dim": (9, 5, 4, 3)}, "dim 9"),
        ({"dim": (4, 5, 4, 1, 3)}, "4 dimensions"),
        ({"dim": (1, 60)}, "1 dimensions"),
        ({"datatype": 8}, "type 8 with 16 bits"),
        ({"datatype": 1536, "bits": 128}, "type 1536"),
        ({"datatype": 128, "bits": 24}, "3 values in each voxel"),
        ({"datatype": 32, "bits": 64}, "complex"),
        ({"slope": np.nan}, "scales the voxels by nan"),
        ({"slope": 1, "inter": np.inf}, "and inf"),
        ({"pixdim": (1, np.nan, 1, 1)}, "not finite"),
        ({"pixdim": (1, 0, 1, 1)}, "spacing of 0 x"),
        ({"pixdim": (1, 1e30, 1, 1)}, "spacing of 1e"),
        ({"qform_code": 1, "offset": (0, np.inf, 0)}, "not finite"),
        ({"qform_code": 1, "quatern": (1, 1, 0)}, "no rotation"),
        ({"sform_code": 1, "srow": np.full((3, 4), np.nan)}, "not finite"),
        ({"sform_code": 1, "srow": np.zeros((3, 4))}, "spacing of 0|Resample"),
        ({"sform_code": 1, "srow": sform(np.ones((3, 3)), 0, 0, 0)}, "Resample"),
        ({"units": 7}, "unit of length"),
        ({"magic": b"\0\0\0\0"}, "Analyze"),
        ({"magic": b"ni1\0"}, "called .hdr and .img"),
    ],
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_what_a_header_cannot_say(tmp_path: Path, fields: dict[str, Any], message: str, suffix: str) -> None:
    path = tmp_path / f"in{suffix}"
    content = nifti(**fields)
    path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    with pytest.raises(LIPCARError, match=message) as caught:
        read_image(path)
    assert path.name in str(caught.value)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [1, 2])
def test_versions_orders_and_scaling(tmp_path: Path, version: int, order: str) -> None:
    (tmp_path / "in.nii").write_bytes(
        nifti(version, order, slope=0.5, inter=3, sform_code=1, srow=sform(TURNED * SPACING, 1, 2, 3), units=2)
    )
    image = read_image(tmp_path / "in.nii")
    assert np.array_equal(array_of(image), VALUES * np.float32(0.5) + 3)
    np.testing.assert_allclose(image.GetSpacing(), SPACING, rtol=1e-6)
    np.testing.assert_allclose(image.GetOrigin(), (-1, -2, 3), rtol=1e-6)
    np.testing.assert_allclose(np.reshape(image.GetDirection(), (3, 3)), np.diag((-1, -1, 1)) @ TURNED, atol=1e-6)


def test_lengths_in_micrometers(tmp_path: Path) -> None:
    (tmp_path / "in.nii").write_bytes(nifti(pixdim=(1, 500, 600, 3000), units=3))
    notices: list[str] = []
    np.testing.assert_allclose(read_image(tmp_path / "in.nii", notices).GetSpacing(), SPACING, rtol=1e-6)
    assert "micrometers" in notices[0]


def test_one_time_point_and_a_slice(tmp_path: Path) -> None:
    (tmp_path / "time.nii").write_bytes(nifti(values=VALUES[np.newaxis]))
    assert read_image(tmp_path / "time.nii").GetSize() == (5, 4, 3)
    flat = {"values": VALUES[0], "sform_code": 1}
    (tmp_path / "flat.nii").write_bytes(nifti(**flat, srow=sform(np.diag((1.0, 1, 0)), 4, 5, 0)))
    image = read_image(tmp_path / "flat.nii")
    assert image.GetSize() == (5, 4) and image.GetOrigin() == (-4, -5) and image.GetDirection() == (-1, 0, 0, -1)
    standing = np.array([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
    (tmp_path / "standing.nii").write_bytes(nifti(**flat, srow=sform(standing, 4, 5, 6)))
    image = read_image(tmp_path / "standing.nii")
    assert image.GetSize() == (5, 4, 1) and image.GetOrigin() == (-4, -5, 6)


@pytest.mark.parametrize("names", [("in.hdr", "in.img"), ("in.img", "in.hdr"), ("IN.HDR", "IN.IMG")])
@pytest.mark.parametrize("packed", [False, True])
def test_header_and_voxels_apart(tmp_path: Path, names: tuple[str, str], packed: bool) -> None:
    header, data = sorted(names)
    content = nifti(magic=b"ni1\0", vox_offset=0)
    end = ".gz" if packed else ""
    for name, part in ((header, content[:348]), (data, content[352:])):
        (tmp_path / f"{name}{end}").write_bytes(gzip.compress(part) if packed else part)
    assert np.array_equal(array_of(read_image(tmp_path / f"{names[0]}{end}")), VALUES)
    (tmp_path / f"{data}{end}").unlink()
    with pytest.raises(LIPCARError, match="should be beside it"):
        read_image(tmp_path / f"{header}{end}")


@pytest.mark.parametrize("damage", ["overwritten", "cut", "checksum", "appended"])
def test_damaged_while_compressed(tmp_path: Path, damage: str) -> None:
    noise = np.random.default_rng(0).integers(0, 999, (6, 40, 40), dtype=np.int16)
    content = gzip.compress(nifti(values=noise))
    at = len(content) * 9 // 10
    damaged = {
        "overwritten": content[:at] + b"\xff" * 40 + content[at + 40 :],
        "cut": content[:at],
        "checksum": content[:-8] + bytes([content[-8] ^ 1]) + content[-7:],
        "appended": content + b"more",
    }
    path = tmp_path / "in.nii.gz"
    path.write_bytes(damaged[damage])
    with pytest.raises(LIPCARError, match="damaged|bytes where its header"):
        read_image(path)


def test_geometry_is_that_of_simpleitk(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        image = sitk.GetImageFromArray(rng.random((3, 4, 5), np.float32))
        image.SetDirection(rotation.ravel().tolist())
        image.SetSpacing(rng.uniform(0.1, 5, 3).tolist())
        image.SetOrigin(rng.uniform(-200, 200, 3).tolist())
        sitk.WriteImage(image, str(tmp_path / "in.nii"))
        content = bytearray((tmp_path / "in.nii").read_bytes())
        for codes in ((1, 1), (1, 0), (0, 1)):
            struct.pack_into("<2h", content, 252, *codes)
            (tmp_path / "in.nii").write_bytes(content)
            notices: list[str] = []
            found = read_image(tmp_path / "in.nii", notices)
            assert notices == []
            np.testing.assert_allclose(found.GetDirection(), image.GetDirection(), atol=2e-6)
            np.testing.assert_allclose(found.GetOrigin(), image.GetOrigin(), atol=1e-4)
            np.testing.assert_allclose(found.GetSpacing(), image.GetSpacing(), rtol=1e-6)
