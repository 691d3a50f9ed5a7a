"""What several test files share: random networks that do something, a model folder, a small examination."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from LIPCARLib.imaging.examination import Examination
from LIPCARLib.inverse.model import load_pair, save_model
from LIPCARLib.inverse.network_pair import NetworkPair
from LIPCARLib.inverse.networks import VNet
from LIPCARLib.simulation import simulate

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background job: children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

MakeNetwork = Callable[..., VNet]
ROLES = ("predose", "lowdose", "highdose")


def random_network(
    in_channels: int, *, seed: int = 0, gain: float = 1.4, residual: bool = True, smooth: bool = False
) -> VNet:
    """A V-Net whose output depends on its input: with torch's own initialization the plain one returns zeros."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = VNet(in_channels, residual=residual, smooth=smooth)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 4:
                parameter.mul_(gain)
    return network


@pytest.fixture(scope="session")
def make_network() -> MakeNetwork:
    return random_network


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model with pre-dose input. Never to be written to: tests that alter files copy it first."""
    folder = tmp_path_factory.mktemp("models") / "random-predose"
    save_model(folder, "random-predose", random_network(2, seed=1), random_network(2, seed=2), {})
    return folder


@pytest.fixture(scope="session")
def lowdose_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without pre-dose input."""
    folder = tmp_path_factory.mktemp("models") / "random-lowdose"
    save_model(folder, "random-lowdose", random_network(1, seed=3), random_network(1, seed=4), {})
    return folder


@pytest.fixture
def model(model_folder: Path) -> NetworkPair:
    return load_pair(model_folder)


@pytest.fixture
def lowdose_model(lowdose_model_folder: Path) -> NetworkPair:
    return load_pair(lowdose_model_folder)


@pytest.fixture(scope="session")
def phantom_images() -> dict[str, sitk.Image]:
    """Pre-dose, low-dose and high-dose image of one simulated subject: 3 slices of 48 x 48."""
    subject = simulate(3, 0, slices=3, size=48)
    images = {}
    for role in ROLES:
        images[role] = sitk.GetImageFromArray(getattr(subject, role).astype(np.float32))
        images[role].SetSpacing(subject.spacing)
    return images


@pytest.fixture(scope="session")
def examination(phantom_images: dict[str, sitk.Image]) -> Examination:
    """Its pre-dose image is not in doubt: of so few pixels the gain cannot be told, but it is known here."""
    found = Examination.from_images(*(phantom_images[role] for role in ("lowdose", "predose", "highdose")))
    return replace(found, predose_doubtful=False)
