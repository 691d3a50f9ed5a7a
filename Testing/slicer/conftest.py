"""What the tests of the Slicer module share: the application that is none, a panel and a logic in it, volumes."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `headless` and `scenes`, which tests import too

import headless

REASON = "slicer-core is not installed (`pip install slicer-core`; its wheels are for Python 3.10 to 3.12)"


class Dialogs:
    """Keeps the errors that would be shown; the user chooses `folder`, or declines where it is empty."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.folder = ""

    def show_error(self, text: str, details: str = "") -> None:
        self.shown.append(text)

    def choose_folder(self, title: str) -> str:
        return self.folder

    def busy(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


class Packages:
    """Those in `absent` are not installed, and the user declines to install them."""

    def __init__(self, *absent: str) -> None:
        self.absent = list(absent)

    def missing(self) -> list[str]:
        return self.absent

    def install(self) -> None:
        pass


class Worker:
    """Does what it is asked at once."""

    def submit(self, work: Any) -> Any:
        job: Future[Any] = Future()
        try:
            job.set_result(work())
        except Exception as error:
            job.set_exception(error)
        return SimpleNamespace(done=lambda seconds: True, result=job.result)

    def close(self) -> None:
        pass


class Views:
    """Keeps what would be shown; slice 1 is on screen."""

    def __init__(self) -> None:
        self.shown: list[Any] = []

    def slice_on_screen(self, volume: Any, slice_axis: int) -> int:
        return 1

    def show(self, background: Any, foreground: Any = None, opacity: float = 1.0) -> None:
        self.shown.append((background, foreground) if opacity == 1 else (background, foreground, opacity))

    def jump_to(self, point: Any) -> None:
        self.shown.append(point)

    def show_side_by_side(self, images: Any, volume: Any, slice_axis: int, ended: Any) -> None:
        self.shown.append(([label for label, _ in images], volume, slice_axis))
        self.ended = ended

    def end_side_by_side(self) -> None:
        self.ended()

    def show_mip(self, volume: Any) -> None:
        self.shown.append(volume)

    def show_chart(self, chart: Any) -> None:
        self.shown.append(chart)

    def show_table(self, table: Any) -> None:
        self.shown.append(table)


@pytest.fixture
def slicer() -> Iterator[Any]:
    """The application with an empty scene; at the end nothing may wait for the event loop."""
    pytest.importorskip("slicer", reason=REASON, exc_type=ImportError)
    slicer = headless.start()
    scene = headless.new_scene()
    yield slicer
    scene.Clear()
    assert not headless.Timer.active


@pytest.fixture
def scene(slicer: Any) -> Any:
    return slicer.mrmlScene


@pytest.fixture
def module(slicer: Any) -> Any:
    """LIPCAR.py, read as Slicer reads it at its start."""
    return sys.modules.get("LIPCAR") or headless.load_module()


@pytest.fixture
def models(tmp_path: Path, model_folder: Path, lowdose_model_folder: Path) -> dict[str, Path]:
    """Random models under the names of the shipped ones; tests may alter them."""
    folders = {"anchored": model_folder, "vnet-lowdose": lowdose_model_folder, "vnet-predose": model_folder}
    return {name: shutil.copytree(folder, tmp_path / "Models" / name) for name, folder in folders.items()}


@pytest.fixture
def dialogs() -> Dialogs:
    return Dialogs()


@pytest.fixture
def views() -> Views:
    return Views()


@pytest.fixture
def packages() -> Packages:
    """Nothing is missing."""
    return Packages()


@pytest.fixture
def services(module: Any, models: dict[str, Path], dialogs: Dialogs, views: Views, packages: Packages) -> Any:
    """One step a slot, however fast the machine is."""
    from LIPCARLib.slicer.services import Services

    def nothing_known(instance: str) -> str:
        return ""

    from LIPCARLib.slicer.background import ThreadEngine

    engine = ThreadEngine(Worker, 0.0)
    return Services(
        packages,
        dialogs,
        views,
        headless.Timer,
        Worker,
        lambda: models,
        nothing_known,
        lambda address: engine,
        slot_seconds=0.0,
    )


@pytest.fixture
def logic(module: Any, services: Any) -> Any:
    return module.LIPCARLogic(services)


@pytest.fixture
def patient_logic(module: Any, services: Any) -> Any:
    """A logic whose slots last as long as the computation."""
    return module.LIPCARLogic(replace(services, slot_seconds=1000.0))


@pytest.fixture
def panel(services: Any) -> Iterator[Any]:
    panel = headless.open_panel(services)
    yield panel
    panel.cleanup()
    assert panel.Observations == [] and panel.logic._timer._slot is None


@pytest.fixture
def lowdose(slicer: Any) -> Any:
    return headless.add_volume("low", 1.3)


@pytest.fixture
def predose(slicer: Any) -> Any:
    return headless.add_volume("pre", 1.0)
