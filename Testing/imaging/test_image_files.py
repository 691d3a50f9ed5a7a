"""NRRD and MetaImage files, names, and what is no image: read as SimpleITK reads them, or refused in words."""

from __future__ import annotations

import bz2
import gzip
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import read_image

from .samples import array_of, oblique_image, random_image

VALUES = np.arange(60, dtype="<i2").reshape(3, 4, 5)
NRRD = """NRRD0004
# a comment
type: short
dimension: 3
sizes: 5 4 3
encoding: raw
endian: little
space: left-posterior-superior
space directions: (0.5,0,0) (0,0.6,0) (0,0,3)
space origin: (1,2,3)
key:=any value: with colons
"""
META = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = 0 1 0 -1 0 0 0 0 1
Offset = 1 2 3
ElementSpacing = 0.5 0.6 3
DimSize = 5 4 3
Anything = 7
ElementType = MET_SHORT
ElementDataFile = LOCAL
"""
TYPES = [
    sitk.sitkInt8,
    sitk.sitkUInt8,
    sitk.sitkInt16,
    sitk.sitkUInt16,
    sitk.sitkInt32,
    sitk.sitkUInt32,
    sitk.sitkInt64,
    sitk.sitkUInt64,
    sitk.sitkFloat32,
    sitk.sitkFloat64,
]


def nrrd(*changes: tuple[str, str], data: bytes = VALUES.tobytes()) -> bytes:
    text = NRRD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text.encode("latin-1") + b"\n" + data


def meta(*changes: tuple[str, str], data: bytes = VALUES.tobytes()) -> bytes:
    text = META
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text.encode("latin-1") + data


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha", ".mhd", ".nii", ".nii.gz", ".hdr"])
def test_read_as_simpleitk_reads_it(tmp_path: Path, suffix: str, compressed: bool) -> None:
    flat = random_image((21, 17))
    flat.SetDirection((0.6, -0.8, 0.8, 0.6))
    flat.SetSpacing((0.5, 0.7))
    for number, pixel in enumerate(TYPES):
        for image in (sitk.Cast(oblique_image((3, 20, 17)) / 9, pixel), sitk.Cast(flat / 9, pixel)):
            path = tmp_path / f"{number}{image.GetDimension()}{suffix}"
            sitk.WriteImage(image, str(path), useCompression=compressed)
            notices: list[str] = []
            found, expected = read_image(path, notices), sitk.ReadImage(str(path), sitk.sitkFloat32)
            assert notices == [] and np.array_equal(array_of(found), array_of(expected))
            for one, other in zip(
                (found.GetSpacing(), found.GetOrigin(), found.GetDirection()),
                (expected.GetSpacing(), expected.GetOrigin(), expected.GetDirection()),
                strict=True,
            ):
                np.testing.assert_allclose(one, other, atol=1e-5)


RAW = VALUES.tobytes()
WORDS = " ".join(map(str, VALUES.ravel())).encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.nrrd", nrrd()),
        ("a.nrrd", nrrd().replace(b"\n", b"\r\n", 12)),
        ("a.nrrd", nrrd(("raw", "gzip"), data=gzip.compress(RAW))),
        ("a.nrrd", nrrd(("raw", "bz2"), data=bz2.compress(RAW))),
        ("a.nrrd", nrrd(("raw", "ascii"), data=WORDS)),
        ("a.nrrd", nrrd(("little", "big"), data=VALUES.astype(">i2").tobytes())),
        ("a.nrrd", nrrd(("raw", "raw\nbyte skip: 7"), data=b"skipped" + RAW)),
        ("a.nrrd", nrrd(("raw", "raw\nbyteskip: -1"), data=b"whatever" + RAW)),
        ("a.nrrd", nrrd(("raw", "gzip\nbyte skip: 7"), data=gzip.compress(b"skipped" + RAW))),
        (
            "a.nrrd",
            nrrd(("left-posterior", "right-anterior"), ("(0.5,0", "(-0.5,0"), ("0.6", "-0.6"), ("(1,2", "(-1,-2")),
        ),
        ("a.nrrd", nrrd(("left-posterior", "left-anterior"), ("0.6", "-0.6"), ("(1,2", "(1,-2"))),
        ("a.nrrd", nrrd(("space: left-posterior-superior", "space dimension: 3"))),
        ("a.nrrd", nrrd(("dimension: 3", "dimension: 4"), ("5 4 3", "1 5 4 3"), ("(0.5", "none (0.5"))),
        ("of another name", nrrd()),
        ("a.mha", meta(("0 1 0 -1 0 0 0 0 1", "1 0 0 0 1 0 0 0 1"))),
    ],
)
def test_many_ways_to_store_one_image(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    notices: list[str] = []
    image = read_image(path, notices)
    assert notices == [] and np.array_equal(array_of(image), VALUES)
    np.testing.assert_allclose(image.GetSpacing(), (0.5, 0.6, 3))
    np.testing.assert_allclose(image.GetOrigin(), (1, 2, 3))
    np.testing.assert_allclose(image.GetDirection(), np.eye(3).ravel())


@pytest.mark.parametrize(
    "content",
    [
        meta(),
        meta(("CompressedData = False", "CompressedData = True"), data=zlib.compress(RAW)),
        meta(("BinaryData = True", "BinaryData = False"), data=WORDS),
        meta(("OrderMSB = False", "OrderMSB = True"), data=VALUES.astype(">i2").tobytes()),
        meta(("Offset", "Position"), ("TransformMatrix", "Orientation"), ("ElementSpacing", "ElementSize")),
    ],
)
def test_many_ways_of_metaimage(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mha").write_bytes(content)
    image = read_image(tmp_path / "a.mha")
    assert np.array_equal(array_of(image), VALUES)
    assert image.GetDirection() == (0, -1, 0, 1, 0, 0, 0, 0, 1)  # rows of the file are axes
    assert image.GetOrigin() == (1, 2, 3) and image.GetSpacing() == (0.5, 0.6, 3)


def test_more_than_is_decoded_at_once(tmp_path: Path) -> None:
    """Of what compresses best, where little input gives much output."""
    image = sitk.Image((300, 300, 60), sitk.sitkInt32)
    image[299, 299, 59] = 7
    for name in ("a.mha", "a.nrrd", "a.nii.gz"):
        sitk.WriteImage(image, str(tmp_path / name), useCompression=True)
        assert np.array_equal(array_of(read_image(tmp_path / name)), array_of(image))


def test_a_slice_that_stands_in_space(tmp_path: Path) -> None:
    vectors = "(0.5,0,0) (0,0.6,0) (0,0,3)"
    content = nrrd(("dimension: 3", "dimension: 2"), ("5 4 3", "5 12"), (vectors, "(0.5,0,0) (0,0,0.6)"))
    (tmp_path / "a.nrrd").write_bytes(content)
    image = read_image(tmp_path / "a.nrrd")
    assert image.GetSize() == (5, 12, 1) and image.GetOrigin() == (1, 2, 3)
    np.testing.assert_allclose(image.GetDirection(), (1, 0, 0, 0, 0, -1, 0, 1, 0), atol=1e-12)


@pytest.mark.parametrize(
    ("name", "content", "notice"),
    [
        ("a.nrrd", nrrd(("space origin: (1,2,3)\n", "")), "does not tell its place"),
        (
            "a.mha",
            meta(("Offset = 1 2 3\n", ""), ("TransformMatrix = 0 1 0 -1 0 0 0 0 1\n", "")),
            "place and orientation",
        ),
        ("a.mha", meta(("ElementSpacing = 0.5 0.6 3\n", "")), "does not tell its spacing"),
    ],
)
def test_what_a_header_leaves_open_is_said(tmp_path: Path, name: str, content: bytes, notice: str) -> None:
    (tmp_path / name).write_bytes(content)
    notices: list[str] = []
    read_image(tmp_path / name, notices)
    assert len(notices) == 1 and notice in notices[0] and name in notices[0]


ZLIB = zlib.compress(np.random.default_rng(0).integers(0, 99, 60).astype("<i2").tobytes(), 9)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.nrrd", nrrd(data=RAW[:-1]), "cut short: 119 bytes where its header announces 120"),
        ("a.nrrd", nrrd(data=RAW + b"\0"), "does not fit its header"),
        ("a.nrrd", nrrd(("raw", "gzip"), data=gzip.compress(RAW)[:-9]), "damaged"),
        ("a.nrrd", nrrd(("raw", "gzip"), data=gzip.compress(RAW[:-2])), "cut short"),
        ("a.nrrd", nrrd(("raw", "gzip"), data=gzip.compress(RAW * 2)), "does not fit"),
        ("a.nrrd", nrrd(("raw", "gzip"), data=RAW), "damaged"),
        ("a.nrrd", nrrd(("raw", "bzip2"), data=bz2.compress(RAW)[:-9]), "damaged"),
        ("a.nrrd", nrrd(("raw", "gzip"), ("5 4 3", "50000 40000 30000"), data=gzip.compress(RAW)), "cut short"),
        (
            "a.nrrd",
            nrrd(("raw", "bzip2"), ("5 4 3", "900000 900000 900000"), data=bz2.compress(RAW)),
            "more memory|cut",
        ),
        ("a.nrrd", nrrd(("raw", "hex")), "encoding is 'hex'"),
        ("a.nrrd", nrrd(("raw", "ascii"), data=WORDS[:-1] + b"x"), "no number"),
        ("a.nrrd", nrrd(("raw", "ascii"), data=WORDS + b" 1"), "61 voxels"),
        ("a.nrrd", nrrd(("short", "block")), "type 'block'"),
        ("a.nrrd", nrrd(("endian: little\n", "")), "byte order"),
        ("a.nrrd", nrrd(("type: short\n", "")), "does not tell type"),
        ("a.nrrd", nrrd(("dimension: 3", "dimension: 300")), "at most 16"),
        ("a.nrrd", nrrd(("dimension: 3", "dimension: 2")), "for sizes"),
        ("a.nrrd", nrrd(("5 4 3", "5 4 -3")), "-3 for sizes"),
        ("a.nrrd", nrrd(("5 4 3", "5 4 " + "9" * 5000)), "whole numbers"),
        (
            "a.nrrd",
            nrrd(("dimension: 3", "dimension: 4"), ("5 4 3", "5 4 3 1"), (" (0,0,3)", " (0,0,3) (0,0,1)")),
            "4 dim",
        ),
        ("a.nrrd", nrrd(("dimension: 3", "dimension: 4"), ("5 4 3", "2 5 2 3"), ("(0.5", "none (0.5")), "2 values"),
        ("a.nrrd", nrrd(("space origin", "spxce origin")), "NRRD does not know"),
        ("a.nrrd", nrrd(("space origin: ", "space origin:=")), "NRRD does not know"),
        ("a.nrrd", nrrd(("key:=", "encoding: raw\nkey:=")), "twice"),
        ("a.nrrd", nrrd(("-superior", "-inferior")), "its space is"),
        ("a.nrrd", nrrd(("(1,2,3)", "(1,2,nan)")), "not finite"),
        ("a.nrrd", nrrd(("(1,2,3)", "(1,2)")), "space origin"),
        ("a.nrrd", nrrd(("(1,2,3)", "(1,2,3")), "vectors"),
        ("a.nrrd", nrrd(("(0,0,3)", "(0,0,0)")), "spacing of"),
        ("a.nrrd", nrrd(("(0,0,3)", "(0,1.5,3)")), "right angles"),
        ("a.nrrd", nrrd(("(0.5,0,0)", "(1e300,0,0)")), "not finite"),
        ("a.nrrd", nrrd(("key:=", 'space units: "m" "m" "m"\nkey:=')), "space units are m"),
        ("a.nrrd", nrrd(("key:=", "kinds: domain domain dxmain\nkey:=")), "kinds"),
        ("a.nrrd", nrrd(("key:=", "data file: /dev/zero\nkey:=")), "one file in the same folder"),
        ("a.nrrd", nrrd(("key:=", "data file: LIST\nkey:=")), "one file in the same folder"),
        ("a.nrrd", nrrd(("key:=", "data file: %04d.raw 1 9999 1\nkey:=")), "one file in the same folder"),
        ("a.nrrd", nrrd(("key:=", "data file: nothing.raw\nkey:=")), "should be beside it"),
        ("a.nrrd", NRRD.encode().replace(b"\n", b" "), "version of NRRD|does not end|cannot be read"),
        ("a.nrrd", b"NRRD0009\n\n", "no version of NRRD"),
        ("a.nrrd", b"NRRD0004\n" + b"#" * 2_000_000, "does not end"),
        ("a.mha", meta(("NDims = 3", "NDims = 300")), "at most 10"),
        ("a.mha", meta(("DimSize = 5 4 3", "DimSize = 5 4")), "for DimSize"),
        ("a.mha", meta(("MET_SHORT", "MET_STRING")), "MET_STRING"),
        ("a.mha", meta(("Offset =", "Offsxt =")), "damaged offset"),
        ("a.mha", meta(("Anything = 7", "DimSize = 5 4 3")), "twice"),
        ("a.mha", meta(("Anything = 7", "ElementNumberOfChannels = 2")), "2 values"),
        ("a.mha", meta(("Anything = 7", "no key")), "without a key"),
        ("a.mha", meta(("ObjectType = Image", "ObjectType = Mesh")), "an Image is expected"),
        ("a.mha", meta(("BinaryData = True", "BinaryData = Maybe")), "True or False"),
        ("a.mha", meta(("Offset = 1 2 3", "Offset = 1 2 inf")), "not finite"),
        ("a.mha", meta(("0 1 0 -1", "0 2 0 -2")), "right angles"),
        ("a.mha", meta(("0 1 0 -1", "0 1e300 0 -1")), "right angles"),
        ("a.mha", meta(("CompressedData = False", "CompressedData = True"), data=ZLIB[:-3]), "damaged"),
        ("a.mha", meta(("CompressedData = False", "CompressedData = True"), data=ZLIB[:-1] + b"!"), "damaged"),
        ("a.mha", meta(("CompressedData = False", "CompressedData = True"), data=ZLIB + b"!"), "damaged"),
        (
            "a.mha",
            meta(("CompressedData = False", "CompressedData = True\nCompressedDataSize = 9"), data=ZLIB),
            "compressed",
        ),
        ("a.mha", meta(("= LOCAL", "= /dev/zero")), "goes on after"),
        ("a.mhd", meta(("= LOCAL", "= /dev/zero"), data=b""), "same folder"),
        ("a.mhd", meta(("= LOCAL", "= ../a.raw"), data=b""), "same folder"),
        ("a.mhd", meta(("= LOCAL", "= LIST"), data=b""), "same folder"),
        ("a.mha", meta().split(b"Anything")[0], "does not tell"),
        ("a.mgz", gzip.compress(b"\0\0\0\1" + bytes(400)), "Give one of NRRD .*NIfTI-2.*DICOM"),
        ("a.nrrd.gz", gzip.compress(nrrd()), "Give one of NRRD"),
        ("a.PAR", b"# === DATA DESCRIPTION FILE ===", "Give one of NRRD"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "Give one of NRRD"),
        ("a.nii.gz", b"\x1f\x8b", "damaged|ended"),
    ],
)
def test_refused_in_words(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(LIPCARError, match=message) as caught:
        read_image(path)
    assert name in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "name", [b"l\xe4ge.nrrd", "läge ∂.nrrd".encode(), b"a\nb.nrrd", b"[bold]x.nrrd", b"-x.nrrd", b"%s;$(id).nrrd"]
)
@pytest.mark.skipif(os.name != "posix", reason="names of bytes")
def test_any_name_is_read(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(nrrd())
    assert np.array_equal(array_of(read_image(path)), VALUES)
    if b"\n" not in name:
        path.write_bytes(RAW)
        content = {".mhd": meta(data=b"").replace(b"LOCAL", name)}
        content[".nhdr"] = nrrd(("key:=", "content: any\xe4thing\ndata file: NAME\nkey:="), data=b"").replace(
            b"NAME", name
        )
        for suffix, header in content.items():
            path.with_suffix(suffix).write_bytes(header)
            assert np.array_equal(array_of(read_image(path.with_suffix(suffix))), VALUES)


@pytest.mark.skipif(os.name != "posix", reason="pipes, devices and links")
def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.nrrd")
    (tmp_path / "loop.nrrd").symlink_to("loop.nrrd")
    (tmp_path / "nowhere.nrrd").symlink_to("nothing")
    (tmp_path / "piped.nhdr").write_bytes(nrrd(("key:=", "data file: pipe.nrrd\nkey:="), data=b""))
    for path, message in {
        tmp_path / "pipe.nrrd": "a pipe or a device",
        tmp_path / "piped.nhdr": "a pipe or a device",
        Path("/dev/zero"): "a pipe or a device",
        tmp_path / "loop.nrrd": "symbolic links",
        tmp_path / "nowhere.nrrd": "does not exist",
        tmp_path / ("a" * 300): "too long",
        tmp_path / "a\0b.nrrd": "no file can have this name",
        tmp_path / "pipe.nrrd" / "a.nrrd": "[Nn]ot a directory",
    }.items():
        with pytest.raises(LIPCARError, match=message):
            read_image(path)
