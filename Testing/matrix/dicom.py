"""Cases: DICOM folders and files, as a scanner, an archive or a copy cut short leaves them; and DICOM written."""

from __future__ import annotations

import copy
import io
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.config import disable_value_validation
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from .case import Case, Check, enhanced, near, refused, table
from .inputs import FILES, SLICES, Arrange, examination, nothing, together

ENHANCE = "lipcar enhance --lowdose low --predose pre --output out.nrrd --model signal"
MR, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
ROOT_UID = "1.2.826.0.1.3680043.8.498.1"
SAME: Check = near(0.02)
Change = Callable[[list[Dataset]], object]
"""Alters the slices of a series, or puts others in their places, before they are written."""


def slices_of(role: str) -> list[Dataset]:
    """A series as a scanner writes it, without preamble."""
    number = list(FILES).index(role) + 1
    series = []
    for index, pixels in enumerate(examination()[role]):
        ds = Dataset()
        ds.SOPClassUID, ds.SOPInstanceUID = MR, f"{ROOT_UID}.{number}.{index + 1}"
        ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{ROOT_UID}.9", f"{ROOT_UID}.{number}"
        ds.FrameOfReferenceUID = f"{ROOT_UID}.8"
        ds.PatientName, ds.PatientID, ds.PatientSex, ds.PatientBirthDate = "Rat^One", "R1", "F", "20200101"
        ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20250101", "101112", "S1", ""
        ds.Modality, ds.Manufacturer, ds.SeriesDescription = "MR", "Maker", role
        ds.ReferringPhysicianName, ds.PositionReferenceIndicator, ds.PatientPosition = "", "", "HFS"
        ds.SeriesNumber, ds.InstanceNumber = number, index + 1
        ds.AcquisitionTime = f"1000{number:02d}"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "SE", "NONE", "", "2D"
        ds.RepetitionTime, ds.EchoTime, ds.MagneticFieldStrength, ds.FlipAngle = "450", "12", "3", "90"
        ds.EchoTrainLength, ds.EchoNumbers = 1, 1
        ds.ImagePositionPatient = [-16, -15.5, 7 + 2.5 * index]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness, ds.SpacingBetweenSlices = [0.5, 0.5], "2.5", "2.5"
        ds.Rows, ds.Columns = pixels.shape
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
        ds.add_new("PixelData", "OW", pixels.astype("<u2").tobytes())
        series.append(ds)
    return series


