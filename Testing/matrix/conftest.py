"""Fork servers that all cases of the matrix share, and what the ordinary examination gives."""

from __future__ import annotations

import contextlib
import os
import queue
from collections.abc import Iterator

import pytest
import SimpleITK as sitk

from . import images
from .case import Case, enhanced, judge, keep_clean_result
from .inputs import ordinary
from .server import Server

if not hasattr(os, "fork"):
    collect_ignore_glob = ["test_*.py"]  # no fork server on Windows

Idle = queue.SimpleQueue[Server]


@pytest.fixture(scope="session")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Idle]:
    """Two servers, for who takes one and puts it back."""
    with contextlib.ExitStack() as stack:
        servers: Idle = queue.SimpleQueue()
        for _ in range(2):
            servers.put(stack.enter_context(Server()))
        server, folder = servers.get(), tmp_path_factory.mktemp("clean")
        judge(Case("clean", ordinary, images.ENHANCE, (enhanced(),), {"seconds": 120}), server, folder)
        keep_clean_result(sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "out.nrrd"))))
        servers.put(server)
        yield servers


@pytest.fixture
def server(idle: Idle) -> Iterator[Server]:
    taken = idle.get()
    yield taken
    idle.put(taken)
