"""Maps and labels of a result as DICOM parametric maps and a segmentation that refer to the result's series."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import __version__
from ..errors import LIPCARError

if TYPE_CHECKING:
    from pydicom import Dataset

SCHEME = "99LIPCAR"
"""Coding scheme of what no standard has a code for."""
NUMBER_OFFSET = 100
"""Added to the series number of the result, and one more for each map: maps follow the result in a list."""
SHOWN = 8.0
"""Standard deviations on either side that a viewer shows of a map in such."""


def check_highdicom() -> None:
    """Refuse to write maps as DICOM where the package that does so is missing, before anything is computed for them.

    Raises:
        LIPCARError: highdicom is not installed.
    """
    if find_spec("highdicom") is None:
        raise LIPCARError(
            "Maps as DICOM need the Python package highdicom, which is not installed. Install it with "
            "`pip install highdicom`, or leave out the DICOM output."
        )


def map_files(
    folder: Path,
    series: Iterable[bytes],
    maps: Mapping[str, npt.NDArray[np.float32]],
    labels: npt.NDArray[np.uint8] | None,
    kinds: Mapping[int, str],
) -> dict[Path, bytes]:
    """Parametric maps and a segmentation, each a file and a series; for `writing.write_files`.

    Args:
        folder: where the files are to go.
        series: the files of the result's series, as `writing_dicom.series_files` makes them, in their order.
        maps: by name, (S, H, W) float32. "uncertainty" is in the result's intensity units, others have none.
        labels: (S, H, W) uint8, 0 or one of `kinds`; None for no segmentation.
        kinds: the names of the labels 1, 2, ...

    Returns:
        NAME.dcm for each map and findings.dcm.

    Raises:
        LIPCARError: highdicom is not installed.
    """
    check_highdicom()
    from pydicom import dcmread

    sources = [dcmread(io.BytesIO(content)) for content in series]
    files = {}
    for offset, (name, volume) in enumerate(maps.items()):
        files[folder / f"{name}.dcm"] = _content(_parametric_map(sources, name, volume, offset))
    if labels is not None:
        files[folder / "findings.dcm"] = _content(_segmentation(sources, labels, kinds, len(maps)))
    return files


def _identity(sources: Sequence[Dataset], offset: int) -> dict[str, Any]:
    """What both kinds of object are told of their series and their maker."""
    from pydicom.uid import generate_uid

    return {
        "series_instance_uid": generate_uid(),
        "series_number": int(sources[0].SeriesNumber) + NUMBER_OFFSET + offset,
        "sop_instance_uid": generate_uid(),
        "instance_number": 1,
        "manufacturer": "LIPCAR",
        "manufacturer_model_name": str(sources[0].ManufacturerModelName) or "LIPCAR",
        "software_versions": f"LIPCAR {__version__}",
        "device_serial_number": "none",
    }


def _parametric_map(sources: Sequence[Dataset], name: str, volume: npt.NDArray[np.float32], offset: int) -> Dataset:
    from highdicom import VOILUTTransformation
    from highdicom.pm import ParametricMap, RealWorldValueMapping
    from highdicom.sr import CodedConcept

    in_units = name == "uncertainty"
    unit = CodedConcept("[arb'U]", "UCUM", "arbitrary unit") if in_units else CodedConcept("1", "UCUM", "no units")
    largest = float(np.abs(volume).max()) or 1.0
    mapping = RealWorldValueMapping(
        lut_label=name[:16].upper(),
        lut_explanation=f"LIPCAR {name}"[:64],
        unit=unit,
        value_range=(-largest, largest),
        slope=1.0,
        intercept=0.0,
        quantity_definition=CodedConcept(name[:16].upper(), SCHEME, f"{name} of a simulated high-dose image"),
    )
    window = VOILUTTransformation(largest / 2, largest) if in_units else VOILUTTransformation(0.0, 2 * SHOWN)
    made: Dataset = ParametricMap(
        source_images=sources,
        pixel_array=volume,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[window],
        content_description=f"LIPCAR {name}, RESEARCH ONLY",
        content_label=name[:16].upper(),
        **_identity(sources, offset),
    )
    made.SeriesDescription = f"LIPCAR {name}, RESEARCH ONLY"
    if "Laterality" in sources[0]:
        made.Laterality = sources[0].Laterality  # which highdicom leaves out, and a segmentation has none
    return made


def _segmentation(
    sources: Sequence[Dataset], labels: npt.NDArray[np.uint8], kinds: Mapping[int, str], offset: int
) -> Dataset:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import Segmentation, SegmentDescription
    from highdicom.sr import CodedConcept

    algorithm = AlgorithmIdentificationSequence(
        name="LIPCAR evidence", family=CodedConcept("EVIDENCE", SCHEME, "Signal equation"), version=__version__
    )
    segments = [
        SegmentDescription(
            segment_number=number,
            segment_label=f"{kind} enhancement",
            segmented_property_category=CodedConcept("309825002", "SCT", "Spatial and Relational Concept"),
            segmented_property_type=CodedConcept(kind[:16].upper(), SCHEME, f"{kind} enhancement"),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
        )
        for number, kind in kinds.items()
    ]
    made: Dataset = Segmentation(
        source_images=sources,
        pixel_array=labels,
        segmentation_type="BINARY",
        segment_descriptions=segments,
        omit_empty_frames=bool(labels.any()),
        content_description="LIPCAR findings, RESEARCH ONLY",
        content_label="FINDINGS",
        **_identity(sources, offset),
    )
    made.SeriesDescription = "LIPCAR findings, RESEARCH ONLY"
    return made


def _content(made: Dataset) -> bytes:
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
