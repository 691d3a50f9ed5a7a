"""Images in and out: files, DICOM, grids, intensities, registration, metrics; ends in the checked `Examination`."""

from .dicom import check_series_folder, new_folder, series_files
from .examination import AXES, Examination
from .images import Grid, check_output, check_place, read_image, resample, series_file, write_files, write_image
from .intensity import SCALE_RULE
from .registration import move

__all__ = [
    "AXES",
    "SCALE_RULE",
    "Examination",
    "Grid",
    "check_output",
    "check_place",
    "check_series_folder",
    "move",
    "new_folder",
    "read_image",
    "resample",
    "series_file",
    "series_files",
    "write_files",
    "write_image",
]