def bytes_of(ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    ds = copy.copy(ds)
    buffer = io.BytesIO()
    with disable_value_validation():
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = syntax
        ds.file_meta.MediaStorageSOPClassUID = str(ds.get("SOPClassUID") or MR)
        ds.file_meta.MediaStorageSOPInstanceUID = str(ds.get("SOPInstanceUID") or f"{ROOT_UID}.7")
        ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue().replace(b"ISO_IR 100", CHARACTER_SETS.get(ds.get("SpecificCharacterSet"), b"ISO_IR 100"))


CHARACTER_SETS = {"ISO_IR 100": b"ISO_IR 999"}
"""What is written for it: pydicom itself does not write a character set that is none."""


def raw(ds: Dataset, keyword: str, value: bytes) -> None:
    """Put bytes where an attribute's value is, valid or not; they travel as they are."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    tag = Tag(tag_for_keyword(keyword) or 0)
    value += b" " * (len(value) % 2)
    ds._dict[tag] = RawDataElement(tag, dictionary_VR(tag), len(value), value, 0, False, True)


def series(
    change: Change | None = None,
    roles: Sequence[str] = tuple(FILES)[:2],
    both: bool = True,
    syntax: str = ExplicitVRLittleEndian,
) -> Arrange:
    """Folders low and pre; the change is made to both or to low alone."""

    def arrange(folder: Path) -> None:
        for role in roles:
            found = slices_of(role)
            if change is not None and (both or role == "lowdose"):
                change(found)
            place = folder / FILES[role]
            place.mkdir()
            for index, ds in enumerate(found):
                (place / f"IM{index + 1:04d}.dcm").write_bytes(bytes_of(ds, syntax))

    return arrange


def each(**values: Any) -> Change:
    """Set attributes in every slice; None takes one away, bytes are put there raw."""

    def change(found: list[Dataset]) -> None:
        one(range(len(found)), **values)(found)

    return change


def one(indices: int | Sequence[int], **values: Any) -> Change:
    """The same in some slices."""

    def change(found: list[Dataset]) -> None:
        for index in [indices] if isinstance(indices, int) else indices:
            for keyword, value in values.items():
                if value is None:
                    found[index].pop(keyword, None)
                elif isinstance(value, bytes) and keyword != "PixelData":
                    raw(found[index], keyword, value)
                else:
                    setattr(found[index], keyword, value)

    return change


def own_slopes(found: list[Dataset]) -> None:
    """Each slice with a slope of its own: the same image."""
    for index, ds in enumerate(found):
        slope = 0.25 * (1 + index % 3)
        pixels = np.frombuffer(ds.PixelData, "<u2").reshape(ds.Rows, ds.Columns)
        ds.RescaleSlope, ds.RescaleIntercept = str(slope), "0"
        ds.PixelData = (pixels / slope).round().astype("<u2").tobytes()


def padded(found: list[Dataset]) -> None:
    for ds in found:
        pixels = np.frombuffer(ds.PixelData, "<u2").reshape(ds.Rows, ds.Columns).copy()
        pixels[:4] = 65535
        ds.PixelPaddingValue = 65535
        ds.PixelData = pixels.tobytes()


def mosaic(found: list[Dataset]) -> None:
    tiles = [np.frombuffer(ds.PixelData, "<u2").reshape(64, 64) for ds in found]
    ds = found[0]
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    ds.Rows, ds.Columns = 128, 256
    ds.PixelData = np.vstack([np.hstack(tiles[:4]), np.hstack(tiles[4:])]).tobytes()
    found[:] = [ds]


def doubled(**values: Any) -> Change:
    """Every slice twice, the second with other values."""

    def change(found: list[Dataset]) -> None:
        again = [copy.deepcopy(ds) for ds in found]
        for index, ds in enumerate(again):
            ds.SOPInstanceUID = f"{ds.SOPInstanceUID}.5"
            ds.InstanceNumber = index + 1 + len(found)
            for keyword, value in values.items():
                setattr(ds, keyword, value)
        found += again

    return change


def shifted(found: list[Dataset]) -> None:
    """Each slice lies 0.4 mm further to the side than the one before: a gantry tilt."""
    for index, ds in enumerate(found):
        ds.ImagePositionPatient = [-16 + 0.4 * index, -15.5, 7 + 2.5 * index]


def swapped_positions(found: list[Dataset]) -> None:
    for index, ds in enumerate(found):
        ds.InstanceNumber = len(found) - index


def reversed_names(found: list[Dataset]) -> None:
    found.reverse()


def multiframe(role: str, order: Sequence[int] = range(SLICES), slopes: bool = False) -> Dataset:
    """The series as one Enhanced MR file, frames in that order."""
    parts = slices_of(role)
    if slopes:
        own_slopes(parts)
    ds = copy.deepcopy(parts[0])
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "SliceThickness",
        "RescaleSlope",
        "RescaleIntercept",
    ):
        ds.pop(keyword, None)
    ds.SOPClassUID, ds.NumberOfFrames = ENHANCED_MR, len(order)
    shared, measures, turn = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness, measures.SpacingBetweenSlices = [0.5, 0.5], "2.5", "2.5"
    turn.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Items([measures]), Items([turn])
    ds.SharedFunctionalGroupsSequence = Items([shared])
    frames = []
    for index in order:
        frame, content, place, values = Dataset(), Dataset(), Dataset(), Dataset()
        content.InStackPositionNumber, content.StackID, content.TemporalPositionIndex = index + 1, "1", 1
        content.DimensionIndexValues = [1, index + 1]
        place.ImagePositionPatient = parts[index].ImagePositionPatient
        values.RescaleSlope, values.RescaleIntercept = parts[index].get("RescaleSlope", "1"), "0"
        values.RescaleType = "US"
        frame.FrameContentSequence, frame.PlanePositionSequence = Items([content]), Items([place])
        frame.PixelValueTransformationSequence = Items([values])
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = Items(frames)
    ds.PixelData = b"".join(parts[index].PixelData for index in order)
    return ds


def enhanced_files(
    change: Callable[[Dataset], object] | None = None, order: Sequence[int] = range(SLICES), slopes: bool = False
) -> Arrange:
    """low.dcm and pre.dcm."""

    def arrange(folder: Path) -> None:
        for role in ("lowdose", "predose"):
            ds = multiframe(role, order, slopes)
            if change is not None:
                change(ds)
            (folder / f"{FILES[role]}.dcm").write_bytes(bytes_of(ds))

    return arrange


def beside(make: Callable[[Path], object]) -> Arrange:
    """A good series and something more in the folder of the low-dose images."""
    return together(series(), lambda folder: make(folder / "low"))


def write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda place: (place / name).write_bytes(content)


def instead(name: str, change: Callable[[Path], object]) -> Callable[[Path], object]:
    def act(place: Path) -> None:
        path = place / name
        change(path)

    return act


def shortened(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])


def to_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def to_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere.dcm")


def frame_at(ds: Dataset, index: int) -> Dataset:
    return ds.PerFrameFunctionalGroupsSequence[index]


def series_cases() -> list[Case]:
    incomplete = refused("slice|missing|gap|apart|position|file")
    spacing, turn = refused("spacing|pixel"), refused("orientation|direction|parallel")
    unread = refused("cannot be read|damaged|cut short|IM0004|slice|regular|file")
    rows: list[tuple[Any, ...]] = [
        ("as it should be", series(), enhanced(check=SAME)),
        ("names in another order", series(reversed_names), enhanced(check=SAME)),
        ("instance numbers backwards", series(swapped_positions), enhanced(check=SAME)),
        ("implicit VR", series(syntax=ImplicitVRLittleEndian), enhanced(check=SAME)),
        ("a mosaic", series(mosaic), refused("mosaic")),
        ("no PixelSpacing", series(each(PixelSpacing=None)), spacing, enhanced("PixelSpacing|spacing", grid=None)),
        ("PixelSpacing of 0", series(each(PixelSpacing=[0, 0])), spacing),
        ("negative PixelSpacing", series(each(PixelSpacing=[-0.5, -0.5])), spacing),
        ("PixelSpacing of words", series(each(PixelSpacing=b"wide\\wide")), spacing),
        ("PixelSpacing of NaN", series(each(PixelSpacing=b"nan\\nan")), spacing),
        ("one number as PixelSpacing", series(each(PixelSpacing=b"0.5")), spacing, enhanced()),
        ("PixelSpacing differs", series(one(3, PixelSpacing=[1, 1])), spacing),
        ("PixelSpacing differs by 1 %", series(one(3, PixelSpacing=[0.505, 0.505])), spacing, enhanced("spacing")),
        ("orientation differs", series(one(3, ImageOrientationPatient=[1, 0, 0, 0, 0, -1])), turn),
        ("orientation differs by 3 degrees", series(one(3, ImageOrientationPatient=[0.99863, 0.05234, 0, -0.05234, 0.99863, 0])), turn),
        ("orientation of zeros", series(each(ImageOrientationPatient=[0, 0, 0, 0, 0, 0])), turn),
        ("orientation not orthogonal", series(each(ImageOrientationPatient=[1, 0, 0, 0.5, 0.866, 0])), turn),
        ("no orientation", series(each(ImageOrientationPatient=None)), turn, enhanced("orientation", grid=None)),
        ("no positions", series(each(ImagePositionPatient=None)), refused("position"), enhanced("position", grid=None)),
        ("positions of NaN", series(each(ImagePositionPatient=b"nan\\nan\\nan")), refused("position")),
        ("one position missing", series(one(3, ImagePositionPatient=None)), refused("position")),
        ("all slices at one place", series(each(ImagePositionPatient=[-16, -15.5, 7])), refused("same place|position|gap|doubled")),
        ("a slice missing", series(lambda found: found.pop(3)), incomplete),
        ("two slices missing", series(lambda found: (found.pop(5), found.pop(2))), incomplete),
        ("a slice doubled", series(lambda found: found.append(one_more(found[3]))), refused("same place|twice|doubled|same")),
        ("a file copied", series(lambda found: found.append(copy.deepcopy(found[3]))), refused("same place|twice|doubled|same|copy"), enhanced("twice|doubled|same|cop", check=SAME)),
        ("two echoes", series(doubled(EchoTime="80", EchoNumbers=2)), refused("echo|same place|series")),
        ("two time points", series(doubled(AcquisitionTime="110000", TemporalPositionIdentifier=2)), refused("time|same place|series")),
        ("real and imaginary part", series(doubled(ImageType=["ORIGINAL", "PRIMARY", "R", "NONE"])), refused("type|same place|imaginary|series")),
        ("a gantry tilt", series(shifted), refused("line|tilt|shear|position|apart")),
        ("slices at uneven gaps", series(one(range(5, 8), ImagePositionPatient=[-16, -15.5, 30])), refused("apart|same place|gap")),
        ("gaps differ by 20 %", series(one(7, ImagePositionPatient=[-16, -15.5, 25])), refused("apart|gap")),
        ("rows differ", series(one(3, Rows=32, PixelData=b"\1\0" * 32 * 64)), refused("size|rows|differ")),
        ("a slope for each slice", series(own_slopes), enhanced(check=SAME)),
        ("slope of 0", series(each(RescaleSlope="0", RescaleIntercept="0")), refused("slope|everywhere")),
        ("slope of words", series(each(RescaleSlope=b"steep", RescaleIntercept=b"0")), refused("slope|rescale")),
        ("slope of NaN", series(each(RescaleSlope=b"nan", RescaleIntercept=b"0")), refused("slope|rescale|NaN")),
        ("padding", series(padded), enhanced("padding", check=SAME), enhanced(check=SAME)),
        ("padding of the low-dose image only", series(padded, both=False), enhanced(check=SAME)),
        ("dark is bright", series(each(PhotometricInterpretation="MONOCHROME1")), refused("MONOCHROME1"), enhanced("MONOCHROME1")),
        ("colors", series(lambda found: [colored(ds) for ds in found]), refused("values|color|RGB")),
        ("a CT", series(each(SOPClassUID="1.2.840.10008.5.1.4.1.1.2", Modality="CT")), refused("CT|MR"), enhanced("CT|MR")),
        ("phase images", series(each(ImageType=["ORIGINAL", "PRIMARY", "P", "NONE"])), refused("phase|magnitude|type"), enhanced("phase|magnitude|type")),
        ("another patient", series(each(PatientID="R2", PatientName="Rat^Two", StudyInstanceUID=f"{ROOT_UID}.91"), both=False), enhanced("patient"), refused("patient")),
        ("another frame of reference", series(each(FrameOfReferenceUID=f"{ROOT_UID}.88"), both=False), enhanced("frames? of reference"), refused("frames? of reference")),
        ("another study", series(each(StudyInstanceUID=f"{ROOT_UID}.99", StudyDate="19990101"), both=False), enhanced("stud|session")),
        ("two patients in one folder", series(one(range(4, 8), PatientID="R2")), refused("patient"), enhanced("patient")),
        ("acquired in two ways", series(each(RepetitionTime="900", FlipAngle="20"), both=False), enhanced("different ways")),
        ("two series in one folder", series(one(range(4, 8), SeriesInstanceUID=f"{ROOT_UID}.77")), refused("2 DICOM series|series")),
        ("a localizer in the folder", series(lambda found: found.append(localizer(found[0]))), refused("orientation|series|localizer|parallel|size")),
        ("no pixel data", series(one(3, PixelData=None)), unread, refused("pixel")),
        ("no rows", series(one(3, Rows=None)), unread, refused("rows|size")),
        ("a character set that is none", series(each(SpecificCharacterSet="ISO_IR 100", PatientName=b"R\xe4tte")), enhanced(check=SAME)),
        ("a TR of words", series(each(RepetitionTime=b"long")), enhanced("acquired|repetition", check=None), enhanced(check=None)),
        ("a TR of NaN", series(each(RepetitionTime=b"nan")), enhanced(check=None)),
        ("a TR of 10^30", series(each(RepetitionTime=b"1e30")), enhanced("repetition")),
        ("a flip angle of -90", series(each(FlipAngle=b"-90")), enhanced(check=None)),
        ("an empty UID", series(each(SOPInstanceUID=b"")), refused("UID|instance"), enhanced(check=SAME)),
        ("the same UID in all", series(each(SOPInstanceUID=f"{ROOT_UID}.5.5")), refused("UID|instance|same"), enhanced(check=SAME)),
    ]  # fmt: skip
    things: list[tuple[Any, ...]] = [
        ("a text beside the slices", beside(write("README.txt", b"words")), enhanced(check=SAME)),
        ("an empty file beside them", beside(write("IM0009.dcm", b"")), enhanced("IM0009", check=SAME), refused("IM0009"), enhanced(check=SAME)),
        ("garbage named .dcm beside them", beside(write("IM0009.dcm", b"\xff" * 999)), enhanced("IM0009", check=SAME), refused("IM0009")),
        ("a folder beside them", beside(lambda place: (place / "more").mkdir()), enhanced(check=SAME)),
        ("a dangling link beside them", beside(lambda place: (place / "IM0009.dcm").symlink_to("nowhere")), enhanced("IM0009|link", check=SAME), refused("IM0009|link")),
        ("a pipe beside them", beside(lambda place: os.mkfifo(place / "IM0009.dcm")), enhanced("IM0009|pipe", check=SAME), refused("IM0009|regular")),
        ("a dangling link named first", beside(lambda place: (place / "A.dcm").symlink_to("nowhere")), enhanced(r"A\.dcm|link", check=SAME), refused(r"A\.dcm|link")),
        ("a presentation state beside them", beside(write("PS.dcm", bytes_of(no_image()))), enhanced(check=SAME), refused(r"PS\.dcm|series")),
        ("a slice is a dangling link", beside(instead("IM0004.dcm", to_nowhere)), refused("IM0004|link|apart")),
        ("the last slice is a dangling link", beside(instead("IM0008.dcm", to_nowhere)), refused("IM0008|link")),
        ("a slice is a pipe", beside(instead("IM0004.dcm", to_pipe)), refused("IM0004|regular|apart")),
        ("the last slice is a pipe", beside(instead("IM0008.dcm", to_pipe)), refused("IM0008|regular")),
        ("a slice is empty", beside(instead("IM0004.dcm", lambda path: path.write_bytes(b""))), refused("IM0004|empty|apart")),
        ("the last slice is empty", beside(instead("IM0008.dcm", lambda path: path.write_bytes(b""))), refused("IM0008|empty")),
        ("a slice holds a tenth of its pixels", beside(instead("IM0004.dcm", lambda path: shortened(path, 0.2))), unread),
        ("the last slice holds half of its pixels", beside(instead("IM0008.dcm", lambda path: shortened(path, 0.55))), refused("IM0008|damaged|cut short|pixel|read")),
        ("a slice is cut in its header", beside(instead("IM0004.dcm", lambda path: shortened(path, 0.03))), unread, refused("apart")),
        ("a folder of folders", lambda folder: ((folder / "low" / "deep").mkdir(parents=True), (folder / "pre").mkdir()), refused("no DICOM")),
        ("a folder of texts", lambda folder: [((folder / n).mkdir(), (folder / n / "a.txt").write_text("a")) for n in ("low", "pre")], refused("no DICOM")),
        ("one presentation state", lambda folder: [((folder / n).mkdir(), (folder / n / "a.dcm").write_bytes(bytes_of(no_image()))) for n in ("low", "pre")], refused("no DICOM|image|pixel|size")),
    ]  # fmt: skip
    return table(*((f"DICOM: {name}", arrange, ENHANCE, *expected) for name, arrange, *expected in rows + things))


def one_more(ds: Dataset) -> Dataset:
    more = copy.deepcopy(ds)
    more.SOPInstanceUID, more.InstanceNumber = f"{ROOT_UID}.6.6", 99
    return more


def localizer(ds: Dataset) -> Dataset:
    more = one_more(ds)
    more.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    more.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    return more


def colored(ds: Dataset) -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelData = b"\1\2\3" * 64 * 64


def no_image() -> Dataset:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = "1.2.840.10008.5.1.4.1.1.11.1", f"{ROOT_UID}.4", "PR"
    ds.SeriesInstanceUID, ds.StudyInstanceUID, ds.PatientID = f"{ROOT_UID}.44", f"{ROOT_UID}.9", "R1"
    return ds


def multiframe_cases() -> list[Case]:
    call = ENHANCE.replace("low ", "low.dcm ").replace("pre ", "pre.dcm ")
    shuffled = [0, 2, 4, 6, 1, 3, 5, 7]

    def no_place(ds: Dataset) -> None:
        del frame_at(ds, 3).PlanePositionSequence

    def other_spacing(ds: Dataset) -> None:
        measures = Dataset()
        measures.PixelSpacing, measures.SliceThickness = [1, 1], "2.5"
        frame_at(ds, 3).PixelMeasuresSequence = Items([measures])

    def two_times(ds: Dataset) -> None:
        for index in range(4, 8):
            frame_at(ds, index).PlanePositionSequence = frame_at(ds, index - 4).PlanePositionSequence
            frame_at(ds, index).FrameContentSequence[0].TemporalPositionIndex = 2

    def fewer_frames(ds: Dataset) -> None:
        ds.NumberOfFrames = 6

    def more_frames(ds: Dataset) -> None:
        ds.NumberOfFrames = 80

    def no_groups(ds: Dataset) -> None:
        del ds.PerFrameFunctionalGroupsSequence

    def uneven(ds: Dataset) -> None:
        frame_at(ds, 7).PlanePositionSequence[0].ImagePositionPatient = [-16, -15.5, 40]

    def tilted(ds: Dataset) -> None:
        for index in range(8):
            frame_at(ds, index).PlanePositionSequence[0].ImagePositionPatient = [
                -16 + 0.4 * index,
                -15.5,
                7 + 2.5 * index,
            ]

    def no_spacing(ds: Dataset) -> None:
        del ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence

    def half(ds: Dataset) -> None:
        ds.PixelData = ds.PixelData[: len(ds.PixelData) // 2]

    rows: list[tuple[Any, ...]] = [
        ("as it should be", enhanced_files(), enhanced(check=SAME)),
        ("frames in another order", enhanced_files(order=shuffled), enhanced(check=SAME)),
        ("frames backwards", enhanced_files(order=range(7, -1, -1)), enhanced(check=SAME)),
        ("a slope for each frame", enhanced_files(slopes=True), enhanced(check=SAME)),
        ("slopes and another order", enhanced_files(order=shuffled, slopes=True), enhanced(check=SAME)),
        ("a frame without place", enhanced_files(no_place), refused("position|frame")),
        ("a frame of another spacing", enhanced_files(other_spacing), refused("spacing")),
        ("a frame missing", enhanced_files(order=[0, 1, 2, 4, 5, 6, 7]), refused("apart|missing|gap")),
        ("two time points", enhanced_files(two_times), refused("same place|time|doubled")),
        ("fewer frames than said in the groups", enhanced_files(fewer_frames), refused("frame|damaged")),
        ("more frames than there are", enhanced_files(more_frames), refused("frame|damaged|cut short")),
        ("no groups by frame", enhanced_files(no_groups), refused("frame|group|position")),
        ("uneven gaps", enhanced_files(uneven), refused("apart|gap")),
        ("a tilt", enhanced_files(tilted), refused("line|tilt|shear|position|apart")),
        ("no spacing", enhanced_files(no_spacing), refused("spacing")),
        ("half of the pixels", enhanced_files(half), refused("pixel|damaged|cut short|frame")),
    ]
    in_folders = ENHANCE.replace("--lowdose low", "--lowdose L").replace("--predose pre", "--predose P")

    def into_folders(folder: Path) -> None:
        enhanced_files(order=shuffled)(folder)
        for name, place in (("low", "L"), ("pre", "P")):
            (folder / place).mkdir()
            (folder / f"{name}.dcm").rename(folder / place / "one.dcm")

    cases = table(*((f"multi-frame: {name}", arrange, call, *expected) for name, arrange, *expected in rows))
    return cases + table(("multi-frame: in folders", into_folders, in_folders, enhanced(check=SAME)))


def written(count: int = SLICES, **expected: Any) -> Check:
    """The series in `dcm` is what its standard asks for, as far as pydicom's own words for values go."""

    def check(folder: Path) -> None:
        files = sorted((folder / "dcm").iterdir())
        found = [dcmread(path) for path in files]
        assert len(found) == count, f"{len(found)} DICOM files"
        assert len({ds.SOPInstanceUID for ds in found}) == count and len({ds.SeriesInstanceUID for ds in found}) == 1
        for ds in found:
            assert ds.StudyInstanceUID.is_valid and ds.FrameOfReferenceUID.is_valid, "an invalid UID"
            for keyword, value in expected.items():
                assert ds.get(keyword) == value, f"{keyword} is {ds.get(keyword)!r}"
            assert isinstance(int(ds.SeriesNumber), int) and float(ds.WindowWidth) > 0
            assert "DERIVED" in ds.ImageType and ds.pixel_array.max() > 0
            assert np.isfinite(np.asarray([*ds.ImagePositionPatient, *ds.PixelSpacing], float)).all()

    return check


def output_cases() -> list[Case]:
    call = f"{ENHANCE} --dicom-output dcm"
    good = partial(enhanced, writes=("out.nrrd", "dcm"))
    rows: list[tuple[Any, ...]] = [
        ("as it should be", series(), good(check=written(PatientID="R1", StudyID="S1"))),
        ("from Enhanced MR", enhanced_files(), good(check=written(PatientID="R1"))),
        *(
            (f"{keyword} is {value[:30]!r}", series(each(**{keyword: value})), good(check=written()))
            for keyword, value in (
                ("SeriesNumber", b"abc"),
                ("SeriesNumber", b"99999999999999999999"),
                ("SeriesNumber", b"1.5"),
                ("SeriesNumber", b"-3"),
                ("StudyInstanceUID", b"1.2.abc"),
                ("StudyInstanceUID", b"1.2." + b"3" * 100),
                ("FrameOfReferenceUID", b"not a UID"),
                ("StudyDate", b"yesterday"),
                ("StudyTime", b"noon"),
                ("PatientBirthDate", b"19.9.1999"),
                ("PatientName", b"R\xe4tte^\xff"),
                ("PatientID", b"x" * 200),
                ("PatientSex", b"female"),
                ("PatientAge", b"old"),
                ("PatientWeight", b"heavy"),
                ("PatientPosition", b"standing on its head"),
                ("EchoTime", b"short"),
                ("EchoTrainLength", b"long"),
                ("ScanningSequence", b"the usual one, as always here"),
                ("SpecificCharacterSet", "ISO_IR 100"),
                ("StudyID", b"0123456789" * 3),
                ("AccessionNumber", b"0123456789" * 3),
                ("BodyPartExamined", b"Kopf (Ratte), klein"),
                ("Laterality", b"both"),
            )
        ),
        *(
            (f"no {keyword}", series(each(**{keyword: None})), good(check=written()))
            for keyword in (
                "StudyInstanceUID",
                "FrameOfReferenceUID",
                "PatientID",
                "SeriesNumber",
                "SpecificCharacterSet",
            )
        ),
    ]

    def full(folder: Path) -> None:
        series()(folder)
        (folder / "dcm").mkdir()
        (folder / "dcm" / "old.dcm").write_bytes(b"old")

    def a_file(folder: Path) -> None:
        series()(folder)
        (folder / "dcm").write_bytes(b"old")

    cases = [
        (f"DICOM output: {name}", arrange, call if "Enhanced" not in name else call.replace("low ", "low.dcm ").replace("pre ", "pre.dcm "), *expected)
        for name, arrange, *expected in rows
    ]  # fmt: skip
    cases += [
        ("DICOM output: the folder is not empty", full, call, refused("not empty|empty folder")),
        ("DICOM output: the folder is a file", a_file, call, refused("is a file|folder|directory")),
        ("DICOM output: the folder of the low-dose images", series(), f"{ENHANCE} --dicom-output low", refused("not empty|input")),
        ("DICOM output: the folder of the report", series(), f"{ENHANCE} --report dcm/0001.dcm --dicom-output dcm", refused("does not exist|two outputs|folder|within|inside")),
        ("DICOM output: within a file", series(), f"{ENHANCE} --dicom-output low/IM0001.dcm/x", refused("cannot be made|folder|directory|file")),
        ("DICOM output: a name too long", series(), f"{ENHANCE} --dicom-output {'x' * 300}", refused("too long")),
        ("DICOM output: the name of the image", series(), f"{ENHANCE} --dicom-output out.nrrd", refused("two outputs|own|folder")),
        ("DICOM: nothing at all", nothing, ENHANCE, refused("does not exist")),
    ]  # fmt: skip
    return table(*cases)


def role_cases() -> list[Case]:
    """DICOM in other roles than the low-dose image's."""
    all_three = series(roles=tuple(FILES))
    return table(
        ("DICOM: as high dose", all_three, f"{ENHANCE} --highdose high", enhanced("RMSE", check=SAME)),
        ("DICOM: low as a folder, pre as a slice", all_three, ENHANCE.replace("pre ", "pre/IM0004.dcm "), refused("dimensions|covers|slice"), enhanced(grid=None)),
        ("DICOM: one slice each", all_three, ENHANCE.replace("low ", "low/IM0004.dcm ").replace("pre ", "pre/IM0004.dcm "), enhanced(grid=None)),
        ("DICOM: a folder as acquisition", all_three, f"{ENHANCE} --acquisition low", refused("JSON|cannot be read|folder|directory")),
        ("DICOM: a slice as acquisition", all_three, f"{ENHANCE} --acquisition low/IM0001.dcm", refused("JSON")),
        ("DICOM: a slice as model", all_three, ENHANCE.replace("signal", "low/IM0001.dcm"), refused("No model")),
        ("DICOM: a folder as T1 map", all_three, f"{ENHANCE} --t1-map high", refused("T1"), enhanced(check=None)),
    )  # fmt: skip


CASES = [*series_cases(), *multiframe_cases(), *output_cases(), *role_cases()]
