"""Images in and out: files, DICOM, grids, intensities, registration, metrics; ends in the checked `Examination`.

Slicer's panel opens with it, so it names parts of scipy as `scipy.ndimage.label`: they are loaded at their first use,
in the thread that works.
"""

from .comparison import SwappedError
from .dicom_files import series_file
from .dicom_source import SeriesSource, series_source
from .examination import Examination
from .grid import AXES, Grid, resample
from .headers import (
    acquisition_of_keys,
    common_acquisition,
    note_identities,
    read_acquisition,
    sidecar,
    told_acquisition,
)
from .intensity import SCALE_RULE, noise_deviation
from .reading import read_image
from .regions import RegionStatistics, region_statistics
from .registration import move
from .writing import check_output, write_files, write_image
from .writing_dicom import series_files

__all__ = [
    "AXES",
    "SCALE_RULE",
    "Examination",
    "Grid",
    "RegionStatistics",
    "SeriesSource",
    "SwappedError",
    "acquisition_of_keys",
    "check_output",
    "common_acquisition",
    "move",
    "noise_deviation",
    "note_identities",
    "read_acquisition",
    "read_image",
    "region_statistics",
    "resample",
    "series_file",
    "series_files",
    "series_source",
    "sidecar",
    "told_acquisition",
    "write_files",
    "write_image",
]
