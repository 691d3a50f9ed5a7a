"""A fuzzer with a fixed budget and seed: manifests, sidecars, DICOM attributes and options of the command line.

Whatever comes in, a result is finite or the error is one line. What is found becomes a row of the matrix. Headers of
image files have a fuzzer of their own, in Testing/imaging.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .case import Case, Expected, judge, refused
from .dicom import ENHANCE as ENHANCE_DICOM
from .dicom import each, series
from .images import ENHANCE
from .inputs import Arrange, ordinary, with_file
from .models import manifest_of, mine
from .server import Server

fuzzed = settings(
    max_examples=20,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
FINE = Expected(0, grid=None)
ENHANCED = Expected(0, writes=("out.nrrd",), grid=None)

values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**40), 10**40),
        st.integers(-2, 3),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from(["", "0", "../x", "/", "\0", "VNet", "Anchor", "GR", "SE", "x" * 5000]),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def places(value: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths of keys to everything in a JSON object."""
    if not isinstance(value, dict):
        return [path]
    inner = [place for key, one in value.items() for place in places(one, (*path, key))]
    return [path, *inner] if path else inner


def replaced(content: dict[str, Any], path: tuple[str, ...], value: object) -> bytes:
    found: Any = json.loads(json.dumps(content))
    place = found
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(found).encode()


def run(server: Server, factory: pytest.TempPathFactory, arrange: Arrange, call: Any, *expected: Expected) -> None:
    folder = factory.mktemp("fuzz") / "case"
    folder.mkdir()
    judge(Case("fuzz", arrange, call, (*expected, refused()), {"seconds": 60}), server, folder)


@pytest.mark.parametrize("name", ["anchored", "vnet-predose"])
def test_manifests(name: str, server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    manifest = manifest_of(name)

    @fuzzed
    @given(st.sampled_from(places(manifest)), values, st.sampled_from(["verify", "show"]))
    def holds(path: tuple[str, ...], value: object, command: str) -> None:
        arrange = mine(of=name, content=replaced(manifest, path, value))
        run(server, tmp_path_factory, arrange, f"lipcar models {command} mine", FINE)

    holds()


TOLD = {
    "ScanningSequence": ["GR", "IR"],
    "RepetitionTime": 2.3,
    "InversionTime": 0.9,
    "FlipAngle": 9,
    "EchoTime": 0.003,
    "MagneticFieldStrength": 3,
    "NumberShots": 176,
    "RepetitionTimeExcitation": 0.007,
    "SequenceName": "tfl3d",
}


def test_acquisitions(server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    @fuzzed
    @given(st.sampled_from(places(TOLD)), values)
    def holds(path: tuple[str, ...], value: object) -> None:
        arrange = with_file("how.json", replaced(TOLD, path, value))
        run(server, tmp_path_factory, arrange, f"{ENHANCE} --acquisition how.json", ENHANCED)

    holds()


ATTRIBUTES = (
    *("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness", "SpacingBetweenSlices"),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"),
    *("PhotometricInterpretation", "RepetitionTime", "EchoTime", "FlipAngle", "MagneticFieldStrength", "ImageType"),
    *("InstanceNumber", "SeriesNumber", "StudyInstanceUID", "FrameOfReferenceUID", "PatientName", "PatientID"),
    *("StudyDate", "StudyTime", "Modality", "ScanningSequence", "SOPClassUID", "PatientPosition", "Laterality"),
)


def test_dicom_attributes(server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    texts = st.one_of(
        st.sampled_from([b"", b"nan", b"inf", b"-1", b"0", b"1e400", b"\\", b"1\\2\\3\\4\\5\\6\\7", b"\xff\xfe", b"a" * 300]),
        st.binary(max_size=24),
        st.floats().map(lambda number: repr(number).encode()),
    )  # fmt: skip

    @fuzzed
    @given(st.sampled_from(ATTRIBUTES), texts)
    def holds(keyword: str, value: bytes) -> None:
        arrange = series(each(**{keyword: value}))
        written = Expected(0, writes=("out.nrrd", "dcm"), grid=None)
        run(server, tmp_path_factory, arrange, f"{ENHANCE_DICOM} --dicom-output dcm", written)

    holds()


OPTIONS = (
    *("--alpha", "--solver", "--iterations", "--device", "--slice-axis", "--dose-fraction", "--model"),
    *("--highdose", "--t1-map", "--acquisition", "--predose", "--lowdose"),
)


def test_options(server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    words = st.one_of(
        st.sampled_from(["", "-", "--", "0", "nan", "1e999", "low.nrrd", "pre.nrrd", "high.nrrd", ".", "..", "/", "k", "cpu", "signal", "[/]", "%s", "{}"]),
        st.integers().map(str),
        st.floats().map(repr),
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
    )  # fmt: skip

    @fuzzed
    @given(st.lists(st.tuples(st.sampled_from(OPTIONS), words), min_size=1, max_size=2))
    def holds(given_options: list[tuple[str, str]]) -> None:
        call = (*ENHANCE.split(), "--device=cpu", *(f"{option}={word}" for option, word in given_options))
        run(server, tmp_path_factory, ordinary, call, ENHANCED)

    holds()
