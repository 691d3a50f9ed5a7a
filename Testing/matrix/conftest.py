"""The fork server that all cases of the matrix share, and what the ordinary examination gives."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import SimpleITK as sitk

from . import images
from .case import Case, enhanced, judge, keep_clean_result
from .inputs import ordinary
from .server import Server

if not hasattr(os, "fork"):
    collect_ignore_glob = ["test_*.py"]  # no fork server on Windows


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server() as server:
        folder = tmp_path_factory.mktemp("clean")
        judge(Case("clean", ordinary, images.ENHANCE, (enhanced(),), {"seconds": 120}), server, folder)
        keep_clean_result(sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "out.nrrd"))))
        yield server
