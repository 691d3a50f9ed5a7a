"""Cases: image files whose header, data or kind is not what a reader expects, in every role."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from .case import Case, enhanced, refused, table
from .inputs import (
    GRID,
    THINGS,
    Arrange,
    cut,
    damaged,
    examination,
    image_of,
    meta,
    nifti,
    nrrd,
    ordinary,
    packed,
    together,
    with_file,
    with_image,
    with_thing,
)

ENHANCE = "lipcar enhance --lowdose low.nrrd --predose pre.nrrd --output out.nrrd --model signal"
nan, inf = float("nan"), float("inf")
DAMAGED = refused("damaged|cut short|corrupt|header|announces|expected|first line|beside it|file of their own")
GEOMETRY = refused("geometry|orthogonal|orthonormal|spacing|direction|finite|shear|[qs]form|axes")
FORMATS = refused(r"NRRD.*NIfTI|\.nrrd.*\.nii|expected|file of their own")
SIZES = refused("size|dimension|NDims|voxel|damaged|announces|memory|number|fields|expected")
ANY_ERROR = refused()


def given(name: str) -> str:
    """Enhance with another file as the low-dose image."""
    return ENHANCE.replace("low.nrrd", name)


def both_nifti(fields: dict[str, Any], same: bool) -> Arrange:
    """low.nii with these header fields, and pre.nii: with the same ones where they are about the place."""
    return together(
        with_file("low.nii", nifti(**fields)), with_file("pre.nii", nifti("predose", **fields if same else {}))
    )


def nifti_cases() -> list[Case]:
    call = given("low.nii")
    no_form = np.zeros((3, 4))
    sheared = np.array([[-0.5, 0, 0, 16], [0, -0.5, 0.4, 15.5], [0, 0, 2.5, 7]])
    slightly = np.array([[-0.5, 0, 0, 16], [0, -0.5, 0.02, 15.5], [0, 0, 2.5, 7]])
    turned = np.array([[0, -0.5, 0, 16], [-0.5, 0, 0, 15.5], [0, 0, 2.5, 7]])
    elsewhere = np.array([[-0.5, 0, 0, 36], [0, -0.5, 0, 15.5], [0, 0, 2.5, 7]])
    rows = [
        ("vox_offset is NaN", {"vox_offset": nan}, DAMAGED),
        ("vox_offset is infinite", {"vox_offset": inf}, DAMAGED),
        ("vox_offset is negative", {"vox_offset": -4}, DAMAGED),
        ("vox_offset is inside the header", {"vox_offset": 16}, DAMAGED, enhanced()),
        ("vox_offset is beyond the end", {"vox_offset": 1e9}, DAMAGED),
        ("no dimensions", {"dim_0": 0}, DAMAGED),
        ("-1 dimensions", {"dim_0": -1}, DAMAGED),
        ("9 dimensions", {"dim_0": 9}, DAMAGED),
        ("300 dimensions", {"dim_0": 300}, DAMAGED),
        ("a side of 0", {"dim_1": 0}, SIZES),
        ("a side of -64", {"dim_2": -64}, SIZES),
        ("a side of 32767", {"dim_3": 32767}, SIZES),
        ("no data type", {"datatype": 0}, DAMAGED, refused("type")),
        ("an unknown data type", {"datatype": 999}, DAMAGED, refused("type")),
        ("bits", {"datatype": 1, "bitpix": 1}, DAMAGED, refused("type")),
        ("colors of the right length", {"datatype": 128, "bitpix": 24, "dim_3": 5}, refused("values|color|type|damaged")),
        ("complex of the right length", {"datatype": 32, "bitpix": 64, "dim_3": 2}, refused("values|complex|type")),
        ("64 bits in a voxel of two bytes", {"bitpix": 64}, DAMAGED, refused("bit"), enhanced()),
        ("a spacing of NaN", {"pixdim_1": nan, "qform_code": 1, "sform_code": 0}, GEOMETRY),
        ("a spacing of infinity", {"pixdim_3": inf, "sform_code": 0}, GEOMETRY),
        ("a spacing of 0", {"pixdim_3": 0, "sform_code": 0}, GEOMETRY),
        ("quaternion of NaN", {"quatern_0": nan, "sform_code": 0}, GEOMETRY),
        ("quaternion longer than 1", {"quatern": (3, 4, 5), "sform_code": 0}, GEOMETRY),
        ("qform at infinity", {"qoffset_0": inf, "sform_code": 0}, GEOMETRY),
        ("sform of NaN", {"sform_0": (nan, 0, 0, 0), "qform_code": 0}, GEOMETRY),
        ("sform of zeros", {"sform": no_form, "qform_code": 0}, GEOMETRY),
        ("sform sheared, no qform", {"sform": sheared, "qform_code": 0}, refused("shear|orthogonal|orthonormal")),
        ("sform sheared by 0.4 degrees", {"sform": slightly, "qform_code": 0}, refused("shear|orthogonal"), enhanced("shear|orthogonal|right angle", grid=None)),
        ("sform sheared, qform not", {"sform": sheared}, refused("sform|shear"), enhanced("sform|shear", grid=None)),
        ("sform turned by 90 degrees, qform not", {"sform": turned}, refused("sform"), enhanced("sform|qform", grid=None)),
        ("sform 20 mm from qform", {"sform": elsewhere}, refused("sform"), enhanced("sform|qform", grid=None)),
        ("neither qform nor sform", {"qform_code": 0, "sform_code": 0}, refused("form|geometry"), enhanced("form|geometry|where|orientation", grid=None)),
        ("no forms, zero pixdim", {"qform_code": 0, "sform_code": 0, "pixdim": np.zeros(8)}, GEOMETRY),
        ("codes of 77", {"qform_code": 77, "sform_code": 77}, refused("form|code"), enhanced()),
        ("slope is NaN", {"scl_slope": nan}, refused("slope|scal"), enhanced()),
        ("slope is infinite", {"scl_slope": inf}, refused("slope|infinit|scal"), enhanced()),
        ("slope is 0: none", {"scl_slope": 0}, enhanced()),
        ("slope is negative", {"scl_slope": -1}, refused("negative|slope")),
        ("slope overflows", {"scl_slope": 3e38}, refused("infinite|slope|large|range"), enhanced()),
        ("header of 0 bytes", {"sizeof_hdr": 0}, FORMATS),
        ("header of 540 bytes, as NIfTI-2", {"sizeof_hdr": 540}, FORMATS, DAMAGED),
        ("magic of garbage", {"magic": b"abc"}, FORMATS, DAMAGED),
        ("magic of a header file", {"magic": b"ni1"}, FORMATS, DAMAGED),
        ("one time point, said", {"dim_0": 4, "dim_4": 1}, enhanced(), refused("dimensions|time point")),
        ("two time points", {"dim_0": 4, "dim_3": 4, "dim_4": 2}, refused("time point|dimensions")),
        ("vectors", {"dim_0": 5, "dim_3": 4, "dim_5": 2}, refused("values|dimensions")),
    ]  # fmt: skip
    call = call.replace("pre.nrrd", "pre.nii")
    cases = [
        (f"NIfTI: {name}", both_nifti(fields, "form" in name), call, *expected) for name, fields, *expected in rows
    ]
    whole, small = nifti(), packed(nifti())
    swapped = np.frombuffer(whole[352:], "<i2").astype(">i2").tobytes()
    files = [
        ("cut within the header", "low.nii", whole[:100], DAMAGED),
        ("cut behind the header", "low.nii", whole[:352], DAMAGED),
        ("half of it", "low.nii", cut(whole), DAMAGED),
        ("one byte short", "low.nii", whole[:-1], DAMAGED),
        ("only the byte order of the voxels is another", "low.nii", whole[:352] + swapped, enhanced(grid=GRID), refused()),
        ("gzip damaged", "low.nii.gz", damaged(small, 0.95), DAMAGED),
        ("gzip damaged in the middle", "low.nii.gz", damaged(small, 0.5, 3), DAMAGED),
        ("gzip cut", "low.nii.gz", cut(small, 0.9), DAMAGED),
        ("gzip without its checksum", "low.nii.gz", small[:-8], DAMAGED),
        ("gzip with a wrong checksum", "low.nii.gz", damaged(small, (len(small) - 7.5) / len(small), 2), DAMAGED),
        ("gzip of something else", "low.nii.gz", packed(b"no image" * 100), FORMATS, DAMAGED),
        ("gzip with garbage behind it", "low.nii.gz", small + b"garbage" * 9, DAMAGED, enhanced()),
        ("gzip in two members", "low.nii.gz", packed(whole[:9000]) + packed(whole[9000:]), enhanced()),
        ("a plain file named .gz", "low.nii.gz", whole, DAMAGED, enhanced()),
        ("a gzip file named .nii", "low.nii", small, FORMATS, DAMAGED, enhanced()),
        ("a header and no .img", "low.hdr", nifti(magic=b"ni1")[:352], FORMATS, DAMAGED, refused("img")),
        ("an .img and no header", "low.img", whole[352:], FORMATS, DAMAGED, refused("hdr")),
        ("Analyze", "low.hdr", nifti(magic=b"")[:352], FORMATS, DAMAGED),
    ]  # fmt: skip
    cases += [
        (f"NIfTI: {name}", with_file(path, data), given(path), *expected) for name, path, data, *expected in files
    ]
    for what, call in (("predose", ENHANCE.replace("pre.nrrd", "x.nii")), ("highdose", f"{ENHANCE} --highdose x.nii")):
        role = {"predose": "predose", "highdose": "highdose"}[what]
        for name, fields, expected in (
            ("vox_offset is NaN", {"vox_offset": nan}, DAMAGED),
            ("sform of NaN", {"sform_1": (0, nan, 0, 0), "qform_code": 0}, GEOMETRY),
            ("sform sheared, no qform", {"sform": sheared, "qform_code": 0}, GEOMETRY),
            ("half of it", None, DAMAGED),
        ):
            data = cut(nifti(role)) if fields is None else nifti(role, **fields)
            cases.append((f"NIfTI {what}: {name}", with_file("x.nii", data), call, expected))
    return table(*cases)


def nrrd_cases() -> list[Case]:
    voxels = examination()["lowdose"]
    raw = voxels.astype("<u2").tobytes()
    gz, bad = packed(raw), damaged(packed(raw), 0.5, 3)
    axes, domains = "(0.5,0,0) (0,0.5,0) (0,0,2.5)", "domain domain domain"
    four: dict[str, str | None] = {"dimension": "4"}
    series = {**four, "sizes": "64 64 4 2", "space directions": f"{axes} none", "kinds": f"{domains} list"}
    vector = {**four, "sizes": "2 64 64 4", "space directions": f"none {axes}", "kinds": f"vector {domains}"}
    rows = [
        ("a size of 0", {"sizes": "64 64 0"}, raw, SIZES),
        ("a negative size", {"sizes": "64 64 -8"}, raw, SIZES),
        ("sizes of 10^9", {"sizes": "1000000000 1000000000 8"}, raw, SIZES),
        ("sizes whose product overflows", {"sizes": "4294967296 4294967296 1"}, raw, SIZES),
        ("a size too large for the data", {"sizes": "64 64 9"}, raw, DAMAGED),
        ("a size too few", {"sizes": "64 64"}, raw, DAMAGED, SIZES),
        ("17 dimensions", {"dimension": "17"}, raw, SIZES, DAMAGED),
        ("0 dimensions", {"dimension": "0"}, raw, SIZES, DAMAGED),
        ("300 dimensions", {"dimension": "300"}, raw, SIZES, DAMAGED),
        ("4 dimensions", series, raw, refused("values|dimensions")),
        ("no sizes", {"sizes": None}, raw, DAMAGED),
        ("no dimension", {"dimension": None}, raw, DAMAGED),
        ("no type", {"type": None}, raw, DAMAGED),
        ("an unknown type", {"type": "quaternion"}, raw, DAMAGED, refused("type")),
        ("blocks", {"type": "block", "block size": "2"}, raw, DAMAGED, refused("type")),
        ("an unknown encoding", {"encoding": "rot13"}, raw, DAMAGED, refused("encoding")),
        ("no endian for two bytes", {"endian": None}, raw, DAMAGED, refused("endian"), enhanced()),
        ("big endian, as said", {"endian": "big"}, voxels.astype(">u2").tobytes(), enhanced()),
        ("gzip", {"encoding": "gzip"}, gz, enhanced()),
        ("gzip damaged", {"encoding": "gzip"}, bad, DAMAGED),
        ("gzip cut", {"encoding": "gzip"}, cut(gz, 0.9), DAMAGED),
        ("raw data said to be gzip", {"encoding": "gzip"}, raw, DAMAGED),
        ("text", {"encoding": "ascii"}, " ".join(map(str, voxels.ravel())).encode(), enhanced(), refused("encoding")),
        ("text cut short", {"encoding": "ascii"}, b"1 2 3", DAMAGED),
        ("one byte short", {}, raw[:-1], DAMAGED),
        ("half of it", {}, cut(raw), DAMAGED),
        ("no voxels", {}, b"", DAMAGED),
        ("line skip beyond the end", {"line skip": "1000000"}, raw, DAMAGED, refused("skip")),
        ("negative byte skip", {"byte skip": "-5"}, raw, DAMAGED, refused("skip")),
        ("byte skip from the end", {"byte skip": "-1"}, b"some words" + raw, enhanced(), refused("skip")),
        ("direction of NaN", {"space directions": "(nan,0,0) (0,0.5,0) (0,0,2.5)"}, raw, GEOMETRY),
        ("direction of infinity", {"space directions": "(inf,0,0) (0,0.5,0) (0,0,2.5)"}, raw, GEOMETRY),
        ("direction of zero", {"space directions": "(0,0,0) (0,0.5,0) (0,0,2.5)"}, raw, GEOMETRY),
        ("two equal directions", {"space directions": "(0.5,0,0) (0.5,0,0) (0,0,2.5)"}, raw, GEOMETRY),
        ("sheared", {"space directions": "(0.5,0,0) (0.2,0.5,0) (0,0,2.5)"}, raw, GEOMETRY),
        ("directions of 1e300", {"space directions": "(1e300,0,0) (0,1e300,0) (0,0,1e300)"}, raw, GEOMETRY),
        ("origin of NaN", {"space origin": "(nan,0,0)"}, raw, GEOMETRY, refused("origin")),
        ("origin at 1e308", {"space origin": "(1e308,0,0)"}, raw, refused(), enhanced(grid=None)),
        ("directions of none", {"space directions": "none none none"}, raw, GEOMETRY, refused("dimension|damaged"), enhanced("geometry|spacing|direction", grid=None)),
        ("no geometry", {"space": None, "space directions": None, "space origin": None, "kinds": None}, raw, GEOMETRY, refused("covers only"), enhanced(grid=None)),
        ("a vector in each voxel", vector, raw, refused("values|damaged")),
        ("data file elsewhere", {"data file": "/etc/hostname"}, b"", DAMAGED, refused("data file|beside|outside")),
        ("data file missing", {"data file": "missing.raw"}, b"", DAMAGED, refused(r"missing\.raw|data file")),
        ("data file is the header", {"data file": "low.nrrd"}, b"", DAMAGED, refused("data file")),
        ("data files without end", {"data file": "low%d.raw 1 100000000 1"}, b"", DAMAGED, refused("data file")),
        ("a comment that is no ASCII", {"# Aufnahme": "M\xe4rz"}, raw, enhanced(), refused()),
        ("a line of a megabyte", {"comment": "x" * 1_000_000}, raw, enhanced(), DAMAGED),
        ("a field twice", {"SIZES": "1 1 1"}, raw, DAMAGED, enhanced(), refused()),
    ]  # fmt: skip
    cases = [
        (f"NRRD: {name}", with_file("low.nrrd", nrrd(changes, data)), ENHANCE, *expected)
        for name, changes, data, *expected in rows
    ]
    detached = nrrd({"data file": "pipe.raw"}, b"")
    cases += [
        ("NRRD: only the magic", with_file("low.nrrd", b"NRRD0004\n"), ENHANCE, DAMAGED),
        ("NRRD: version 9", with_file("low.nrrd", nrrd().replace(b"NRRD0004", b"NRRD0009")), ENHANCE, DAMAGED, FORMATS, enhanced()),
        ("NRRD: no line ends", with_file("low.nrrd", nrrd().replace(b"\n", b" ")), ENHANCE, DAMAGED, FORMATS),
        ("NRRD: Windows line ends", with_file("low.nrrd", nrrd(data=b"").replace(b"\n", b"\r\n") + nrrd().split(b"\n\n", 1)[1]), ENHANCE, enhanced(), DAMAGED),
        ("NRRD: data file is a pipe", together(with_file("low.nhdr", detached), with_thing("pipe", "pipe.raw")), given("low.nhdr"), refused("pipe|regular|data file|damaged")),
        ("NRRD: detached, beside it", together(with_file("low.nhdr", nrrd({"data file": "low.raw"}, b"")), with_file("low.raw", raw)), given("low.nhdr"), enhanced()),
    ]  # fmt: skip
    return table(*cases)


def meta_cases() -> list[Case]:
    voxels = examination()["lowdose"]
    raw = voxels.astype("<u2").tobytes()
    deflated = zlib.compress(raw, 1)
    size = {"CompressedData": "True", "CompressedDataSize": str(len(deflated))}
    rows = [
        ("300 dimensions", {"NDims": "300"}, raw, SIZES),
        ("0 dimensions", {"NDims": "0"}, raw, SIZES),
        ("-1 dimensions", {"NDims": "-1"}, raw, SIZES),
        ("11 dimensions", {"NDims": "11"}, raw, SIZES),
        ("no dimensions", {"NDims": None}, raw, SIZES),
        ("2 dimensions for 3 sizes", {"NDims": "2"}, raw, SIZES, DAMAGED, enhanced(grid=None), refused("dimension")),
        ("a size of 0", {"DimSize": "64 64 0"}, raw, SIZES),
        ("a negative size", {"DimSize": "64 -64 8"}, raw, SIZES),
        ("a size too few", {"DimSize": "64 64"}, raw, SIZES, DAMAGED),
        ("sizes of 10^9", {"DimSize": "1000000000 1000000000 8"}, raw, SIZES),
        ("a size of words", {"DimSize": "many many 8"}, raw, SIZES, DAMAGED),
        ("a spacing of NaN", {"ElementSpacing": "nan 0.5 2.5"}, raw, GEOMETRY),
        ("a spacing of 0", {"ElementSpacing": "0 0.5 2.5"}, raw, GEOMETRY),
        ("a negative spacing", {"ElementSpacing": "-0.5 0.5 2.5"}, raw, GEOMETRY),
        ("directions of NaN", {"TransformMatrix": "nan 0 0 0 1 0 0 0 1"}, raw, GEOMETRY),
        ("directions of zeros", {"TransformMatrix": "0 0 0 0 0 0 0 0 0"}, raw, GEOMETRY),
        ("sheared", {"TransformMatrix": "1 0 0 0.4 1 0 0 0 1"}, raw, GEOMETRY),
        ("at infinity", {"Offset": "inf 0 0"}, raw, GEOMETRY, refused("origin|offset")),
        ("an unknown type", {"ElementType": "MET_FOO"}, raw, DAMAGED, refused("type")),
        ("strings", {"ElementType": "MET_STRING"}, raw, DAMAGED, refused("type")),
        ("three channels", {"ElementNumberOfChannels": "3"}, raw * 3, refused("values")),
        ("-1 channels", {"ElementNumberOfChannels": "-1"}, raw, DAMAGED, SIZES, enhanced()),
        ("big endian, as said", {"BinaryDataByteOrderMSB": "True"}, voxels.astype(">u2").tobytes(), enhanced()),
        ("compressed", size, deflated, enhanced()),
        ("compressed and damaged", size, damaged(deflated, 0.5, 1), DAMAGED),
        ("compressed and cut", size, cut(deflated), DAMAGED),
        ("compressed, a wrong length told", {**size, "CompressedDataSize": "99999999"}, deflated, DAMAGED, enhanced()),
        ("compressed, a negative length told", {**size, "CompressedDataSize": "-7"}, deflated, DAMAGED, enhanced()),
        ("half of it", {}, cut(raw), DAMAGED),
        ("one byte short", {}, raw[:-1], DAMAGED),
        ("header beyond the end", {"HeaderSize": "99999999"}, raw, DAMAGED, refused("header")),
        ("no data file", {"ElementDataFile": None}, raw, DAMAGED),
        ("data file missing", {"ElementDataFile": "missing.raw"}, b"", DAMAGED, refused(r"missing\.raw|data file")),
        ("data file elsewhere", {"ElementDataFile": "/dev/zero"}, b"", DAMAGED, refused("regular|data file|outside|beside")),
        ("a list of files", {"ElementDataFile": "LIST"}, b"a.raw\nb.raw\n", DAMAGED, refused("data file")),
        ("a pattern of files", {"ElementDataFile": "low%n.raw 1 8 1"}, b"", DAMAGED, refused("data file")),
        ("a line of a megabyte", {"Comment": "x" * 1_000_000}, raw, enhanced(), DAMAGED),
        ("another object", {"ObjectType": "Tube"}, raw, DAMAGED, FORMATS, enhanced()),
    ]  # fmt: skip
    keep_last = "ElementDataFile"

    def written(changes: dict[str, str | None], data: bytes) -> bytes:
        if keep_last in changes:
            return meta(changes, data)
        return meta({keep_last: None, **changes}, b"") + f"{keep_last} = LOCAL\n".encode() + data

    call = given("low.mha")
    return table(
        *(
            (f"MetaImage: {name}", with_file("low.mha", written(changes, data)), call, *expected)
            for name, changes, data, *expected in rows
        )
    )


def other_format_cases() -> list[Case]:
    mgh = (
        np.array([1, *GRID.size, 1, 4], ">i4").tobytes()
        + b"\0" * 260
        + examination()["lowdose"].astype(">i2").tobytes()
    )
    nifti2 = np.array([540], "<i4").tobytes() + b"n+2\0\r\n\x1a\n" + b"\0" * 528 + examination()["lowdose"].tobytes()
    rows = [
        ("FreeSurfer .mgz", "low.mgz", packed(mgh), FORMATS, enhanced(grid=None)),
        ("FreeSurfer .mgh", "low.mgh", mgh, FORMATS, enhanced(grid=None)),
        ("Philips .PAR", "low.PAR", "# === DATA DESCRIPTION FILE ===\n", FORMATS),
        ("NIfTI-2", "low.nii", nifti2, FORMATS, DAMAGED, enhanced(grid=None)),
        ("NIfTI-2, gzip", "low.nii.gz", packed(nifti2), FORMATS, DAMAGED, enhanced(grid=None)),
        ("numpy", "low.npy", b"\x93NUMPY\x01\0v\0", FORMATS),
        ("HDF5", "low.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 500, FORMATS),
        ("a zip file", "low.zip", b"PK\x05\x06" + b"\0" * 18, FORMATS),
        ("a PDF", "low.pdf", b"%PDF-1.4\n", FORMATS),
        ("a text", "low.txt", "the low-dose image\n", FORMATS),
        ("no suffix", "low", b"?" * 1000, FORMATS),
        ("a suffix only", ".nrrd", b"?" * 1000, FORMATS, DAMAGED),
        ("capital suffix", "LOW.NRRD", nrrd(), enhanced(), FORMATS),
        ("NRRD named .nii", "low.nii", nrrd(), FORMATS, DAMAGED, enhanced()),
        ("NIfTI named .nrrd", "low.nrrd", nifti(), FORMATS, DAMAGED, enhanced()),
        ("MetaImage named .dcm", "low.dcm", meta(), FORMATS, DAMAGED, enhanced()),
        ("a DICOM file of the preamble only", "low.dcm", b"\0" * 128 + b"DICM", FORMATS, DAMAGED),
        ("a PNG of garbage", "low.png", b"\x89PNG\r\n\x1a\n" + b"\1" * 99, FORMATS, DAMAGED),
        ("a TIFF of garbage", "low.tif", b"II*\0" + b"\xff" * 99, FORMATS, DAMAGED),
        ("VTK of garbage", "low.vtk", b"# vtk DataFile Version 3.0\n" + b"\xff" * 99, FORMATS, DAMAGED),
        ("GIPL of garbage", "low.gipl", b"\xff" * 999, FORMATS, DAMAGED),
        ("a gzip bomb's beginning", "low.nii.gz", gzip.compress(nifti(dim_3=30000) + bytes(10_000_000), 9), DAMAGED),
    ]  # fmt: skip
    cases = [(f"format: {name}", with_file(path, data), given(path), *expected) for name, path, data, *expected in rows]
    color = np.zeros((64, 64, 3), np.uint8) + examination()["lowdose"][4][..., None].astype(np.uint8)
    cases += [
        ("format: a color PNG", with_image("low.png", lambda: sitk.GetImageFromArray(color, isVector=True)), given("low.png"), refused("values|color|NRRD")),
        ("format: double precision", with_image("low.nrrd", lambda: image_of(examination()["lowdose"].astype(np.float64))), ENHANCE, enhanced()),
        ("format: 64-bit integers", with_image("low.nrrd", lambda: image_of(examination()["lowdose"].astype(np.int64))), ENHANCE, enhanced()),
        ("format: complex", with_image("low.mha", lambda: image_of(examination()["lowdose"].astype(np.complex64))), given("low.mha"), refused("complex|values|damaged|type")),
    ]  # fmt: skip
    return table(*cases)


ROLES = {
    "lowdose": ("low.nrrd", ENHANCE),
    "predose": ("pre.nrrd", ENHANCE),
    "highdose": ("high.nrrd", f"{ENHANCE} --highdose high.nrrd"),
    "t1-map": ("t1.nrrd", f"{ENHANCE} --t1-map t1.nrrd"),
    "acquisition": ("how.json", f"{ENHANCE} --acquisition how.json"),
    "manifest": ("mine/manifest.json", ENHANCE.replace("signal", "mine")),
}
WORDS = {
    "missing": "not exist|cannot be read|No such|No model",
    "pipe": "regular file|pipe|FIFO|No model|image file|folder",
    "folder": "folder|directory|DICOM|No model|regular",
    "loop": "loop|link|symbolic|not exist|cannot be read|No model|read",
    "dangling": "not exist|dangling|link|cannot be read|No such|No model",
    "zero": "regular file|device|No model|folder",
    "empty": "empty|cut short|damaged|JSON|cannot be read",
    "garbage": "damaged|cut short|JSON|cannot be read|NRRD|header|expected",
}


def thing_cases() -> list[Case]:
    """No file where one is expected, in every role."""

    def in_place(kind: str, name: str) -> Arrange:
        def arrange(folder: Path) -> None:
            (folder / name).parent.mkdir(exist_ok=True)
            with_thing(kind, name)(folder)

        return arrange

    return table(
        *(
            (f"{role} is {kind}", in_place(kind, name), call, refused(WORDS[kind]))
            for role, (name, call) in ROLES.items()
            for kind in THINGS
        )
    )


def name_cases() -> list[Case]:
    rows = [
        ("256 characters", "x" * 251 + ".nrrd", refused("too long|not exist|cannot be read")),
        ("10,000 characters", "x/" * 5000 + "low.nrrd", refused("too long|not exist|cannot be read")),
        ("nothing", "", refused("not exist|empty|folder|name|DICOM")),
        ("a URL", "https://example.org/low.nrrd", refused("not exist|cannot be read")),
        ("a home that is none", "~nobody-of-this-name/low.nrrd", refused("not exist|cannot be read")),
        ("below a file", "pre.nrrd/low.nrrd", refused("not exist|cannot be read|directory")),
        ("only spaces", "   ", refused("not exist|cannot be read")),
    ]
    cases = [
        (f"name: {name}", ordinary, tuple(word if word != "low.nrrd" else path for word in ENHANCE.split()), expected)
        for name, path, expected in rows
    ]
    return table(*cases)


CASES = [
    *nifti_cases(),
    *nrrd_cases(),
    *meta_cases(),
    *other_format_cases(),
    *thing_cases(),
    *name_cases(),
]
