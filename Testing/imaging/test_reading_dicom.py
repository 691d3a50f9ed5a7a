"""DICOM series: what is read, and what is refused with which words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import Examination, read_image
from LIPCARLib.imaging.reading import read_with_padding

from .dicom_samples import GAP, header, oblique_direction, position, pydicom, stored, write_enhanced, write_slices
from .samples import array_of, head, image_of


def write_dicom(
    folder: Path, positions: list[float], series: str = "1.2.3.1", direction: np.ndarray | None = None
) -> np.ndarray:
    """One file a slice, names and instance numbers in shuffled order; returns the values by position."""
    folder.mkdir(exist_ok=True)
    direction = np.eye(3) if direction is None else direction
    values = np.random.default_rng(len(positions)).integers(1, 900, (len(positions), 24, 20)).astype(np.int16)
    order = np.random.default_rng(3).permutation(len(positions))
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for instance, index in enumerate(order):
        image = sitk.JoinSeries(sitk.GetImageFromArray(values[index]))
        image.SetSpacing((0.8, 0.9, 1.0))
        origin = direction @ np.array([-5.0, 7.0, positions[index]])
        tags = {
            "0008|0060": "MR",
            "0008|103e": f"T1 {series}",
            "0020|000d": "1.2.3",
            "0020|000e": series,
            "0020|0013": str(instance + 1),
            "0020|0011": series[-1],
            "0008|0018": f"{series}.{instance + 1}",
            "0020|0032": "\\".join(f"{v:.10g}" for v in origin),
            "0020|0037": "\\".join(f"{v:.10g}" for v in direction.T[:2].ravel()),
        }
        for key, value in tags.items():
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{series}_{instance}.dcm"))
        writer.Execute(image)
    return values


def test_dicom_series(tmp_path: Path) -> None:
    direction = oblique_direction()
    values = write_dicom(tmp_path / "series", [0.0, 3.3, 6.6, 9.9, 13.2], direction=direction)
    image = read_image(tmp_path / "series")
    assert image.GetSize() == (20, 24, 5)
    assert np.array_equal(array_of(image), values.astype(np.float32))
    np.testing.assert_allclose(image.GetSpacing(), (0.8, 0.9, 3.3), rtol=1e-6)
    np.testing.assert_allclose(np.reshape(image.GetDirection(), (3, 3)), direction, atol=1e-6)
    np.testing.assert_allclose(image.GetOrigin(), direction @ (-5, 7, 0), atol=1e-6)
    examination = Examination.read(tmp_path / "series")
    assert examination.lowdose.shape == (5, 24, 20) and examination.slice_axis == 2


def test_dicom_rescaling_is_applied_slice_by_slice(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    values = write_dicom(tmp_path / "series", [0.0, 1.0, 2.0])
    for file in (tmp_path / "series").iterdir():
        dataset = pydicom.dcmread(file)
        dataset.RescaleIntercept, dataset.RescaleSlope = "0", 1 + float(dataset.ImagePositionPatient[2])
        dataset.save_as(file)
    expected = values * np.array([1, 2, 3], np.float32)[:, None, None]
    assert np.array_equal(array_of(read_image(tmp_path / "series")), expected)


def test_dicom_of_one_slice(tmp_path: Path) -> None:
    values = write_dicom(tmp_path / "one", [4.0])
    assert np.array_equal(array_of(read_image(tmp_path / "one")), values)
    assert np.array_equal(array_of(read_image(next((tmp_path / "one").iterdir()))), values)


def test_dicom_of_several_series(tmp_path: Path) -> None:
    write_dicom(tmp_path, [0.0, 1.0, 2.0], "1.2.3.1")
    write_dicom(tmp_path, [0.0, 1.0], "1.2.3.2")
    with pytest.raises(LIPCARError, match="holds 2 DICOM series") as caught:
        read_image(tmp_path)
    for part in ("3 files: T1 1.2.3.1, series UID 1.2.3.1", "2 files: T1 1.2.3.2", "folder of their own"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ([0.0, 1.0, 2.0, 4.0, 5.0], "is a file missing"),
        ([0.0, 1.0, 2.0, 0.0, 1.0, 2.0], "several time points"),
        ([1.0, 1.0], "several time points"),
    ],
)
def test_dicom_slices_missing_or_doubled(tmp_path: Path, positions: list[float], message: str) -> None:
    write_dicom(tmp_path / "series", positions)
    with pytest.raises(LIPCARError, match=message):
        read_image(tmp_path / "series")


def read(path: Path) -> tuple[np.ndarray, list[str]]:
    notices: list[str] = []
    return array_of(read_image(path, notices)), notices


def refused(path: Path) -> str:
    with pytest.raises(LIPCARError) as caught:
        read_image(path)
    return str(caught.value)


@pytest.mark.parametrize("seed", range(3))
def test_slices_and_frames_give_the_same_image(tmp_path: Path, seed: int) -> None:
    """Whatever the order, the orientation and the storage; each slice with its own slope."""
    values, direction = stored(seed), oblique_direction(seed)
    slopes = np.random.default_rng(seed).uniform(0.1, 2, len(values)).round(3)
    expected = (values * slopes[:, None, None] + np.arange(len(values))[:, None, None]).astype(np.float32)
    changes = {i: {"RescaleSlope": str(s), "RescaleIntercept": str(i)} for i, s in enumerate(slopes)}
    write_slices(tmp_path / "slices", values, direction, changes)
    order = np.random.default_rng(seed).permutation(len(values)).tolist()
    write_enhanced(tmp_path / "frames.dcm", values, order, slopes.tolist(), direction=direction)
    images = [read_image(tmp_path / name) for name in ("slices", "frames.dcm")]
    for image in images:
        np.testing.assert_array_equal(array_of(image), expected)
        np.testing.assert_allclose(image.GetSpacing(), (0.8, 0.9, GAP), rtol=1e-6)
        np.testing.assert_allclose(np.reshape(image.GetDirection(), (3, 3)), direction, atol=1e-6)
        np.testing.assert_allclose(image.GetOrigin(), direction @ (-5, 7, 0), atol=1e-6)


def test_several_files_of_many_frames_are_one_stack(tmp_path: Path) -> None:
    values = stored()
    for name, part in (("b.dcm", [0, 2, 4]), ("a.dcm", [1, 3])):
        file = write_enhanced(tmp_path / name, values)
        ds = pydicom.dcmread(file)
        ds.PerFrameFunctionalGroupsSequence = [ds.PerFrameFunctionalGroupsSequence[i] for i in part]
        ds.NumberOfFrames, ds.PixelData = len(part), values[part].tobytes()
        ds.save_as(file)
    assert np.array_equal(read(tmp_path)[0], values)


@pytest.mark.parametrize("flip", [(-1, 1, -1), (1, -1, -1), (-1, -1, 1)])
def test_flipped_stacks_keep_every_voxel_at_its_point(tmp_path: Path, flip: tuple[int, ...]) -> None:
    values, direction = stored(), np.diag(flip).astype(float)
    write_slices(tmp_path / "s", values, direction)
    image = read_image(tmp_path / "s")
    for k, j, i in ((0, 0, 0), (4, 23, 19), (2, 5, 7)):
        point = direction @ np.array([-5.0 + i * 0.8, 7.0 + j * 0.9, k * GAP])
        assert image.GetPixel(image.TransformPhysicalPointToIndex(point.tolist())) == values[k, j, i]


MANY = {
    "2 echo times (ms): 4.6, 9.2": {"EchoTime": "9.2"},
    "2 time points: 1, 2": {"TemporalPositionIdentifier": "2"},
    "2 image types": {"ImageType": ["ORIGINAL", "PRIMARY", "P"]},
    "2 flip angles (degrees): 5, 15": {"FlipAngle": "15"},
    "2 inversion times (ms): 700, 2500": {"InversionTime": "2500"},
    "2 frames of reference": {"FrameOfReferenceUID": "1.2.3.8"},
    "2 patients: 1, 2": {"PatientID": "2"},
}


@pytest.mark.parametrize("message", MANY)
def test_more_than_one_image_is_named(tmp_path: Path, message: str) -> None:
    common = {"EchoTime": "4.6", "TemporalPositionIdentifier": "1", "FlipAngle": "5", "InversionTime": "700"}
    write_slices(tmp_path / "s", stored(), changes={2: MANY[message], 3: MANY[message]}, **common)
    assert f"holds {message}" in refused(tmp_path / "s")


def test_echo_times_that_differ_by_rounding_are_one(tmp_path: Path) -> None:
    write_slices(tmp_path / "s", stored(), changes={1: {"EchoTime": "4.601"}}, EchoTime="4.6")
    assert np.array_equal(read(tmp_path / "s")[0], stored())


FRAMES_OF_MANY = {
    "2 echo times (ms): 3, 6": {"MREchoSequence": {"EffectiveEchoTime": 6.0}},
    "2 b-values (s/mm^2): 0, 1000": {"MRDiffusionSequence": {"DiffusionBValue": 1000.0}},
    "2 complex components": {"MRImageFrameTypeSequence": {"ComplexImageComponent": "PHASE"}},
    "2 time points: 1, 2": {"FrameContentSequence": {"StackID": "1", "TemporalPositionIndex": 2}},
    "2 stacks: 1, 2": {"FrameContentSequence": {"StackID": "2", "TemporalPositionIndex": 1}},
}


@pytest.mark.parametrize("message", FRAMES_OF_MANY)
def test_more_than_one_image_in_one_file_is_named(tmp_path: Path, message: str) -> None:
    first = {
        "MREchoSequence": {"EffectiveEchoTime": 3.0},
        "MRDiffusionSequence": {"DiffusionBValue": 0.0},
        "MRImageFrameTypeSequence": {"ComplexImageComponent": "MAGNITUDE"},
    }
    frames = {index: {**first, **(FRAMES_OF_MANY[message] if index > 2 else {})} for index in range(len(stored()))}
    write_enhanced(tmp_path / "f.dcm", stored(), frames=frames)
    assert f"holds {message}" in refused(tmp_path / "f.dcm")


def test_times_that_tell_doubled_slices_apart_are_named(tmp_path: Path) -> None:
    values = stored()
    changes = {i: {"ImagePositionPatient": position(i % 2, np.eye(3)), "TriggerTime": str(i // 2)} for i in range(5)}
    write_slices(tmp_path / "s", values, changes=changes)
    assert "3 trigger times (ms): 0, 1, 2" in refused(tmp_path / "s")


DIFFERENT = {
    "0.24 x 0.24 mm": {"PixelSpacing": [0.24, 0.24]},
    "tells no PixelSpacing": {"PixelSpacing": None},
    "tells no ImagePositionPatient": {"ImagePositionPatient": None},
    "tells no ImageOrientationPatient": {"ImageOrientationPatient": None},
    "differ in size or orientation": {"ImageOrientationPatient": [0, 1, 0, 1, 0, 0]},
    "no unit vectors": {"ImageOrientationPatient": [1, 0, 0, 0.02, 1, 0]},
    "pixel spacing of 0 x 0.8": {"PixelSpacing": [0, 0.8]},
    "beside each other by up to 2 mm": {"ImagePositionPatient": [-3, 7, 2 * GAP]},
    "rescale slope of 0": {"RescaleSlope": "0"},
    "of the modality CT": {"Modality": "CT"},
    "is a mosaic": {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]},
    "is a color image": {"PhotometricInterpretation": "PALETTE COLOR"},
    "Modality LUT": {"ModalityLUTSequence": []},
}


@pytest.mark.parametrize("message", DIFFERENT)
def test_a_slice_that_does_not_fit_is_refused(tmp_path: Path, message: str) -> None:
    files = write_slices(tmp_path / "s", stored(), changes={2: DIFFERENT[message]})
    assert message in refused(tmp_path / "s")
    assert files[2].name in refused(tmp_path / "s") or "beside" in message


def test_the_pixel_spacing_of_a_detector_is_none(tmp_path: Path) -> None:
    write_slices(tmp_path / "s", stored(), PixelSpacing=None, ImagerPixelSpacing=[1, 1])
    assert "tells no PixelSpacing" in refused(tmp_path / "s")


def test_a_mosaic_without_the_word_is_one(tmp_path: Path) -> None:
    (file,) = write_slices(tmp_path / "s", stored(shape=(1, 24, 20)))
    ds = pydicom.dcmread(file)
    ds.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", 6)
    ds.save_as(file)
    assert "is a mosaic" in refused(file)


@pytest.mark.parametrize("shear", [0.004, 0.2])
def test_a_tilted_gantry_is_refused(tmp_path: Path, shear: float) -> None:
    """Each slice further to the side, evenly: 0.004 rad and 60 mm are more than a tenth of a pixel."""
    values = stored(shape=(20, 8, 8))
    changes = {i: {"ImagePositionPatient": [f"{shear * i * GAP:.6g}", 0, f"{i * GAP:.6g}"]} for i in range(20)}
    write_slices(tmp_path / "s", values, changes=changes)
    assert "tilted gantry" in refused(tmp_path / "s")


def test_a_missing_slice_is_named_by_its_neighbors(tmp_path: Path) -> None:
    files = write_slices(tmp_path / "s", stored())
    files[2].unlink()
    message = refused(tmp_path / "s")
    assert f"a gap of a slice between '{files[1].name}' and '{files[3].name}'" in message


def test_missing_frames_are_named(tmp_path: Path) -> None:
    values = stored(shape=(7, 8, 8))
    file = write_enhanced(tmp_path / "f.dcm", values)
    ds = pydicom.dcmread(file)
    kept = [0, 1, 4, 5, 6]
    ds.PerFrameFunctionalGroupsSequence = [ds.PerFrameFunctionalGroupsSequence[i] for i in kept]
    ds.NumberOfFrames, ds.PixelData = len(kept), values[kept].tobytes()
    ds.save_as(file)
    assert "a gap of 2 slices between frame 2 of 'f.dcm' and frame 3 of 'f.dcm'" in refused(file)


def test_every_other_slice_missing_is_noticed(tmp_path: Path) -> None:
    files = write_slices(tmp_path / "s", stored(), SpacingBetweenSlices=str(GAP))
    for file in files[1::2]:
        file.unlink()
    values, notices = read(tmp_path / "s")
    assert len(values) == 3 and "Is every other file missing" in notices[0]


@pytest.mark.parametrize("change", [{"PerFrameFunctionalGroupsSequence": None}, {"NumberOfFrames": 4}])
def test_frames_without_their_groups_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    file = write_enhanced(tmp_path / "f.dcm", stored(), **change)
    assert "functional groups" in refused(file)


@pytest.mark.parametrize("keyword", ["PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"])
def test_frames_without_their_place_are_refused(tmp_path: Path, keyword: str) -> None:
    file = write_enhanced(tmp_path / "f.dcm", stored())
    ds = pydicom.dcmread(file)
    for item in (*ds.PerFrameFunctionalGroupsSequence, *ds.SharedFunctionalGroupsSequence):
        item.pop(keyword, None)
    ds.save_as(file)
    assert "is not known" in refused(file)


def test_a_mapping_to_real_world_values_is_a_rescaling(tmp_path: Path) -> None:
    frames = {
        i: {"RealWorldValueMappingSequence": {"RealWorldValueSlope": i + 1.0, "RealWorldValueIntercept": 5.0}}
        for i in range(5)
    }
    write_enhanced(tmp_path / "f.dcm", stored(), frames=frames)
    assert np.array_equal(read(tmp_path / "f.dcm")[0], stored() * np.arange(1.0, 6)[:, None, None] + 5)


@pytest.mark.parametrize("image_type", ["P", "PHASE MAP", "SUB"])
def test_what_is_no_magnitude_image_is_refused(tmp_path: Path, image_type: str) -> None:
    write_slices(tmp_path / "s", stored(), ImageType=["DERIVED", "PRIMARY", "X", image_type])
    assert f"({image_type}); a magnitude image is expected" in refused(tmp_path / "s")


PADDINGS = {
    "unsigned": (np.uint16, 65535, {"PixelPaddingValue": 65535}, None),
    "signed": (np.int16, -2000, {"PixelPaddingValue": -2000}, None),
    "unsigned in a signed image": (np.int16, -1, {"PixelPaddingValue": 65535}, "US"),
    "signed in an unsigned image": (np.uint16, 63536, {"PixelPaddingValue": -2000}, "SS"),
    "range": (np.uint16, 60000, {"PixelPaddingValue": 65535, "PixelPaddingRangeLimit": 59000}, None),
    "range upwards": (np.int16, -1500, {"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1000}, None),
    "beyond the bits that are stored": (
        np.uint16,
        65535,
        {"PixelPaddingValue": 65535, "BitsStored": 12, "HighBit": 11},
        None,
    ),
    "inverted": (np.uint16, 65535, {"PixelPaddingValue": 65535, "PhotometricInterpretation": "MONOCHROME1"}, None),
}


@pytest.mark.parametrize("kind", PADDINGS)
def test_padding_is_no_tissue(tmp_path: Path, kind: str) -> None:
    dtype, fill, attributes, representation = PADDINGS[kind]
    values = stored().astype(dtype)
    values[:, :6] = fill
    others = {keyword: value for keyword, value in attributes.items() if not keyword.startswith("PixelPadding")}
    files = write_slices(tmp_path / "s", values, RescaleSlope="2", RescaleIntercept="7", **others)
    for file in files:
        ds = pydicom.dcmread(file)
        for keyword in attributes.keys() - others.keys():
            tag = pydicom.datadict.tag_for_keyword(keyword)
            ds.add_new(tag, representation or ("SS" if dtype is np.int16 else "US"), attributes[keyword])
        ds.save_as(file)
    notices: list[str] = []
    image, mask = read_with_padding(tmp_path / "s", notices)
    expected = values[:, 6:].astype(float)
    expected = 65535 - expected if kind == "inverted" else expected
    assert np.array_equal(array_of(image)[:, 6:], expected * 2 + 7)
    assert not array_of(image)[:, :6].any()
    assert mask is not None and array_of(mask)[:, :6].all() and not array_of(mask)[:, 6:].any()
    assert "padding of the scanner in 600 of its 2400 voxels" in notices[0]


def test_padding_that_no_pixel_has_is_no_matter(tmp_path: Path) -> None:
    write_slices(tmp_path / "s", stored(), PixelPaddingValue=65535)
    notices: list[str] = []
    image, mask = read_with_padding(tmp_path / "s", notices)
    assert np.array_equal(array_of(image), stored()) and mask is None and not notices


def test_an_examination_knows_its_padding(tmp_path: Path) -> None:
    low, pre = (head(seed, size=64, slices=3).astype(np.uint16) for seed in (1, 2))
    plain = Examination.from_images(image_of(low.astype(np.float32)))
    padded = low.copy()
    padded[:, :8] = 65535
    write_slices(tmp_path / "low", padded, PixelPaddingValue=65535)
    pre[:, -4:] = 65535
    write_slices(tmp_path / "pre", pre, PixelPaddingValue=65535)
    found = Examination.read(tmp_path / "low", tmp_path / "pre")
    assert found.padding is not None and found.padding[:, :8].all()
    assert found.padding.mean() == pytest.approx(8 / 64)
    assert found.predose_known is None or not found.predose_known[:, -4:, 30:34].any()  # there is no tissue to miss
    assert found.scale == pytest.approx(plain.scale, rel=0.05)
    assert found.noise_floor == pytest.approx(plain.noise_floor, rel=0.1)
    assert not found.lowdose[found.padding].any()
    assert found.part(1, 2).padding is not None and found.part(1, 2).padding.shape == (1, 64, 64)


def test_other_files_are_left_out_and_named(tmp_path: Path) -> None:
    write_slices(tmp_path / "s", stored())
    (tmp_path / "s" / "README").write_text("three o'clock")
    (tmp_path / "s" / "sub").mkdir()
    report = header(stored()[0], "1.2.840.10008.5.1.4.1.1.88.11", "1.2.3.77")
    del report.Rows, report.Columns, report.PixelData
    report.save_as(tmp_path / "s" / "report.dcm", enforce_file_format=True)
    values, notices = read(tmp_path / "s")
    assert np.array_equal(values, stored())
    assert "'sub' was not searched" in notices[0]
    assert "'README', 'report.dcm' were left out" in notices[1]


@pytest.mark.parametrize(
    "damage", ["link", "loop", "pipe", "empty", "text", "cut in the header", "cut in the pixels", "no pixels"]
)
def test_no_slice_is_dropped(tmp_path: Path, damage: str) -> None:
    """The last slice of a stack would not even leave a gap."""
    victim = write_slices(tmp_path / "s", stored())[-1]
    content = victim.read_bytes()
    victim.unlink()
    if damage == "link":
        victim.symlink_to(tmp_path / "nowhere")
    elif damage == "loop":
        victim.symlink_to(victim)
    elif damage == "pipe":
        os.mkfifo(victim)
    else:
        kept = {"empty": 0, "cut in the header": 500, "cut in the pixels": -len(content) // 20, "no pixels": -970}
        victim.write_bytes(b"no DICOM" if damage == "text" else content[: kept[damage]])
    assert victim.name in refused(tmp_path / "s")


@pytest.mark.parametrize("length", [131, 132, 200, 300, 350, 380, 400, 420, 450, 500, 600, 700, 800])
def test_a_file_cut_anywhere_is_an_error(tmp_path: Path, length: int) -> None:
    victim = write_slices(tmp_path / "s", stored())[2]
    victim.write_bytes(victim.read_bytes()[:length])
    assert victim.name in refused(tmp_path / "s")


def test_a_tenth_of_the_pixels(tmp_path: Path) -> None:
    (file,) = write_slices(tmp_path / "s", stored(shape=(1, 24, 20)))
    ds = pydicom.dcmread(file)
    ds.PixelData = ds.PixelData[:96]
    ds.save_as(file)
    assert "holds 96 bytes of pixel data where its header tells 960" in refused(file)
    ds.PixelData = stored()[0].tobytes() + bytes(10)
    ds.save_as(file)
    assert "10 bytes more than its image has" in read(file)[1][0]


def test_links_to_slices_are_slices(tmp_path: Path) -> None:
    files = write_slices(tmp_path / "there", stored())
    (tmp_path / "s").mkdir()
    for file in files:
        (tmp_path / "s" / file.name).symlink_to(file)
    assert np.array_equal(read(tmp_path / "s")[0], stored())


@pytest.mark.parametrize("syntax", ["ImplicitVRLittleEndian", "ExplicitVRBigEndian", "DeflatedExplicitVRLittleEndian"])
def test_other_ways_of_storage(tmp_path: Path, syntax: str) -> None:
    for file in write_slices(tmp_path / "s", stored()):
        ds = pydicom.dcmread(file)
        ds.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
        if syntax == "ExplicitVRBigEndian":
            ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
            ds["PixelData"].VR = "OW"
        pydicom.dcmwrite(file, ds, implicit_vr=syntax.startswith("Implicit"), little_endian="Big" not in syntax)
    assert np.array_equal(read(tmp_path / "s")[0], stored())


def test_files_without_a_preamble(tmp_path: Path) -> None:
    for file in write_slices(tmp_path / "s", stored()):
        ds = pydicom.dcmread(file)
        ds.remove_private_tags()
        del ds.file_meta
        with file.open("wb") as out:
            pydicom.filewriter.write_dataset(explicit(out), ds)
    assert np.array_equal(read(tmp_path / "s")[0], stored())


def explicit(file: Any) -> Any:
    from pydicom.filebase import DicomFileLike

    found = DicomFileLike(file)
    found.is_little_endian, found.is_implicit_VR = True, False
    return found


def test_run_lengths_are_decoded_and_their_damage_found(tmp_path: Path) -> None:
    values = stored(shape=(1, 24, 20))
    (file,) = write_slices(tmp_path / "s", values, RescaleSlope="3")
    ds = pydicom.dcmread(file)
    ds.compress(pydicom.uid.RLELossless)
    ds.save_as(file)
    assert np.array_equal(read(file)[0], values * 3.0)
    file.write_bytes(file.read_bytes()[:-300])
    assert "s" in refused(file)


@pytest.mark.parametrize("name", ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"])
def test_compressed_images_are_those_that_were_compressed(name: str) -> None:
    from pydicom.data import get_testdata_file

    files = [get_testdata_file(one, download=False) for one in ("MR_small.dcm", name)]
    if None in files:
        pytest.skip("pydicom came without its examples")
    plain, compressed = (read(Path(file))[0] for file in files)
    assert np.array_equal(plain, compressed)


def test_a_picture_that_was_cut_short_is_found(tmp_path: Path) -> None:
    from pydicom.data import get_testdata_file

    example = get_testdata_file("MR_small_jp2klossless.dcm", download=False)
    if example is None:
        pytest.skip("pydicom came without its examples")
    ds = pydicom.dcmread(example)
    (frame,) = pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1)
    ds.PixelData = pydicom.encaps.encapsulate([frame[: len(frame) // 10 * 8]])
    ds["PixelData"].is_undefined_length = True
    ds.save_as(tmp_path / "cut.dcm")
    assert "cut.dcm' has a picture that is cut short" in refused(tmp_path / "cut.dcm")


def test_an_unknown_compression_is_one_sentence(tmp_path: Path) -> None:
    (file,) = write_slices(tmp_path / "s", stored(shape=(1, 24, 20)))
    ds = pydicom.dcmread(file)
    ds.PixelData = pydicom.encaps.encapsulate([b"no picture at all!"])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta.TransferSyntaxUID = pydicom.uid.MPEG4HP41
    ds.save_as(file)
    assert "cannot be decoded" in refused(file) and "MPEG-4" in refused(file)


def test_stored_bits_fewer_than_allocated(tmp_path: Path) -> None:
    values = (stored() - 450).astype(np.int16)
    with_overlay = (values & 0x0FFF) | 0x4000
    write_slices(tmp_path / "s", with_overlay, BitsStored=12, HighBit=11)
    assert np.array_equal(read(tmp_path / "s")[0], values)


IDENTITIES = {
    "different patients": {"PatientID": "2"},
    "patient name": {"PatientName": "A^B"},
    "different studies": {"StudyInstanceUID": "1.2.4"},
    "different frames of reference": {"FrameOfReferenceUID": "1.2.3.8"},
}


@pytest.mark.parametrize("message", IDENTITIES)
def test_other_patients_and_studies_are_noticed(tmp_path: Path, message: str) -> None:
    low, pre = (head(seed, size=48, slices=3).astype(np.uint16) for seed in (1, 2))
    write_slices(tmp_path / "low", low)
    write_slices(tmp_path / "pre", pre, **IDENTITIES[message])
    notices = Examination.read(tmp_path / "low", tmp_path / "pre").notices
    assert any(message in notice for notice in notices)


def test_the_same_patient_is_no_notice(tmp_path: Path) -> None:
    low, pre = (head(seed, size=48, slices=3).astype(np.uint16) for seed in (1, 2))
    write_slices(tmp_path / "low", low)
    write_slices(tmp_path / "pre", pre, PatientName="x^y^", PatientSex="M")
    notices = Examination.read(tmp_path / "low", tmp_path / "pre").notices
    assert not any("different" in notice for notice in notices)


def test_dicom_without_pydicom_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_slices(tmp_path / "s", stored())
    monkeypatch.setattr("LIPCARLib.imaging.dicom_files.find_spec", lambda name: None)
    assert "DICOM needs pydicom" in refused(tmp_path / "s")
